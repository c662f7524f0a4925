"""A child process on a leash: it ends with us, however we end.

Knows: own session (Ctrl-C of a terminal reaches only us), the kernel's parent-death signal, ending
a whole process group within a bounded time. Refuses to know: what the child is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

# Put in front of the command. A ``preexec_fn`` would run Python between fork and exec of a process
# that has threads. prctl 1 is PR_SET_PDEATHSIG; it survives execv. Elsewhere than on Linux there is
# no such thing, and only an orderly end takes the children along.
_LEASH = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Leashed:
    """A running child. Start it in a thread that lives as long as it should: the main thread.

    ``log`` receives both of its outputs. :meth:`end` is safe to call at any time and repeatedly.
    """

    def __init__(self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None) -> None:
        self.log = log
        self._asked = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(grace_seconds=0)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """SIGTERM to it alone, once (a second one means "at once" to many programs); no waiting."""
        if self.exit_code is None and not self._asked:
            self._asked = True
            self._process.terminate()

    def end(self, *, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL for its whole group once ``grace_seconds`` are over."""
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        # Also after an orderly end: a grandchild may have outlived it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_words(self, lines: int = 20) -> str:
        """The end of its output."""
        try:
            text = self.log.read_text("utf-8", "backslashreplace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
