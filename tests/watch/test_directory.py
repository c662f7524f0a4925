"""A directory watched: when a file is settled, and how many are read."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.watch import directory as room
from tests.conftest import ServerFactory
from tests.watch.watched import Watched, write

# -- settling ---------------------------------------------------------------------------------------


def test_two_equal_looks_settle_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    path = write(tmp_path / "dump.rdb", content)
    watched = Watched(tmp_path)
    first = watched.backups()["dump.rdb"]
    assert (first.settled, first.head, first.tail) == (False, b"", b"")
    assert watched.watch.settling
    assert not watched.backups(after=9.9)["dump.rdb"].settled
    second = watched.backups(after=0.1)["dump.rdb"]
    assert second.settled
    assert not watched.watch.settling
    assert (second.head, second.tail) == (content[:512], content[-8:])
    status = path.stat()
    assert second.path == str(path)
    assert (second.size_bytes, second.mtime_ns) == (len(content), status.st_mtime_ns)
    assert (second.inode, second.device) == (status.st_ino, status.st_dev)
    assert second.ctime_ns == status.st_ctime_ns
    assert second.location == "local"
    assert second.failure is None


def test_one_look_never_settles_even_without_a_settle_time(tmp_path: Path) -> None:
    write(tmp_path / "dump.rdb")
    watched = Watched(tmp_path, settle_seconds=0.0)
    assert not watched.backups()["dump.rdb"].settled
    assert not watched.backups(after=0.0)["dump.rdb"].settled
    assert watched.backups(after=0.001)["dump.rdb"].settled


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 511, 512, 513, 70_000])
def test_ends_of_files_of_every_size(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    write(tmp_path / "dump.rdb", content)
    backup = Watched(tmp_path).settle()["dump.rdb"]
    assert backup.settled
    assert (backup.head, backup.tail) == (content[:512], content[max(0, size - 8) :])


def test_a_copy_in_progress_settles_only_when_it_ended(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with (tmp_path / "dump.rdb").open("wb", buffering=0) as file:
        for _ in range(5):
            file.write(b"x" * 1000)
            assert not watched.backups(after=60)["dump.rdb"].settled
    assert watched.backups()["dump.rdb"].settled


def test_a_file_known_from_an_earlier_life_needs_no_second_look(tmp_path: Path) -> None:
    path = write(tmp_path / "old.rdb")
    write(tmp_path / "new.rdb")
    status = path.stat()
    known = ("old.rdb", status.st_ino, status.st_size, status.st_mtime_ns)
    asked: list[tuple[str, int, int, int]] = []

    def settled_before(*file: Any) -> bool:
        asked.append(file)
        return bool(file == known)

    watched = Watched(tmp_path, settled_before=settled_before)
    found = watched.backups()
    assert found["old.rdb"].settled
    assert found["old.rdb"].head
    assert not found["new.rdb"].settled
    assert watched.watch.settling
    watched.backups(after=1)
    assert len(asked) == 2, "each file is asked for once"


def test_a_rewrite_of_the_same_size_settles_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb", b"A" * 1000)
    watched = Watched(tmp_path)
    before = watched.settle()["dump.rdb"]
    with path.open("r+b") as file:
        file.write(b"B" * 1000)
    os.utime(path, ns=(0, before.mtime_ns + 1))
    changed = watched.backups()["dump.rdb"]
    assert (changed.settled, changed.head) == (False, b"")
    assert watched.backups()["dump.rdb"].head == b"B" * 512


def test_a_rewrite_that_puts_mtime_back_is_seen_by_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb", b"A" * 1000)
    watched = Watched(tmp_path)
    before = watched.settle()["dump.rdb"]
    path.write_bytes(b"B" * 1000)
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    assert path.stat().st_mtime_ns == before.mtime_ns
    assert not watched.backups()["dump.rdb"].settled
    after = watched.backups()["dump.rdb"]
    assert after.settled
    assert after.identity != before.identity


def test_chmod_and_a_hard_link_leave_a_settled_file_settled(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb")
    watched = Watched(tmp_path)
    before = watched.settle()["dump.rdb"]
    path.chmod(0o600)
    (tmp_path / "elsewhere").mkdir()
    os.link(path, tmp_path / "elsewhere" / "dump.rdb")
    after = watched.backups()["dump.rdb"]
    assert after.settled
    assert after.ctime_ns > before.ctime_ns
    assert after.identity == before.identity
    assert not watched.watch.settling


def test_a_rename_keeps_a_file_settled(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb", b"one")
    watched = Watched(tmp_path)
    watched.settle()
    path.rename(tmp_path / "dump-1.rdb")
    write(path, b"two")
    found = watched.backups()
    assert found["dump-1.rdb"].settled
    assert found["dump-1.rdb"].head == b"one"
    assert not found["dump.rdb"].settled


def test_a_rename_over_a_settled_file_is_another_file(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb", b"one", mtime=5)
    watched = Watched(tmp_path)
    watched.settle()
    write(tmp_path / "temp-1.rdb", b"two", mtime=5).rename(path)
    assert not watched.backups()["dump.rdb"].settled
    assert watched.backups()["dump.rdb"].head == b"two"


def test_bgsave_replaces_the_dump(any_server: ServerFactory) -> None:
    server = any_server()
    server.client().set("a", 1)
    server.save()
    watched = Watched(server.dir, pattern="dump.rdb")
    before = watched.settle()["dump.rdb"]
    server.client().set("b", 2)
    server.save()
    assert not watched.backups()["dump.rdb"].settled
    after = watched.backups()["dump.rdb"]
    assert after.settled
    assert after.inode != before.inode
    assert after.head[:5] in {b"REDIS", b"VALKE"}


@pytest.mark.parametrize("mtime", [0.0, 1.0, 4e9, 9e9])
def test_odd_times_are_times(tmp_path: Path, mtime: float) -> None:
    write(tmp_path / "dump.rdb", mtime=mtime)
    assert Watched(tmp_path).settle()["dump.rdb"].mtime_ns == int(mtime * 1e9)


# -- many -------------------------------------------------------------------------------------------


def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    for number in range(100_000):
        os.close(os.open(f"{tmp_path}/dump-{number:06d}.rdb", os.O_CREAT | os.O_WRONLY))
    write(tmp_path / "dump-099999.rdb", b"the newest")
    watched = Watched(tmp_path)
    times = []
    for _ in range(3):
        started = time.monotonic()
        listing = watched.look()
        times.append(time.monotonic() - started)
    assert len(listing.backups) == 100_000
    assert sum(backup.settled for backup in listing.backups) == room.READ_FILES
    assert listing.backups[0].head == b"the newest"
    assert not watched.watch.settling
    assert max(times) < 30, times  # 1 to 2 s on an idle core; the machine may be busy


def test_of_many_files_the_latest_arrivals_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "READ_FILES", 3)
    monkeypatch.setattr(room, "KEEP_FILES", 5)
    for number in range(8):
        write(tmp_path / f"{number}.rdb", mtime=1_000 + number)
    watched = Watched(tmp_path)

    def read() -> list[str]:
        return sorted(name for name, backup in watched.settle().items() if backup.settled)

    assert read() == ["5.rdb", "6.rdb", "7.rdb"]
    write(tmp_path / "with-an-old-mtime.rdb", mtime=1)
    assert read() == ["5.rdb", "6.rdb", "7.rdb", "with-an-old-mtime.rdb"]
    for number in range(10, 14):
        write(tmp_path / f"{number}.rdb")
    # Three are read, and of those read before the first five are kept.
    assert read() == ["10.rdb", "11.rdb", "12.rdb", "with-an-old-mtime.rdb"]
    for path in tmp_path.glob("*.rdb"):
        if path.name != "0.rdb":
            path.unlink()
    assert read() == ["0.rdb"]


def test_nothing_is_changed_in_the_directory(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb")
    path.chmod(0o440)
    before = path.stat()
    Watched(tmp_path).settle()
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o440
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert [entry.name for entry in tmp_path.iterdir()] == ["dump.rdb"]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for number in range(20):
        write(tmp_path / f"{number}.rdb")
    watched = Watched(tmp_path)
    before = opened()
    watched.settle()
    shutil.rmtree(tmp_path)
    watched.try_look()
    assert opened() == before
