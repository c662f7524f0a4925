"""Which file is which: identities, arrivals, renames, replacements of one location.

Knows: that a name says little; that an inode with its size and mtime is a file. Refuses to know:
SQL, and whether a file is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from exporter.model import Backup, Known, Listing, Proof

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

    @property
    def signature(self) -> _Signature:
        return _signature(self.backup)


@dataclass(slots=True)
class Changes:
    """What one listing changed, for the durable copy."""

    stored: list[Tracked] = field(default_factory=list)
    renamed: list[Tracked] = field(default_factory=list)
    departed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.stored or self.renamed or self.departed)


def _signature(backup: Backup) -> _Signature:
    return (backup.inode, backup.size_bytes, backup.mtime_ns)


class Place:
    """The files of one location: those that lie there, and those that did."""

    def __init__(self) -> None:
        self.current: dict[str, Tracked] = {}
        self.gone: dict[str, Tracked] = {}
        self._predecessor: dict[str, Tracked] = {}
        """name -> the proven file whose name a new inode took: its successor is complete (a rename
        is atomic) though not read yet. A file that was overwritten in place leaves none."""
        self._told: dict[str, tuple[Tracked, Known]] = {}
        self._watched = False
        """Whether a look succeeded in this life: only then is a new file an arrival."""

    def remember(self, tracked: Tracked, *, gone: bool, proven: bool) -> None:
        """Takes back what an earlier life knew; call it in order of departure."""
        if not gone:
            self.current[tracked.backup.name] = tracked
        elif tracked.identity is not None:
            self.gone[tracked.identity] = tracked
            here = self.current.get(tracked.backup.name)
            if proven and here is not None and here.backup.inode != tracked.backup.inode:
                self._predecessor[tracked.backup.name] = tracked

    def proved(self, identity: str) -> None:
        """A file was proven after it had gone: it stands for its name until its successor does."""
        tracked = self.gone.get(identity)
        if tracked is None:
            return
        here = self.current.get(tracked.backup.name)
        if here is not None and here.backup.inode != tracked.backup.inode:
            self._predecessor[tracked.backup.name] = tracked

    def recognise(self, listing: Listing, proofs: Mapping[str, Proof], now: float) -> Changes:
        """Brings ``current`` and ``gone`` up to ``listing``."""
        changes = Changes()
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
            same = by_signature.get(tracked.signature)
            if tracked.identity in self.gone or (same and same.identity == tracked.identity):
                changes.renamed.append(tracked)
            else:
                changes.stored.append(tracked)
            self.gone.pop(tracked.identity, None)
        self._depart(current, proofs, changes)
        self.current = current
        self._watched = True
        return changes

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
        other = by_signature.get(signature) or self._departed(signature, backup.mark)
        if other is not None and backup.inode_stable and backup.mark == other.mark:
            return replace(other, backup=backup)
        again = self.gone.get(backup.identity)
        if again is not None:
            return replace(again, backup=backup)
        return Tracked(
            backup=backup, identity=backup.identity, arrived_at=arrived_at, mark=backup.mark
        )

    def _departed(self, signature: _Signature, mark: str) -> Tracked | None:
        """The file that went from its name in an earlier look, and lies under another one now."""
        return next(
            (t for t in self.gone.values() if t.signature == signature and t.mark == mark), None
        )

    def _depart(
        self, current: Mapping[str, Tracked], proofs: Mapping[str, Proof], changes: Changes
    ) -> None:
        """Books the files that are no more, and who stands for a replaced one."""
        here = {t.identity for t in current.values()}
        for name, before in self.current.items():
            after = current.get(name)
            if after is not None and after.identity == before.identity:
                continue
            if before.identity is None or before.identity in here:
                continue
            self.gone[before.identity] = before
            changes.departed.append(before.identity)
            if after is None or after.backup.inode == before.backup.inode:
                self._predecessor.pop(name, None)
            elif before.identity in proofs:
                self._predecessor[name] = before
        for name in list(self._predecessor):
            after = current.get(name)
            if after is None or (after.identity is not None and after.identity in proofs):
                del self._predecessor[name]
        while len(self.gone) > GONE_KEPT:
            del self.gone[next(iter(self.gone))]

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
                _known(t, proofs.get(t.identity or ""), exists=False)
                for t in self._predecessor.values()
            ),
        )


def _known(tracked: Tracked, proof: Proof | None, *, exists: bool) -> Known:
    return Known(
        backup=tracked.backup,
        identity=tracked.identity,
        arrived_at=tracked.arrived_at,
        proof=proof,
        exists=exists,
    )
