"""What the person at the terminal says: signals, and single keys.

Knows: how to wait for either with one ``select``, and to leave the terminal and the handlers as
they were. Refuses to know: what is meant by them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any, Self


class Stop:
    """Signals as an event that also wakes ``select``; the old handlers come back at the end."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reader, self._writer = socket.socketpair()
        self._parent = os.getppid()
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, lambda *_: self.set())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self.reader.close()
        self._writer.close()

    def set(self) -> None:
        self.event.set()
        with contextlib.suppress(OSError):
            self._writer.send(b"x")

    def orphaned(self) -> bool:
        """True where ``make`` started us and is gone."""
        return "MAKELEVEL" in os.environ and os.getppid() != self._parent


@contextlib.contextmanager
def single_keys() -> Iterator[list[int]]:
    """The terminal's descriptor with keys unbuffered, restored in the end; empty without one."""
    try:
        descriptor = sys.stdin.fileno()
        foreground = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (OSError, ValueError):
        foreground = False
    if not foreground:
        yield []
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield [descriptor]
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
