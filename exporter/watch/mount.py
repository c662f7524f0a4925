"""The mount that a file lies on: whether inode numbers and file locks can be believed there.

Knows: the file systems that make up inode numbers as they go (FUSE, 9p, CIFS, FAT), those whose
files other machines write too, and how ``/proc/self/mountinfo`` names a mount (proc(5)). Refuses to
know: anything else of a mount.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_INVENTED = re.compile(r"fuse(\..*|blk|ctl)?|9p|cifs|smb\d?|vboxsf|prl_fs|vfat|exfat|msdos|ntfs3?")
_REMOTE = re.compile(r"nfs\d?|cifs|smb(fs|\d)?|ceph|glusterfs|lustre|beegfs|afs|fuse\..*")
_OCTAL = re.compile(r"\\([0-7]{3})")


def inode_stable(device: int, path: str, mountinfo: str | None = None) -> bool:
    """Whether inode numbers of ``device``, seen at ``path``, last as long as the files.

    Unknown counts as stable: what is lost by that is a settle time or two.
    """
    kind = _kind(device, path, _mounts() if mountinfo is None else mountinfo)
    return kind is None or _INVENTED.fullmatch(kind) is None


def is_remote(path: str, mountinfo: str | None = None) -> bool:
    """Whether ``path`` (or what is there of it) lies on a network file system."""
    there = os.path.realpath(path)
    while not os.path.exists(there):  # noqa: PTH110 - a name from outside stays the text it is
        there = os.path.dirname(there)  # noqa: PTH120 - likewise
    device = os.stat(there).st_dev  # noqa: PTH116 - likewise
    kind = _kind(device, there, _mounts() if mountinfo is None else mountinfo)
    return kind is not None and _REMOTE.fullmatch(kind) is not None


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _kind(device: int, path: str, mountinfo: str) -> str | None:
    """The file system type: by device number, else (btrfs has others per subvolume) by path."""
    number = f"{os.major(device)}:{os.minor(device)}"
    longest, by_path = -1, None
    for line in mountinfo.splitlines():
        fields, dash, rest = line.partition(" - ")
        words = fields.split(" ")
        if not dash or len(words) < 5:
            continue
        kind = rest.split(" ")[0]
        if words[2] == number:
            return kind
        point = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), words[4])
        if _below(path, point) and len(point) >= longest:  # a later one lies over an earlier one
            longest, by_path = len(point), kind
    return by_path


def _below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
