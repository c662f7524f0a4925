"""Which file is which: identities, arrivals, renames, replacements of one location.

Knows: that a name says little; that an inode with its size and mtime is a file. Refuses to know:
SQL, and whether a file is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from exporter.model import PACKED, Backup, Known, Listing, Proof, Status

#: Files that are gone are remembered this many (for "the same snapshot as before" and baselines).
GONE_KEPT = 5000

_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A file under its identity. ``mark`` is the digest of its first and last bytes."""

    backup: Backup
    identity: str | None
    arrived_at: float
    mark: str = ""
    same_as: str | None = None
    """The identity under which this very backup was known before it was packed or copied."""

    @property
    def signature(self) -> _Signature:
        return _signature(self.backup)


@dataclass(slots=True)
class Changes:
    """What one listing changed, for the durable copy."""

    stored: list[Tracked] = field(default_factory=list)
    departed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.stored or self.departed)


def _signature(backup: Backup) -> _Signature:
    return (backup.inode, backup.size_bytes, backup.mtime_ns)


class Place:
    """The files of one location: those that lie there, and those that did."""

    def __init__(self) -> None:
        self.current: dict[str, Tracked] = {}
        self.gone: dict[str, Tracked] = {}
        self._replaced: dict[str, dict[str, Tracked]] = {}
        """name -> identity -> files whose name a new inode took. A proven one stands for its name
        while its successor, complete (a rename is atomic), is not read. None is left where the
        successor grows or is overwritten in place: then its bytes are the only ones there are."""
        self._told: dict[str, tuple[Tracked, Known]] = {}
        self._watched = False
        """Whether a look succeeded in this life: only then is a new file an arrival."""

    def remember(self, tracked: Tracked, *, gone: bool) -> None:
        """Takes back what an earlier life knew; call it in order of departure."""
        if not gone:
            self.current[tracked.backup.name] = tracked
        elif tracked.identity is not None:
            self.gone[tracked.identity] = tracked

    def recognise(self, listing: Listing, proofs: Mapping[str, Proof], now: float) -> Changes:
        """Brings ``current`` and ``gone`` up to ``listing``."""
        changes = Changes()
        self._clamp(now, changes)
        if listing.mount_changed:
            self._watched = False
        by_signature = {t.signature: t for t in self.current.values() if t.identity is not None}
        current: dict[str, Tracked] = {}
        for backup in listing.backups:
            before = self.current.get(backup.name)
            if before is not None and backup is before.backup:
                # Nothing changed: the usual case, and there may be a hundred thousand of them.
                current[backup.name] = before
                continue
            tracked = self._track(backup, before, by_signature, now)
            current[backup.name] = tracked
            if tracked.identity is None or (before and tracked.identity == before.identity):
                continue
            changes.stored.append(tracked)
            self.gone.pop(tracked.identity, None)
        self._depart(current, proofs, changes)
        self.current = current
        self._watched = True
        return changes

    def _clamp(self, now: float, changes: Changes) -> None:
        """A clock that ran ahead dated arrivals into the future: they would hide what follows."""
        for files in (self.current, self.gone):
            ahead = [(key, t) for key, t in files.items() if t.arrived_at > now]
            for key, tracked in ahead:
                files[key] = replace(tracked, arrived_at=now)
                if tracked.identity is not None and files is self.current:
                    changes.stored.append(files[key])

    def _track(
        self,
        backup: Backup,
        before: Tracked | None,
        by_signature: Mapping[_Signature, Tracked],
        now: float,
    ) -> Tracked:
        """``backup`` as the file that it was, a renamed one, an unsettled one, or an arrival."""
        signature = _signature(backup)
        if (
            before is not None
            and before.identity is not None
            and before.signature == signature
            and backup.mark in {"", before.mark}
        ):
            return replace(before, backup=backup)
        mtime = backup.mtime_ns / 1e9
        if before is not None and before.identity is None:
            first_seen = before.arrived_at
        else:
            first_seen = now if self._watched else mtime
        # Nothing arrives after it was seen: a file with a time in the future would stay the newest
        # for ever, and hide all that follow.
        arrived_at = min(max(mtime, first_seen), now)
        if not backup.settled:
            return Tracked(backup=backup, identity=None, arrived_at=arrived_at)
        other = by_signature.get(signature) if backup.inode_stable else None
        if other is None or other.mark != backup.mark:
            other = self._departed(backup)
        if other is None:
            return Tracked(
                backup=backup, identity=backup.identity, arrived_at=arrived_at, mark=backup.mark
            )
        if other.backup.inode == backup.inode:
            return replace(other, backup=backup)
        # A volume that was copied elsewhere, a file that was put back: the same backup by all that
        # shows, no arrival; but its bytes are others, and are not proven.
        return Tracked(
            backup=backup,
            identity=backup.identity,
            arrived_at=other.arrived_at,
            mark=backup.mark,
            same_as=other.same_as or other.identity,
        )

    def _departed(self, backup: Backup) -> Tracked | None:
        """A file that went earlier and is here now: under another name (a rename seen late), or
        under its own with another inode.
        """
        like = (backup.size_bytes, backup.mtime_ns, backup.mark)
        return next(
            (
                t
                for t in self.gone.values()
                if (t.backup.size_bytes, t.backup.mtime_ns, t.mark) == like
                and (
                    t.backup.name == backup.name
                    or (backup.inode_stable and t.backup.inode == backup.inode)
                )
            ),
            None,
        )

    def _depart(
        self, current: Mapping[str, Tracked], proofs: Mapping[str, Proof], changes: Changes
    ) -> None:
        """Books the files that are no more, and who stands for a replaced one."""
        here = {t.identity for t in current.values()}
        for name, before in self.current.items():
            after = current.get(name)
            if after is before:
                continue
            if after is None or after.backup.inode == before.backup.inode:
                if after is None or after.signature != before.signature:
                    self._replaced.pop(name, None)
            elif before.identity is not None:
                self._replaced.setdefault(name, {})[before.identity] = before
            if before.identity is None or before.identity in here:
                continue
            self.gone[before.identity] = before
            changes.departed.append(before.identity)
        for name in list(self._replaced):
            after = current.get(name)
            if (
                after is None
                or (after.identity is not None and after.identity in proofs)
                or after.backup.size_bytes == 0
            ):
                del self._replaced[name]
        while len(self.gone) > GONE_KEPT:
            del self.gone[next(iter(self.gone))]

    def inherit(self, identity: str, proofs: Mapping[str, Proof]) -> Tracked | None:
        """Where the file just proven is another form (``.gz``) of one that was proven under the
        same stem, it is that backup still: no arrival. Answers it with what it inherits.
        """
        name, tracked = next(
            ((n, t) for n, t in self.current.items() if t.identity == identity), ("", None)
        )
        if tracked is None:
            return None
        for other in (*self.current.values(), *reversed(self.gone.values())):
            if (
                other.identity not in {None, identity}
                and other.backup.name != name
                and _stem(other.backup.name) == _stem(name)
                and _same_snapshot(proofs.get(other.identity or ""), proofs[identity])
            ):
                self.current[name] = replace(
                    tracked,
                    arrived_at=other.arrived_at,
                    same_as=other.same_as or other.identity,
                )
                return self.current[name]
        return None

    def known(self, proofs: Mapping[str, Proof]) -> tuple[Known, ...]:
        """All files that lie here, and the predecessors that still stand for a name."""
        known: dict[str, tuple[Tracked, Known]] = {}
        for name, tracked in self.current.items():
            proof = proofs.get(tracked.identity or "")
            before = self._told.get(name)
            if before is not None and before[0] is tracked and before[1].proof is proof:
                known[name] = before
            else:
                known[name] = (tracked, _known(tracked, proof, exists=True))
        self._told = known
        return (
            *(k for _, k in known.values()),
            *(
                _known(tracked, proof, exists=False)
                for replaced in self._replaced.values()
                for tracked, proof in _latest_proven(replaced, proofs)
            ),
        )


def _known(tracked: Tracked, proof: Proof | None, *, exists: bool) -> Known:
    return Known(
        backup=tracked.backup,
        identity=tracked.identity,
        arrived_at=tracked.arrived_at,
        proof=proof,
        exists=exists,
        same_as=tracked.same_as,
    )


def _latest_proven(
    replaced: Mapping[str, Tracked], proofs: Mapping[str, Proof]
) -> list[tuple[Tracked, Proof]]:
    """The last of ``replaced`` that was proven, if one was."""
    for identity, tracked in reversed(list(replaced.items())):
        proof = proofs.get(identity)
        if proof is not None:
            return [(tracked, proof)]
    return []


def _stem(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if suffix in PACKED else name


def _same_snapshot(one: Proof | None, other: Proof) -> bool:
    if one is None:
        return False
    a, b = one.report, other.report
    return (
        a.status is b.status is Status.VALID
        and a.ctime is not None
        and (a.ctime, a.crc64, a.keys) == (b.ctime, b.crc64, b.keys)
    )
