"""Every committed file: whole, cut, flipped, and read in pieces of any size."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from exporter.model import ChecksumState, Status
from exporter.verify import rdb
from tests.verify.truths import Fixture, disagreement, fixtures, read

WRITTEN = fixtures("rdb")
DENSE = fixtures("dense")
#: Short enough to read once for each of their bytes or bits.
SHORT = [fixture for fixture in fixtures("rdb", "dense") if fixture.row["status"] == "valid"]


def name(fixture: Fixture) -> str:
    return str(fixture.row["file"])


def servers() -> set[str]:
    return {fixture.row["server"] for fixture in WRITTEN}


def test_fixtures_come_from_all_servers() -> None:
    assert len(servers()) == 23


@pytest.mark.parametrize("fixture", fixtures(), ids=name)
def test_each_file_gets_its_status_and_findings(fixture: Fixture) -> None:
    report = read(fixture.data)
    assert report.status == fixture.row["status"], report.reason
    assert sorted(finding.kind for finding in report.findings) == fixture.row.get("findings", [])
    assert (report.reason is None) == (report.status is Status.VALID)


@pytest.mark.parametrize("fixture", fixtures("rdb", "dense", "crafted"), ids=name)
def test_no_status_contradicts_what_servers_did(fixture: Fixture) -> None:
    report = read(fixture.data)
    if report.status is Status.UNSUPPORTED_VERSION and fixture.row["truth"] == "valid":
        reasons = (*rdb.UNKNOWABLE_TYPES.values(), *rdb.UNKNOWABLE_OPCODES.values())
        assert any(reason in str(report.reason) for reason in reasons)
        return
    assert disagreement(report, truth=fixture.row["truth"], kind=fixture.row["kind"]) is None, (
        report
    )


@pytest.mark.parametrize("fixture", WRITTEN, ids=name)
def test_counts_are_those_of_the_server_that_wrote_it(fixture: Fixture) -> None:
    report = read(fixture.data)
    if report.status is Status.UNSUPPORTED_VERSION:
        return
    if fixture.row["keys_by_db"] is not None:
        expected = {int(db): tuple(counts) for db, counts in fixture.row["keys_by_db"].items()}
        assert report.keys_by_db == expected
        assert report.keys == sum(keys for keys, _ in expected.values())
    assert report.functions == fixture.row["functions"]
    assert (report.checksum is ChecksumState.DISABLED) == fixture.row["checksum_off"]
    assert sum(report.keys_by_type.values()) == report.keys


def some_now_all_in_long(files: list[Fixture]) -> list[Any]:
    """Every third at once: reading a file once for each of its bits takes seconds."""
    return [
        file if at % 3 == 0 else pytest.param(file, marks=pytest.mark.long)
        for at, file in enumerate(files)
    ]


def damaged_tails(data: bytes) -> Iterator[bytes]:
    step = 1 if len(data) < 2500 else 97
    for length in range(0, len(data), step):
        yield data[:length]
    for length in range(max(0, len(data) - 30), len(data)):
        yield data[:length]


@pytest.mark.parametrize("fixture", SHORT, ids=name)
def test_a_cut_file_is_never_valid(fixture: Fixture) -> None:
    data = fixture.data
    for cut in damaged_tails(data):
        report = read(cut)
        assert report.status in (Status.TRUNCATED, Status.EMPTY), (len(cut), report)


@pytest.mark.parametrize("fixture", SHORT, ids=name)
def test_bytes_after_the_end_are_trailing_data(fixture: Fixture) -> None:
    for tail in (b"\0", b"\xff", bytes(4096), fixture.data):
        assert read(fixture.data + tail).status is Status.TRAILING_DATA


@pytest.mark.parametrize("fixture", some_now_all_in_long(DENSE), ids=name)
def test_a_single_flipped_bit_is_never_valid(fixture: Fixture) -> None:
    data = bytearray(fixture.data)
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            report = read(bytes(data))
            assert report.status is not Status.VALID, (at, bit)
            assert report.status is not Status.UNREADABLE, (at, bit, report.reason)
            data[at] ^= 1 << bit


@pytest.mark.parametrize("fixture", fixtures(), ids=name)
def test_any_read_size_gives_the_same_report(fixture: Fixture) -> None:
    data = fixture.data
    whole = read(data)
    # What is no RDB, or goes on behind its end, is left in the middle of a block.
    left = whole.status in (Status.BAD_MAGIC, Status.TRAILING_DATA)
    for size in (1, 2, 3, 7, 9, 17, 64, 1000):
        if len(data) > 4096 and size < 7:
            continue
        report = read(data, block_bytes=size)
        assert (replace(report, bytes=whole.bytes) if left else report) == whole, size


@pytest.mark.parametrize("fixture", fixtures("dense"), ids=name)
def test_gzip_is_read_through(fixture: Fixture) -> None:
    data = fixture.data
    packed = gzip.compress(data, mtime=0)
    report = read(packed)
    assert report.compression == "gzip"
    assert report.bytes == len(packed)
    plain = read(data)
    assert (report.status, report.keys_by_db) == (plain.status, plain.keys_by_db)
    for length in range(2, len(packed)):
        assert read(packed[:length]).status is Status.TRUNCATED, length
    broken = bytearray(packed)
    for at in range(10, len(packed)):
        broken[at] ^= 0x10
        # Another way to say the same bytes, such as a reference to an equal match, is no damage.
        if read(bytes(broken)).status is Status.VALID:
            assert gzip.decompress(broken) == data, at
        broken[at] ^= 0x10
