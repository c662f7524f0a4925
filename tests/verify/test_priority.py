"""The reading thread and the reading child stand behind everybody else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from exporter.model import Status, VerifyPolicy
from exporter.verify import priority
from exporter.verify.engines import Limits, engine
from exporter.verify.priority import BEST_EFFORT, LAST_LEVEL, NICENESS, io_priority
from exporter.verify.verifier import Verifier
from tests.verify.test_queue import Gate, Store

DEADLINE_SECONDS = 30


def priorities(thread: int) -> tuple[int, tuple[int, int] | None]:
    return os.getpriority(os.PRIO_PROCESS, thread), io_priority(thread)


def test_the_thread_that_reads_is_lowered_and_no_other() -> None:
    ours = threading.get_native_id()
    before = priorities(ours)
    assert before[1] is not None, "the system calls of this machine are not in the table"
    verifier = Verifier(Gate(), Store(), VerifyPolicy(), lambda _done: None)
    verifier.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        thread = verifier._thread.native_id
        assert thread is not None
        wanted = (max(before[0], NICENESS), (BEST_EFFORT, LAST_LEVEL))
        while priorities(thread) != wanted and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert priorities(thread) == wanted
        assert priorities(ours) == before
    finally:
        verifier.stop()


def test_the_child_is_lowered_once_also_where_its_parent_was() -> None:
    """Niceness adds up if it is counted from the parent's."""
    out, into = os.pipe()
    stop = threading.Event()
    failed: list[BaseException] = []

    def read() -> None:
        try:
            priority.lower()
            report = engine("rdbtools").read(
                out,
                limits=Limits(timeout_seconds=60, memory_bytes=1 << 30),
                progress=lambda _: None,
                cancelled=lambda: False,
            )
            assert report.status is Status.EMPTY
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)
        finally:
            stop.set()

    before = _children()
    thread = threading.Thread(target=read)
    thread.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (started := _children() - before) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        (child,) = started
        wanted = (max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS), (BEST_EFFORT, LAST_LEVEL))
        while priorities(child) != wanted and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert priorities(child) == wanted
    finally:
        os.close(into)
        thread.join(DEADLINE_SECONDS)
        os.close(out)
    assert stop.is_set()
    assert not failed


def _children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def test_lowering_twice_is_lowering_once() -> None:
    found: list[tuple[int, tuple[int, int] | None]] = []

    def twice() -> None:
        priority.lower()
        found.append(priorities(threading.get_native_id()))
        priority.lower()
        found.append(priorities(threading.get_native_id()))

    thread = threading.Thread(target=twice)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    assert found[0] == found[1]
