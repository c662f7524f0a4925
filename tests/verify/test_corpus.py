"""The whole corpus: every file that real servers wrote, damaged copies, and crafted ones, by each engine.

Files are read in this process; a sample goes through real children.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import ChecksumState, RdbReport, Status
from exporter.verify import rdb
from exporter.verify.engines import Limits, engine
from exporter.verify.file import prove
from tests.verify import decisions
from tests.verify.decisions import CORRUPT, Expected, rule
from tests.verify.truths import (
    ENGINES,
    comparable,
    disagreement,
    needs_more_than_a_plain_server,
    read,
)

Corpus = Callable[[str], Path]
pytestmark = pytest.mark.timeout(600)
by_each_engine = pytest.mark.parametrize("by", ENGINES)

#: Types that TYPE calls by a module's own name; a pre-release one; hashes gone while loading.
PLAIN_TYPES = {"string", "list", "set", "zset", "hash", "stream", "array"}
#: Damage that leaves no mark: the checksum was off, or is now.
UNPROVABLE = {"crc-zeroed", "flip", "zero-hole-4k"}


def files(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    found = sorted(folder.rglob("*.rdb"))
    assert found
    for path in found:
        yield path, json.loads(path.with_suffix(".json").read_text())


def counts(truth: dict[str, Any]) -> dict[int, tuple[int, int]] | None:
    """Keys and expires per db that are in the file, where they were taken from it or must be."""
    walk = truth.get("walk")
    if walk:
        rows = {int(db): (row["keys"], row["expires"]) for db, row in walk["dbs"].items()}
    else:
        expires = truth.get("expires_per_db") or {}
        rows = {int(db): (n, expires.get(db, 0)) for db, n in truth["keys_per_db"].items()}
    return {db: row for db, row in rows.items() if row[0]}


@by_each_engine
def test_every_file_that_a_server_wrote_is_valid_with_its_counts(corpus: Corpus, by: str) -> None:
    unsupported: Counter[str] = Counter()
    total = 0
    for path, truth in files(corpus("rdb")):
        where = f"{path.parent.name}/{path.name}"
        report = read(path.read_bytes(), by)
        total += 1
        if report.status is Status.UNSUPPORTED_VERSION:
            known = (*rdb.UNKNOWABLE_TYPES.values(), *rdb.UNKNOWABLE_OPCODES.values())
            assert any(reason in str(report.reason) for reason in known), where
            unsupported[path.parent.name] += 1
            continue
        assert report.status is Status.VALID, (where, report)
        assert not report.findings, (where, report.findings)
        assert report.keys_by_db == counts(truth), where
        assert report.functions == truth["function_libraries"], where
        assert report.rdb_version == truth["rdb_version"], where
        assert (report.checksum is ChecksumState.DISABLED) == truth["checksum_zero"], where
        if not needs_more_than_a_plain_server(report) and "expire" not in path.stem:
            plain = {name: n for name, n in truth["types"].items() if name in PLAIN_TYPES}
            assert report.keys_by_type == plain, where
    assert total == 564
    # One module value of 4.0-rc1, six files with functions of 7.0-rc1: nothing else is unknown.
    assert unsupported == {"redis-4.0-rc1": 1, "redis-7.0-rc1": 6}


def test_a_lesser_depth_calls_no_sound_file_broken_and_counts_the_same(corpus: Corpus) -> None:
    for path, _ in files(corpus("rdb")):
        data = path.read_bytes()
        full = read(data, "native")
        structure = read(data, "native", depth="structure")
        assert comparable(structure) == comparable(full), path
        outline = read(data, "native", depth="checksum")
        # What only a later or another server can read is as it was written all the same.
        assert outline.status is Status.VALID, (path, outline)
        # What has no checksum is walked: its last byte alone would prove nothing.
        walked = full.rdb_version is not None and full.rdb_version < rdb.FIRST_WITH_CRC
        assert outline.depth == ("structure" if walked else "checksum")
        assert outline.counted == walked
        if full.status is Status.VALID:
            assert (outline.checksum, outline.crc64) == (full.checksum, full.crc64), path


@by_each_engine
def test_no_damaged_copy_that_a_server_refused_is_valid(corpus: Corpus, by: str) -> None:
    """Nor one with bytes after its end. What loads and is valid was saved without a checksum, or
    lost it: nobody can tell.
    """
    unprovable: Counter[tuple[str, ChecksumState | None]] = Counter()
    for path, truth in files(corpus("corrupt")):
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        report = read(path.read_bytes(), by)
        assert report.status is not Status.UNREADABLE, (where, report)
        if truth["identical_to_source"]:
            assert report.status is Status.VALID, where
            continue
        if report.status is not Status.VALID:
            continue
        loads = truth["server_load"] and truth["server_load"]["loads"]
        assert loads or report.needs.modules, (where, report)
        assert report.checksum is not ChecksumState.OK, where
        kind = truth["kind"].rstrip("0123456789-")
        # It had none, or it was off, or it is what the damage took.
        old = truth["rdb_version"] < rdb.FIRST_WITH_CRC
        assert truth["source_checksum_zero"] or old or kind == "crc-zeroed", where
        unprovable[kind, report.checksum] += 1
    assert unprovable == {
        ("crc-zeroed", ChecksumState.DISABLED): 23,
        ("flip", ChecksumState.DISABLED): 99,
        ("flip", None): 22,
        ("zero-hole-4k", ChecksumState.DISABLED): 1,
    }


def test_depth_checksum_finds_all_damage_that_a_checksum_covers(corpus: Corpus) -> None:
    """But for a file that stands there twice: the CRC of the first half with its own CRC is 0, so
    that of the whole is right. The other depths see the end in the middle.
    """
    covered = doubled = 0
    for path, truth in files(corpus("corrupt")):
        old = truth["rdb_version"] < rdb.FIRST_WITH_CRC
        uncovered = truth["source_checksum_zero"] or old or truth["kind"] == "crc-zeroed"
        if truth["identical_to_source"] or uncovered:
            continue
        covered += 1
        data = path.read_bytes()
        assert read(data, "native", depth="structure").status is not Status.VALID, path
        if read(data, "native", depth="checksum").status is Status.VALID:
            assert truth["kind"] == "doubled", path
            doubled += 1
    assert covered > 1000
    assert doubled == 23


@by_each_engine
def test_no_crafted_file_is_judged_against_the_truth(corpus: Corpus, by: str) -> None:
    wrong = []
    for path, truth in files(corpus("crafted")):
        report = read(path.read_bytes(), by)
        why = disagreement(report, truth=truth["truth"], kind=truth.get("kind", "mutation"))
        if why or report.status is Status.UNREADABLE:
            wrong.append((path.name, why, report))
    assert not wrong, wrong[:5]


def crafted(
    corpus: Corpus, truth: str, *, mutations: bool
) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, row in files(corpus("crafted")):
        if row.get("truth") == truth and row["kind"].startswith("mutation-") == mutations:
            yield path, row


def shown(report: RdbReport) -> Expected:
    kinds = frozenset(finding.kind for finding in report.findings)
    return Expected(status=report.status, findings=kinds)


@by_each_engine
def test_each_crafted_kind_that_is_sound_has_only_the_findings_of_its_kind(
    corpus: Corpus, by: str
) -> None:
    used = set()
    for path, truth in crafted(corpus, "valid", mutations=False):
        row = rule(decisions.VALID, truth["kind"])
        assert row is not None
        assert shown(read(path.read_bytes(), by)) == row[1], (path.name, row)
        used.add(row[0])
    assert used == set(decisions.VALID)


@by_each_engine
def test_each_suspicious_kind_gets_what_was_decided(corpus: Corpus, by: str) -> None:
    used = set()
    for path, truth in crafted(corpus, "suspicious", mutations=False):
        kind, report = truth["kind"], read(path.read_bytes(), by)
        contradiction = rule(decisions.CONTRADICTIONS, kind)
        if contradiction is not None:
            pattern, finding = contradiction
            strict = decisions.looks_at_streams(truth["magic"])
            expected = CORRUPT if strict else Expected(findings=frozenset({finding}))
        else:
            row = rule(decisions.SUSPICIOUS, kind)
            assert row is not None, kind
            pattern, expected = row
        used.add(pattern)
        assert shown(report) == expected, (path.name, report)
    assert used == {*decisions.CONTRADICTIONS, *decisions.SUSPICIOUS}


@by_each_engine
def test_each_suspicious_mutation_gets_what_was_decided(corpus: Corpus, by: str) -> None:
    used = set()
    for path, truth in crafted(corpus, "suspicious", mutations=True):
        report = read(path.read_bytes(), by)
        # "type 19: stream first-id"; where the decoder gave up there is its error instead.
        seen = (truth["walk"].get("strict") or [f": {truth['note'].partition('Bad: ')[2]}"])[0]
        row = rule(decisions.SUSPICIOUS_MUTATIONS, seen.partition(": ")[2])
        assert row is not None, (path, seen)
        pattern, expected = row
        used.add(pattern)
        stream = any(finding.startswith("stream_") for finding in expected.findings)
        if stream and decisions.looks_at_streams(truth["magic"]):
            expected = CORRUPT
        found = shown(report)
        assert found.status is expected.status, (path, report)
        further = found.findings - expected.findings
        assert found.findings >= expected.findings, (path, report)
        assert not further or (expected.findings and further <= decisions.BROUGHT_ALONG), path
    assert used == set(decisions.SUSPICIOUS_MUTATIONS)


@by_each_engine
def test_what_a_server_refused_is_valid_only_for_what_is_no_damage(corpus: Corpus, by: str) -> None:
    used = set()
    for path, truth in crafted(corpus, "invalid", mutations=False):
        report = read(path.read_bytes(), by)
        if report.status is not Status.VALID:
            continue
        row = rule(decisions.REFUSED_YET_VALID, truth["kind"])
        assert row is not None, (path.name, report)
        pattern, (_, expected, need) = row
        assert shown(report) == expected, (path.name, report)
        assert need is None or decisions.tells(report.needs, need), (path.name, report)
        used.add(pattern)
    assert used == set(decisions.REFUSED_YET_VALID)


@by_each_engine
def test_a_mutation_that_a_server_refused_is_valid_only_with_function_code(
    corpus: Corpus, by: str
) -> None:
    """The tool says OK to each of them, and the server's log names the library or nothing at all."""
    valid = 0
    for path, truth in crafted(corpus, "invalid", mutations=True):
        report = read(path.read_bytes(), by)
        if report.status is Status.VALID:
            assert report.needs.functions, (path, report)
            assert truth["check"]["exit"] == 0, path
            valid += 1
    assert valid == 46


def test_both_engines_report_the_same(corpus: Corpus) -> None:
    """Status, counts, findings, needs, checksum, facts, and where a file is broken.

    But for six files. A consumer's pending entries must be its group's: one engine looks each up,
    the other compares the sums of both lists' hashes when it has read the last consumer. Where the
    damage shifted what follows, the file ends before that.
    """
    words: Counter[str] = Counter()
    total = 0
    for folder in ("rdb", "corrupt", "crafted"):
        for path in sorted(corpus(folder).rglob("*.rdb")):
            data = path.read_bytes()
            native, other = read(data, "native"), read(data, "rdbtools")
            total += 1
            if comparable(native) == comparable(other):
                continue
            assert (native.status, other.status) == (Status.TRUNCATED, Status.CORRUPT), path
            assert "pending entry is not its group's" in str(other.reason), path
            counted = [
                (report.keys_by_db, report.findings, report.needs) for report in (native, other)
            ]
            assert counted[0] == counted[1], path
            words[folder] += 1
    assert total == 5218
    assert words == {"crafted": 6}


def test_a_real_child_says_the_same(corpus: Corpus) -> None:
    chosen = random.Random(8).sample(sorted(corpus("rdb").rglob("*.rdb")), 12)
    chosen += random.Random(8).sample(sorted(corpus("corrupt").rglob("*.rdb")), 12)
    limits = Limits(timeout_seconds=120, memory_bytes=1 << 30)
    for path in chosen:
        report = prove(os.fspath(path), engine("rdbtools"), limits=limits)
        assert isinstance(report, RdbReport)
        expected = read(path.read_bytes())
        if expected.status is Status.EMPTY:
            assert report.status is Status.EMPTY
            continue
        assert comparable(report) == comparable(expected), path.name
        assert report.reason == expected.reason, path.name


@pytest.mark.parametrize(("by", "mebibytes"), [("rdbtools", 100), ("native", 8)])
def test_an_lzf_bomb_is_read_within_bounds(large: Path, by: str, mebibytes: int) -> None:
    """128 MB packed into 1.5 MB: read in far less memory than it unpacks to."""
    limits = Limits(timeout_seconds=120, memory_bytes=mebibytes << 20)
    report = prove(os.fspath(large / "lzf-128mb-string.rdb"), engine(by), limits=limits)
    assert isinstance(report, RdbReport)
    assert report.status is Status.VALID, report
    assert report.keys == 2
