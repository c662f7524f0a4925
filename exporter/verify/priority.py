"""Low priority of the thread that reads, for the processor and for the disk.

Knows: Linux gives both to threads, and children inherit them. Refuses to know: who is to be spared.
It only ever lowers, which needs no right; where the kernel or the processor is not known, nothing
happens. There is no way back: a thread can't raise what it lowered.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import threading

NICENESS = 10
#: Best effort, the last of its eight levels. Not idle: on a busy disk that may never get a turn,
#: and a proof that never comes is no proof.
BEST_EFFORT, LAST_LEVEL = 2, 7

_IDLE = 3
_CLASS_SHIFT = 13
_WHO_PROCESS = 1
#: ioprio_set and ioprio_get by machine and pointer size; the two below are those of all newer ones.
_GENERIC = (30, 31)
_SYSCALLS = {
    ("x86_64", 64): (251, 252),
    ("aarch64", 64): _GENERIC,
    ("riscv64", 64): _GENERIC,
    ("loongarch64", 64): _GENERIC,
    ("ppc64le", 64): (273, 274),
    ("s390x", 64): (282, 283),
    ("armv7l", 32): (314, 315),
    ("i686", 32): (289, 290),
}


def lower() -> None:
    """Lowers the calling thread; threads and processes that it starts later come lower too."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, NICENESS))
    numbers = _numbers()
    before = io_priority(thread)
    if numbers is not None and before is not None and before[0] != _IDLE:
        wanted = BEST_EFFORT << _CLASS_SHIFT | LAST_LEVEL
        _call(numbers[0], _WHO_PROCESS, thread, wanted)


def io_priority(thread: int) -> tuple[int, int] | None:
    """I/O class and level of a thread; None where that is not known."""
    numbers = _numbers()
    found = -1 if numbers is None else _call(numbers[1], _WHO_PROCESS, thread)
    return None if found < 0 else (found >> _CLASS_SHIFT, found & (1 << _CLASS_SHIFT) - 1)


def _numbers() -> tuple[int, int] | None:
    return _SYSCALLS.get((platform.machine(), 64 if sys.maxsize > 1 << 32 else 32))


def _call(number: int, *arguments: int) -> int:
    """What the system call answers, -1 where it fails; a sandbox may refuse it."""
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(*(ctypes.c_long(value) for value in (number, *arguments))))
