"""The native engine as Python meets it: descriptors, pipes, limits, and a build that is not whole."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import exporter
from exporter.model import DuplicatesSearched, RdbReport, Status, VerifyPolicy
from exporter.verify.engines import (
    Cancelled,
    EngineUnavailable,
    Limits,
    engine,
    fallback,
    limits,
)
from exporter.verify.native_engine import NativeEngine, load
from tests.verify.truths import fixtures
from tests.without_native import Absent

PLENTY = Limits(timeout_seconds=60, memory_bytes=1 << 30)
VALID = next(fixture for fixture in fixtures("dense"))
DEADLINE_SECONDS = 30


def quiet(_: int) -> None:
    return None


def never() -> bool:
    return False


def read(
    fd: int,
    bounds: Limits = PLENTY,
    progress: Callable[[int], None] = quiet,
    cancelled: Callable[[], bool] = never,
    **options: Any,
) -> RdbReport:
    return engine("native").read(
        fd, limits=bounds, progress=progress, cancelled=cancelled, **options
    )


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def writer(into: int, data: bytes, *, end: bool = True) -> threading.Thread:
    """Writes in small pieces, as a slow sender does."""

    def write() -> None:
        for at in range(0, len(data), 1000):
            os.write(into, data[at : at + 1000])
        if end:
            os.close(into)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_auto_is_the_native_engine_and_needs_no_word_about_it() -> None:
    assert engine("auto").name == "native"
    assert fallback("auto", engine("auto")) is None
    assert fallback("rdbtools", engine("rdbtools")) is None


@pytest.mark.parametrize("depth", ["checksum", "structure", "full"])
def test_a_report_says_its_depth_and_what_was_not_counted(depth: Any) -> None:
    with opened(VALID.path) as fd:
        report = read(fd, depth=depth)
    assert (report.status, report.engine, report.depth) == (Status.VALID, "native", depth)
    assert report.counted is (depth != "checksum")
    assert (report.keys > 0) is report.counted
    assert report.bytes == len(VALID.data)
    assert RdbReport.from_dict(report.to_dict()) == report


def test_a_descriptor_is_read_from_its_position(tmp_path: Path) -> None:
    path = tmp_path / "behind.rdb"
    path.write_bytes(b"another file" + VALID.data)
    with opened(path) as fd:
        os.lseek(fd, len(b"another file"), os.SEEK_SET)
        assert read(fd).status is Status.VALID


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "fifo"])
def test_what_is_no_file_is_waited_for(tmp_path: Path, kind: str, blocking: bool) -> None:
    if kind == "pipe":
        out, into = os.pipe()
    elif kind == "socket":
        one, other = socket.socketpair()
        out, into = one.detach(), other.detach()
    else:
        os.mkfifo(tmp_path / "fifo")
        out = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        into = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.set_blocking(out, blocking)
    thread = writer(into, VALID.data)
    try:
        report = read(out)
        assert bool(fcntl.fcntl(out, fcntl.F_GETFL) & os.O_NONBLOCK) is not blocking
    finally:
        thread.join(DEADLINE_SECONDS)
        os.close(out)
    with opened(VALID.path) as fd:
        same = read(fd)
    assert (report.status, report.keys_by_db, report.crc64, report.bytes) == (
        Status.VALID, same.keys_by_db, same.crc64, same.bytes,
    )  # fmt: skip


def test_a_terminal_is_waited_for_too() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    try:
        with pytest.raises(Cancelled):
            read(theirs, cancelled=cancelled)
    finally:
        os.close(ours)
        os.close(theirs)


def test_cancelling_a_pipe_that_gives_nothing_takes_a_tenth_of_a_second() -> None:
    out, into = os.pipe()
    stop = threading.Event()
    ended: list[float] = []

    def reading() -> None:
        with pytest.raises(Cancelled):
            read(out, cancelled=stop.is_set)
        ended.append(time.monotonic())

    thread = threading.Thread(target=reading)
    try:
        os.write(into, VALID.data[:20])
        thread.start()
        while _unread(out):
            threading.Event().wait(0.01)
        began = time.monotonic()
        stop.set()
        thread.join(DEADLINE_SECONDS)
    finally:
        os.close(out)
        os.close(into)
    assert ended
    assert ended[0] - began < 1  # 50 ms where the machine has nothing else to do


def _unread(fd: int) -> bool:
    return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) != bytes(4)


def test_cancelling_a_long_file_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "large.rdb"
    size = 3 << 30
    with path.open("wb") as file:
        file.write(b"REDIS0002\xfe\x00\x00\x01k\x80" + size.to_bytes(4, "big"))
        file.truncate(size)
    seen: list[int] = []
    with opened(path) as fd, pytest.raises(Cancelled):
        read(fd, progress=seen.append, cancelled=lambda: bool(seen) and seen[-1] > 50_000_000)
    assert seen == sorted(seen)
    assert all(later - earlier <= 33 << 20 for earlier, later in pairwise(seen))


def test_a_sender_that_stops_runs_out_of_time() -> None:
    out, into = os.pipe()
    try:
        os.write(into, VALID.data[:20])
        began = time.monotonic()
        report = read(out, Limits(timeout_seconds=0.3, memory_bytes=1 << 30))
        assert time.monotonic() - began < 5
    finally:
        os.close(out)
        os.close(into)
    assert (report.status, report.reason) == (Status.TIMEOUT, "not read within the limit of 0.3 s")
    assert report.depth == "full"


def test_the_rate_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    size = 3_000_000
    path.write_bytes(
        b"REDIS0002\xfe\x00\x00\x01k\x80" + size.to_bytes(4, "big") + bytes(size) + b"\xff"
    )
    with opened(path) as fd:
        slow = read(
            fd, Limits(timeout_seconds=60, memory_bytes=1 << 30, bytes_per_second=1_000_000)
        )
    assert slow.status is Status.VALID
    assert slow.seconds > 2


def test_a_failed_read_is_unreadable_in_the_systems_words() -> None:
    with opened(Path("/proc/self/mem")) as fd:
        assert read(fd).reason == "reading failed: Input/output error"
    report = read(1_000_000)
    assert (report.status, report.reason) == (
        Status.UNREADABLE, "reading failed: Bad file descriptor",
    )  # fmt: skip


def test_what_the_callbacks_raise_is_no_failed_read() -> None:
    """A terminal that went away under the progress bar is no broken backup."""

    def broken(_: int) -> None:
        raise BrokenPipeError(32, "the terminal went away")

    with opened(VALID.path) as fd, pytest.raises(BrokenPipeError):
        read(fd, progress=broken)


def test_the_searched_part_counts_up_from_reading_to_reading() -> None:
    """Also where several threads read: each share gets its turn."""
    parts: list[int] = []
    lock = threading.Lock()

    def stand_in(_source: object, *, part: int, **_options: object) -> dict[str, Any]:
        with lock:
            parts.append(part)
        return {"status": "valid", "duplicates_searched": {"part": part % 8 + 1, "of": 8}}

    reader = NativeEngine(SimpleNamespace(read=stand_in), first_part=5)
    with opened(VALID.path) as fd:
        report = reader.read(fd, limits=PLENTY, progress=quiet, cancelled=never)
        assert report.duplicates_searched == DuplicatesSearched(part=6, of=8)

        def twenty() -> None:
            for _ in range(20):
                reader.read(fd, limits=PLENTY, progress=quiet, cancelled=never)

        threads = [threading.Thread(target=twenty) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
    assert sorted(parts) == list(range(5, 86))
    starts = {next(NativeEngine(None)._parts) for _ in range(8)}
    assert len(starts) > 1, "each process would search the same share first"


def test_the_budget_of_the_search_follows_the_size() -> None:
    policy = VerifyPolicy()
    mebi = 1 << 20
    assert [policy.duplicates_bytes(size) // mebi for size in (0, 10**9, 2 << 30, 1 << 40)] == [
        16, 16, 32, 64,
    ]  # fmt: skip
    assert VerifyPolicy(duplicates_max_bytes=mebi).duplicates_bytes(10**9) == mebi
    assert limits(policy, 2 << 30).duplicates_bytes == 32 * mebi


def test_a_reading_that_is_slowed_down_gets_the_time_for_it() -> None:
    policy = VerifyPolicy(timeout_min_seconds=1, max_rate_bytes_per_second=1_000_000)
    assert policy.timeout_seconds(10_000_000) == 20
    assert limits(policy, 5).bytes_per_second == 1_000_000


@pytest.fixture
def broken_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An extension where the package looks for it, in place of the real one."""
    load()  # so that there is one to be put back: what was absent before would stay as it is
    monkeypatch.setattr(exporter, "__path__", [str(tmp_path), *exporter.__path__])
    monkeypatch.delitem(sys.modules, "exporter._native", raising=False)
    monkeypatch.delattr(exporter, "_native", raising=False)
    return tmp_path


def test_a_build_that_can_not_be_loaded_is_not_called_absent(broken_build: Path) -> None:
    (broken_build / "_native.abi3.so").write_bytes(b"no shared object at all")
    found = load()
    assert isinstance(found, str)
    assert found.startswith("the native engine is there and can't be loaded (")
    with pytest.raises(
        EngineUnavailable, match=r"can't be loaded.*install the package where Rust is"
    ):
        engine("native")
    reader = engine("auto")
    assert reader.name == "rdbtools"
    assert "far more slowly" in str(fallback("auto", reader))


def test_a_build_that_is_not_whole_is_not_used(broken_build: Path) -> None:
    (broken_build / "_native.py").write_text('VERSION = "0.0.1"\n')
    assert load() == "the native engine is there, but its build is not whole"
    assert engine().name == "rdbtools"


def test_no_build_at_all_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "exporter._native", raising=False)
    monkeypatch.delattr(exporter, "_native", raising=False)
    assert load() == "the native engine is not built"


def test_where_a_duplicate_among_very_many_keys_is(tmp_path: Path) -> None:
    """Known by its hash at the end, found by a second reading; a pipe can't be read twice."""
    record = b"\x00\x08%08d\x01v"
    many = b"REDIS0003\xfe\x00" + b"".join(record % number for number in range(200_000))
    data = many + record % 777 + b"".join(record % (10**6 + n) for n in range(9)) + b"\xff"
    path = tmp_path / "twice.rdb"
    path.write_bytes(data)
    with opened(path) as fd:
        report = read(fd)
    assert (report.status, report.offset) == (Status.CORRUPT, len(many))
    assert report.key_index == 200_000
    assert "twice" in str(report.reason)
    receive, send = os.pipe()
    thread = writer(send, data)
    try:
        report = read(receive)
    finally:
        os.close(receive)
        thread.join(30)
    assert report.status is Status.CORRUPT
    assert "somewhere before" in str(report.reason)
