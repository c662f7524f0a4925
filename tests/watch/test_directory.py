"""A directory watched: real files, and what people and programs do to them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Backup, Listing, Location, Reason, Unseen
from exporter.watch import directory as room
from exporter.watch.candidate_name import is_temporary, matcher
from exporter.watch.directory import DirectoryWatch
from exporter.watch.file_ends import Missed, read_ends
from exporter.watch.mount import inode_stable
from tests.conftest import ServerFactory

NOBODY = 65534


class Watched:
    """A watch with a clock of its own, 15 s a look."""

    def __init__(self, path: Path | str, **options: Any) -> None:
        before = options.pop("settled_before", lambda *_: False)
        location = Location(name="local", path=str(path), **options)
        self.watch = DirectoryWatch(location, settled_before=before)
        self.now = 1_900_000_000.0
        self.monotonic = 100.0

    def look(self, after: float = 15.0) -> Listing:
        seen = self.try_look(after)
        assert isinstance(seen, Listing), seen
        return seen

    def try_look(self, after: float = 15.0) -> Listing | Unseen:
        self.now += after
        self.monotonic += after
        return self.watch.look(self.now, self.monotonic)

    def backups(self, after: float = 15.0) -> dict[str, Backup]:
        return {backup.name: backup for backup in self.look(after).backups}

    def settle(self) -> dict[str, Backup]:
        self.backups()
        found = self.backups()
        assert not self.watch.settling
        return found


def write(path: Path, content: bytes = b"REDIS0011 and more", mtime: float | None = None) -> Path:
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


@contextlib.contextmanager
def unprivileged() -> Iterator[Path]:
    """A world-readable directory, and no root's rights while in here."""
    place = Path(tempfile.mkdtemp(prefix="rbe-"))
    place.chmod(0o755)
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(place, NOBODY, -1)
            os.seteuid(NOBODY)
        yield place
    finally:
        if root:
            os.seteuid(0)
        for path in place.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(place)


# -- settling --------------------------------------------------------------------------------------


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


# -- which names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "temp-123.rdb", "temp-1700000000.17.rdb", ".dump.rdb", ".dump.rdb.aB3dE6", "dump.rdb.tmp",
        "dump.rdb.part", "dump.rdb.partial", "dump.rdb~", "dump.rdb_.gstmp", "dump.rdb.filepart",
    ],
)  # fmt: skip
def test_temporary_names(tmp_path: Path, name: str) -> None:
    assert is_temporary(name)
    write(tmp_path / name)
    listing = Watched(tmp_path, pattern="*").look()
    assert (listing.backups, listing.ignored) == ((), 1)


@pytest.mark.parametrize(
    "name", ["dump.rdb", "attempt-1.rdb", "dump.tmp.rdb", "tmp.rdb", "a.part1"]
)
def test_names_that_only_look_so(name: str) -> None:
    assert not is_temporary(name)


@given(st.text(max_size=40))
def test_any_name_can_be_judged(name: str) -> None:
    is_temporary(name)
    matcher("*.rdb")(name)


def test_the_pattern_is_case_sensitive_and_says_nothing_of_others(tmp_path: Path) -> None:
    for name in ("a.rdb", "A.RDB", "notes.txt", "b.rdb.gz"):
        write(tmp_path / name)
    listing = Watched(tmp_path).look()
    assert [backup.name for backup in listing.backups] == ["a.rdb"]
    assert listing.ignored == 0


def test_a_pattern_without_wildcards_means_that_file(tmp_path: Path) -> None:
    write(tmp_path / "temp-sensors.rdb")
    found = Watched(tmp_path, pattern="temp-sensors.rdb").backups()
    assert list(found) == ["temp-sensors.rdb"]


def test_what_is_no_file_is_ignored_and_never_opened(tmp_path: Path) -> None:
    """Opening a FIFO for reading would hang, or steal a writer's bytes."""
    (tmp_path / "sub.rdb").mkdir()
    write(tmp_path / "sub.rdb" / "inner.rdb")
    os.mkfifo(tmp_path / "fifo.rdb")
    (tmp_path / "to-fifo.rdb").symlink_to("fifo.rdb")
    (tmp_path / "dangling.rdb").symlink_to("nowhere")
    (tmp_path / "loop.rdb").symlink_to("loop.rdb")
    (tmp_path / "device.rdb").symlink_to("/dev/zero")
    (tmp_path / "through-a-file.rdb").symlink_to("a.rdb/x")
    write(tmp_path / "a.rdb")
    with socket.socket(socket.AF_UNIX) as door:
        here = Path.cwd()
        os.chdir(tmp_path)  # its path may be too long for a socket
        try:
            door.bind("socket.rdb")
        finally:
            os.chdir(here)
        watched = Watched(tmp_path)
        watched.look()
        listing = watched.look()
    assert [backup.name for backup in listing.backups] == ["a.rdb"]
    assert listing.ignored == 8


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad-\xff\n.rdb")
    write(tmp_path / name)
    backup = Watched(tmp_path).settle()[name]
    assert backup.settled
    assert backup.identity


# -- links -----------------------------------------------------------------------------------------


def test_links_are_resolved_and_counted_once(tmp_path: Path) -> None:
    data, watched_dir = tmp_path / "data", tmp_path / "watched"
    data.mkdir()
    watched_dir.mkdir()
    write(data / "far", b"far away")
    (watched_dir / "far.rdb").symlink_to(data / "far")
    (watched_dir / "also-far.rdb").symlink_to("far.rdb")
    write(watched_dir / "near.rdb", b"near")
    os.link(watched_dir / "near.rdb", watched_dir / "a-hard-link.rdb")
    (watched_dir / "0-latest.rdb").symlink_to("near.rdb")
    watched = Watched(watched_dir)
    listing = watched.look()
    found = watched.backups()
    assert listing.ignored == 3
    assert sorted(found) == ["a-hard-link.rdb", "also-far.rdb"]
    assert found["also-far.rdb"].path == str(data / "far")
    assert found["also-far.rdb"].head == b"far away"
    assert found["a-hard-link.rdb"].settled


def test_a_second_name_made_later_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "dump-2024.rdb")
    watched = Watched(tmp_path)
    watched.settle()
    os.link(tmp_path / "dump-2024.rdb", tmp_path / "a-latest.rdb")
    found = watched.backups()
    assert list(found) == ["dump-2024.rdb"]
    assert found["dump-2024.rdb"].settled
    (tmp_path / "dump-2024.rdb").unlink()
    found = watched.backups()
    assert list(found) == ["a-latest.rdb"]
    assert found["a-latest.rdb"].settled


def test_a_link_that_is_pointed_elsewhere_settles_anew(tmp_path: Path) -> None:
    write(tmp_path / "one", b"one")
    write(tmp_path / "two", b"two")
    link = tmp_path / "latest.rdb"
    link.symlink_to("one")
    watched = Watched(tmp_path)
    assert watched.settle()["latest.rdb"].head == b"one"
    link.unlink()
    link.symlink_to("two")
    assert not watched.backups()["latest.rdb"].settled
    assert watched.backups()["latest.rdb"].head == b"two"


def test_the_directory_may_be_a_link(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        write(tmp_path / day / "dump.rdb", day.encode())
    link = tmp_path / "current"
    link.symlink_to("monday")
    watched = Watched(link)
    assert watched.settle()["dump.rdb"].head == b"monday"
    link.unlink()
    link.symlink_to("tuesday")
    listing = watched.look()
    assert listing.mount_changed
    assert not listing.backups[0].settled
    listing = watched.look()
    assert not listing.mount_changed
    assert listing.backups[0].head == b"tuesday"


# -- what can not be read --------------------------------------------------------------------------


def test_an_unreadable_file_says_so_until_it_can_be_read() -> None:
    with unprivileged() as place:
        path = write(place / "dump.rdb", b"content")
        path.chmod(0)
        watched = Watched(place)
        assert watched.backups()["dump.rdb"].failure is None
        backup = watched.backups()["dump.rdb"]
        assert backup.failure is not None
        assert (backup.failure.reason, backup.settled, backup.head) == (
            Reason.UNREADABLE,
            True,
            b"",
        )
        assert "permission denied" in backup.failure.detail
        assert "mode 0000" in backup.failure.detail
        assert not watched.watch.settling
        path.chmod(0o400)
        backup = watched.backups()["dump.rdb"]
        assert (backup.failure, backup.settled, backup.head) == (None, True, b"content")
        path.chmod(0)
        assert watched.backups()["dump.rdb"].failure is not None


def test_a_link_into_a_closed_place_is_a_backup_that_can_not_be_read() -> None:
    with unprivileged() as place:
        (place / "closed").mkdir()
        write(place / "closed" / "far")
        (place / "dump.rdb").symlink_to("closed/far")
        (place / "closed").chmod(0)
        watched = Watched(place)
        backup = watched.settle()["dump.rdb"]
        assert backup.failure is not None
        assert backup.failure.reason is Reason.UNREADABLE
        (place / "closed").chmod(0o700)
        assert watched.settle()["dump.rdb"].failure is None


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_a_directory_without_rights_is_unreadable(mode: int) -> None:
    with unprivileged() as place:
        inside = place / "inside"
        inside.mkdir()
        write(inside / "dump.rdb")
        inside.chmod(mode)
        seen = Watched(inside).try_look()
        assert isinstance(seen, Unseen)
        assert (seen.reason, seen.source) == (Reason.DIRECTORY_UNREADABLE, "local")
        assert "needs r and x" in seen.detail


def test_a_directory_that_is_missing_and_comes(tmp_path: Path) -> None:
    place = tmp_path / "later"
    watched = Watched(place)
    seen = watched.try_look()
    assert isinstance(seen, Unseen)
    assert seen.reason is Reason.DIRECTORY_MISSING
    assert not watched.watch.settling
    place.mkdir()
    write(place / "dump.rdb")
    assert not watched.look().mount_changed
    assert watched.backups()["dump.rdb"].settled
    shutil.rmtree(place)
    seen = watched.try_look()
    assert isinstance(seen, Unseen)
    assert seen.reason is Reason.DIRECTORY_MISSING


@pytest.mark.parametrize("path", ["file", "file/below", "\0", ""])
def test_what_is_no_directory(tmp_path: Path, path: str) -> None:
    write(tmp_path / "file")
    seen = Watched(f"{tmp_path}/{path}" if path else "").try_look()
    assert isinstance(seen, Unseen)
    assert seen.reason in {Reason.LISTING_FAILED, Reason.DIRECTORY_MISSING}


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_an_error_amid_a_listing_is_no_short_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The kernel's part is played here: a getdents that fails after the first entries."""
    for number in range(5):
        write(tmp_path / f"{number}.rdb")
    watched = Watched(tmp_path)
    watched.settle()
    whole = os.scandir

    @contextlib.contextmanager
    def failing(descriptor: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        def entries() -> Iterator[os.DirEntry[str]]:
            with whole(descriptor) as listing:
                yield next(listing)
                raise OSError(code, os.strerror(code))

        yield entries()

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        seen = watched.try_look()
    assert isinstance(seen, Unseen)
    assert seen.reason is Reason.LISTING_FAILED
    assert os.strerror(code).lower() in seen.detail
    assert all(backup.settled for backup in watched.look().backups)


def test_a_directory_removed_amid_a_listing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    write(place / "a.rdb")
    watched = Watched(place)
    whole = os.scandir

    def late(descriptor: int) -> Any:
        (place / "a.rdb").unlink()
        place.rmdir()
        return whole(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(room.os, "scandir", late)
        seen = watched.try_look()
    assert isinstance(seen, Unseen)
    assert seen.reason is Reason.DIRECTORY_MISSING


def test_a_file_that_vanishes_is_just_gone(tmp_path: Path) -> None:
    keep, lose = write(tmp_path / "keep.rdb"), write(tmp_path / "lose.rdb")
    watched = Watched(tmp_path)
    watched.settle()
    lose.unlink()
    assert list(watched.backups()) == ["keep.rdb"]
    assert keep.exists()


def test_ends_are_those_of_the_listed_file_or_none(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb")
    inode = path.stat().st_ino

    def same(status: os.stat_result) -> bool:
        return status.st_ino == inode

    write(tmp_path / "other").rename(path)
    assert read_ends(str(path), same) is Missed.CHANGED
    path.unlink()
    assert read_ends(str(path), same) is Missed.GONE
    os.mkfifo(path)
    assert read_ends(str(path), same) is Missed.CHANGED
    path.unlink()
    path.symlink_to(write(tmp_path / "target"))
    assert read_ends(str(path), lambda _: True) is Missed.CHANGED


def test_a_file_that_changes_while_it_is_read_is_not_settled(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.rdb", b"x" * 100)
    answers = iter([True, False])
    assert read_ends(str(path), lambda _: next(answers)) is Missed.CHANGED


# -- the place -------------------------------------------------------------------------------------


def test_the_room_left_is_told(tmp_path: Path) -> None:
    listing = Watched(tmp_path).look()
    usage = shutil.disk_usage(tmp_path)
    assert listing.total_bytes == usage.total
    assert listing.free_bytes is not None
    assert 0 < listing.free_bytes <= usage.total


def test_a_replaced_directory_is_told_once_and_forgets(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    write(place / "dump.rdb", b"one")
    watched = Watched(place)
    watched.settle()
    place.rename(tmp_path / "away")
    assert isinstance(watched.try_look(), Unseen)
    shutil.copytree(tmp_path / "away", place)
    listing = watched.look()
    assert listing.mount_changed
    assert not listing.backups[0].settled
    assert not watched.look().mount_changed


_OVER_MOUNT = """
import subprocess, sys
from exporter.model import Location
from exporter.watch.directory import DirectoryWatch
watch = DirectoryWatch(Location(name="x", path=sys.argv[1]))
def look(n):
    seen = watch.look(n, n)
    print(len(seen.backups), seen.mount_changed, seen.total_bytes)
look(0); look(20)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", sys.argv[1]], check=True)
look(40); look(60)
subprocess.run(["umount", sys.argv[1]], check=True)
look(80)
"""


def test_a_directory_that_is_mounted_over(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(
            "no private mount namespace allowed here: replaced directories are tested above"
        )
    write(tmp_path / "dump.rdb")
    run = subprocess.run(
        [*unshare, sys.executable, "-c", _OVER_MOUNT, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["1", "False"], ["1", "False"], ["0", "True"], ["0", "False"], ["1", "True"],
    ]  # fmt: skip
    assert lines[2][2] == str(1 << 20)


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:50 / /mnt/gcs\\040bucket rw shared:9 - fuse.gcsfuse x rw
41 21 0:51 / /mnt/share rw - cifs //server/x rw
42 21 0:52 / /mnt/btrfs rw - btrfs /dev/sdb rw
43 42 0:53 / /mnt/btrfs/nine rw master:3 - 9p host rw
broken line
"""


@pytest.mark.parametrize(
    ("major_minor", "path", "expected"),
    [
        ((8, 1), "/data", True),
        ((0, 50), "/mnt/gcs bucket/x.rdb", False),
        ((0, 51), "/mnt/share", False),
        ((0, 99), "/mnt/btrfs/x", True),
        ((0, 99), "/mnt/btrfs/nine/x", False),
        ((0, 99), "/mnt/gcs bucket/x", False),
        ((0, 99), "/mnt/shared", True),
        ((0, 99), "relative", True),
    ],
)
def test_where_inode_numbers_are_made_up(
    major_minor: tuple[int, int], path: str, expected: bool
) -> None:
    assert inode_stable(os.makedev(*major_minor), path, MOUNTS) is expected


def test_made_up_inode_numbers_unsettle_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FUSE: the number differs at each stat, and two files may share one."""
    monkeypatch.setattr(room, "inode_stable", lambda *_: False)
    path = write(tmp_path / "dump.rdb", mtime=1_800_000_000)
    watched = Watched(tmp_path)
    before = watched.settle()["dump.rdb"]
    assert not before.inode_stable
    os.link(path, tmp_path / "second.rdb")
    (tmp_path / "link.rdb").symlink_to("dump.rdb")
    listing = watched.look()
    assert sorted(backup.name for backup in listing.backups) == ["dump.rdb", "second.rdb"]
    assert listing.ignored == 1


# -- many ------------------------------------------------------------------------------------------


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
