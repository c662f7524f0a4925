"""Bytes: from a descriptor to the blocks of an RDB, read through gzip, with a running CRC-64.

Knows: reads in any size, containers, the CRC of everything behind a position. Refuses to know: what
the bytes mean. A length that the file declares never sizes an allocation: memory grows only with
bytes that really came.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import anycrc

from exporter.model import Status
from exporter.verify.faults import ContainerFault, EndedError, Unsupported

BLOCK_BYTES = 256 << 10
_SNIFF_BYTES = 6
#: Bytes behind the position that stay at hand: an EOF opcode and a CRC, and some.
_KEPT_BYTES = 16
_EOF_AND_CRC_BYTES = 9

_CRC64 = anycrc.Model("CRC64-REDIS")

#: Leading bytes -> compression. Only gzip is read here.
_UNREAD_COMPRESSIONS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
_GZIP = b"\x1f\x8b"

Pull = Callable[[int], bytes]
"""Reads at most so many bytes; ``b""`` is the end."""


class Blocks(Protocol):
    """The RDB's bytes, block by block."""

    compression: str | None
    trailing: bool
    """Something follows the compressed data that is no part of it."""

    def next(self) -> bytes:
        """The next block, never empty before the end; raises ContainerFault."""
        ...


class _Plain:
    def __init__(self, begun: bytes, pull: Pull, block_bytes: int) -> None:
        self.compression: str | None = None
        self.trailing = False
        self._begun, self._pull, self._block_bytes = begun, pull, block_bytes

    def next(self) -> bytes:
        if self._begun:
            begun, self._begun = self._begun, b""
            return begun
        return self._pull(self._block_bytes)


class _Gzip:
    """RFC 1952, members one after another as ``cat a.gz b.gz`` makes them; output is bounded."""

    def __init__(self, begun: bytes, pull: Pull, block_bytes: int) -> None:
        self.compression: str | None = "gzip"
        self.trailing = False
        self._input, self._pull, self._block_bytes = begun, pull, block_bytes
        self._member = zlib.decompressobj(wbits=31)
        self._over = False

    def next(self) -> bytes:
        while not self._over:
            if self._member.eof and not self._next_member():
                break
            if not self._input:
                self._input = self._pull(self._block_bytes)
            try:
                out = self._member.decompress(self._input, self._block_bytes)
            except zlib.error as error:
                raise _gzip_fault(error) from None
            ended = not self._input and not out and not self._member.eof
            self._input = self._member.unconsumed_tail or self._member.unused_data
            if out:
                return out
            if ended:
                raise ContainerFault(Status.TRUNCATED, "the gzip data ends before its trailer")
        return b""

    def _next_member(self) -> bool:
        while len(self._input) < len(_GZIP):
            more = self._pull(self._block_bytes)
            if not more:
                break
            self._input += more
        self._over = not self._input.startswith(_GZIP)
        self.trailing = self._over and bool(self._input)
        self._member = zlib.decompressobj(wbits=31)
        return not self._over


def _gzip_fault(error: zlib.error) -> ContainerFault:
    text = str(error)
    if "incorrect data check" in text or "incorrect length check" in text:
        return ContainerFault(Status.CHECKSUM_MISMATCH, "the gzip checksum or length is wrong")
    return ContainerFault(Status.CORRUPT, "the gzip data is broken")


def open_blocks(pull: Pull, block_bytes: int = BLOCK_BYTES) -> Blocks:
    """Looks at the first bytes and reads through what they announce; raises Unsupported."""
    begun = b""
    while len(begun) < _SNIFF_BYTES:
        more = pull(block_bytes)
        if not more:
            break
        begun += more
    if begun.startswith(_GZIP):
        return _Gzip(begun, pull, block_bytes)
    for leading, name in _UNREAD_COMPRESSIONS.items():
        if begun.startswith(leading):
            raise Unsupported(f"{name}-compressed: not read by this engine")
    return _Plain(begun, pull, block_bytes)


class Reader:
    """A position in the RDB, and the CRC of what lies before it.

    ``buf``, ``pos`` and ``end`` are open to the parser, whose short reads would otherwise pay for
    a call each; ``base`` is the offset of ``buf[0]``.
    """

    __slots__ = ("_blocks", "_crc", "base", "buf", "end", "pos")

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._crc = 0
        self.base = 0
        self.buf = b""
        self.pos = 0
        self.end = 0

    def tell(self) -> int:
        return self.base + self.pos

    def byte(self) -> int:
        if self.pos == self.end:
            self._more()
        self.pos += 1
        return self.buf[self.pos - 1]

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes; raises EndedError."""
        pos = self.pos
        stop = pos + size
        if stop <= self.end:
            self.pos = stop
            return self.buf[pos:stop]
        parts = []
        while size > 0:
            if self.pos == self.end:
                self._more()
            part = self.buf[self.pos : self.pos + size]
            parts.append(part)
            self.pos += len(part)
            size -= len(part)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size > 0:
            if self.pos == self.end:
                self._more()
            step = min(size, self.end - self.pos)
            self.pos += step
            size -= step

    def at_end(self) -> bool:
        if self.pos < self.end:
            return False
        try:
            self._more()
        except EndedError:
            return True
        return False

    def crc(self) -> int:
        """CRC-64 of everything before the position."""
        return int(_CRC64.calc(memoryview(self.buf)[: self.pos], self._crc))

    def drain(self) -> tuple[int, bytes]:
        """Reads all that is left: the CRC of all but the last 8 bytes, and the last 9 bytes.

        After an error in the middle this tells a damaged file from one that was written so.
        """
        crc, held = self._crc, self.buf
        while True:
            if len(held) > _EOF_AND_CRC_BYTES:
                crc = int(_CRC64.calc(memoryview(held)[:-_EOF_AND_CRC_BYTES], crc))
                held = held[-_EOF_AND_CRC_BYTES:]
            block = self._blocks.next()
            if not block:
                break
            held += block
        last = held[-_EOF_AND_CRC_BYTES:]
        return int(_CRC64.calc(last[:-8], crc)), last

    def _more(self) -> None:
        """Called where all of ``buf`` is read: drops it, but for a few bytes, and appends."""
        block = self._blocks.next()
        if not block:
            raise EndedError
        kept = max(0, self.end - _KEPT_BYTES)
        self._crc = int(_CRC64.calc(memoryview(self.buf)[:kept], self._crc))
        self.base += kept
        self.pos -= kept
        self.buf = self.buf[kept:] + block
        self.end = len(self.buf)
