"""What the truth of a file, as real servers gave it, demands of a report."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.model import RdbReport, Status
from exporter.verify.reading import read_rdb

FIXTURES = Path(__file__).parent.parent / "fixtures"

#: Findings of files that a server may refuse and that are valid all the same (docs: the reader is
#: not one server; the version that wrote a file is not the one that will load it).
FORGIVEN_FINDINGS = frozenset({"newer_than_version", "odd_magic"})
#: Files of a later version, asked of a server that is too old for them.
ASKED_OF_AN_OLDER_SERVER = frozenset({"magic-REDIS0011", "magic-REDIS0012", "magic-REDIS0014"})


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


def read(data: bytes, **options: Any) -> RdbReport:
    """The report of these bytes, read in this process."""
    return read_rdb(io.BytesIO(data).read, **options)


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
