"""A directory where backups arrive: what lies there, and which files nobody writes any more.

Knows: what the earlier looks saw. A file is *settled* when two looks at least ``settle_seconds``
apart found it the same, and its first and last bytes were read from that very file.
Refuses to know: whether a backup is good, and what lies below sub-directories. Polling is the
truth: inotify sees nothing of NFS, of other nodes and of hard links' data.

Of a directory with more than ``READ_FILES`` candidates only so many, the latest arrivals, are
settled and read (the bytes of a hundred thousand would be 60 MB, and a minute of seeks); older
ones are listed, and stay unsettled until newer ones go.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from exporter.model import Backup, Listing, Location, Origin, Reason, Unseen
from exporter.watch.candidate_name import is_temporary, matcher, names_one_file
from exporter.watch.entries import Entries, Status, drop_second_names, scan
from exporter.watch.file_ends import Ends, Missed, read_ends
from exporter.watch.mount import inode_stable

READ_FILES = 1_000
#: Ends once read are kept for this many of the latest arrivals.
KEEP_FILES = 5_000

_FAILURES = {
    errno.ENOENT: (
        Reason.DIRECTORY_MISSING,
        "no such directory: is the volume mounted here, and is the path the one of this container?",
    ),
    errno.EACCES: (Reason.DIRECTORY_UNREADABLE, "permission denied"),
    errno.EPERM: (Reason.DIRECTORY_UNREADABLE, "not permitted"),
    errno.ENOTDIR: (Reason.LISTING_FAILED, "not a directory"),
}


@dataclass(slots=True)
class _Known:
    """A candidate across looks."""

    backup: Backup
    since: float
    """Monotonic time of the look that first saw it like this."""
    arrived_ns: int
    """The later of its mtime and, if it appeared while we watched, that moment."""
    trusted: bool = False
    """Settled already under another name or with another ctime: to be read at once."""
    asked: bool = False
    """Whether an earlier life of the process was asked for it."""


class DirectoryWatch:
    """One location, looked at again and again by one thread.

    ``settled_before(name, inode, size_bytes, mtime_ns)`` says that a file is known as settled from
    an earlier life of the process: it needs no second look.
    """

    def __init__(
        self,
        location: Location,
        *,
        settled_before: Callable[[str, int, int, int], bool] = lambda *_: False,
    ) -> None:
        self._location = location
        self._settled_before = settled_before
        self._match = matcher(location.pattern)
        one = names_one_file(location.pattern)
        self._temporary: Callable[[str], bool] = (lambda _: False) if one else is_temporary
        self._known: dict[str, _Known] = {}
        self._place: tuple[int, ...] | None = None
        self._looked = False
        self._stable: dict[int, bool] = {}
        self._settling = False

    @property
    def settling(self) -> bool:
        """Whether a file waits for its second look: the next one may come sooner."""
        return self._settling

    def look(self, now: float, monotonic: float) -> Listing | Unseen:
        """What lies there now, latest arrival first, or why nothing can be said. Never raises."""
        self._settling = False
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self._location.path, flags)
        except (OSError, ValueError) as error:
            return self._unseen(error, now)
        try:
            return self._list(descriptor, now, monotonic)
        except OSError as error:
            return self._unseen(error, now)
        finally:
            os.close(descriptor)

    # -- one look --------------------------------------------------------------------------------

    def _list(self, descriptor: int, now: float, monotonic: float) -> Listing:
        entries = scan(descriptor, self._location.path, self._match, self._temporary)
        place = os.fstat(descriptor)
        # Removed under us: what we listed may be a part. (Some FUSE say 0 for every directory.)
        if place.st_nlink == 0 and self._is_stable(place.st_dev, self._location.path):
            raise FileNotFoundError(errno.ENOENT, "removed while it was listed")
        changed = self._moved(place)
        drop_second_names(entries, self._is_known, self._is_stable)
        self._known = self._recognise(entries, now, monotonic)
        self._looked = True
        self._read(entries, descriptor, now, monotonic)
        free, total = _room(descriptor)
        return Listing(
            location=self._location.name,
            at=now,
            backups=tuple(known.backup for known in self._known.values()),
            free_bytes=free,
            total_bytes=total,
            ignored=entries.ignored,
            mount_changed=changed,
        )

    def _moved(self, place: os.stat_result) -> bool:
        """Whether this is another directory than at the last good look; then nothing is known."""
        stable = self._is_stable(place.st_dev, self._location.path)
        identity = (place.st_dev, place.st_ino) if stable else (place.st_dev,)
        changed = self._place is not None and self._place != identity
        if changed:
            self._known = {}
            self._looked = False
            self._stable = {place.st_dev: stable}
        self._place = identity
        return changed

    def _recognise(self, entries: Entries, now: float, monotonic: float) -> dict[str, _Known]:
        """The candidates of this look with what earlier ones know of them, latest arrival first."""
        result: list[_Known] = []
        new: list[str] = []
        lost = [self._known[name] for name in self._known.keys() - entries.found.keys()]
        for name, status in entries.found.items():
            known = self._known.get(name)
            if known is None or not _same(known.backup, status):
                new.append(name)
                lost += [] if known is None else [known]
                continue
            if known.backup.ctime_ns != status.ctime_ns:
                _touch(known, status, monotonic)
            if name in entries.links and known.backup.path != entries.links[name].target:
                known.backup = dataclasses.replace(known.backup, path=entries.links[name].target)
            result.append(known)
        # A settled file that is gone from its name may be here under another one.
        renamed = {
            (it.backup.device, it.backup.inode, it.backup.size_bytes, it.backup.mtime_ns): it
            for it in lost
            if it.backup.settled and it.backup.inode_stable
        }
        for name in new:
            status = entries.found[name]
            before = renamed.get(status[:4])
            result.append(
                self._newcomer(name, status, entries.path_of(name), before, now, monotonic)
            )
        result.sort(key=lambda known: known.backup.name)
        result.sort(key=attrgetter("arrived_ns"), reverse=True)
        return {known.backup.name: known for known in result}

    def _newcomer(
        self,
        name: str,
        status: Status,
        path: str,
        before: _Known | None,
        now: float,
        monotonic: float,
    ) -> _Known:
        """A file not seen like this before; ``before``: but for its name, which was another one."""
        if before is not None:
            arrived_ns = before.arrived_ns
        elif self._looked:
            arrived_ns = max(status.mtime_ns, int(now * 1e9))
        else:
            arrived_ns = status.mtime_ns
        return _Known(
            backup=Backup(
                location=self._location.name,
                name=name,
                path=path,
                size_bytes=status.size_bytes,
                mtime_ns=status.mtime_ns,
                ctime_ns=status.ctime_ns,
                inode=status.inode,
                device=status.device,
                inode_stable=self._is_stable(status.device, path),
            ),
            since=monotonic,
            arrived_ns=arrived_ns,
            trusted=before is not None or self._by_rename(name, status),
        )

    def _by_rename(self, name: str, status: Status) -> bool:
        """Whether a server that saves all the time put this file here, so that it is whole.

        Its saves are renames. Where one comes before the last had settled, waiting would never end.
        """
        before = self._known.get(name)
        return (
            self._location.origin is Origin.SERVER_FILE
            and before is not None
            and not before.backup.settled
            and before.backup.inode != status.inode
        )

    # -- settling --------------------------------------------------------------------------------

    def _read(self, entries: Entries, descriptor: int, now: float, monotonic: float) -> None:
        """Settle and read what is due among the latest arrivals; forget the bytes of the oldest."""
        order = list(self._known.values())
        for known in order[KEEP_FILES:]:
            if known.backup.settled or known.backup.head:
                known.backup = _bare(known.backup)
        for known in order[:READ_FILES]:
            backup = known.backup
            if backup.settled and backup.failure is None:
                continue
            waited = known.since < monotonic and (
                monotonic - known.since >= self._location.settle_seconds
            )
            due = waited or known.trusted or backup.failure is not None
            if not due and not self._knew(known):
                self._settling = True
                continue
            self._settle(known, entries, descriptor, now, monotonic)

    def _knew(self, known: _Known) -> bool:
        """Whether an earlier life saw it settled; asked once, and only of files that are read."""
        if known.asked:
            return False
        known.asked = True
        it = known.backup
        return self._settled_before(it.name, it.inode, it.size_bytes, it.mtime_ns)

    def _is_known(self, name: str, status: Status) -> bool:
        """Whether this file was counted under this name before."""
        known = self._known.get(name)
        return known is not None and (known.backup.device, known.backup.inode) == status.file

    def _settle(
        self, known: _Known, entries: Entries, descriptor: int, now: float, monotonic: float
    ) -> None:
        before = known.backup
        link = entries.links.get(before.name)
        ends: Ends | Missed | OSError
        if link is not None and link.error is not None:
            ends = link.error
        else:
            ends = read_ends(
                before.name if link is None else link.target,
                lambda seen: _unchanged(before, Status.of(seen)),
                dir_fd=descriptor if link is None else None,
            )
        if ends is Missed.GONE:
            del self._known[before.name]
            return
        if isinstance(ends, OSError):
            known.backup = dataclasses.replace(
                _bare(before),
                settled=True,
                failure=self._unreadable(ends, entries.found[before.name], now),
            )
            return
        differs = isinstance(ends, Missed) or (
            bool(before.head) and (before.head, before.tail) != (ends.head, ends.tail)
        )
        known.trusted = False
        if differs:
            known.backup = _bare(before)
            known.since = monotonic
            self._settling = True
        elif isinstance(ends, Ends):
            known.backup = dataclasses.replace(
                before, settled=True, head=ends.head, tail=ends.tail, failure=None
            )

    def _is_stable(self, device: int, path: str) -> bool:
        if device not in self._stable:
            self._stable[device] = inode_stable(device, path)
        return self._stable[device]

    # -- failures --------------------------------------------------------------------------------

    def _unseen(self, error: OSError | ValueError, now: float) -> Unseen:
        code = error.errno if isinstance(error, OSError) else None
        text = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        reason, detail = _FAILURES.get(code or 0, (Reason.LISTING_FAILED, text.lower()))
        if reason is Reason.DIRECTORY_UNREADABLE:
            detail += f": {_who()} needs r and x on it (runAsUser, fsGroup or the group redis)"
        detail = f"{self._location.path}: {detail}"
        return Unseen(source=self._location.name, at=now, reason=reason, detail=detail)

    def _unreadable(self, error: OSError, status: Status, now: float) -> Unseen:
        detail = (error.strerror or "can not be read").lower()
        if isinstance(error, PermissionError):
            detail += (
                f": {_who()} needs r on a file of {status.uid}:{status.gid}, "
                f"mode {status.mode & 0o7777:04o} (runAsUser, fsGroup or the group redis)"
            )
        return Unseen(source=self._location.name, at=now, reason=Reason.UNREADABLE, detail=detail)


def _same(backup: Backup, status: Status) -> bool:
    """Whether it is the same file with the same content, by all that a rename leaves as it is."""
    return (
        backup.size_bytes == status.size_bytes
        and backup.mtime_ns == status.mtime_ns
        and backup.device == status.device
        and (backup.inode == status.inode or not backup.inode_stable)
    )


def _unchanged(backup: Backup, status: Status) -> bool:
    return _same(backup, status) and backup.ctime_ns == status.ctime_ns


def _touch(known: _Known, status: Status, monotonic: float) -> None:
    """Only ctime moved: chmod or a new hard link, or a rewrite that put size and mtime back.

    A settled file stays settled if its ends, read again, are the same: to let each ``cp -al`` make
    it pending would put an older backup into its place. An unsettled one starts anew.
    """
    if known.backup.settled:
        known.trusted = True
    else:
        known.since = monotonic
    known.backup = dataclasses.replace(known.backup, ctime_ns=status.ctime_ns, settled=False)


def _bare(backup: Backup) -> Backup:
    return dataclasses.replace(backup, settled=False, head=b"", tail=b"", failure=None)


def _who() -> str:
    return f"the sidecar (uid {os.geteuid()}, gid {os.getegid()})"


def _room(descriptor: int) -> tuple[int | None, int | None]:
    """Free and total bytes; None where the file system does not say (it says 0 of 0)."""
    try:
        room = os.fstatvfs(descriptor)
    except OSError:
        return None, None
    if room.f_blocks == 0:
        return None, None
    return room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
