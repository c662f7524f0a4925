"""What files take that are made to take much: one long string in a small file, and very many keys.

Knows: the two cases, and the peak of ``verify`` over an idle Python. Refuses to know: limits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.data import BOMB, say
from tests.bench.launch import Failed, measured
from tests.bench.rounds import IDLE, verify_command
from tests.servers import RealServer

BOMB_VALUE_BYTES = 128 << 20
_IN_CORPUS = "large/lzf-128mb-string.rdb"
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """One reading by ``verify``, depth full."""

    case: str
    keys: int
    file_bytes: int
    peak_bytes: int
    over_idle_bytes: int
    cpu_seconds: float
    wall_seconds: float
    duplicates_searched: Mapping[str, int] | None


def idle_bytes(rounds: int) -> int:
    """The peak of a Python that has imported what ``verify`` needs, and reads nothing."""
    return round(median(measured(IDLE).peak_bytes for _ in range(rounds)))


def bomb_file(directory: Path) -> Path:
    """128 MiB that LZF packs into 1.5 MB: from the corpus if it is there, else made by a server."""
    corpus = Path(os.environ.get("RBE_CORPUS") or _REPOSITORY.parent / "shared" / "corpus")
    there = corpus / _IN_CORPUS
    if there.exists():
        return there
    made = directory / f"{BOMB}-{BOMB_VALUE_BYTES}.rdb"
    if not made.exists():
        say(f"making {made.name} with a redis-server ...")
        with tempfile.TemporaryDirectory(prefix="server-", dir=directory) as home:
            with RealServer(Path(home), config=(f"dbfilename {made.name}",)) as server:
                client = server.client()
                client.set("small", "value")
                client.setrange("zeros", BOMB_VALUE_BYTES - 1, "\0")
                client.save()
                saved = server.rdb
            saved.rename(made)
    return made


def bomb_peak(directory: Path, idle: int) -> Peak:
    path = bomb_file(directory)
    cost = measured(verify_command(str(path), "full"))
    return _peak("one string of 128 MiB, packed by LZF", 2, json.loads(cost.output), cost, idle)


def many_keys_peak(keys: int, idle: int) -> Peak:
    """Through a pipe: a file of so many keys is not left behind."""
    say(f"{keys:,} keys through a pipe ...")
    builder = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.many_keys", str(keys)],
        cwd=_REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        cost = measured(verify_command("-", "full"), stdin=builder.stdout)
    finally:
        if builder.stdout is not None:
            builder.stdout.close()
        builder.kill()
        builder.wait()
    return _peak(f"{keys:,} keys, from a pipe", keys, json.loads(cost.output), cost, idle)


def _peak(case: str, keys: int, report: Mapping[str, Any], cost: Any, idle: int) -> Peak:
    if (report["status"], report["keys"]) != ("valid", keys):
        raise Failed(f"{case}: {report['status']}, {report['keys']} keys: {report['reason']}")
    return Peak(
        case=case,
        keys=keys,
        file_bytes=report["bytes"],
        peak_bytes=cost.peak_bytes,
        over_idle_bytes=cost.peak_bytes - idle,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        duplicates_searched=report.get("duplicates_searched"),
    )
