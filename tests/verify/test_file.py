"""Proving a file on disk: what can't be opened, what is no file, what changes meanwhile."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from exporter.model import RdbReport, Status
from exporter.verify.engines import Cancelled, Limits, engine
from exporter.verify.file import Changed, prove
from tests.verify.truths import fixtures

LIMITS = Limits(timeout_seconds=60, memory_bytes=1 << 30)
VALID = next(fixture for fixture in fixtures("dense"))


def report_of(path: Path | str) -> RdbReport:
    reader = engine()
    report = prove(os.fspath(path), reader, limits=LIMITS)
    assert isinstance(report, RdbReport)
    assert report.engine == reader.name
    return report


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "dump.rdb"
    path.write_bytes(VALID.data)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def test_a_whole_file_is_valid(copy: Path) -> None:
    assert report_of(copy).status is Status.VALID


def test_a_symlink_is_followed(copy: Path) -> None:
    (copy.parent / "latest").symlink_to(copy)
    assert report_of(copy.parent / "latest").status is Status.VALID


@pytest.mark.parametrize("name", ["absent.rdb", "dump.rdb/inside", "a\0b"])
def test_what_is_not_there_is_missing(copy: Path, name: str) -> None:
    assert report_of(f"{copy.parent}/{name}").status is Status.MISSING


def test_no_bytes_are_empty(copy: Path) -> None:
    copy.write_bytes(b"")
    assert report_of(copy).status is Status.EMPTY


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    sockets = socket.socket(socket.AF_UNIX)
    try:
        sockets.bind(os.fspath(tmp_path / "socket"))
        assert report_of(tmp_path / "socket").status is Status.UNREADABLE
    finally:
        sockets.close()
    for path, kind in (
        (tmp_path, "a directory"),
        (tmp_path / "fifo", "a FIFO"),
        (Path("/dev/full"), "a character device"),
    ):
        report = report_of(path)
        assert report.status is Status.UNREADABLE
        assert report.reason == f"not a regular file but {kind}"


def test_a_loop_of_links_is_unreadable_with_its_errno(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    report = report_of(tmp_path / "loop")
    assert report.status is Status.UNREADABLE
    assert "ELOOP" in str(report.reason)


def test_an_error_in_the_middle_is_unreadable() -> None:
    report = report_of("/proc/self/mem")
    assert report.status is Status.UNREADABLE
    assert "Input/output error" in str(report.reason)


class Meddler:
    """Does something to a file when the reading is under way."""

    def __init__(self, path: Path, deed: str) -> None:
        self.path, self.deed, self.done = path, deed, False

    def cancelled(self) -> bool:
        if not self.done:
            self.done = True
            getattr(self, self.deed)()
        return False

    def append(self) -> None:
        with self.path.open("ab") as file:
            file.write(b"x")

    def truncate(self) -> None:
        os.truncate(self.path, 5)

    def overwrite(self) -> None:
        with self.path.open("r+b") as file:
            file.write(VALID.data[:5])

    def replace(self) -> None:
        other = self.path.with_suffix(".new")
        other.write_bytes(b"another")
        other.replace(self.path)

    def rename(self) -> None:
        self.path.rename(self.path.with_suffix(".old"))

    def unlink(self) -> None:
        self.path.unlink()


@pytest.mark.parametrize("name", ["auto", "rdbtools"])
@pytest.mark.parametrize("deed", ["append", "truncate", "overwrite"])
def test_an_inode_that_changes_is_to_be_looked_at_again(copy: Path, deed: str, name: str) -> None:
    meddler = Meddler(copy, deed)
    outcome = prove(os.fspath(copy), engine(name), limits=LIMITS, cancelled=meddler.cancelled)
    assert isinstance(outcome, Changed)
    assert "while it was read" in outcome.detail


@pytest.mark.parametrize("deed", ["replace", "rename", "unlink"])
def test_a_name_that_goes_elsewhere_changes_nothing(copy: Path, deed: str) -> None:
    meddler = Meddler(copy, deed)
    outcome = prove(os.fspath(copy), engine(), limits=LIMITS, cancelled=meddler.cancelled)
    assert isinstance(outcome, RdbReport)
    assert outcome.status is Status.VALID


def test_a_reader_that_must_yield_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "endless.rdb"
    with path.open("wb") as file:
        file.write(b"REDIS0002\xfe\x00\x01\x01k\x80" + (10**9).to_bytes(4, "big"))
        file.truncate(10**9)
    seen: list[os.stat_result] = []

    def must_yield(now: os.stat_result) -> bool:
        seen.append(now)
        if len(seen) == 1:
            path.unlink()
        return now.st_nlink == 0

    with pytest.raises(Cancelled):
        prove(os.fspath(path), engine("rdbtools"), limits=LIMITS, must_yield=must_yield)
    assert [now.st_nlink for now in seen] == [1, 0]
    assert stat.S_ISREG(seen[0].st_mode)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left_open(copy: Path) -> None:
    before = open_descriptors()
    for path in (copy, copy.parent, copy.parent / "absent"):
        prove(os.fspath(path), engine(), limits=LIMITS)
    assert open_descriptors() == before
