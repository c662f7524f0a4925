"""The first and last bytes of a file: its identity in the ledger, and what header and trailer say.

Knows: how to read them without harm: never through a link or from a FIFO, never a file other than
the one that was listed, no more pages than asked into the cache.
Refuses to know: what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

HEAD_BYTES = 512
TAIL_BYTES = 8

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    head: bytes
    tail: bytes


class Missed(Enum):
    """Why there are no ends, where that is no failure."""

    GONE = "gone"
    CHANGED = "changed"


def read_ends(
    path: str, same: Callable[[os.stat_result], bool], *, dir_fd: int | None = None
) -> Ends | Missed | OSError:
    """The ends of the regular file at ``path``, as long as ``same`` holds before and after."""
    try:
        descriptor = os.open(path, _FLAGS, dir_fd=dir_fd)
    except OSError as error:
        return _ABSENCES.get(error.errno or 0, error)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or not same(before):
            return Missed.CHANGED
        size = before.st_size
        # Without it the kernel reads ahead, a hundred KiB for a few bytes.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        head = os.pread(descriptor, HEAD_BYTES, 0)
        tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
        whole = len(head) == min(size, HEAD_BYTES) and len(tail) == min(size, TAIL_BYTES)
        if not whole or not same(os.fstat(descriptor)):
            return Missed.CHANGED
        return Ends(head=head, tail=tail)
    except OSError as error:
        return error
    finally:
        os.close(descriptor)


_ABSENCES: dict[int, Missed] = {
    errno.ENOENT: Missed.GONE,
    errno.ELOOP: Missed.CHANGED,  # a link by now
    errno.ENXIO: Missed.CHANGED,  # a FIFO or socket by now
    errno.ENOTDIR: Missed.CHANGED,
}
