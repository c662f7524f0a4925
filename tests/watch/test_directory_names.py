"""A directory watched: which names are candidates, and which are one file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import PACKED
from exporter.watch.candidate_name import is_temporary, matcher
from tests.watch.watched import Watched, write

# -- which names ------------------------------------------------------------------------------------


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
    for name in ("a.rdb", "A.RDB", "notes.txt", "b.rdb.zip", "c.rdb.GZ", "d.gz", "e.rdb.gz.gz"):
        write(tmp_path / name)
    listing = Watched(tmp_path).look()
    assert [backup.name for backup in listing.backups] == ["a.rdb"]
    assert listing.ignored == 0


@pytest.mark.parametrize("ending", sorted(PACKED))
def test_compressed_dumps_are_taken_where_plain_ones_are(tmp_path: Path, ending: str) -> None:
    """A job that starts to compress its dumps goes on being watched; unfinished ones stay out."""
    for name in (f"a.rdb.{ending}", f"temp-1.rdb.{ending}", f"b.rdb.{ending}.tmp"):
        write(tmp_path / name)
    assert list(Watched(tmp_path).backups()) == [f"a.rdb.{ending}"]
    assert list(Watched(tmp_path, pattern="?.rdb").backups()) == [f"a.rdb.{ending}"]
    assert not Watched(tmp_path, pattern="a.rdb").backups()
    assert not Watched(tmp_path, pattern="*.dump").backups()
    assert matcher(f"*.rdb.{ending}")(f"a.rdb.{ending}")


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


# -- links ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("pattern", "name", "taken"),
    [
        ("*.rdb", "a.rdb", True),
        ("*.rdb", "a.rdb.gz", True),
        ("*.rdb", "a.gz", False),
        ("dump.rdb", "dump.rdb.gz", False),
        ("*.rdb.gz", "a.rdb", False),
    ],
)
def test_dumps_are_taken_in_their_compressed_form_too(pattern: str, name: str, taken: bool) -> None:
    assert matcher(pattern)(name) is taken
