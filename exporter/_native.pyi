# ruff: noqa: PYI021 - the extension has no source in Python, so its description stands here
"""The native engine, built from ``exporter/native``; absent where it could not be built."""

from collections.abc import Callable
from typing import Any, Protocol

VERSION: str
"""Version of the crate."""

class Readable(Protocol):
    """Anything that fills a buffer: a pipe, a file object, bytes in memory."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None: ...

def read(
    source: int | Readable,
    *,
    depth: str,
    tick: Callable[[int], bool],
    timeout_seconds: float,
    memory_bytes: int,
    duplicates_bytes: int,
    part: int,
    bytes_per_second: int,
    block_bytes: int,
    suspect: int | None = None,
) -> dict[str, Any] | None:
    """Reads one RDB and reports on it, as ``RdbReport.from_dict`` takes it; None: cancelled.

    The GIL is released while it works. What ``tick`` or ``readinto`` raises, and the OSError of a
    failed read, pass through unchanged.

    :param source: descriptor of a regular file, read from its position, or a `Readable`.
    :param depth: ``checksum``, ``structure`` or ``full``.
    :param tick: called with the stored bytes read so far, at least every 100 ms and every 32 MiB;
        True cancels.
    :param timeout_seconds: status ``timeout`` beyond it; 0 is no limit.
    :param memory_bytes: the largest single value that is held; status ``unreadable`` beyond it.
    :param duplicates_bytes: what the search for duplicate keys and members may hold.
    :param part: which share of the key space is searched where that is too little; count it up.
    :param bytes_per_second: how fast stored bytes are read; 0 is no limit.
    :param block_bytes: size of one read.
    :param suspect: what an earlier reading in this process gave under ``suspect``: a key that came
        twice among very many, known by its hash alone. Tells where, and whether it is the same.
    """
