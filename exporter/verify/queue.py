"""Which backup is read next.

Knows: the order of DESIGN 6 - the newest first, arrivals before backlog, second opinions when
nothing else is to be done - and when a backlog has been read enough. Refuses to know: what makes a
backup good, and who reads it (``verifier``).

There is no queue that could fill up or grow stale: what is next is decided from what lies there
now, each time that the reader is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import UNVERIFIED, Known, Location, Origin, Status, VerifyPolicy
from exporter.verify.second_opinion import NO_OPINION

#: With this many distinct snapshots read, a backlog has told enough for a baseline.
ENOUGH_SNAPSHOTS = 7
#: First wait before a file that could not be verified is tried again; doubles up to the longest.
RETRY_SECONDS = 60.0
RETRY_LONGEST_SECONDS = 3600.0
#: A live dump is read again no sooner than this many times the last reading's duration.
LIVE_SHARE = 10.0


class Why(StrEnum):
    """Why a backup is read."""

    ARRIVAL = "arrival"
    RETRY = "retry"
    TOUCHED = "touched"
    BACKLOG = "backlog"
    REVERIFY = "reverify"
    SECOND_OPINION = "second_opinion"
    """By the other engine: its proof is there, and was told."""


#: What goes first; an arrival anywhere goes before a backlog anywhere.
_ORDER = {why: rank for rank, why in enumerate(Why)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One reading that is due."""

    location: Location
    known: Known
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What lies in one location, and when a file of it was last read."""

    location: Location
    known: Sequence[Known]
    last_read_ended_at: float | None = None
    last_read_seconds: float = 0.0


def next_job(shelves: Sequence[Shelf], policy: VerifyPolicy, now: float) -> Job | None:
    """The reading that is due first, or None."""
    jobs = [job for shelf in shelves if (job := _due(shelf, policy, now)) is not None]
    return min(jobs, key=lambda job: _ORDER[job.why], default=None)


def _due(shelf: Shelf, policy: VerifyPolicy, now: float) -> Job | None:
    """The first reading that is due in one location."""
    files = sorted(
        (k for k in shelf.known if k.exists and k.identity and k.backup.failure is None),
        key=lambda k: (k.arrived_at, k.backup.ctime_ns, k.backup.mtime_ns, k.backup.name),
        reverse=True,
    )
    settled = [k for k in files if k.backup.settled]
    if not settled:
        return None

    def job(known: Known, why: Why) -> Job:
        return Job(location=shelf.location, known=known, why=why)

    newest = settled[0]
    why = _why_newest(shelf, newest, policy, now)
    if why is not None:
        return job(newest, why)
    valid = [k for k in files if k.proof is not None and k.proof.report.status is Status.VALID]
    older = next((k for k in settled[1:] if k.proof is None), None)
    if older is not None and newest.proof is not None and not _enough(files, valid, policy):
        return job(older, Why.BACKLOG)
    if valid and valid[0].backup.settled:
        proof = valid[0].proof
        if proof is not None and now >= proof.verified_at + policy.reverify_seconds:
            return job(valid[0], Why.REVERIFY)
    alone = next((k for k in settled[: policy.backlog] if _wants_opinion(k, policy)), None)
    return None if alone is None else job(alone, Why.SECOND_OPINION)


def _wants_opinion(known: Known, policy: VerifyPolicy) -> bool:
    """Whether the native engine read it, and nobody else did."""
    proof = known.proof
    return (
        proof is not None
        and proof.second_opinion is None
        and proof.report.engine == "native"
        and proof.report.status not in NO_OPINION
        and 0 < known.backup.size_bytes <= policy.second_opinion_max_bytes
    )


def _why_newest(shelf: Shelf, newest: Known, policy: VerifyPolicy, now: float) -> Why | None:
    """Why the newest file is to be read now, if it is."""
    proof = newest.proof
    if proof is None:
        return None if _must_wait(shelf, policy, now) else Why.ARRIVAL
    if proof.report.status in UNVERIFIED:
        wait = min(RETRY_SECONDS * 2 ** (proof.attempts - 1), RETRY_LONGEST_SECONDS)
        return Why.RETRY if now >= proof.verified_at + wait else None
    if newest.backup.inode_stable and newest.backup.ctime_ns != proof.ctime_ns:
        # Somebody touched it since; a file can be changed without changing its size and mtime.
        return Why.TOUCHED
    return None


def _must_wait(shelf: Shelf, policy: VerifyPolicy, now: float) -> bool:
    """Whether a live dump was read just now: a server that saves all the time is not chased."""
    if shelf.location.origin is not Origin.SERVER_FILE or shelf.last_read_ended_at is None:
        return False
    if not any(k.proof is not None for k in shelf.known):
        return False
    # A reading that was slowed down on purpose is no load to be made up for by waiting.
    share = 1.0 if policy.max_rate_bytes_per_second else LIVE_SHARE
    wait = max(policy.min_interval_seconds, share * shelf.last_read_seconds)
    return now < shelf.last_read_ended_at + wait


def _enough(files: Sequence[Known], valid: Sequence[Known], policy: VerifyPolicy) -> bool:
    """Whether enough was read for now: one valid is found, and a baseline is there."""
    if not valid:
        return False
    distinct = {(k.proof.report.ctime, k.proof.report.crc64) for k in valid if k.proof is not None}
    read = sum(k.proof is not None for k in files)
    return len(distinct) >= ENOUGH_SNAPSHOTS or read >= policy.backlog
