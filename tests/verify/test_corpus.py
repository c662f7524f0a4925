"""The whole corpus: every file that real servers wrote, damaged copies, and crafted ones.

The reading function of the child is called in this process; a sample goes through real children.
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
from tests.verify.truths import disagreement, needs_more_than_a_plain_server, read

Corpus = Callable[[str], Path]
pytestmark = pytest.mark.timeout(600)

#: Types that TYPE calls by a module's own name; a pre-release one; hashes gone while loading.
PLAIN_TYPES = {"string", "list", "set", "zset", "hash", "stream", "array"}


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


def test_every_file_that_a_server_wrote_is_valid_with_its_counts(corpus: Corpus) -> None:
    unsupported: Counter[str] = Counter()
    total = 0
    for path, truth in files(corpus("rdb")):
        where = f"{path.parent.name}/{path.name}"
        report = read(path.read_bytes())
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


def test_no_damaged_copy_that_a_server_refused_is_valid(corpus: Corpus) -> None:
    """Nor one with bytes after its end. What loads and is valid was saved without a checksum, or
    lost it: nobody can tell.
    """
    unprovable: Counter[str] = Counter()
    for path, truth in files(corpus("corrupt")):
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        report = read(path.read_bytes())
        assert report.status is not Status.UNREADABLE, (where, report)
        if truth["identical_to_source"]:
            assert report.status is Status.VALID, where
            continue
        if report.status is not Status.VALID:
            continue
        loads = truth["server_load"] and truth["server_load"]["loads"]
        assert loads or report.needs.modules, (where, report)
        assert report.checksum is not ChecksumState.OK, where
        assert truth["kind"] not in ("doubled", "half-copy-then-start"), where
        assert not truth["kind"].startswith("trailing"), where
        unprovable[truth["kind"].rstrip("0123456789-")] += 1
    assert set(unprovable) <= {"crc-zeroed", "flip", "zero-hole-4k"}, unprovable


def test_no_crafted_file_is_judged_against_the_truth(corpus: Corpus) -> None:
    wrong = []
    for path, truth in files(corpus("crafted")):
        report = read(path.read_bytes())
        why = disagreement(report, truth=truth["truth"], kind=truth.get("kind", "mutation"))
        if why or report.status is Status.UNREADABLE:
            wrong.append((path.name, why, report))
    assert not wrong, wrong[:5]


def test_a_real_child_says_the_same(corpus: Corpus) -> None:
    chosen = random.Random(8).sample(sorted(corpus("rdb").rglob("*.rdb")), 12)
    chosen += random.Random(8).sample(sorted(corpus("corrupt").rglob("*.rdb")), 12)
    limits = Limits(timeout_seconds=120, memory_bytes=1 << 30)
    for path in chosen:
        report = prove(os.fspath(path), engine("rdbtools"), limits=limits)
        assert isinstance(report, RdbReport)
        proven = report.to_dict()
        expected = read(path.read_bytes()).to_dict()
        if expected["status"] == Status.EMPTY:
            assert proven["status"] == Status.EMPTY
            continue
        proven["seconds"] = expected["seconds"]
        assert proven == expected, path.name


def test_an_lzf_bomb_is_read_within_bounds(large: Path) -> None:
    """128 MB packed into 1.5 MB: read in far less memory than it unpacks to."""
    limits = Limits(timeout_seconds=120, memory_bytes=100 << 20)
    report = prove(os.fspath(large / "lzf-128mb-string.rdb"), engine(), limits=limits)
    assert isinstance(report, RdbReport)
    assert report.status is Status.VALID, report
    assert report.keys == 2
