"""The thread that reads backups, one at a time.

Knows: that a proof is committed before it is told, what may be cancelled for what, and what to do
about a read() that does not return. Refuses to know: what is to be read next (``queue``), and how
bytes are read (``engines``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from exporter.model import (
    UNVERIFIED,
    ChecksumState,
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
from exporter.verify.queue import LIVE_SHARE, Job, Why
from exporter.verify.second_opinion import second_opinion

#: Free space below this many times a replaced file's size: let go of its blocks.
SHORT_OF_SPACE = 1.2
#: So long beyond its time limit a reading is waited for.
NOT_BACK_SECONDS = 30.0
NOT_BACK = "a read of it does not return: the disk or the mount hangs"
#: With more threads that do not come back the process has to end.
LOST_MAX = 3


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
    deadline: float
    """When a reading that has not come back is given up; monotonic."""
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
        self._lost: list[threading.Thread] = []
        """Threads in a read() that did not return."""
        self._opinions_from = 0.0
        """When the next opinion on a live dump may begin."""
        self._thread = self._new_thread()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="verifier", daemon=True)

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
            if _chases(job) and time.monotonic() < self._opinions_from:
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

    def rescue(self) -> None:
        """Gives up a reading whose read() does not return, as on a hung mount, and reads on.

        To be called often. The engines see their time limit between reads alone; nobody can end a
        thread that waits in the kernel, so it is left there, and what it brings later is dropped.
        """
        with self._wake:
            reading = self._reading
            if reading is None or time.monotonic() < reading.deadline or self._stopping.is_set():
                return
            self._reading = None
            self._lost = [thread for thread in (*self._lost, self._thread) if thread.is_alive()]
            if len(self._lost) > LOST_MAX:
                self.failure = TimeoutError(f"{len(self._lost)} readings do not return")
                return
            self._thread = self._new_thread()
        job, seconds = reading.job, time.time() - reading.started_at
        engine = self._second if _can_wait(job) else self._engine
        name = engine.name if engine else ""
        report = RdbReport(status=Status.TIMEOUT, reason=NOT_BACK, engine=name)
        if _can_wait(job):
            done = self._compare(job, report, seconds)
        else:
            self._store.prove(self._proof(job, report))
            done = Done(job=job, report=report, seconds=seconds)
        self._thread.start()
        if done is not None:
            self._done(done)

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
                    reading = self._reading = self._begin(self._wanted)
                    self._wanted = None
                done = self._read(reading)
                with self._wake:
                    if self._reading is not reading:
                        return  # given up, and another thread has taken over
                    self._reading = None
                if done is not None:
                    self._done(done)
        except BaseException as error:  # noqa: BLE001 - the daemon ends the process on any bug
            with self._wake:
                if self._thread is threading.current_thread():
                    self.failure = error
                    self._reading = None

    def _begin(self, job: Job) -> _Reading:
        allowed = limits(self._policy, job.known.backup.size_bytes).timeout_seconds
        return _Reading(job, time.time(), time.monotonic() + allowed + NOT_BACK_SECONDS)

    def _read(self, reading: _Reading) -> Done | None:
        """Reads one file; None where the reading was cancelled, or given up meanwhile."""
        began = time.monotonic()
        try:
            return self._prove(reading)
        finally:
            if _chases(reading.job):
                ended = time.monotonic()
                self._opinions_from = ended + LIVE_SHARE * (ended - began)

    def _prove(self, reading: _Reading) -> Done | None:
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
        if self._reading is not reading:
            return None
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
        if before is not None and _same_once_more(job.why, before.report, report):
            kept = before.second_opinion
        return Proof(
            identity=job.known.identity or "",
            report=report,
            verified_at=time.time(),
            ctime_ns=job.known.backup.ctime_ns,
            attempts=before.attempts + 1 if before is not None and again else 1,
            second_opinion=kept,
        )


def _same_once_more(why: Why, before: RdbReport, report: RdbReport) -> bool:
    """Whether the same file was read again, and is no new one: a link, a chmod, a week gone by.

    A touched file without a checksum may be another with the same counts.
    """
    facts = ("engine", "status", "crc64", "keys", "checksum")
    if any(getattr(before, fact) != getattr(report, fact) for fact in facts):
        return False
    return why is Why.REVERIFY or (why is Why.TOUCHED and report.checksum is ChecksumState.OK)


def _can_wait(job: Job) -> bool:
    return job.why is Why.SECOND_OPINION


def _chases(job: Job) -> bool:
    """A second opinion on a live dump, which may be gone before it is given."""
    return _can_wait(job) and job.location.origin is Origin.SERVER_FILE


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
