"""A directory watched: what can not be read, and places that change."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Reason, Unseen
from exporter.watch import directory as room
from exporter.watch.file_ends import Missed, read_ends
from exporter.watch.mount import inode_stable
from tests.watch.watched import Watched, unprivileged, write

# -- what can not be read ---------------------------------------------------------------------------


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


# -- the place --------------------------------------------------------------------------------------


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
