"""What lies in a directory at one moment: regular files under matching names, each counted once.

Knows: names, links, and one stat of each. A listing is whole or it raises OSError: a short one
would say that backups are gone.
Refuses to know: what was there before, and any byte of a file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import NamedTuple

#: What stat of a link says when nothing is at its end.
_DANGLING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


_USED = attrgetter(
    "st_dev",
    "st_ino",
    "st_size",
    "st_mtime_ns",
    "st_ctime_ns",
    "st_nlink",
    "st_mode",
    "st_uid",
    "st_gid",
)


class Status(NamedTuple):
    """The part of a stat that we use: of 100,000 files, a third of the memory."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    links: int
    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, seen: os.stat_result) -> Status:
        return cls._make(_USED(seen))

    @property
    def file(self) -> tuple[int, int]:
        return (self.device, self.inode)


class Link(NamedTuple):
    """Where a symbolic link ends, and why that can not be reached if so."""

    target: str
    error: PermissionError | None


class Entries:
    """The candidates of one look, by name; those that are links also in ``links``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: dict[str, Status] = {}
        self.links: dict[str, Link] = {}
        self.ignored = 0

    def path_of(self, name: str) -> str:
        """Where the file itself is."""
        link = self.links.get(name)
        return f"{self.path.rstrip('/')}/{name}" if link is None else link.target

    def drop(self, name: str) -> None:
        self.ignored += 1
        del self.found[name]
        self.links.pop(name, None)


def scan(
    descriptor: int, path: str, match: Callable[[str], bool], temporary: Callable[[str], bool]
) -> Entries:
    """All candidates of the open directory ``descriptor``, which is at ``path``.

    A file that vanishes meanwhile is gone; any other error of a stat fails the listing, but for a
    link into a place that we may not enter: that is a candidate which can't be read.
    """
    entries = Entries(path)
    with os.scandir(descriptor) as listing:
        for item in listing:
            name = item.name
            if not match(name):
                continue
            if temporary(name):
                entries.ignored += 1
                continue
            try:
                seen = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(seen.st_mode):
                entries.found[name] = Status.of(seen)
            elif not (stat.S_ISLNK(seen.st_mode) and _follow(entries, name, seen)):
                entries.ignored += 1
    return entries


def _follow(entries: Entries, name: str, link: os.stat_result) -> bool:
    """Add the regular file at the end of a link; False where there is none."""
    target = os.path.realpath(entries.path_of(name))
    try:
        seen = os.stat(target, follow_symlinks=False)  # noqa: PTH116 - paths are strings here
    except PermissionError as error:
        entries.found[name] = Status.of(link)
        entries.links[name] = Link(target, error)
        return True
    except OSError as error:
        if error.errno in _DANGLING:
            return False
        raise
    if not stat.S_ISREG(seen.st_mode):
        return False
    entries.found[name] = Status.of(seen)
    entries.links[name] = Link(target, None)
    return True


def drop_second_names(
    entries: Entries, known: Callable[[str, Status], bool], stable: Callable[[int, str], bool]
) -> None:
    """Leave one name of each file: a name that is no link, then the known one, then by order.

    Where inode numbers are made up, two files may show the same one: there only the path tells.
    """
    by_file: dict[tuple[int, int] | str, list[str]] = {}
    for name in _possible_doubles(entries, stable):
        status = entries.found[name]
        path = entries.path_of(name)
        key = status.file if stable(status.device, path) else os.path.realpath(path)
        by_file.setdefault(key, []).append(name)
    for names in by_file.values():
        names.sort(key=lambda it: (it in entries.links, not known(it, entries.found[it]), it))
        for second in names[1:]:
            entries.drop(second)


def _possible_doubles(entries: Entries, stable: Callable[[int, str], bool]) -> Iterable[str]:
    """Links, hard-linked files, and the files that links lead to; of 100,000 mostly none."""
    links = {name: link for name, link in entries.links.items() if link.error is None}
    if not all(stable(entries.found[name].device, link.target) for name, link in links.items()):
        return [name for name in entries.found if name in links or name not in entries.links]
    targets = {entries.found[name].file for name in links}
    return [
        name
        for name, status in entries.found.items()
        if status.links > 1 or (targets and status.file in targets)
        if name in links or name not in entries.links
    ]
