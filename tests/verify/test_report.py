"""The report as JSON, and as older and newer writers wrote it."""

from __future__ import annotations

import json

import pytest

from exporter.model import DuplicatesSearched, RdbReport, SecondOpinion, Status


def test_a_report_survives_json() -> None:
    report = RdbReport(
        status=Status.VALID, keys=3, keys_by_db={0: (3, 1)}, keys_by_type={"string": 3},
        depth="full", duplicates_searched=DuplicatesSearched(part=3, of=8),
    )  # fmt: skip
    text = json.dumps(report.to_dict())
    assert json.loads(text)["duplicates_searched"] == {"part": 3, "of": 8}
    assert RdbReport.from_dict(json.loads(text)) == report


def test_what_an_older_release_wrote_is_structure() -> None:
    raw = RdbReport(status=Status.VALID, keys=3).to_dict()
    del raw["depth"], raw["duplicates_searched"]
    report = RdbReport.from_dict(raw)
    assert (report.keys, report.depth, report.duplicates_searched) == (3, "structure", None)


@pytest.mark.parametrize("name", ["keys", "expires", "keys_by_db", "keys_by_type", "functions"])
def test_what_was_not_counted_is_null_and_no_number(name: str) -> None:
    report = RdbReport(status=Status.VALID, depth="checksum")
    assert report.to_dict()[name] is None
    assert RdbReport.from_dict(report.to_dict()) == report
    assert RdbReport(status=Status.VALID).to_dict()[name] in (0, {})


def test_an_opinion_survives_json_and_a_newer_writer() -> None:
    opinion = SecondOpinion(engine="rdbtools", agrees=None, detail="no room", seconds=1.5)
    raw = json.loads(json.dumps(opinion.to_dict())) | {"mood": "good"}
    assert SecondOpinion.from_dict(raw) == opinion
