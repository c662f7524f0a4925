"""What was made of it all: candidates, check results, the verdict, the Snapshot that outputs read.

Knows: the shape of a judgement. Refuses to know: how it is reached (``exporter.judge``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.model.observations import Backup, Listing, ServerView, Unseen
from exporter.model.policy import HeartbeatPolicy, Location, Policy
from exporter.model.report import Proof, RdbHeader, RdbReport
from exporter.model.words import (
    CheckId,
    Outcome,
    Reason,
    Severity,
    Status,
    TimeSource,
    VerdictState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backup with all that is known of it."""

    backup: Backup
    identity: str
    arrived_at: float
    """max(mtime, first seen); see DESIGN 3."""
    taken_at: float | None = None
    """When its data was taken; None where the file claims a time in the future."""
    time_source: TimeSource = TimeSource.MTIME
    fingerprint: str | None = None
    """The same for two copies of one snapshot."""
    proof: Proof | None = None
    exists: bool = True
    """False for a replaced file whose successor is not judged yet."""
    same_as: str | None = None
    """The identity of this very backup before it was packed, unpacked or copied elsewhere."""

    @property
    def status(self) -> Status:
        return self.proof.report.status if self.proof else Status.PENDING

    @property
    def report(self) -> RdbReport | None:
        return self.proof.report if self.proof else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A backup that the ledger recognised: under which identity, since when, and what is proven."""

    backup: Backup
    identity: str | None
    """None until the file is settled."""
    arrived_at: float
    proof: Proof | None = None
    header: RdbHeader | None = None
    """Claims of a file that was not read in full."""
    exists: bool = True
    same_as: str | None = None
    """The identity of this very backup before it was packed, unpacked or copied elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A proven backup of the past, in order of arrival; the file may be gone."""

    identity: str
    name: str
    arrived_at: float
    mtime_ns: int
    size_bytes: int
    report: RdbReport
    ctime_ns: int = 0
    same_as: str | None = None
    accepted: bool = False
    """A person took it as the new baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the last good snapshots of one source held; empty tuples while there are none."""

    keys: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check at one location (or of the server: location None)."""

    check: CheckId
    location: str | None
    outcome: Outcome
    severity: Severity
    reason: Reason | None = None
    measured: str = ""
    limit: str = ""
    remedy: str = ""

    @property
    def blocks(self) -> bool:
        """True where this result alone withholds the heartbeat."""
        if self.severity is not Severity.BLOCK:
            return False
        return self.outcome is Outcome.FAIL or (
            self.outcome is Outcome.UNKNOWN and self.check in BLOCKS_ON_UNKNOWN
        )


#: Checks whose unknown withholds the heartbeat: about the artifact, and that the server answers.
BLOCKS_ON_UNKNOWN = frozenset(CheckId) - {CheckId.BGSAVE_STATUS, CheckId.RESTORE_TARGET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    state: VerdictState
    since: float
    blocking: tuple[CheckResult, ...] = ()

    @property
    def protected(self) -> bool:
        return self.state is VerdictState.PROTECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationState:
    """What all outputs show of one location."""

    location: Location
    seen: Listing | Unseen
    newest: Candidate | None = None
    """The latest arrival, judged or not."""
    newest_judged: Candidate | None = None
    last_valid: Candidate | None = None
    pending: tuple[Candidate, ...] = ()
    """Arrivals that are newer than the newest judged one, newest first."""
    files: int = 0
    files_size_bytes: int = 0
    distinct_snapshots: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatState:
    """The relay as outputs show it. ``target`` is scheme and host only."""

    policy: HeartbeatPolicy
    target: str
    last_success_at: float | None = None
    due: int = 0
    held: int = 0
    last_failure: str | None = None
    """A bounded word: dns, connection, timeout, tls, redirect, http_4xx, http_5xx."""
    last_failure_at: float | None = None
    next_attempt_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedHeartbeat:
    """A ping that is to be sent: the row of the outbox."""

    key: str
    created_at: float
    arrived_at: float
    """When the backup that it stands for had arrived."""
    attempts: int
    next_attempt_at: float
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierState:
    """The reading that is under way, if any."""

    location: str | None = None
    name: str | None = None
    started_at: float | None = None
    ratio: float | None = None
    """0..1 of the file's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """The loop itself."""

    number: int
    at: float
    """When the last whole cycle ended."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something about the sidecar itself that a person should know: id and one line."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that outputs show, frozen at one moment and replaced by one assignment."""

    at: float
    policy: Policy
    engine: str
    verdict: Verdict | None = None
    """None before the first one."""
    cycle: Cycle | None = None
    server: ServerView | Unseen | None = None
    """None in artifact-only mode."""
    locations: tuple[LocationState, ...] = ()
    results: tuple[CheckResult, ...] = ()
    exposed_changes: int | None = None
    exposed_seconds: float | None = None
    heartbeat: HeartbeatState | None = None
    verifier: VerifierState = field(default_factory=VerifierState)
    notices: tuple[Notice, ...] = ()
    backlog: bool = False
    """Whether older backups are still to be read for the history that checks need."""

    def stale(self, now: float) -> bool:
        """True where the verdict is too old to be one (a loop that hangs), or the clock jumped."""
        limit = self.policy.stale_after_seconds
        return self.cycle is None or not -limit <= now - self.cycle.at <= limit
