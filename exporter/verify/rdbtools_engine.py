"""The rdbtools engine: a child process for each file, so that no file can hurt the sidecar.

Knows: starting, watching, ending and reaping that child, and what its end means. Refuses to know:
RDB. Whatever the child does, there is a report, or Cancelled.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from exporter.model import DuplicatesSearched, RdbReport, Status
from exporter.verify.engines import Cancelled, Depth, Limits
from exporter.verify.rdbtools_child import OUT_OF_MEMORY, PROGRESS, REPORT

_NAME = "rdbtools"
_POLL_SECONDS = 0.05
_PROGRESS_SECONDS = 0.2
#: A report with a million databases is about that long.
_ANSWER_MAX_BYTES = 64 << 20
_CHUNK_BYTES = 64 << 10
#: Where a CPython that is not on the standard paths finds its shared library; nothing else is kept.
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Answer:
    """What the child has said so far."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.last: Mapping[str, Any] = {}
        self.garbled = False
        self._begun = bytearray()

    def take(self, chunk: bytes) -> None:
        self._begun += chunk
        self.garbled = self.garbled or len(self._begun) > _ANSWER_MAX_BYTES
        if b"\n" not in chunk or self.garbled:
            return
        *lines, rest = bytes(self._begun).split(b"\n")
        self._begun = bytearray(rest)
        for line in lines:
            try:
                words = json.loads(line)
                self.read_bytes = int(words.get(PROGRESS, self.read_bytes))
            except (ValueError, TypeError, AttributeError, RecursionError):
                self.garbled = True
                return
            self.last = words


class RdbtoolsEngine:
    """Reads with the rdbtools library; see `exporter.verify.engines.Engine`.

    It has one depth, structure, and reads no less where less is asked for.
    """

    name = _NAME

    def read(
        self,
        fd: int,
        *,
        limits: Limits,
        depth: Depth = "full",  # noqa: ARG002 - there is one
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> RdbReport:
        started = time.monotonic()
        if cancelled():
            raise Cancelled
        try:
            child = _start(fd, limits)
        except OSError as error:
            return _unverified(f"the reader could not be started: {error.strerror}")
        try:
            answer = _Answer()
            timed_out = _listen(
                child, answer, deadline=started + limits.timeout_seconds,
                progress=progress, cancelled=cancelled,
            )  # fmt: skip
        finally:
            child.kill()  # does nothing where it has ended and was reaped
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        report = _report(answer, child.returncode, limits, timed_out=timed_out)
        progress(report.bytes)
        whole = report.status is Status.VALID
        return replace(
            report,
            seconds=time.monotonic() - started,
            engine=_NAME,
            duplicates_searched=DuplicatesSearched(part=1, of=1) if whole else None,
        )


def _start(fd: int, limits: Limits) -> subprocess.Popen[bytes]:
    # The file is the child's standard input. Its limits are set by the child itself: a
    # preexec_fn is not safe in a process with threads. Its own session keeps Ctrl-C away.
    arguments = (
        limits.memory_bytes, math.ceil(limits.timeout_seconds) + 1, os.getpid(),
        limits.bytes_per_second,
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "exporter.verify.rdbtools_child", *map(str, arguments)],
        stdin=fd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
        cwd="/",
        close_fds=True,
        start_new_session=True,
    )


def _listen(
    child: subprocess.Popen[bytes],
    answer: _Answer,
    *,
    deadline: float,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> bool:
    """Until the child has said all, or must end. True where its time is over."""
    if child.stdout is None:
        raise AssertionError("the child was started with a pipe")
    pipe = child.stdout.fileno()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    told = time.monotonic()
    while True:
        ready = poll.poll(_POLL_SECONDS * 1000)
        if ready:
            chunk = os.read(pipe, _CHUNK_BYTES)
            if not chunk:
                _await_end(child, deadline)
                return False
            answer.take(chunk)
            if answer.garbled:
                return False
        if cancelled():
            raise Cancelled
        now = time.monotonic()
        if now >= deadline:
            return True
        if now - told >= _PROGRESS_SECONDS:
            told = now
            progress(answer.read_bytes)


def _await_end(child: subprocess.Popen[bytes], deadline: float) -> None:
    """The pipe is closed; the process is about to be gone, and its status tells why."""
    try:
        child.wait(timeout=max(1.0, min(10.0, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        return


def _report(answer: _Answer, returncode: int, limits: Limits, *, timed_out: bool) -> RdbReport:
    seconds, mebibytes = limits.timeout_seconds, limits.memory_bytes >> 20
    read = answer.read_bytes
    if answer.garbled:
        return _unverified("the reader's answer made no sense", read)
    if REPORT in answer.last:
        try:
            return RdbReport.from_dict(answer.last[REPORT])
        except (KeyError, TypeError, ValueError, AttributeError):
            return _unverified("the reader's answer made no sense", read)
    if timed_out or returncode == -signal.SIGXCPU:
        reason = f"not read within the limit of {seconds:g} s"
        return RdbReport(status=Status.TIMEOUT, reason=reason, bytes=read)
    if OUT_OF_MEMORY in answer.last:
        return _unverified(f"needs more memory than the limit of {mebibytes} MiB", read)
    if returncode == -signal.SIGKILL:
        return _unverified("the reader was killed by the system, which may be out of memory", read)
    if returncode < 0:
        return _unverified(f"the reader died of signal {-returncode}", read)
    if returncode > 0 and read == 0 and not answer.last:
        # An interpreter that has no room to start says no more than this.
        return _unverified(
            f"the reader could not work (exit code {returncode}); its memory limit is"
            f" {mebibytes} MiB",
        )
    return _unverified(f"the reader ended without a report (exit code {returncode})", read)


def _unverified(reason: str, read_bytes: int = 0) -> RdbReport:
    return RdbReport(status=Status.UNREADABLE, reason=reason, bytes=read_bytes, engine=_NAME)
