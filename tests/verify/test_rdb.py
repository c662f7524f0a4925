"""What the first and last bytes of a file claim, without reading it."""

from __future__ import annotations

import pytest

from exporter.model import ChecksumState, Dialect, Status
from exporter.verify.rdb import OPCODES, TYPES, read_header, read_magic
from tests.verify.truths import Fixture, fixtures, read


@pytest.mark.parametrize("fixture", fixtures("rdb", "dense"), ids=lambda fixture: fixture.path.name)
def test_the_header_claims_what_the_whole_file_says(fixture: Fixture) -> None:
    report = read(fixture.data)
    header = read_header(fixture.data[:512], fixture.data[-8:])
    assert header is not None
    assert (header.dialect, header.rdb_version) == (report.dialect, report.rdb_version)
    assert header.ctime == report.ctime
    assert header.server_version == report.server_version
    if report.status is Status.VALID:
        assert header.crc64 == report.crc64
        assert (header.crc64 is None) == (report.checksum is not ChecksumState.OK)


def test_any_bytes_have_a_header_or_none() -> None:
    for fixture in fixtures():
        data = fixture.data
        for length in range(min(len(data), 200)):
            read_header(data[:length], data[-8:][:length])
    assert read_header(b"\x1f\x8b\x08" + bytes(20), b"") is None


@pytest.mark.parametrize(
    ("head", "dialect", "version", "odd", "known"),
    [
        (b"REDIS0001", Dialect.REDIS, 1, False, True),
        (b"REDIS0015", Dialect.REDIS, 15, False, True),
        (b"REDIS0016", Dialect.REDIS, 16, False, False),
        (b"REDIS9999", Dialect.REDIS, 9999, False, False),
        (b"REDIS 012", Dialect.REDIS, 12, True, True),
        (b"REDIS+012", Dialect.REDIS, 12, True, True),
        (b"REDIS001a", Dialect.REDIS, 1, True, True),
        (b"VALKEY080", Dialect.VALKEY, 80, False, True),
        (b"VALKEY079", Dialect.VALKEY, 79, False, False),
        (b"VALKEY010", Dialect.VALKEY, 10, False, False),
        (b"VALKEY081", Dialect.VALKEY, 81, False, False),
    ],
)
def test_versions_are_read_as_servers_read_them(
    head: bytes, dialect: Dialect, version: int, odd: bool, known: bool
) -> None:
    magic = read_magic(head)
    assert magic is not None
    assert (magic.dialect, magic.version, magic.odd, magic.known) == (dialect, version, odd, known)


@pytest.mark.parametrize(
    "head", [b"REDIS0000", b"REDIS-001", b"REDISabcd", b"redis0010", b"VALKEY-80", b"REDIS", b""]
)
def test_what_no_server_takes_is_no_magic(head: bytes) -> None:
    assert read_magic(head) is None


@pytest.mark.parametrize(
    ("tail", "words", "state"),
    [
        ("crc", "checksum proven, content not", ChecksumState.OK),
        ("flip", "checksum does not hold", ChecksumState.MISMATCH),
        ("zero", "nothing is proven", ChecksumState.DISABLED),
        ("cut", "no end of file mark", None),
    ],
)
def test_a_later_version_is_read_for_its_checksum(
    tail: str, words: str, state: ChecksumState | None
) -> None:
    """Its status stays unsupported: "cannot verify" is neither valid nor corrupt."""
    name = "crafted/magic/magic-REDIS9999"
    data = next(f.data for f in fixtures("crafted") if f.row["file"].startswith(name))
    if tail == "flip":
        data = data[:40] + bytes([data[40] ^ 1]) + data[41:]
    elif tail == "zero":
        data = data[:-8] + bytes(8)
    elif tail == "cut":
        data = data[:-20]
    report = read(data)
    assert report.status is Status.UNSUPPORTED_VERSION
    assert words in str(report.reason)
    assert report.checksum is state


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
    ],
)
def test_other_compressions_are_unsupported_by_name(head: bytes, name: str) -> None:
    report = read(head + bytes(100))
    assert report.status is Status.UNSUPPORTED_VERSION
    assert str(report.reason).startswith(f"{name}-compressed")


def test_every_type_and_opcode_of_the_table_is_one_of_a_dialect() -> None:
    assert set(TYPES[Dialect.REDIS]) == {*range(8), *range(9, 33)}
    assert set(OPCODES[Dialect.REDIS]) == set(range(242, 256))
    assert 242 not in OPCODES[Dialect.VALKEY]
