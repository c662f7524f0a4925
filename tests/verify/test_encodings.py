"""Blobs and strings by hand, where no file of a server shows the case."""

from __future__ import annotations

import random

import lzf
import pytest

from exporter.verify.encodings import intset, listpack, lzf_unpack, lzf_walk, ziplist, zipmap
from exporter.verify.faults import Corrupt
from exporter.verify.uniques import Uniques


def a_listpack(*entries: bytes, count: int | None = None) -> bytes:
    body = b"".join(entries)
    total = 7 + len(body)
    header = total.to_bytes(4, "little")
    return (
        header + (len(entries) if count is None else count).to_bytes(2, "little") + body + b"\xff"
    )


def long_entry(size: int) -> bytes:
    """A string with a 32-bit length, and its back length of several bytes."""
    raw = b"\xf0" + size.to_bytes(4, "little") + bytes(size)
    back, length = [len(raw) & 0x7F | 0x80], len(raw) >> 7
    while length > 0x7F:
        back.append(length & 0x7F | 0x80)
        length >>= 7
    return raw + bytes([length, *reversed(back)])


def test_a_listpack_gives_its_entries() -> None:
    blob = a_listpack(
        b"\x05\x01", b"\x83abc\x04", b"\xdf\xff\x02", b"\xf1\x00\x80\x03", b"\xf2\xff\xff\xff\x04",
        b"\xf3\x01\x00\x00\x00\x05", b"\xf4" + b"\xff" * 8 + b"\x09", b"\xe0\x01x\x03",
    )  # fmt: skip
    assert listpack(blob) == [5, b"abc", -1, -32768, -1, 1, -1, b"x"]


@pytest.mark.parametrize("size", [200, 20_000, 3_000_000])
def test_back_lengths_of_several_bytes_are_read(size: int) -> None:
    blob = a_listpack(long_entry(size))
    assert listpack(blob) == [bytes(size)]
    broken = bytearray(blob)
    broken[-2] ^= 1
    with pytest.raises(Corrupt):
        listpack(bytes(broken))


@pytest.mark.parametrize("needed", [2, 3])
def test_both_forms_of_a_back_length_at_a_boundary_are_read(needed: int) -> None:
    """Redis spends a byte more where the length is the greatest that fits; Valkey 9 does not."""
    size = (1 << 7 * needed) - 1
    raw = b"\xf0" + (size - 5).to_bytes(4, "little") + bytes(size - 5)
    short = b"\x7f" + b"\xff" * (needed - 1)
    long = b"\x00" + b"\xff" * needed
    for back in (short, long):
        assert listpack(a_listpack(raw + back)) == [bytes(size - 5)]
    for back in (b"\x00" + long, short[1:], b"\x01" + long[1:]):
        with pytest.raises(Corrupt):
            listpack(a_listpack(raw + back))
    other = b"\xf0" + (size - 6).to_bytes(4, "little") + bytes(size - 6)
    with pytest.raises(Corrupt):
        listpack(a_listpack(other + b"\x00" + b"\xff" * (needed - 1) + b"\xfe"))


def test_no_damage_to_a_blob_escapes_as_another_error() -> None:
    """Any bytes give entries or Corrupt: an IndexError would be a bug."""
    chance = random.Random(3)
    good = a_listpack(b"\x05\x01", b"\x83abc\x04", b"\xf1\x00\x80\x03")
    old = b"\x11\0\0\0\x0e\0\0\0\x02\0\x00\x02ab\x04\xf2\xff"
    assert ziplist(old) == [b"ab", 1]
    for walk, blob in ((listpack, good), (ziplist, old), (zipmap, b"\x01\x01a\x01\0b\xff")):
        walk(blob)
        for _ in range(20_000):
            broken = bytearray(blob)
            for _ in range(chance.randrange(1, 4)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            try:
                walk(bytes(broken[: chance.randrange(len(broken) + 1)]))
            except Corrupt:
                continue


def test_an_intset_must_ascend() -> None:
    assert intset(b"\x02\0\0\0\x02\0\0\0\xff\xff\x01\0") == (-1, 1)
    for broken in (b"", b"\x02\0\0\0\x02\0\0\0\x01\0\xff\xff", b"\x02\0\0\0\0\0\0\0"):
        with pytest.raises(Corrupt):
            intset(broken)


def test_lzf_gives_exactly_the_declared_length() -> None:
    text = b"to be or not to be, " * 50
    packed = lzf.compress(text)
    assert lzf_unpack(packed, len(text)) == text
    lzf_walk(packed, len(text))
    for size in (0, 1, len(text) - 1, len(text) + 1, len(packed) * 88, len(packed) * 88 + 1, 2**40):
        for unpack in (lzf_unpack, lzf_walk):
            with pytest.raises(Corrupt):
                unpack(packed, size)


def test_both_lzf_readers_agree_on_any_bytes() -> None:
    chance = random.Random(5)
    agreed = 0
    for _ in range(30_000):
        packed = bytes(chance.choices((0, 1, 2, 0x20, 0x40, 0xE0, 5), k=chance.randrange(1, 9)))
        size = chance.randrange(0, 30)
        outcomes = []
        for unpack in (lzf_unpack, lzf_walk):
            try:
                unpack(packed, size)
                outcomes.append(True)
            except Corrupt:
                outcomes.append(False)
        assert outcomes[0] == outcomes[1], (packed, size)
        agreed += outcomes[0]
    assert agreed > 20


@pytest.mark.parametrize("exact_max", [1, 10, 10_000])
def test_duplicates_are_seen_among_few_and_among_many(exact_max: int) -> None:
    names = [b"%d" % number for number in range(2000)]
    uniques = Uniques(exact_max)
    assert all(uniques.add(name) for name in names)
    assert uniques.distinct()
    assert not (uniques.add(b"7") and uniques.distinct())
