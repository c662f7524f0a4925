"""The engine's child process: its limits, its end, and that a report comes whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.model import DuplicatesSearched, RdbReport, Status
from exporter.verify.engines import Cancelled, Depth, EngineUnavailable, Limits, engine
from tests.verify.truths import fixtures

PLENTY = Limits(timeout_seconds=60, memory_bytes=1 << 30)
VALID = next(fixture for fixture in fixtures("dense"))
DEADLINE_SECONDS = 30


def quiet(_: int) -> None:
    return None


def never() -> bool:
    return False


def read(
    fd: int,
    limits: Limits = PLENTY,
    progress: Callable[[int], None] = quiet,
    cancelled: Callable[[], bool] = never,
) -> RdbReport:
    return engine("rdbtools").read(fd, limits=limits, progress=progress, cancelled=cancelled)


def children(pid: str = "self") -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.01)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    out, into = os.pipe()
    try:
        yield out, into
    finally:
        os.close(out)
        os.close(into)


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A list of a thousand million empty strings: minutes of work, next to no disk."""
    path = tmp_path / "endless.rdb"
    with path.open("wb") as file:
        file.write(b"REDIS0002\xfe\x00\x01\x01k\x80" + (10**9).to_bytes(4, "big"))
        file.truncate(10**9)
    return path


@pytest.fixture
def one_huge_member(tmp_path: Path) -> Path:
    """A set whose one member has 300 MB."""
    path = tmp_path / "huge.rdb"
    with path.open("wb") as file:
        file.write(b"REDIS0002\xfe\x00\x02\x01k\x01\x80" + (300 << 20).to_bytes(4, "big"))
        file.truncate(file.tell() + (300 << 20))
        file.seek(0, os.SEEK_END)
        file.write(b"\xff")
    return path


def test_a_file_is_read_from_the_position_of_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "two.rdb"
    path.write_bytes(b"leading" + VALID.data)
    with opened(path) as fd:
        os.lseek(fd, len("leading"), os.SEEK_SET)
        report = read(fd)
    assert report.status is Status.VALID
    assert report.engine == "rdbtools"
    assert report.bytes == len(VALID.data)
    assert report.seconds > 0


def test_a_pipe_is_read_to_its_end() -> None:
    out, into = os.pipe()
    os.write(into, VALID.data)
    os.close(into)
    try:
        assert read(out).status is Status.VALID
    finally:
        os.close(out)


def test_time_that_runs_out_is_a_timeout(endless: Path) -> None:
    with opened(endless) as fd:
        report = read(fd, Limits(timeout_seconds=1.5, memory_bytes=1 << 30))
    assert report.status is Status.TIMEOUT
    assert "1.5 s" in str(report.reason)
    assert report.seconds < DEADLINE_SECONDS
    assert children() == []


def test_a_pipe_that_stays_silent_is_a_timeout() -> None:
    with pipe() as (out, _):
        report = read(out, Limits(timeout_seconds=0.5, memory_bytes=1 << 30))
    assert report.status is Status.TIMEOUT


def test_cpu_time_is_limited_where_the_parent_does_not_look(endless: Path) -> None:
    with opened(endless) as fd:
        arguments = (1 << 30, 1, os.getpid(), 0)
        done = subprocess.run(
            [sys.executable, "-I", "-m", "exporter.verify.rdbtools_child", *map(str, arguments)],
            stdin=fd,
            capture_output=True,
            timeout=DEADLINE_SECONDS * 3,
            check=False,
        )
    # The soft and the hard limit are the same, so either signal may be the one.
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
    assert b"report" not in done.stdout


def test_memory_is_limited_and_too_little_is_said(one_huge_member: Path) -> None:
    with opened(one_huge_member) as fd:
        report = read(fd, Limits(timeout_seconds=60, memory_bytes=200 << 20))
    assert report.status is Status.UNREADABLE
    assert report.reason == "needs more memory than the limit of 200 MiB"


@pytest.mark.parametrize("mebibytes", [0, 1, 16, 32])
def test_a_limit_too_small_to_work_in_gives_a_report(mebibytes: int) -> None:
    with opened(VALID.path) as fd:
        report = read(fd, Limits(timeout_seconds=60, memory_bytes=mebibytes << 20))
    assert report.status in (Status.UNREADABLE, Status.VALID)
    if report.status is Status.UNREADABLE:
        assert "memory" in str(report.reason)


def test_a_declared_length_costs_nothing(tmp_path: Path) -> None:
    """A value of 2^62 bytes in a file of 30 is cut, not out of memory."""
    path = tmp_path / "liar.rdb"
    path.write_bytes(b"REDIS0009\xfe\x00\x00\x01k\x81" + (1 << 62).to_bytes(8, "big") + b"abc")
    with opened(path) as fd:
        assert read(fd).status is Status.TRUNCATED


def test_cancelling_ends_the_child(endless: Path) -> None:
    begun = threading.Event()

    def progress(count: int) -> None:
        if count:
            begun.set()

    with opened(endless) as fd, pytest.raises(Cancelled):
        read(fd, progress=progress, cancelled=begun.is_set)
    assert children() == []


def test_a_reading_cancelled_before_it_starts_starts_nothing() -> None:
    with opened(VALID.path) as fd, pytest.raises(Cancelled):
        read(fd, cancelled=lambda: True)


def test_progress_is_told_while_nothing_comes() -> None:
    seen: list[int] = []
    with pipe() as (out, into):
        os.write(into, VALID.data[:100])
        read(out, Limits(timeout_seconds=3, memory_bytes=1 << 30), progress=seen.append)
    assert len(seen) >= 5


def test_progress_grows_with_what_was_read(endless: Path) -> None:
    seen: list[int] = []
    with opened(endless) as fd, pytest.raises(Cancelled):
        read(fd, progress=seen.append, cancelled=lambda: len(set(seen)) >= 4)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "killed by the system"), (signal.SIGSEGV, "died of signal 11")],
)
def test_a_child_that_is_killed_gives_a_report(number: int, words: str) -> None:
    reports: list[RdbReport] = []
    with pipe() as (out, _):
        thread = threading.Thread(target=lambda: reports.append(read(out)))
        thread.start()
        until(children, "no child")
        victim = children()[0]
        until(lambda: b"rdbtools_child" in Path(f"/proc/{victim}/cmdline").read_bytes(), "no exec")
        os.kill(victim, number)
        thread.join(DEADLINE_SECONDS)
    assert reports[0].status is Status.UNREADABLE
    assert words in str(reports[0].reason)
    assert children() == []


def test_the_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBE_REDIS_URL", "redis://:hunter2@host")
    with pipe() as (out, _):
        stop = threading.Event()
        with_report: list[object] = []

        def work() -> None:
            try:
                read(out, cancelled=stop.is_set)
            except Cancelled as over:
                with_report.append(over)

        thread = threading.Thread(target=work)
        thread.start()
        until(children, "no child")
        child = Path(f"/proc/{children()[0]}")
        until(lambda: b"rdbtools_child" in (child / "cmdline").read_bytes(), "no exec")
        assert b"hunter2" not in (child / "environ").read_bytes() + (child / "cmdline").read_bytes()
        stop.set()
        thread.join(DEADLINE_SECONDS)
    assert with_report


_PARENT = """
import os, sys, threading
from exporter.verify.engines import Limits, engine
out, into = os.pipe()
limits = Limits(timeout_seconds=600, memory_bytes=1 << 30)
engine("rdbtools").read(out, limits=limits, progress=lambda n: None, cancelled=lambda: False)
"""


def test_the_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT])
    try:
        until(lambda: children(str(parent.pid)), "no child")
        child = children(str(parent.pid))[0]

        def asleep() -> bool:
            """In read(), so behind its own set-up; /proc/PID/wchan is not to be had everywhere."""
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
            nice = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[16]
            return state == "S" and int(nice) >= 10

        until(asleep, "the child does not read")
    finally:
        parent.kill()
        parent.wait()

    def gone() -> bool:
        try:
            return "Z" in Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True

    until(gone, "the child outlived its parent")


def test_an_error_while_reading_is_unreadable_with_its_text() -> None:
    with opened(Path("/proc/self/mem")) as fd:
        report = read(fd)
    assert report.status is Status.UNREADABLE
    assert report.reason == "reading failed: Input/output error"


def test_engines_that_are_not_here_say_what_to_do() -> None:
    with pytest.raises(EngineUnavailable, match="use"):
        engine("perl")


@pytest.mark.parametrize("depth", ["checksum", "structure", "full"])
def test_whatever_depth_is_asked_for_it_is_structure(depth: Depth) -> None:
    with opened(VALID.path) as fd:
        report = engine("rdbtools").read(
            fd, limits=PLENTY, depth=depth, progress=quiet, cancelled=never
        )
    assert (report.status, report.depth, report.engine) == (Status.VALID, "structure", "rdbtools")
    assert report.duplicates_searched == DuplicatesSearched(part=1, of=1)
    assert report.keys > 0


def test_the_rate_is_kept(tmp_path: Path) -> None:
    """200 kB at 100 kB a second take two seconds, but for the first tenth."""
    path = tmp_path / "a.rdb"
    member = b"\x80" + (200_000).to_bytes(4, "big") + bytes(200_000)
    path.write_bytes(b"REDIS0002\xfe\x00\x00\x01k" + member + b"\xff")
    with opened(path) as fd:
        report = read(
            fd, Limits(timeout_seconds=60, memory_bytes=1 << 30, bytes_per_second=100_000)
        )
    assert report.status is Status.VALID
    assert report.seconds > 1.8
