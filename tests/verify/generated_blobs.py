"""Lengths, strings, listpacks, ziplists, intsets and zipmaps, built byte by byte, sound or with one flaw.

Knows: how each is laid out, independently of both engines. Refuses to know: what is in them, and who
sees a flaw. Sources: rdb.c, listpack.c, ziplist.c, intset.c, zipmap.c.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

import lzf

Entry = bytes | int
#: "listpack" and "ziplist" flaws are of the blob, the others of what is in it.
LISTPACK_FLAWS = (
    "listpack size",
    "listpack count",
    "listpack end",
    "listpack encoding",
    "back length",
)
ZIPLIST_FLAWS = ("ziplist size", "ziplist tail", "ziplist count", "ziplist end", "ziplist encoding",
                 "previous length")  # fmt: skip
STRING_FLAWS = (
    "reserved length",
    "beyond the file",
    "packed badly",
    "packed longer",
    "packed shorter",
)


def length(number: int) -> bytes:
    if number < 64:
        return bytes([number])
    if number < 1 << 14:
        return bytes([0x40 | number >> 8, number & 0xFF])
    if number < 1 << 32:
        return b"\x80" + number.to_bytes(4, "big")
    return b"\x81" + number.to_bytes(8, "big")


def raw(text: bytes) -> bytes:
    return length(len(text)) + text


def string(random: Random, text: bytes) -> bytes:
    """As text, or in any other form that says the same."""
    form = random.random()
    if form < 0.1:  # more bytes of length than are needed
        return b"\x80" + len(text).to_bytes(4, "big") + text
    if form < 0.3 and len(text) > 4:
        return packed(text, len(text))
    return raw(text)


def packed(text: bytes, declared: int) -> bytes:
    """LZF, by the library where it finds something to save, else in literals."""
    small = lzf.compress(text, len(text)) if len(text) > 20 else None
    if small is None:
        parts = [text[at : at + 32] for at in range(0, len(text), 32)]
        small = b"".join(bytes([len(part) - 1]) + part for part in parts)
    return b"\xc3" + length(len(small)) + length(declared) + small


def broken_string(flaw: str) -> bytes:
    text = b"abcdefghij" * 3
    return {
        "reserved length": b"\xbf\x00\x00\x00\x00",
        "beyond the file": b"\x80\x00\x10\x00\x00" + text,
        "packed badly": b"\xc3\x04\x20\x20\xff\x20\xff",
        "packed longer": packed(text, len(text) - 7),
        "packed shorter": packed(text, len(text) + 7),
    }[flaw]


# Blobs


def listpack(entries: Sequence[Entry], flaw: str = "") -> bytes:
    encoded = [_listpack_entry(entry) for entry in entries]
    if flaw == "listpack encoding":
        encoded[-1] = b"\xf5\x01"
    elif flaw == "back length":
        encoded[0] = encoded[0][:-1] + bytes([encoded[0][-1] ^ 0x03])
    body = b"".join(encoded)
    size = 7 + len(body) + (flaw == "listpack size")
    count = len(entries) + (flaw == "listpack count")
    end = b"\x00" if flaw == "listpack end" else b"\xff"
    return struct.pack("<IH", size, count) + body + end


def _listpack_entry(entry: Entry) -> bytes:
    if isinstance(entry, bytes):
        size = len(entry)
        if size < 64:
            out = bytes([0x80 | size]) + entry
        elif size < 4096:
            out = bytes([0xE0 | size >> 8, size & 0xFF]) + entry
        else:
            out = b"\xf0" + struct.pack("<I", size) + entry
    elif 0 <= entry < 128:
        out = bytes([entry])
    elif -4096 <= entry < 4096:
        out = bytes([0xC0 | (entry & 0x1FFF) >> 8, entry & 0xFF])
    else:
        head, width = next(
            (head, width)
            for head, width in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8))
            if -(1 << 8 * width - 1) <= entry < 1 << 8 * width - 1
        )
        out = bytes([head]) + entry.to_bytes(width, "little", signed=True)
    size = len(out)
    return out + (bytes([size]) if size < 128 else bytes([size >> 7, 0x80 | size & 0x7F]))


def ziplist(entries: Sequence[Entry], flaw: str = "") -> bytes:
    encoded: list[bytes] = []
    for at, entry in enumerate(entries):
        before = len(encoded[-1]) if encoded else 0
        if flaw == "previous length" and at == len(entries) - 1:
            before += 1
        head = bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
        encoded.append(head + _ziplist_entry(entry))
    if flaw == "ziplist encoding":
        encoded[-1] = encoded[-1][:1] + b"\xff"
    body = b"".join(encoded)
    tail = 10 + len(body) - (len(encoded[-1]) if encoded else 0)
    if flaw == "ziplist tail":
        tail = 10 if tail > 10 else 11
    count = len(entries) + (flaw == "ziplist count")
    size = 11 + len(body) + (flaw == "ziplist size")
    end = b"\x00" if flaw == "ziplist end" else b"\xff"
    return struct.pack("<IIH", size, tail, count) + body + end


def _ziplist_entry(entry: Entry) -> bytes:
    if isinstance(entry, bytes):
        size = len(entry)
        if size < 64:
            return bytes([size]) + entry
        return bytes([0x40 | size >> 8, size & 0xFF]) + entry
    if 0 <= entry <= 12:
        return bytes([0xF1 + entry])
    head, width = next(
        (head, width)
        for head, width in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8))
        if -(1 << 8 * width - 1) <= entry < 1 << 8 * width - 1
    )
    return bytes([head]) + entry.to_bytes(width, "little", signed=True)


def intset(numbers: Sequence[int], width: int, flaw: str = "") -> bytes:
    count = len(numbers) + (flaw == "intset length")
    head = struct.pack("<II", 3 if flaw == "intset width" else width, count)
    return head + b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)


def zipmap(texts: Sequence[bytes], flaw: str = "") -> bytes:
    count = len(texts) // 2 + (flaw == "zipmap count")
    parts = [
        bytes([len(text)]) + (b"\x00" if at % 2 else b"") + text for at, text in enumerate(texts)
    ]
    if flaw == "zipmap field alone":
        parts.append(b"\x03odd")
    return bytes([count]) + b"".join(parts) + (b"" if flaw == "zipmap end" else b"\xff")
