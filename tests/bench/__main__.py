"""The command: ``python -m tests.bench``; progress on stderr, the table on stdout.

Knows: the flags, and the order of a run. Refuses to know: how anything is measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from exporter.settings import units
from tests.bench.content import KINDS
from tests.bench.data import DataFile, data_file, remove_files, say
from tests.bench.launch import Failed, floor_bytes
from tests.bench.machine import this_machine
from tests.bench.manners import Manners, measure_manners
from tests.bench.memory import Peak, bomb_peak, idle_bytes, many_keys_peak
from tests.bench.rounds import Course, run_rounds
from tests.bench.table import Outcome, markdown

_COMMANDS = ("redis-server", "redis-check-rdb", "redis-benchmark")
PARTS = ("memory", "manners")


def _bytes(text: str) -> int:
    try:
        return units.size()(text)
    except units.WrongValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _directory(text: str) -> Path:
    return Path(text).absolute()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures what proving a backup costs, on data that a real redis-server wrote.",
    )
    add = parser.add_argument
    add("--size", type=_bytes, default="1GiB", help="of each of the three files (%(default)s)")
    add("--slice", type=_bytes, default="32MiB", help="for rdbtools (%(default)s)")
    add("--rounds", type=_positive, default=5, help="of everything (%(default)s)")
    add(
        "--dir",
        type=_directory,
        default=Path(tempfile.gettempdir()) / "redis-backup-bench",
        help="where the files are made, and found by the next run (%(default)s)",
    )
    add("--clean", action="store_true", help="remove those files at the end")
    add("--keys", type=int, default=0, help="verify a stream of so many tiny keys, e.g. 100000000")
    add("--seconds", type=float, default=12.0, help="of each manners measurement (%(default)s)")
    add("--max-rate", default="100MiB", help="verify.max_rate of that (%(default)s)")
    add(
        "--without", choices=PARTS, action="append", default=[], help="leave a part out; it is said"
    )
    add("--json", action="store_true", help="every number, round by round")
    return parser.parse_args(words)


def _missing() -> str | None:
    """Why nothing can be measured here, if so."""
    for command in _COMMANDS:
        if shutil.which(command) is None:
            return f"no {command} on PATH: install redis-server and redis-tools"
    try:
        module = importlib.import_module("exporter._native")
    except ImportError as error:
        return f"the native engine is not here ({error}): install with REQUIRE_NATIVE=1"
    return None if hasattr(module, "read") else "the native engine's build is not whole"


def measure(asked: argparse.Namespace) -> Outcome:
    """The whole run."""
    began, load = time.monotonic(), os.getloadavg()[0]
    asked.dir.mkdir(parents=True, exist_ok=True)
    courses = [
        Course(
            whole=data_file(asked.dir, kind, asked.size),
            part=data_file(asked.dir, kind, min(asked.slice, asked.size)),
        )
        for kind in KINDS.values()
    ]
    machine = this_machine(asked.rounds, load)
    idle = idle_bytes(asked.rounds)
    results = run_rounds(courses, asked.rounds, idle_bytes=idle)
    peaks: list[Peak] | None = None
    if "memory" not in asked.without:
        peaks = [bomb_peak(asked.dir, idle)]
        if asked.keys:
            peaks.append(many_keys_peak(asked.keys, idle))
    manners: Manners | None = None
    beside: DataFile | None = None
    if "manners" not in asked.without:
        beside = courses[0].whole
        manners = measure_manners(asked.dir, beside, asked.rounds, asked.seconds, asked.max_rate)
    return Outcome(
        machine=machine,
        rounds=asked.rounds,
        floor_bytes=floor_bytes(),
        idle_bytes=idle,
        results=results,
        peaks=peaks,
        many_keys=bool(asked.keys),
        manners=manners,
        manners_file=beside,
        seconds=time.monotonic() - began,
    )


def main(words: Sequence[str] | None = None) -> int:
    asked = arguments(words)
    missing = _missing()
    if missing is not None:
        say(missing)
        return 2
    try:
        outcome = measure(asked)
    except Failed as error:
        say(f"nothing to show: {error}")
        return 1
    finally:
        if asked.clean:
            remove_files(asked.dir)
    print(json.dumps(outcome.to_dict(), indent=1) if asked.json else markdown(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
