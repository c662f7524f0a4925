"""What must survive a restart: known files, proofs, verdict changes, the heartbeat outbox.

Knows: how to keep it. Refuses to know: what is good, when to ping. Losing it is harmless: files are
read again, and one heartbeat goes out if the verdict is green.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from exporter import __version__
from exporter.ledger.database import Database, LedgerBusyError, Statement
from exporter.ledger.outbox import Outbox
from exporter.ledger.recognition import GONE_KEPT, Changes, Place, Tracked
from exporter.model import (
    UNVERIFIED,
    Arrival,
    Backup,
    Known,
    Listing,
    Notice,
    Proof,
    RdbReport,
    SecondOpinion,
    Status,
    Verdict,
)

__all__ = ["Ledger", "LedgerBusyError", "Outbox"]

_VERDICTS_KEPT = 10_000
_OPINION = "second_opinion"


class Ledger:
    """The state of one sidecar. All methods may be called from any thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        now: float,
        network: bool = False,
        read_only: bool = False,
        engine: str = "",
    ) -> None:
        """Raises :class:`LedgerBusyError` where another ``run`` holds ``state_dir``.

        ``engine`` is the name of the one that will prove. ``read_only`` takes a copy into memory,
        beside a ``run`` or without one.
        """
        self._database = Database(state_dir, now=now, network=network, read_only=read_only)
        self._mutex = threading.RLock()
        self._places: dict[str, Place] = {}
        self._proofs: dict[str, Proof] = {}
        try:
            self._load()
        except (ValueError, KeyError, TypeError):
            self._places.clear()
            self._proofs.clear()
            self._database.set_aside(now)
        self._forget_other_writers(engine)

    @property
    def notices(self) -> tuple[Notice, ...]:
        return self._database.notices

    def close(self) -> None:
        self._database.close()

    def outbox(self, heartbeat: str) -> Outbox:
        return Outbox(self._database, heartbeat)

    # Proofs

    def proof(self, identity: str) -> Proof | None:
        return self._proofs.get(identity)

    def prove(self, proof: Proof) -> None:
        """Keeps ``proof``; when this returns it survives a SIGKILL."""
        with self._mutex:
            self._database.write(
                (
                    "INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?, ?)",
                    (
                        proof.identity, _written(proof), proof.verified_at,
                        proof.ctime_ns, proof.attempts,
                    ),
                )
            )  # fmt: skip
            self._proofs[proof.identity] = proof
            for location, place in self._places.items():
                heir = place.inherit(proof.identity, self._proofs)
                if heir is not None:
                    self._database.write(_stored(location, heir))

    # Files

    def recognise(self, listing: Listing, now: float) -> tuple[Known, ...]:
        """The files of ``listing`` under their identities, with their proofs.

        Along come, with ``exists`` False, the proven predecessors of files that were replaced by a
        rename and are not judged yet.
        """
        with self._mutex:
            place = self._places.setdefault(listing.location, Place())
            changes = place.recognise(listing, self._proofs, now)
            if changes:
                self._store(listing.location, changes, place, now)
            return place.known(self._proofs)

    def arrivals(self, location: str) -> tuple[Arrival, ...]:
        """All proven backups of ``location``, those that are gone included, oldest first."""
        with self._mutex:
            place = self._places.setdefault(location, Place())
            rows = [
                Arrival(
                    identity=proof.identity,
                    name=tracked.backup.name,
                    arrived_at=tracked.arrived_at,
                    mtime_ns=tracked.backup.mtime_ns,
                    size_bytes=tracked.backup.size_bytes,
                    ctime_ns=tracked.backup.ctime_ns,
                    same_as=tracked.same_as,
                    report=proof.report,
                )
                for tracked in (*place.gone.values(), *place.current.values())
                if (proof := self._proofs.get(tracked.identity or "")) is not None
                and proof.report.status not in UNVERIFIED
            ]
        return tuple(sorted(rows, key=lambda a: (a.arrived_at, a.ctime_ns, a.mtime_ns, a.name)))

    def _store(self, location: str, changes: Changes, place: Place, now: float) -> None:
        statements = [_stored(location, tracked) for tracked in changes.stored]
        statements += [
            (
                "UPDATE files SET departed_at = ? WHERE location = ? AND identity = ?",
                (now, location, identity),
            )
            for identity in changes.departed
        ]
        if len(place.gone) >= GONE_KEPT:
            statements += self._forget(location, place)
        self._database.write(*statements)

    def _forget(self, location: str, place: Place) -> list[Statement]:
        """Drops from the durable copy the departed files that memory dropped."""
        departed = self._database.read(
            "SELECT identity FROM files WHERE location = ? AND departed_at IS NOT NULL", (location,)
        )
        old = [identity for (identity,) in departed if identity not in place.gone]
        for identity in old:
            self._proofs.pop(identity, None)
        return [
            *(
                ("DELETE FROM files WHERE location = ? AND identity = ?", (location, identity))
                for identity in old
            ),
            *(("DELETE FROM proofs WHERE identity = ?", (identity,)) for identity in old),
        ]

    def _load(self) -> None:
        for identity, report, verified_at, ctime_ns, attempts in self._database.read(
            "SELECT identity, report, verified_at, ctime_ns, attempts FROM proofs"
        ):
            facts = json.loads(report)
            opinion = facts.pop(_OPINION, None)
            self._proofs[identity] = Proof(
                identity=identity,
                report=RdbReport.from_dict(facts),
                verified_at=verified_at,
                ctime_ns=ctime_ns,
                attempts=attempts,
                second_opinion=SecondOpinion.from_dict(opinion) if opinion else None,
            )
        rows = self._database.read(
            "SELECT location, identity, name, inode, size_bytes, mtime_ns, ctime_ns, mark,"
            " arrived_at, departed_at, same_as FROM files"
            " ORDER BY departed_at IS NOT NULL, departed_at"
        )
        for location, identity, name, inode, size, mtime_ns, ctime_ns, mark, at, gone, same in rows:
            backup = Backup(
                location=location, name=os.fsdecode(name), path="", size_bytes=size,
                mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=int(inode), device=0, settled=True,
            )  # fmt: skip
            self._places.setdefault(location, Place()).remember(
                Tracked(backup=backup, identity=identity, arrived_at=at, mark=mark, same_as=same),
                gone=gone is not None,
            )

    def _forget_other_writers(self, engine: str) -> None:
        """After an update, what an older release could not read or called broken is read again;
        so it is after a change of the engine.
        """
        writer = f"{__version__} {engine}".strip()
        if self._database.read("SELECT version FROM writer") == [(writer,)]:
            return
        again = [i for i, p in self._proofs.items() if p.report.status is not Status.VALID]
        for identity in again:
            del self._proofs[identity]
        self._database.write(
            ("DELETE FROM writer", ()),
            ("INSERT INTO writer VALUES (?)", (writer,)),
            *(("DELETE FROM proofs WHERE identity = ?", (identity,)) for identity in again),
        )

    # Verdicts

    def record(self, verdict: Verdict, now: float) -> None:
        """Keeps a change of the verdict, for whoever asks later what happened that night."""
        reasons = sorted({str(r.reason) for r in verdict.blocking})
        self._database.write(
            ("INSERT INTO verdicts VALUES (?, ?, ?)", (now, verdict.state, " ".join(reasons))),
            (
                "DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?",
                (_VERDICTS_KEPT,),
            ),
        )


def _written(proof: Proof) -> str:
    """The report with the second opinion beside it, which releases before it leave unread."""
    opinion = proof.second_opinion
    return json.dumps(
        proof.report.to_dict() | ({_OPINION: opinion.to_dict()} if opinion is not None else {})
    )


def _stored(location: str, tracked: Tracked) -> Statement:
    backup = tracked.backup
    return (
        "INSERT OR REPLACE INTO files (location, identity, name, inode, size_bytes, mtime_ns,"
        " ctime_ns, mark, arrived_at, same_as) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        # An inode may need 64 unsigned bits, one more than SQLite's integers have: text.
        (
            location, tracked.identity, os.fsencode(backup.name), str(backup.inode),
            backup.size_bytes, backup.mtime_ns, backup.ctime_ns, tracked.mark, tracked.arrived_at,
            tracked.same_as,
        ),
    )  # fmt: skip
