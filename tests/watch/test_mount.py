"""Which mounts are believed: inode numbers and locks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.watch.mount import inode_stable, is_remote


def mounts(path: Path, kind: str) -> str:
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    return f"22 1 0:5 / / rw - overlay o rw\n40 22 {number} / {path} rw - {kind} source rw\n"


@pytest.mark.parametrize(
    ("kind", "remote", "stable"),
    [
        ("ext4", False, True),
        ("overlay", False, True),
        ("tmpfs", False, True),
        ("nfs4", True, True),
        ("cifs", True, False),
        ("fuse.sshfs", True, False),
        ("9p", False, False),
        ("ceph", True, True),
    ],
)
def test_a_mount_is_judged_by_its_kind(
    tmp_path: Path, kind: str, remote: bool, stable: bool
) -> None:
    table = mounts(tmp_path, kind)
    assert is_remote(str(tmp_path), table) is remote
    assert inode_stable(tmp_path.stat().st_dev, str(tmp_path), table) is stable


def test_a_directory_that_is_not_there_yet_is_judged_by_what_is(tmp_path: Path) -> None:
    assert is_remote(str(tmp_path / "a" / "b"), mounts(tmp_path, "nfs"))


def test_without_a_table_everything_is_believed(tmp_path: Path) -> None:
    assert not is_remote(str(tmp_path), "")
    assert inode_stable(1, str(tmp_path), "")
