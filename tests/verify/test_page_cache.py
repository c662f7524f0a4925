"""The page cache after a reading, on a real file: what was cold is cold, what was hot is hot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.model import RdbReport, Status
from exporter.verify import page_cache
from exporter.verify.engines import Cancelled, Limits, engine
from exporter.verify.file import prove
from exporter.verify.page_cache import Residency, cachestat, left_as_found, mincore, uncached

MEBI = 1 << 20
SIZE = 96 * MEBI
HALF = SIZE // 2
LIMITS = Limits(timeout_seconds=100, memory_bytes=1 << 30)


def tells(ask: Residency) -> bool:
    """Whether this kernel answers; cachestat came with 6.5, and sandboxes refuse it."""
    with Path(__file__).open("rb") as file:
        try:
            ask(file.fileno(), 0, 4096)
        except OSError:
            return False
    return True


class Dump:
    """A large valid RDB on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        payload = SIZE - 19
        with path.open("wb") as file:
            file.write(b"REDIS0002\xfe\x00\x00\x01k\x80" + payload.to_bytes(4, "big"))
            file.write(os.urandom(MEBI) * (payload // MEBI) + bytes(payload % MEBI) + b"\xff")
            file.flush()
            os.fsync(file.fileno())
        assert path.stat().st_size in range(SIZE, SIZE + 4)
        self.fd = os.open(path, os.O_RDONLY)

    def evict(self, start: int = 0, length: int = 0) -> None:
        os.posix_fadvise(self.fd, start, length, os.POSIX_FADV_DONTNEED)

    def cached(self, start: int = 0, length: int = SIZE) -> float:
        """The cached share, asked in the way that the reader does not use first."""
        return mincore(self.fd, start, length) * 4096 / length

    def prove(self, name: str = "auto") -> RdbReport:
        report = prove(os.fspath(self.path), engine(name), limits=LIMITS)
        assert isinstance(report, RdbReport)
        return report


@pytest.fixture
def dump(tmp_path: Path) -> Iterator[Dump]:
    made = Dump(tmp_path / "dump.rdb")
    made.evict()
    if made.cached() > 0.01:
        os.close(made.fd)
        pytest.skip("this file system does not let go of cached pages (tmpfs)")
    yield made
    os.close(made.fd)


@pytest.mark.parametrize("name", ["auto", "rdbtools"])
def test_a_file_that_was_not_cached_is_not_cached_afterwards(dump: Dump, name: str) -> None:
    assert dump.prove(name).status is Status.VALID
    assert dump.cached() < 0.01


@pytest.mark.parametrize("name", ["auto", "rdbtools"])
def test_a_hot_file_stays_hot(dump: Dump, name: str) -> None:
    dump.path.read_bytes()
    assert dump.cached() > 0.99
    assert dump.prove(name).status is Status.VALID
    assert dump.cached() > 0.99


@pytest.mark.parametrize("hot", ["first", "second"])
def test_of_a_file_that_was_cached_in_half_the_same_half_stays(dump: Dump, hot: str) -> None:
    dump.path.read_bytes()
    start = 0 if hot == "first" else HALF
    dump.evict(HALF - start, HALF)
    assert (dump.cached(start, HALF), dump.cached(HALF - start, HALF)) == (1, 0)
    assert dump.prove().status is Status.VALID
    assert dump.cached(start, HALF) > 0.99
    assert dump.cached(HALF - start, HALF) < 0.01


def test_the_ends_that_were_looked_at_do_not_keep_the_rest(dump: Dump) -> None:
    os.posix_fadvise(dump.fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(dump.fd, 512, 0)
    os.pread(dump.fd, 8, SIZE - 8)
    assert 0 < dump.cached() < 0.01
    dump.prove()
    assert 0 < dump.cached() < 0.01


def test_it_is_let_go_of_while_it_is_read(dump: Dump) -> None:
    with left_as_found(dump.fd, SIZE) as passed:
        most = 0.0
        for position in range(0, SIZE, MEBI):
            os.pread(dump.fd, MEBI, position)
            passed(position + MEBI)
            most = max(most, dump.cached())
    assert most < 0.5
    assert dump.cached() == 0


def test_a_reading_that_is_cancelled_leaves_nothing_behind(dump: Dump) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        prove(
            os.fspath(dump.path),
            engine(),
            limits=LIMITS,
            progress=seen.append,
            cancelled=lambda: bool(seen) and seen[-1] > 20 * MEBI,
        )
    assert dump.cached() < 0.01


@pytest.mark.parametrize("ask", [cachestat, mincore])
def test_both_ways_tell_the_same(dump: Dump, ask: Residency) -> None:
    if not tells(ask):
        pytest.skip("this kernel does not answer")
    os.posix_fadvise(dump.fd, 0, 0, os.POSIX_FADV_RANDOM)
    assert uncached(dump.fd, SIZE, ask) == [(0, SIZE)]
    os.pread(dump.fd, 5 * MEBI, 7 * MEBI)
    os.pread(dump.fd, 1, 40 * MEBI + (128 << 10))
    assert uncached(dump.fd, SIZE, ask) == [
        (0, 7 * MEBI),
        (12 * MEBI, 40 * MEBI + (128 << 10)),
        (40 * MEBI + (192 << 10), SIZE),
    ]
    assert ask(dump.fd, 7 * MEBI, 5 * MEBI) == 5 * MEBI // 4096
    assert ask(dump.fd, 7 * MEBI + 4096, 8192) == 2


def test_where_the_kernel_does_not_answer_the_cache_is_left_alone(
    dump: Dump, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_fd: int, _offset: int, _length: int) -> int:
        raise PermissionError(1, "not yours")

    monkeypatch.setattr(page_cache, "_ways", lambda: (refused, refused))
    dump.prove()
    assert dump.cached() > 0.99


def test_an_answer_that_can_not_be_true_is_not_acted_upon(
    dump: Dump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stacked file system says that nothing is cached, also of what was read just now."""
    dump.path.read_bytes()
    monkeypatch.setattr(page_cache, "_ways", lambda: (lambda *_: 0,))
    dump.prove()
    assert dump.cached() > 0.99


def test_an_empty_file_and_one_that_shrinks_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(bytes(3 * MEBI))
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, 0)
        for size in (0, 3 * MEBI):
            with left_as_found(fd, size) as passed:
                passed(size)
    finally:
        os.close(fd)
