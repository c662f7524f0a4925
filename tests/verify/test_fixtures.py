"""Every committed file, by each engine: whole, cut, flipped, and read in pieces of any size."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from exporter.model import ChecksumState, Status
from exporter.verify import rdb
from exporter.verify.engines import Depth
from tests.verify.truths import (
    ENGINES,
    LEFT_EARLY,
    Fixture,
    comparable,
    disagreement,
    fixtures,
    read,
)

WRITTEN = fixtures("rdb")
DENSE = fixtures("dense")
#: Short enough to read once for each of their bytes or bits.
SHORT = [fixture for fixture in fixtures("rdb", "dense") if fixture.row["status"] == "valid"]
#: A byte and a bit of each is read thousands of times; longer ones wait for the long run.
SMALL_BYTES = 2500

by_each_engine = pytest.mark.parametrize("by", ENGINES)


def name(fixture: Fixture) -> str:
    return str(fixture.row["file"])


def servers() -> set[str]:
    return {fixture.row["server"] for fixture in WRITTEN}


def test_fixtures_come_from_all_servers() -> None:
    assert len(servers()) == 23


@by_each_engine
@pytest.mark.parametrize("fixture", fixtures(), ids=name)
def test_each_file_gets_its_status_and_findings(fixture: Fixture, by: str) -> None:
    report = read(fixture.data, by)
    assert report.status == fixture.row["status"], report.reason
    assert sorted(finding.kind for finding in report.findings) == fixture.row.get("findings", [])
    assert (report.reason is None) == (report.status is Status.VALID)


@pytest.mark.parametrize("fixture", fixtures(), ids=name)
def test_both_engines_report_the_same(fixture: Fixture) -> None:
    native, other = read(fixture.data, "native"), read(fixture.data, "rdbtools")
    assert comparable(native) == comparable(other)


@by_each_engine
@pytest.mark.parametrize("fixture", fixtures("rdb", "dense", "crafted"), ids=name)
def test_no_status_contradicts_what_servers_did(fixture: Fixture, by: str) -> None:
    report = read(fixture.data, by)
    if report.status is Status.UNSUPPORTED_VERSION and fixture.row["truth"] == "valid":
        reasons = (*rdb.UNKNOWABLE_TYPES.values(), *rdb.UNKNOWABLE_OPCODES.values())
        assert any(reason in str(report.reason) for reason in reasons)
        return
    assert disagreement(report, truth=fixture.row["truth"], kind=fixture.row["kind"]) is None, (
        report
    )


@by_each_engine
@pytest.mark.parametrize("fixture", WRITTEN, ids=name)
def test_counts_are_those_of_the_server_that_wrote_it(fixture: Fixture, by: str) -> None:
    report = read(fixture.data, by)
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


def some_small_now_all_in_long(files: list[Fixture]) -> list[Any]:
    small = [file for file in files if len(file.data) <= SMALL_BYTES]
    great = [file for file in files if len(file.data) > SMALL_BYTES]
    in_long = [pytest.param(file, marks=pytest.mark.long) for file in great]
    return some_now_all_in_long(small) + in_long


def damaged_tails(data: bytes) -> Iterator[bytes]:
    step = 1 if len(data) < SMALL_BYTES else 97
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


@pytest.mark.parametrize("fixture", some_small_now_all_in_long(SHORT), ids=name)
def test_a_file_cut_anywhere_is_never_valid_at_any_depth(fixture: Fixture) -> None:
    data = fixture.data
    depths: tuple[Depth, ...] = ("full", "structure", "checksum")
    for length in range(len(data)):
        for depth in depths:
            report = read(data[:length], "native", depth=depth)
            ended = report.status in (Status.TRUNCATED, Status.EMPTY)
            # Where the ninth byte from the end happens to be that of an end, the checksum tells.
            chance = depth == "checksum" and report.status is Status.CHECKSUM_MISMATCH
            assert ended or chance, (length, depth, report)


@by_each_engine
@pytest.mark.parametrize("fixture", SHORT, ids=name)
def test_bytes_after_the_end_are_trailing_data(fixture: Fixture, by: str) -> None:
    for tail in (b"\0", b"\xff", bytes(4096), fixture.data):
        assert read(fixture.data + tail, by).status is Status.TRAILING_DATA


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each bit changed, one at a time: its number, and the file."""
    changed = bytearray(data)
    for bit in range(8 * len(data)):
        changed[bit >> 3] ^= 1 << (bit & 7)
        yield bit, bytes(changed)
        changed[bit >> 3] ^= 1 << (bit & 7)


@pytest.mark.parametrize("fixture", some_now_all_in_long(DENSE), ids=name)
def test_a_single_flipped_bit_is_never_valid(fixture: Fixture) -> None:
    for bit, flipped in flips(fixture.data):
        report = read(flipped)
        assert report.status is not Status.VALID, bit
        assert report.status is not Status.UNREADABLE, (bit, report.reason)


COVERED = [fixture for fixture in SHORT if read(fixture.data).checksum is ChecksumState.OK]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fixture", some_small_now_all_in_long(COVERED), ids=name)
def test_no_bit_flips_unseen_at_any_depth(fixture: Fixture) -> None:
    depths: tuple[Depth, ...] = ("full", "structure", "checksum")
    great = len(fixture.data) > SMALL_BYTES
    for bit, flipped in flips(fixture.data):
        if great and bit % 11:
            continue
        for depth in depths:
            report = read(flipped, "native", depth=depth)
            assert report.status is not Status.VALID, (bit, depth)
            assert report.status is not Status.UNREADABLE, (bit, depth, report.reason)


@by_each_engine
@pytest.mark.parametrize("fixture", fixtures(), ids=name)
def test_any_read_size_gives_the_same_report(fixture: Fixture, by: str) -> None:
    data = fixture.data
    whole = read(data, by)
    left = whole.status in LEFT_EARLY
    for size in (1, 2, 3, 7, 9, 17, 64, 1000, 4096):
        if by == "rdbtools" and len(data) > 4096 and size < 7:
            continue
        report = read(data, by, block_bytes=size)
        assert (replace(report, bytes=whole.bytes) if left else report) == whole, size


@pytest.mark.parametrize("fixture", some_now_all_in_long(DENSE), ids=name)
def test_any_read_size_gives_the_same_report_of_a_damaged_file(fixture: Fixture) -> None:
    data = fixture.data
    damaged = [data[:length] for length in range(0, len(data), 3)]
    damaged += [flipped for bit, flipped in flips(data) if bit % 29 == 0]
    for broken in damaged:
        whole = read(broken, "native")
        for size in (1, 2, 7, 64, 4096):
            report = read(broken, "native", block_bytes=size)
            assert comparable(report) == comparable(whole), size
            assert report.reason == whole.reason, size


@by_each_engine
@pytest.mark.parametrize("fixture", fixtures("dense"), ids=name)
def test_gzip_is_read_through(fixture: Fixture, by: str) -> None:
    data = fixture.data
    packed = gzip.compress(data, mtime=0)
    report = read(packed, by)
    assert report.compression == "gzip"
    assert report.bytes == len(packed)
    plain = read(data, by)
    assert (report.status, report.keys_by_db) == (plain.status, plain.keys_by_db)
    for length in range(2, len(packed)):
        assert read(packed[:length], by).status is Status.TRUNCATED, length
    broken = bytearray(packed)
    for at in range(10, len(packed)):
        broken[at] ^= 0x10
        # Another way to say the same bytes, such as a reference to an equal match, is no damage.
        if read(bytes(broken), by).status is Status.VALID:
            assert gzip.decompress(broken) == data, at
        broken[at] ^= 0x10
