"""The native engine: the Rust extension, called from the thread that wants a report.

Knows: how a descriptor, limits and callbacks are handed to it, and what its answers mean. Refuses
to know: RDB. The extension reads regular files by itself; for anything else it is handed an object
that waits, because only a waiting that is ours can be cancelled.
"""

from __future__ import annotations

import importlib
import itertools
import os
import random
import select
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from exporter.model import ChecksumState, RdbReport, Status
from exporter.verify.engines import Cancelled, Depth, Limits

_NAME = "native"
_MODULE = "exporter._native"
_BLOCK_BYTES = 256 << 10
_POLL_SECONDS = 0.05
#: To the extension 0 would be no limit.
_LEAST_SECONDS = 0.001


def load() -> Any | str:
    """The extension module, or one line that says why there is none."""
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name == _MODULE:
            return "the native engine is not built"
        return f"the native engine can't be loaded ({_one_line(error)})"
    except ImportError as error:
        # Built for another libc or processor, or not to the end: absent is another thing.
        return f"the native engine is there and can't be loaded ({_one_line(error)})"
    if not hasattr(module, "read"):
        return "the native engine is there, but its build is not whole"
    return module


class _TimeOverError(Exception):
    """The input gave nothing within the limit; never leaves this file."""


class _NoChecksumError(Exception):
    """Depth checksum was asked for, of an input without one that can't be read again."""


class _Waiting:
    """A pipe, socket or terminal as an object with ``readinto``.

    It may be non-blocking, which it shares with whoever wrote the other end, so it is left as it
    is. A read that came too late for bytes that were there is tried again.
    """

    def __init__(self, fd: int, deadline: float, cancelled: Callable[[], bool]) -> None:
        self._fd = fd
        self._deadline = deadline
        self._cancelled = cancelled
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        while True:
            if self._cancelled():
                raise Cancelled
            if time.monotonic() >= self._deadline:
                raise _TimeOverError
            if self._poll.poll(_POLL_SECONDS * 1000):
                try:
                    return os.readv(self._fd, [buffer])
                except BlockingIOError:
                    continue


class _Ticks:
    """Progress and cancellation, called by the extension; keeps what they raised."""

    def __init__(self, progress: Callable[[int], None], cancelled: Callable[[], bool]) -> None:
        self._progress, self.cancelled = progress, cancelled
        self.stored_bytes = 0
        self.raised: BaseException | None = None

    def __call__(self, stored_bytes: int) -> bool:
        self.stored_bytes = stored_bytes
        try:
            self._progress(stored_bytes)
            return self.cancelled()
        except BaseException as error:
            self.raised = error
            raise


class NativeEngine:
    """Reads with the extension; see `exporter.verify.engines.Engine`. For any number of threads."""

    name = _NAME

    def __init__(self, module: Any, *, first_part: int | None = None) -> None:
        """``module`` as `load` gives it.

        ``first_part``: which share of the keys is searched for duplicates first, where not all can
        be. By chance by default: a process that lives for one file would search the same for ever.
        """
        self._module = module
        start = random.SystemRandom().randrange(1 << 31) if first_part is None else first_part
        self._parts = itertools.count(start)

    def read(
        self,
        fd: int,
        *,
        limits: Limits,
        depth: Depth = "full",
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> RdbReport:
        started = time.monotonic()
        if cancelled():
            raise Cancelled
        ticks = _Ticks(progress, cancelled)
        try:
            answer = self._passes(fd, limits, depth, ticks, started)
        except _NoChecksumError:
            reason = "it has no checksum, so depth checksum proves nothing: use structure or full"
            report = _unverified(reason, ticks, depth)
        except _TimeOverError:
            reason = f"not read within the limit of {limits.timeout_seconds:g} s"
            report = _unverified(reason, ticks, depth, Status.TIMEOUT)
        except OSError as error:
            if error is ticks.raised:
                raise
            # The system's own words: those of the extension's libraries differ from them.
            text = os.strerror(error.errno) if error.errno else str(error)
            report = _unverified(f"reading failed: {text}", ticks, depth)
        else:
            report = RdbReport.from_dict({"depth": depth, **answer})
            ticks.stored_bytes = report.bytes
        progress(ticks.stored_bytes)
        return replace(report, seconds=time.monotonic() - started, engine=_NAME)

    def _passes(
        self, fd: int, limits: Limits, depth: Depth, ticks: _Ticks, started: float
    ) -> dict[str, Any]:
        """One reading, and another one where that left a question that only a second answers."""
        deadline = started + limits.timeout_seconds
        source = _source(fd, deadline, ticks.cancelled)
        again = isinstance(source, int)
        begin = os.lseek(fd, 0, os.SEEK_CUR) if again else 0
        part = next(self._parts)

        def once(depth: Depth, suspect: int | None = None) -> dict[str, Any]:
            answer: dict[str, Any] | None = self._module.read(
                source,
                depth=depth,
                tick=ticks,
                timeout_seconds=max(_LEAST_SECONDS, deadline - time.monotonic()),
                memory_bytes=limits.memory_bytes,
                duplicates_bytes=limits.duplicates_bytes,
                part=part,
                bytes_per_second=limits.bytes_per_second,
                block_bytes=_BLOCK_BYTES,
                suspect=suspect,
            )
            if answer is None:
                raise Cancelled
            return answer

        answer = once(depth)
        suspect = answer.get("suspect")
        if suspect is not None and again:
            # Among very many keys one came twice by its hash. Where, and whether it is really the
            # same one, shows when it is known what to look for.
            os.lseek(fd, begin, os.SEEK_SET)
            return once(depth, suspect)
        if depth == "checksum" and answer.get("checksum") == ChecksumState.DISABLED:
            # Without a checksum that depth proves nothing; the next one does, a little.
            if not again:
                raise _NoChecksumError
            os.lseek(fd, begin, os.SEEK_SET)
            return once("structure")
        return answer


def _source(fd: int, deadline: float, cancelled: Callable[[], bool]) -> int | _Waiting:
    return fd if stat.S_ISREG(os.fstat(fd).st_mode) else _Waiting(fd, deadline, cancelled)


def _unverified(
    reason: str, ticks: _Ticks, depth: Depth, status: Status = Status.UNREADABLE
) -> RdbReport:
    return RdbReport(status=status, reason=reason, bytes=ticks.stored_bytes, depth=depth)


def _one_line(error: ImportError) -> str:
    return " ".join(str(error).split())[:300]
