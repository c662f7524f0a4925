"""gzip, as people and tools write it."""

from __future__ import annotations

import gzip
import random

import pytest

from exporter.model import Status
from tests.verify.truths import fixtures, read

DATA = next(iter(fixtures("dense"))).data


def test_members_one_after_another_are_one_file() -> None:
    for cut in (1, 9, 100, len(DATA) - 1):
        packed = gzip.compress(DATA[:cut]) + gzip.compress(DATA[cut:])
        for size in (1, 5, 4096):
            report = read(packed, block_bytes=size)
            assert (report.status, report.bytes) == (Status.VALID, len(packed))


def test_an_empty_member_is_empty() -> None:
    assert read(gzip.compress(b"")).status is Status.EMPTY


@pytest.mark.parametrize("tail", [b"\0", bytes(512), b"garbage", b"\x1f"])
def test_bytes_behind_the_last_member_are_trailing_data(tail: bytes) -> None:
    assert read(gzip.compress(DATA) + tail).status is Status.TRAILING_DATA


def test_bytes_behind_the_rdb_inside_are_trailing_data() -> None:
    assert read(gzip.compress(DATA + b"x")).status is Status.TRAILING_DATA


@pytest.mark.parametrize("at", [-8, -5, -4, -1])
def test_a_wrong_gzip_checksum_or_length_is_a_checksum_mismatch(at: int) -> None:
    packed = bytearray(gzip.compress(DATA))
    packed[at] ^= 1
    assert read(bytes(packed)).status is Status.CHECKSUM_MISMATCH


def test_a_gzip_bomb_of_garbage_is_not_unpacked_in_memory() -> None:
    """A gigabyte of zeros in a megabyte, of which the first block tells enough."""
    report = read(gzip.compress(bytes(64 << 20), compresslevel=9))
    assert report.status is Status.BAD_MAGIC


def test_the_report_inside_gzip_is_that_of_the_file() -> None:
    chance = random.Random(1)
    for fixture in chance.sample(fixtures("damaged", "crafted"), 60):
        plain, packed = read(fixture.data), read(gzip.compress(fixture.data))
        assert (plain.status, plain.reason) == (packed.status, packed.reason), fixture.row["file"]
