"""What the truth of a file, as real servers gave it, demands of a report of either engine.

Knows: how bytes are read in this process by each engine, and the rules that follow from what servers
did with a file. Refuses to know: what an engine says. What is decided by kind is in `decisions`.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from exporter.model import RdbReport, Status
from exporter.verify import native_engine
from exporter.verify.engines import Depth
from exporter.verify.reading import read_rdb

FIXTURES = Path(__file__).parent.parent / "fixtures"

ENGINES = ("native", "rdbtools")
BLOCK_BYTES = 256 << 10

#: Findings of files that a server may refuse and that are valid all the same (docs: the reader is
#: not one server; the version that wrote a file is not the one that will load it).
FORGIVEN_FINDINGS = frozenset({"newer_than_version", "odd_magic"})
#: Files of a later version, asked of a server that is too old for them.
ASKED_OF_AN_OLDER_SERVER = frozenset({"magic-REDIS0011", "magic-REDIS0012", "magic-REDIS0014"})


#: What is no RDB, goes on behind its end, or has a wrong checksum there is left in mid-block.
LEFT_EARLY = (Status.BAD_MAGIC, Status.TRAILING_DATA, Status.CHECKSUM_MISMATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """One committed file, and its row of INDEX.json."""

    path: Path
    row: dict[str, Any]

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


def fixtures(*folders: str) -> list[Fixture]:
    """All committed files, or those of some folders."""
    rows = json.loads((FIXTURES / "INDEX.json").read_text())
    return [
        Fixture(path=FIXTURES / row["file"], row=row)
        for row in rows
        if not folders or row["file"].split("/")[0] in folders
    ]


def read(
    data: bytes,
    engine: str = "rdbtools",
    *,
    depth: Depth = "full",
    block_bytes: int = BLOCK_BYTES,
) -> RdbReport:
    """The report of these bytes, read in this process; ``depth`` is for the native engine only.

    Without a limit of time; ``seconds`` is 0, so that reports can be compared.
    """
    if engine == "rdbtools":
        return read_rdb(io.BytesIO(data).read, block_bytes=block_bytes)
    answer = _native().read(
        io.BytesIO(data),
        depth=depth,
        tick=_go_on,
        timeout_seconds=0,
        memory_bytes=1 << 30,
        duplicates_bytes=16 << 20,
        part=0,
        bytes_per_second=0,
        block_bytes=block_bytes,
    )
    return RdbReport.from_dict({**answer, "seconds": 0.0})


@cache
def _native() -> Any:
    module = native_engine.load()
    assert not isinstance(module, str), module
    return module


def _go_on(_: int) -> bool:
    return False


def comparable(report: RdbReport) -> dict[str, Any]:
    """What both engines must say alike of the same bytes: all but the words for a person."""
    facts = report.to_dict()
    for name in ("engine", "seconds", "depth", "duplicates_searched", "reason"):
        del facts[name]
    if report.status in LEFT_EARLY:
        del facts["bytes"]
    return facts


def needs_more_than_a_plain_server(report: RdbReport) -> bool:
    needs = report.needs
    return bool(
        needs.modules or needs.functions or needs.cluster or needs.resizedb or needs.databases > 16
    )


def disagreement(report: RdbReport, *, truth: str, kind: str) -> str | None:
    """Why the report can't be right, seen from what real servers did; None where it can."""
    if truth == "valid":
        return None if report.status is Status.VALID else "a valid file is called broken"
    if truth == "suspicious" or report.status is not Status.VALID:
        return None  # suspicious: servers swallow it, the report may say either
    kinds = {finding.kind for finding in report.findings}
    if (
        needs_more_than_a_plain_server(report)
        or kinds & FORGIVEN_FINDINGS
        or kind in ASKED_OF_AN_OLDER_SERVER
    ):
        return None
    return "a broken file is called valid"
