"""The child process that reads one RDB from its standard input: ``python -m`` this.

Knows: how to shut itself in (memory, CPU, no files, dies with its parent) and how to answer:
one JSON object a line on standard output, progress first, the report last. Refuses to know: which
file it reads. It is given no name, no settings and no secret.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from exporter.model import RdbReport, Status
from exporter.verify import priority
from exporter.verify.reading import ENGINE, read_rdb
from exporter.verify.source import Pull

_PR_SET_PDEATHSIG = 1
_PROGRESS_SECONDS = 0.2
#: Freed when memory runs out, so that there is room to say so.
_BALLAST_BYTES = 1 << 20
#: So often a slowed reading reads a little.
_SLICES_PER_SECOND = 10

PROGRESS, REPORT, OUT_OF_MEMORY = "progress", "report", "out_of_memory"


def shut_in(*, memory_bytes: int, cpu_seconds: int, parent: int) -> None:
    """Limits for good; exits where the parent is gone already."""
    priority.lower()
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        hard = resource.getrlimit(limit)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (least, least))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def say(**words: Any) -> None:
    """One line; a parent that is gone ends us."""
    line = json.dumps(words, separators=(",", ":")).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def pull(size: int) -> bytes:
    """From standard input, which another process may have made non-blocking."""
    while True:
        try:
            return os.read(0, size)
        except BlockingIOError:
            select.select([0], [], [])


class Slowed:
    """A pull that keeps to so many bytes a second."""

    def __init__(self, pull: Pull, bytes_per_second: int) -> None:
        self._pull, self._rate = pull, bytes_per_second
        self._slice = max(1, bytes_per_second // _SLICES_PER_SECOND)
        self._due = time.monotonic()

    def __call__(self, size: int) -> bytes:
        now = time.monotonic()
        if now < self._due:
            time.sleep(self._due - now)
        block = self._pull(min(size, self._slice))
        # What was not used while the input had nothing to give is not made up for later.
        self._due = max(self._due, now) + len(block) / self._rate
        return block


def ticker() -> Callable[[int], None]:
    """A progress function that speaks only so often."""
    last = time.monotonic()

    def tick(count: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            say(**{PROGRESS: count})

    return tick


def main(arguments: list[str]) -> None:
    """``MEMORY_BYTES CPU_SECONDS PARENT_PID BYTES_PER_SECOND``."""
    memory_bytes, cpu_seconds, parent, rate = (int(argument) for argument in arguments)
    ballast = bytearray(_BALLAST_BYTES)
    shut_in(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds, parent=parent)
    try:
        report = read_rdb(Slowed(pull, rate) if rate else pull, progress=ticker())
        say(**{REPORT: report.to_dict()})
    except MemoryError:
        del ballast
        say(**{OUT_OF_MEMORY: True})
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        reason = f"reading failed: {error.strerror or error.errno}"
        unreadable = RdbReport(status=Status.UNREADABLE, reason=reason, engine=ENGINE)
        say(**{REPORT: unreadable.to_dict()})


if __name__ == "__main__":
    main(sys.argv[1:])
