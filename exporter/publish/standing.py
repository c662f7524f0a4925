"""What may be said of a Snapshot at this moment: the verdict as shown, and each location's newest.

Knows: that a verdict grows stale, and that then nothing it rests on may be shown as current.
Refuses to know: in which form it is shown (metrics, page, JSON), and how a verdict is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.model import (
    CheckResult,
    LocationState,
    Notice,
    Reason,
    Snapshot,
    Status,
    Unseen,
    VerdictState,
)

#: The engine of last resort, where the native one could not be built.
FALLBACK_ENGINE = "rdbtools"
_FALLBACK = Notice(
    id="engine_fallback",
    text="The rdbtools engine proves backups here, not the native one: it is far slower, looks "
    "less deep into values, and of compressed files it reads gzip alone.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The verdict as every output shows it at one moment."""

    state: VerdictState
    judged: bool
    """False before the first verdict, when there is no number to give."""
    fresh: bool
    """False where the observations behind the verdict are too old to be shown as current."""
    since: float | None = None
    blocking: tuple[CheckResult, ...] = ()
    reason: Reason | None = None
    """The first id that explains why it is not protected."""

    @property
    def protected(self) -> bool:
        return self.state is VerdictState.PROTECTED


def standing(snapshot: Snapshot, now: float) -> Standing:
    """The verdict of ``snapshot`` as it counts at ``now`` (unix seconds)."""
    verdict, cycle = snapshot.verdict, snapshot.cycle
    fresh = not is_stale(snapshot, now)
    if verdict is None:
        why = Reason.PENDING if cycle is None or fresh else Reason.VERDICT_STALE
        return Standing(state=VerdictState.UNKNOWN, judged=False, fresh=fresh, reason=why)
    if not fresh:
        return Standing(
            state=VerdictState.UNKNOWN,
            judged=True,
            fresh=False,
            since=cycle.at + snapshot.policy.stale_after_seconds if cycle else None,
            reason=Reason.VERDICT_STALE,
        )
    reason = next((each.reason for each in verdict.blocking if each.reason), None)
    if reason is None and verdict.state is VerdictState.UNKNOWN:
        reason = Reason.PENDING
    return Standing(
        state=verdict.state,
        judged=True,
        fresh=True,
        since=verdict.since,
        blocking=verdict.blocking,
        reason=reason,
    )


def is_stale(snapshot: Snapshot, now: float) -> bool:
    """True where the verdict is too old, or comes from a future that the clock has left.

    A wall clock set back makes an old cycle look young for as long as the step was: a cycle that
    lies further ahead than the limit proves nothing either.
    """
    if snapshot.cycle is None:
        return True
    ahead = snapshot.cycle.at - now
    return snapshot.stale(now) or ahead > snapshot.policy.stale_after_seconds


def newest_status(state: LocationState) -> Status | None:
    """Status of the newest judged backup; ``pending`` where none is judged, ``missing`` where
    there is nothing at all, None while the location can't be listed.
    """
    if isinstance(state.seen, Unseen):
        return None
    if state.newest_judged is not None:
        return state.newest_judged.status
    return Status.MISSING if state.newest is None else Status.PENDING


def notices(snapshot: Snapshot) -> tuple[Notice, ...]:
    """All that a person should know of the sidecar itself, the weaker engine first."""
    told = any(notice.id == _FALLBACK.id for notice in snapshot.notices)
    if told or snapshot.engine != FALLBACK_ENGINE:
        return snapshot.notices
    return (_FALLBACK, *snapshot.notices)
