"""Writes an RDB of very many tiny keys to standard output: ``python -m tests.bench.many_keys N``.

Knows: enough of the format for ``k:00000001`` = 7, and its checksum. No server is asked, as one
that holds 100 million keys takes 8 GB. Refuses to know: who reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from anycrc import Model

_CRC64 = Model("CRC64-REDIS")
_DIGITS = 9
_BLOCK_DIGITS = 4
_KEY = b"k:" + b"0" * _DIGITS
#: Type string, the key's length and name, an 8-bit integer as value.
_RECORD = b"\x00" + bytes([len(_KEY)]) + _KEY + b"\xc0\x07"
_AT = 4
"""Offset of the first digit in a record."""


def _long(number: int) -> bytes:
    return b"\x81" + number.to_bytes(8, "big")


def blocks(keys: int) -> Iterator[bytes]:
    """The file, piece by piece."""
    head = b"REDIS0010\xfe\x00\xfb" + _long(keys) + b"\x00"
    crc = _CRC64.calc(head)
    yield head
    for block in _records(keys):
        crc = _CRC64.calc(block, crc)
        yield block
    yield b"\xff" + _CRC64.calc(b"\xff", crc).to_bytes(8, "little")


def _records(keys: int) -> Iterator[bytes]:
    size, each = 10**_BLOCK_DIGITS, len(_RECORD)
    block = bytearray(_RECORD * size)
    for place in range(_BLOCK_DIGITS):
        # The last digits are the same in every block.
        column = [48 + number // 10**place % 10 for number in range(size)]
        block[_AT + _DIGITS - 1 - place :: each] = bytes(column)
    for start in range(0, keys, size):
        high = b"%0*d" % (_DIGITS - _BLOCK_DIGITS, start // size)
        for place, digit in enumerate(high):
            block[_AT + place :: each] = bytes([digit]) * size
        yield bytes(block[: min(size, keys - start) * each])


def main(keys: int) -> None:
    for block in blocks(keys):
        sys.stdout.buffer.write(block)


if __name__ == "__main__":
    main(int(sys.argv[1]))
