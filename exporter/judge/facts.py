"""From what was seen and proven to what the checks ask: newest, last valid, age, history.

Knows: which backup counts (DESIGN 3), when its data was taken, and whether the server is idle.
Refuses to know: limits and verdicts (``checks``, ``verdict``), files, clocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.judge.name_time import name_time
from exporter.model import (
    Arrival,
    Candidate,
    Known,
    Listing,
    Location,
    LocationState,
    Origin,
    Policy,
    Proof,
    RdbHeader,
    RdbReport,
    ServerView,
    Status,
    TimeSource,
    Unseen,
)

#: A ctime further ahead than this is a clock that can't be trusted.
FUTURE_SECONDS = 300.0
#: How far ctime + duration may lie from the server's last save to be that save.
SAME_SAVE_SECONDS = 10.0
#: How many waiting backups outputs list.
PENDING_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationFacts:
    """One location as the checks see it."""

    location: Location
    seen: Listing | Unseen
    state: LocationState
    history: tuple[Arrival, ...] = ()
    """Proven arrivals before the newest judged one, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that one judgement rests on."""

    now: float
    policy: Policy
    locations: tuple[LocationFacts, ...]
    server: ServerView | Unseen | None = None
    last_good: ServerView | None = None
    """The newest look that succeeded, for the grace period."""
    unseen_seconds: float = 0.0
    """Monotonic seconds since that look, or since the start if there was none."""
    loading_stalled_seconds: float = 0.0
    """Monotonic seconds for which a loading server made no progress."""


def fingerprint(
    *, crc64: int | None, ctime: int | None, size_bytes: int, rdb_version: int | None
) -> str | None:
    """What two copies of one snapshot share; None where the format can't tell two saves apart.

    The stored CRC covers the aux fields, ctime among them. Without a ctime (before RDB 7) two saves
    of an unchanged dataset are the same bytes, and equal bytes prove nothing.
    """
    if ctime is None or rdb_version is None:
        return None
    if crc64:
        return f"{crc64:016x}"
    return hashlib.sha256(f"{ctime}/{size_bytes}".encode()).hexdigest()[:16]


def report_fingerprint(report: RdbReport, size_bytes: int) -> str | None:
    return fingerprint(
        crc64=report.crc64,
        ctime=report.ctime,
        size_bytes=size_bytes,
        rdb_version=report.rdb_version,
    )


def _header_fingerprint(header: RdbHeader | None, size_bytes: int) -> str | None:
    if header is None:
        return None
    return fingerprint(
        crc64=header.crc64,
        ctime=header.ctime,
        size_bytes=size_bytes,
        rdb_version=header.rdb_version,
    )


def taken(
    location: Location, name: str, mtime_ns: int, ctime: int | None, now: float
) -> tuple[float | None, TimeSource]:
    """When the data of a file was taken, and how we know; None where that lies in the future."""
    source = TimeSource.CTIME
    at: float | None = ctime
    if at is None:
        source, at = TimeSource.NAME, name_time(location, name)
    if at is None:
        source, at = TimeSource.MTIME, mtime_ns / 1e9
    return (None if at > now + FUTURE_SECONDS else at), source


def _candidate(location: Location, known: Known, now: float) -> Candidate:
    """``known`` with the times and the fingerprint that judging needs."""
    backup = known.backup
    proof = known.proof
    if backup.failure is not None:
        failed = RdbReport(status=Status.UNREADABLE, reason=backup.failure.detail)
        proof = Proof(identity=known.identity or "", report=failed, verified_at=now, ctime_ns=0)
    if proof is not None and proof.report.status is not Status.UNREADABLE:
        ctime = proof.report.ctime
        mark = report_fingerprint(proof.report, backup.size_bytes)
    else:
        ctime = known.header.ctime if known.header else None
        mark = _header_fingerprint(known.header, backup.size_bytes)
    at, source = taken(location, backup.name, backup.mtime_ns, ctime, now)
    return Candidate(
        backup=backup,
        identity=known.identity or "",
        arrived_at=known.arrived_at,
        taken_at=at,
        time_source=source,
        fingerprint=mark,
        proof=proof,
        exists=known.exists,
        same_as=known.same_as,
    )


def _arrival_order(known: Known) -> tuple[float, int, int, str]:
    backup = known.backup
    return (known.arrived_at, backup.ctime_ns, backup.mtime_ns, backup.name)


def _is_judged(known: Known) -> bool:
    return known.proof is not None or known.backup.failure is not None


def place(
    location: Location,
    seen: Listing | Unseen,
    known: Sequence[Known],
    arrivals: Sequence[Arrival],
    now: float,
) -> LocationFacts:
    """The facts of one location.

    ``known`` are the files of ``seen`` as the ledger recognised them, plus, with ``exists`` False,
    the proven predecessor of a file that was replaced and is not judged yet. ``arrivals`` are all
    proven backups of the location, oldest first.
    """
    if isinstance(seen, Unseen):
        state = LocationState(location=location, seen=seen)
        return LocationFacts(location=location, seen=seen, state=state)
    ordered = sorted(known, key=_arrival_order, reverse=True)
    present = [k for k in ordered if k.exists]
    first_judged = next((i for i, k in enumerate(ordered) if _is_judged(k)), None)
    judged = None if first_judged is None else _candidate(location, ordered[first_judged], now)
    waiting = [k for k in ordered[:first_judged] if k.exists]
    valid = [
        _candidate(location, k, now)
        for k in ordered
        if k.proof is not None
        and k.proof.report.status is Status.VALID
        and k.backup.failure is None
        and (k.exists or location.origin is Origin.SERVER_FILE)
    ]
    trusted = [c for c in valid if c.taken_at is not None]
    state = LocationState(
        location=location,
        seen=seen,
        newest=_candidate(location, present[0], now) if present else None,
        newest_judged=judged,
        last_valid=max(trusted, key=lambda c: (c.taken_at or 0.0, c.arrived_at), default=None),
        pending=tuple(_candidate(location, k, now) for k in waiting[:PENDING_SHOWN]),
        files=len(present),
        files_size_bytes=sum(k.backup.size_bytes for k in present),
        distinct_snapshots=_distinct(present),
    )
    before = () if judged is None else _before(judged, arrivals)
    return LocationFacts(location=location, seen=seen, state=state, history=before)


def _distinct(present: Sequence[Known]) -> int:
    """Recovery points that really differ: broken files are none."""
    marks: set[str] = set()
    for known in present:
        size = known.backup.size_bytes
        if known.proof is not None:
            if known.proof.report.status is not Status.VALID:
                continue
            mark = report_fingerprint(known.proof.report, size)
        else:
            mark = _header_fingerprint(known.header, size)
        marks.add(mark or f"{known.identity}")
    return len(marks)


def _before(judged: Candidate, arrivals: Sequence[Arrival]) -> tuple[Arrival, ...]:
    """The proven arrivals before ``judged``."""
    backup = judged.backup
    order = (judged.arrived_at, backup.ctime_ns, backup.mtime_ns, backup.name)
    itself = judged.same_as or judged.identity
    return tuple(
        a
        for a in arrivals
        if (a.same_as or a.identity) != itself
        and a.identity != judged.identity
        and (a.arrived_at, a.ctime_ns, a.mtime_ns, a.name) < order
    )


def saved_since_start(server: ServerView) -> bool:
    """Whether the server's last save is one: until the first, it is the time of its start."""
    started_at = server.started_at
    return (
        bool(server.saves_started)
        or server.last_bgsave_seconds is not None
        or started_at is None
        or (
            server.last_save_at is not None and server.last_save_at > started_at + SAME_SAVE_SECONDS
        )
    )


def holds_last_save(report: RdbReport, server: ServerView) -> bool:
    """Whether ``report`` is of the server's last save, so that nothing is newer than it.

    After a restart LASTSAVE is the boot time: there the only witness is that as many keys were
    loaded (and dropped as expired) as the backup holds.
    """
    if report.ctime is None or server.last_save_at is None:
        return False
    if not saved_since_start(server):
        loaded, expired = server.load_keys_loaded, server.load_keys_expired
        if loaded is None or expired is None or report.keys == 0:
            return False
        return loaded + expired == report.keys
    took = server.last_bgsave_seconds or 0
    return abs(report.ctime + took - server.last_save_at) <= SAME_SAVE_SECONDS


def is_idle(report: RdbReport | None, server: ServerView | Unseen | None) -> bool:
    """Whether an old backup is as fresh as can be: no write since, and it is the last save."""
    return (
        report is not None
        and isinstance(server, ServerView)
        and server.changes_since_last_save == 0
        and not server.loading
        and holds_last_save(report, server)
    )
