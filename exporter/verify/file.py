"""One file on disk, proven: opened once, read whole, and the same before and after.

Knows: what opening and a change under the reader mean; that the page cache is left as it was found.
Refuses to know: what is in the file (the engine does), and when it is due.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from exporter.model import Backup, RdbReport, Status
from exporter.verify.engines import Depth, Engine, Limits
from exporter.verify.page_cache import left_as_found

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_YIELD_SECONDS = 1.0
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The same inode changed while it was read: what was read is nobody's; look again."""

    detail: str


def prove(
    path: str,
    engine: Engine,
    *,
    limits: Limits,
    depth: Depth = "full",
    progress: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    must_yield: Callable[[os.stat_result], bool] | None = None,
    seen: Backup | None = None,
) -> RdbReport | Changed:
    """Reads the file at ``path``. Raises Cancelled, also where ``must_yield`` says so; nothing else
    for what the file is.

    ``progress`` gets the stored bytes read so far, which may be said more than once.

    ``seen`` is the file that is meant: one that took its name since then is not read in its place.

    ``must_yield`` gets the open file's stat about once a second: our descriptor keeps the blocks of
    a dump that was replaced, which may be the ones that a full disk needs.
    """
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return _report(engine, Status.MISSING, "there is no such file")
    except ValueError:
        return _report(engine, Status.MISSING, "no file can have this name")
    except OSError as error:
        return _report(engine, Status.UNREADABLE, f"can't be opened: {_text(error)}")
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            kind = next((name for test, name in _KINDS if test(before.st_mode)), "something else")
            return _report(engine, Status.UNREADABLE, f"not a regular file but {kind}")
        if seen is not None and not _is(seen, before):
            return Changed(detail="another file has its name by now")
        with left_as_found(fd, before.st_size) as drop_behind:

            def passed(read_bytes: int) -> None:
                drop_behind(read_bytes)
                progress(read_bytes)

            report = engine.read(
                fd,
                limits=limits,
                depth=depth,
                progress=passed,
                cancelled=_watch(fd, cancelled, must_yield),
            )
        changed = _change(before, os.fstat(fd))
    except OSError as error:
        return _report(engine, Status.UNREADABLE, f"reading failed: {_text(error)}")
    finally:
        os.close(fd)
    return changed or report


def _watch(
    fd: int,
    cancelled: Callable[[], bool],
    must_yield: Callable[[os.stat_result], bool] | None,
) -> Callable[[], bool]:
    if must_yield is None:
        return cancelled
    due = time.monotonic() + _YIELD_SECONDS

    def either() -> bool:
        nonlocal due
        if cancelled():
            return True
        now = time.monotonic()
        if now < due:
            return False
        due = now + _YIELD_SECONDS
        return must_yield(os.fstat(fd))

    return either


def _change(before: os.stat_result, after: os.stat_result) -> Changed | None:
    """Content only: a rename or unlink moves ctime, and leaves what we read as it was."""
    if before.st_size != after.st_size:
        return Changed(
            detail=f"its size went from {before.st_size} to {after.st_size} bytes while it was read"
        )
    if before.st_mtime_ns != after.st_mtime_ns:
        return Changed(detail="it was written to while it was read")
    return None


def _is(seen: Backup, found: os.stat_result) -> bool:
    same = (seen.size_bytes, seen.mtime_ns) == (found.st_size, found.st_mtime_ns)
    return same and (seen.inode == found.st_ino or not seen.inode_stable)


def _report(engine: Engine, status: Status, reason: str) -> RdbReport:
    return RdbReport(status=status, reason=reason, engine=engine.name)


def _text(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return f"{error.strerror} ({name})" if error.strerror else name
