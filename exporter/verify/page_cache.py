"""The page cache, left as it was found: what a reading brought in goes out behind it.

Knows: which parts of a file were cached before, and how to let go of the others. Refuses to know:
who reads. A backup of 100 GB that passes through the cache would push out what the server and its
neighbours live on; but what they had cached of it themselves stays.

Where the kernel does not tell, or tells what can't be (files that are neither ours nor writable;
file systems that answer for another cache than they read from), the cache is left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator

#: Steps in which a file is looked at, from coarse to fine: only what is cached in part is split.
#: The last is fine enough for the ends of a file, which are read to know it.
_STEPS_BYTES = (1 << 30, 16 << 20, 1 << 20, 64 << 10)
#: What is let go of at once.
WINDOW_BYTES = 1 << 20
#: So far back it is said again: the kernel keeps pages in folios of up to some MiB, and one that
#: reaches beyond what is to be let go of stays as a whole.
_AGAIN_BYTES = 16 << 20
_CACHESTAT = 451

Range = tuple[int, int]
"""From, and up to but not including, in bytes."""
Residency = Callable[[int, int, int], int]
"""How many pages of a descriptor's bytes (offset, length) are cached; raises OSError."""

_libc = ctypes.CDLL(None, use_errno=True)


class _CacheRange(ctypes.Structure):
    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


def cachestat(fd: int, offset: int, length: int) -> int:
    """Cached pages, as Linux tells from 6.5 on; EPERM for files that are not ours to ask about."""
    where, found = _CacheRange(offset, length), _CacheStat()
    number, flags = ctypes.c_long(_CACHESTAT), ctypes.c_long(0)
    if _libc.syscall(number, ctypes.c_long(fd), ctypes.byref(where), ctypes.byref(found), flags):
        raise OSError(ctypes.get_errno(), "cachestat")
    return int(found.cache)


def mincore(fd: int, offset: int, length: int) -> int:
    """Cached pages, asked of a mapping of which no byte is touched: no fault, no SIGBUS.

    For files that are neither ours nor writable, kernels say that all is cached.
    """
    # Writable only so that ctypes tells its address; private, so the file's own mode is no matter.
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
    lead = offset % mmap.ALLOCATIONGRANULARITY
    mapping = mmap.mmap(
        fd, length + lead, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE, offset=offset - lead
    )
    try:
        pages = -(-(length + lead) // mmap.PAGESIZE)
        cached = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(mapping)
        try:
            address = ctypes.c_void_p(ctypes.addressof(start))
            if _libc.mincore(address, ctypes.c_size_t(length + lead), cached):
                raise OSError(ctypes.get_errno(), "mincore")
        finally:
            del start
        skipped = lead // mmap.PAGESIZE
        return pages - skipped - bytes(cached)[skipped:].count(0)
    finally:
        mapping.close()


def _ways() -> tuple[Residency, ...]:
    return (cachestat, mincore) if sys.platform == "linux" else ()


def uncached(fd: int, size_bytes: int, ask: Residency) -> list[Range]:
    """The parts of the file that are not cached, in order, neighbours joined. Raises OSError."""
    found: list[Range] = []

    def look(start: int, end: int, steps: tuple[int, ...]) -> None:
        for offset in range(start, end, steps[0]):
            stop = min(offset + steps[0], end)
            pages = ask(fd, offset, stop - offset)
            if pages == 0:
                joined = found.pop()[0] if found and found[-1][1] == offset else offset
                found.append((joined, stop))
            elif pages < -(-(stop - offset) // mmap.PAGESIZE) and len(steps) > 1:
                look(offset, stop, steps[1:])

    look(0, size_bytes, _STEPS_BYTES)
    return found


class _Behind:
    """Lets go of what was not cached, up to where the reading is."""

    def __init__(self, fd: int, absent: list[Range], ask: Residency) -> None:
        self._fd, self._absent, self._ask = fd, absent, ask
        self._next = 0
        self._done = 0
        """All of the file below this is let go of."""
        self._believed = False

    def drop(self, position: int) -> None:
        """Lets go of the whole windows below ``position``."""
        position -= position % WINDOW_BYTES
        while self._next < len(self._absent):
            start, end = self._absent[self._next]
            stop = min(end, position)
            if stop <= max(start, self._done) or not self._truthful(start, stop):
                return
            self._forget(max(start, self._done - _AGAIN_BYTES), stop)
            self._done = stop
            if stop < end:
                return
            self._next += 1

    def drop_all(self) -> None:
        """What was read since, and once more all before: pages in use are not let go of."""
        if self._absent and self._truthful(*self._absent[0]):
            for start, end in self._absent:
                self._forget(start, end)

    def _truthful(self, start: int, end: int) -> bool:
        """Whether what was just read shows as cached. Stacked file systems (overlayfs) answer from
        a cache that is always empty, and would drop from the one below that others share.
        """
        if not self._believed:
            try:
                self._believed = self._ask(self._fd, start, end - start) > 0
            except (OSError, ValueError):
                self._believed = False
            if not self._believed:
                self._absent = []
        return self._believed

    def _forget(self, start: int, end: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._fd, start, end - start, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def left_as_found(fd: int, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Call what this gives with the bytes read so far; the rest is let go of at the end."""
    behind = _look(fd, size_bytes)
    if behind is None:
        yield lambda _: None
        return
    try:
        yield behind.drop
    finally:
        behind.drop_all()


def _look(fd: int, size_bytes: int) -> _Behind | None:
    for ask in _ways():
        try:
            absent = uncached(fd, size_bytes, ask)
        except (OSError, ValueError):
            continue
        return _Behind(fd, absent, ask) if absent else None
    return None
