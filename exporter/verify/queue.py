"""Which backup is read next, and the thread that reads it.

Knows: the order of DESIGN 6 - the newest first, arrivals before backlog, second opinions when
nothing else is to be done - and when a backlog has been read enough. Refuses to know: what makes a
backup good, and how bytes are read (``engines``).

There is no queue that could fill up or grow stale: what is next is decided from what lies there
now, each time that the reader is free.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.model import (
    UNVERIFIED,
    Known,
    Location,
    Origin,
    Proof,
    ProvenStore,
    RdbReport,
    SecondOpinion,
    Status,
    VerifierState,
    VerifyPolicy,
)
from exporter.verify import priority
from exporter.verify.engines import Cancelled, Engine, limits
from exporter.verify.file import Changed, prove
from exporter.verify.second_opinion import NO_OPINION, second_opinion

#: With this many distinct snapshots read, a backlog has told enough for a baseline.
ENOUGH_SNAPSHOTS = 7
#: First wait before a file that could not be verified is tried again; doubles up to the longest.
RETRY_SECONDS = 60.0
RETRY_LONGEST_SECONDS = 3600.0
#: A live dump is read again no sooner than this many times the last reading's duration.
LIVE_SHARE = 10.0
#: Free space below this many times a replaced file's size: let go of its blocks.
SHORT_OF_SPACE = 1.2


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
    wait = max(policy.min_interval_seconds, LIVE_SHARE * shelf.last_read_seconds)
    return now < shelf.last_read_ended_at + wait


def _enough(files: Sequence[Known], valid: Sequence[Known], policy: VerifyPolicy) -> bool:
    """Whether enough was read for now: one valid is found, and a baseline is there."""
    if not valid:
        return False
    distinct = {(k.proof.report.ctime, k.proof.report.crc64) for k in valid if k.proof is not None}
    read = sum(k.proof is not None for k in files)
    return len(distinct) >= ENOUGH_SNAPSHOTS or read >= policy.backlog


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a reading ended: with a report, or None where the file changed under it.

    A second opinion's has no report of its own: the proof is what it was.
    """

    job: Job
    report: RdbReport | None
    seconds: float
    detail: str = ""
    opinion: SecondOpinion | None = None


@dataclass(slots=True)
class _Reading:
    job: Job
    started_at: float
    bytes_read: int = 0


class Verifier:
    """One thread that reads one backup at a time and commits the proof before it tells."""

    def __init__(
        self,
        engine: Engine,
        store: ProvenStore,
        policy: VerifyPolicy,
        done: Callable[[Done], None],
        *,
        second: Engine | None = None,
    ) -> None:
        """``done`` is called on the reader's thread, after the proof is committed.

        ``second`` is the engine for second opinions; without it none may be offered.
        """
        self._engine = engine
        self._second = second
        self._store = store
        self._policy = policy
        self._done = done
        self._wanted: Job | None = None
        self._reading: _Reading | None = None
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self.failure: BaseException | None = None
        """The bug that ended the thread, if one did."""
        self._thread = threading.Thread(target=self._run, name="verifier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, job: Job | None) -> bool:
        """Takes ``job`` if the reader is free, or gives a second opinion: that can wait."""
        with self._wake:
            if job is None or self._wanted is not None:
                return False
            reading = self._reading
            if reading is not None and not (_can_wait(reading.job) and not _can_wait(job)):
                return False
            self._wanted = job
            self._wake.notify()
            return True

    @property
    def busy(self) -> bool:
        return self._reading is not None or self._wanted is not None

    @property
    def free(self) -> bool:
        """Whether an arrival would be taken now."""
        reading = self._reading
        return self._wanted is None and (reading is None or _can_wait(reading.job))

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def state(self) -> VerifierState:
        """What is being read, for outputs."""
        reading = self._reading
        if reading is None:
            return VerifierState()
        size = reading.job.known.backup.size_bytes
        return VerifierState(
            location=reading.job.location.name,
            name=reading.job.known.backup.name,
            started_at=reading.started_at,
            ratio=min(1.0, reading.bytes_read / size) if size else 0.0,
        )

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Cancels what is being read and ends the thread."""
        self._stopping.set()
        with self._wake:
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        priority.lower()
        try:
            while True:
                with self._wake:
                    while self._wanted is None and not self._stopping.is_set():
                        self._wake.wait()
                    if self._stopping.is_set():
                        return
                    assert self._wanted is not None
                    self._reading = _Reading(self._wanted, time.time())
                    self._wanted = None
                done = self._read(self._reading)
                with self._wake:
                    self._reading = None
                if done is not None:
                    self._done(done)
        except BaseException as error:  # noqa: BLE001 - the daemon ends the process on any bug
            self.failure = error
            with self._wake:
                self._reading = None

    def _read(self, reading: _Reading) -> Done | None:
        """Reads one file; None where the reading was cancelled."""
        job, backup = reading.job, reading.job.known.backup
        waits = _can_wait(job)
        engine = self._second if waits else self._engine
        if engine is None:
            raise AssertionError(
                "a second opinion was offered to a verifier without a second engine"
            )

        def progress(bytes_read: int) -> None:
            reading.bytes_read = bytes_read

        def cancelled() -> bool:
            return self._stopping.is_set() or (waits and self._wanted is not None)

        began = time.monotonic()
        live = job.location.origin is Origin.SERVER_FILE
        try:
            result = prove(
                backup.path,
                engine,
                limits=limits(self._policy, backup.size_bytes),
                progress=progress,
                cancelled=cancelled,
                must_yield=_short_of_space(backup.path) if live else None,
                seen=backup,
            )
        except Cancelled as error:
            if cancelled():
                return None
            return Done(job=job, report=None, seconds=0.0, detail=str(error))
        seconds = time.monotonic() - began
        if isinstance(result, Changed):
            return Done(job=job, report=None, seconds=seconds, detail=result.detail)
        if result.status is Status.MISSING:
            return Done(job=job, report=None, seconds=seconds, detail="it went away")
        if waits:
            return self._compare(job, result, seconds)
        self._store.prove(self._proof(job, result))
        return Done(job=job, report=result, seconds=seconds)

    def _compare(self, job: Job, result: RdbReport, seconds: float) -> Done | None:
        """Keeps the second opinion beside the proof that it is of, if that is still the one."""
        proof = job.known.proof
        if proof is None or self._store.proof(proof.identity) != proof:
            return None
        opinion = second_opinion(proof.report, result)
        self._store.prove(replace(proof, second_opinion=opinion))
        return Done(job=job, report=None, seconds=seconds, opinion=opinion)

    def _proof(self, job: Job, report: RdbReport) -> Proof:
        before = job.known.proof
        again = before is not None and report.status in UNVERIFIED
        kept = None
        if before is not None and job.why is Why.REVERIFY and before.report.status is report.status:
            kept = before.second_opinion  # the same file once more, and not a new one
        return Proof(
            identity=job.known.identity or "",
            report=report,
            verified_at=time.time(),
            ctime_ns=job.known.backup.ctime_ns,
            attempts=before.attempts + 1 if before is not None and again else 1,
            second_opinion=kept,
        )


def _can_wait(job: Job) -> bool:
    return job.why is Why.SECOND_OPINION


def _short_of_space(path: str) -> Callable[[os.stat_result], bool]:
    """Whether our descriptor keeps the blocks of a replaced dump while the next save needs them."""
    directory = os.path.dirname(path)  # noqa: PTH120 - a name from outside stays the text it is

    def must_yield(stat: os.stat_result) -> bool:
        if stat.st_nlink > 0:
            return False
        try:
            room = os.statvfs(directory)
        except OSError:
            return False
        return room.f_bavail * room.f_frsize < SHORT_OF_SPACE * stat.st_size

    return must_yield
