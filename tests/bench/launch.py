"""One process, and what it cost: CPU, wall clock, peak memory.

Knows: wait4() and its trap. Refuses to know: what the process does.

Linux counts into a process's peak memory what its parent held when it forked: measured from a
Python that has imported much, ``true`` takes 40 MiB. So a small launcher stands between, and
``floor_bytes`` tells what it adds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

PATIENCE_SECONDS = 1800.0

_LAUNCHER = """
import os, sys, time
began = time.monotonic()
child = os.fork()
if child == 0:
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(error.strerror + ": " + sys.argv[2], file=sys.stderr)
    os._exit(127)
_, status, used = os.wait4(child, 0)
wall = time.monotonic() - began
code = os.waitstatus_to_exitcode(status)
numbers = '{"wall_seconds": %r, "cpu_seconds": %r, "peak_bytes": %d, "exit_code": %d}' % (
    wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, code)
os.write(int(sys.argv[1]), numbers.encode())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process and its children took."""

    wall_seconds: float
    cpu_seconds: float
    """User and system."""
    peak_bytes: int
    """Largest resident set of the process, or of its largest child."""
    exit_code: int
    output: str


class Failed(Exception):  # noqa: N818 - what a measured process did
    """A measured process did not do its work; there is no number to show."""


def measured(command: Sequence[str], *, stdin: IO[bytes] | None = None) -> Cost:
    """Run to its end. Raises Failed with what it said, where its exit code is not 0."""
    with tempfile.TemporaryFile() as numbers, tempfile.TemporaryFile() as errors:
        descriptor = numbers.fileno()
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(descriptor), *command],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        try:
            output, _ = launcher.communicate(timeout=PATIENCE_SECONDS)
        finally:
            # The launcher's group: whatever ends us early leaves nothing running.
            if launcher.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(launcher.pid, signal.SIGKILL)
                launcher.wait()
        numbers.seek(0)
        errors.seek(0)
        text = numbers.read()
        said = (output + errors.read()).decode("utf-8", "replace")
    if not text:  # the launcher itself was killed
        raise Failed(f"{' '.join(command)}: {said[-2000:]}")
    cost = Cost(**json.loads(text), output=output.decode("utf-8", "replace"))
    if cost.exit_code != 0:
        raise Failed(f"{' '.join(command)}: exit code {cost.exit_code}: {said[-2000:]}")
    return cost


def floor_bytes() -> int:
    """The least peak that can be measured here: smaller processes show this."""
    return measured(["true"]).peak_bytes
