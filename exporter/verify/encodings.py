"""Blobs inside an RDB, walked to their exact end: LZF, listpack, ziplist, intset, zipmap.

Knows: what a server with ``sanitize-dump-payload yes`` and redis-check-rdb check, and is as strict:
a server that does not look loads such a blob, and dies at the first HGETALL. Refuses to know: what
the entries are for. Entries are ``bytes``, or ``int`` where the encoding says so.
Sources: listpack.c, ziplist.c, intset.c, zipmap.c (their ``ValidateIntegrity``), lzf_d.c.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import lzf

from exporter.verify.faults import Corrupt

Entry = bytes | int

#: A back reference of 3 bytes gives at most 264.
_LZF_EXPANSION = 88
_UNKNOWN_COUNT = 65535
_INTSET_CODES = {2: "h", 4: "i", 8: "q"}
_ZIPLIST_INTEGERS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_LISTPACK_INTEGERS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def lzf_check_lengths(packed_bytes: int, size: int) -> None:
    """Refuses a declared length that so few bytes can't expand to."""
    if size > packed_bytes * _LZF_EXPANSION:
        raise Corrupt("an LZF string declares more bytes than its packed form can hold")


def lzf_unpack(packed: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes, or Corrupt; memory is bounded by `lzf_check_lengths`."""
    lzf_check_lengths(len(packed), size)
    if not packed:
        return b""
    try:
        out: bytes | None = lzf.decompress(packed, size)
    except ValueError:
        out = None
    if out is None or len(out) != size:
        raise Corrupt("an LZF string does not unpack to its declared length")
    return out


def lzf_walk(packed: bytes, size: int) -> None:
    """As `lzf_unpack` without the output, for strings too big to hold twice."""
    lzf_check_lengths(len(packed), size)
    at = made = 0
    end = len(packed)
    while at < end and made <= size:
        control = packed[at]
        at += 1
        if control < 32:
            at += control + 1
            made += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[at] if at < end else 0
            at += 1
        back = ((control & 0x1F) << 8) + (packed[at] if at < end else 0) + 1
        at += 1
        if back > made:
            raise Corrupt("an LZF string refers to bytes before its start")
        made += length + 2
    if at != end or made != size:
        raise Corrupt("an LZF string does not unpack to its declared length")


def listpack(blob: bytes) -> list[Entry]:  # noqa: C901, PLR0912, PLR0915 - a call an entry would halve its speed
    """All entries; the header's size and count, each entry's back length and the end must hold."""
    size = len(blob)
    if size < 7 or int.from_bytes(blob[:4], "little") != size or blob[-1] != 0xFF:
        raise Corrupt("a listpack's size or end is wrong")
    last = size - 1
    entries: list[Entry] = []
    append = entries.append
    at = 6
    while at < last:
        start = at
        head = blob[at]
        if head < 0x80:
            append(head)
            at += 1
        elif head < 0xC0:
            at += 1 + (head & 0x3F)
            append(blob[start + 1 : at])
        elif head < 0xE0:
            value = (head & 0x1F) << 8 | blob[at + 1]
            append(value - 0x2000 if value > 0xFFF else value)
            at += 2
        elif head < 0xF0:
            at += 2 + ((head & 0x0F) << 8 | blob[at + 1])
            append(blob[start + 2 : at])
        elif head == 0xF0:
            at += 5 + int.from_bytes(blob[at + 1 : at + 5], "little")
            append(blob[start + 5 : at])
        elif head in _LISTPACK_INTEGERS:
            at += 1 + _LISTPACK_INTEGERS[head]
            append(int.from_bytes(blob[start + 1 : at], "little", signed=True))
        else:
            raise Corrupt(f"a listpack entry has the unknown encoding 0x{head:02x}")
        if at >= last:
            raise Corrupt("a listpack entry reaches beyond the end")
        length = at - start
        if length < 128:
            if blob[at] != length:
                raise Corrupt("a listpack entry's back length is wrong")
            at += 1
        else:
            back = _back_length(length)
            if blob[at : at + len(back)] != back:
                back = _long_back_length(length)
            if not back or blob[at : at + len(back)] != back:
                raise Corrupt("a listpack entry's back length is wrong")
            at += len(back)
    if at != last:
        raise Corrupt("a listpack's last entry reaches beyond the end")
    count = blob[4] | blob[5] << 8
    if count not in (_UNKNOWN_COUNT, len(entries)):
        raise Corrupt("a listpack's entry count is wrong")
    return entries


def _back_length(length: int) -> bytes:
    """7 bits a byte, most significant first, all but the first marked: read from its end."""
    out = [length & 0x7F | 0x80]
    length >>= 7
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(reversed(out))


#: Redis (all versions) and Valkey up to 8.1 write one byte more than these need: their encoder
#: compares with "less than". Valkey 9 writes the short form.
_LONG_BACK_LENGTHS = frozenset({(1 << 14) - 1, (1 << 21) - 1, (1 << 28) - 1})


def _long_back_length(length: int) -> bytes:
    """The other form of the lengths at which the writers differ; empty for all others."""
    if length not in _LONG_BACK_LENGTHS:
        return b""
    short = _back_length(length)
    return bytes([0, short[0] | 0x80]) + short[1:]


def ziplist(blob: bytes) -> list[Entry]:
    """All entries; size, tail, count and each entry's previous length must hold."""
    size = len(blob)
    if size < 11 or int.from_bytes(blob[:4], "little") != size or blob[-1] != 0xFF:
        raise Corrupt("a ziplist's size or end is wrong")
    last = size - 1
    entries: list[Entry] = []
    at = tail = 10
    previous = 0
    while at < last:
        tail = at
        if blob[at] < 254:
            claimed = blob[at]
            at += 1
        else:  # 255 can't be here: the loop ends at the last byte, an early end has a bad length
            claimed = int.from_bytes(blob[at + 1 : at + 5], "little") if blob[at] == 254 else -1
            at += 5
        if claimed != previous:
            raise Corrupt("a ziplist entry's previous length is wrong")
        if at >= last:
            raise Corrupt("a ziplist entry reaches beyond the end")
        entry, at = _ziplist_entry(blob, at)
        if at > last:
            raise Corrupt("a ziplist entry reaches beyond the end")
        entries.append(entry)
        previous = at - tail
    if int.from_bytes(blob[4:8], "little") != tail:
        raise Corrupt("a ziplist's tail offset is wrong")
    count = blob[8] | blob[9] << 8
    if count not in (_UNKNOWN_COUNT, len(entries)):
        raise Corrupt("a ziplist's entry count is wrong")
    return entries


def _ziplist_entry(blob: bytes, at: int) -> tuple[Entry, int]:
    head = blob[at]
    at += 1
    if head < 0xC0:
        form = head >> 6
        if form == 0:
            length = head
        elif form == 1:
            length = (head & 0x3F) << 8 | blob[at]
            at += 1
        else:
            length = int.from_bytes(blob[at : at + 4], "big")
            at += 4
        return blob[at : at + length], at + length
    width = _ZIPLIST_INTEGERS.get(head)
    if width is not None:
        return int.from_bytes(blob[at : at + width], "little", signed=True), at + width
    if 0xF1 <= head <= 0xFD:
        return head - 0xF1, at
    raise Corrupt(f"a ziplist entry has the unknown encoding 0x{head:02x}")


def intset(blob: bytes) -> tuple[int, ...]:
    """Its numbers, which must ascend: a set is searched by halves, so others deny members."""
    code = _INTSET_CODES.get(int.from_bytes(blob[:4], "little"))
    count = int.from_bytes(blob[4:8], "little")
    if code is None or len(blob) != 8 + struct.calcsize("<" + code) * count:
        raise Corrupt("an intset's width or length is wrong")
    if count == 0:
        raise Corrupt("an intset is empty")
    values = struct.unpack(f"<{count}{code}", blob[8:])
    if any(left >= right for left, right in pairwise(values)):
        raise Corrupt("an intset does not ascend")
    return values


def zipmap(blob: bytes) -> list[bytes]:
    """Fields and values in turn; its end and its count (where it has one) must hold."""
    last = len(blob) - 1
    if last < 1 or blob[-1] != 0xFF:
        raise Corrupt("a zipmap has no end")
    texts: list[bytes] = []
    at = 1
    while at < last:
        length, at = _zipmap_length(blob, at)
        spare = 0
        if len(texts) % 2:  # a value: a byte says how many unused ones follow it
            if at >= last:
                raise Corrupt("a zipmap entry reaches beyond the end")
            spare = blob[at]
            at += 1
        if at + length + spare > last:
            raise Corrupt("a zipmap entry reaches beyond the end")
        texts.append(blob[at : at + length])
        at += length + spare
    pairs, odd = divmod(len(texts), 2)
    if odd or at != last:
        raise Corrupt("a zipmap's last field has no value")
    if pairs == 0:
        raise Corrupt("a zipmap is empty")
    if blob[0] != 254 and blob[0] != pairs:  # 254: too many to tell
        raise Corrupt("a zipmap's count is wrong")
    return texts


def _zipmap_length(blob: bytes, at: int) -> tuple[int, int]:
    length = blob[at]
    if length == 255:
        raise Corrupt("a zipmap ends early")
    if length == 254:
        return int.from_bytes(blob[at + 1 : at + 5], "little"), at + 5
    return length, at + 1
