"""From check results to one verdict.

Knows: what *protected* means (DESIGN 3), and what would be lost now. Refuses to know: how a check
came out as it did.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.judge import catalogue, checks
from exporter.judge.facts import Facts, LocationFacts, holds_last_save
from exporter.model import CheckResult, Outcome, ServerView, Verdict, VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one cycle came to."""

    verdict: Verdict
    results: tuple[CheckResult, ...]
    exposed_changes: int | None
    exposed_seconds: float | None


def judge(facts: Facts, previous: Verdict | None = None) -> Judgement:
    """Judges ``facts``; ``previous`` only tells since when the state holds."""
    results = catalogue.run(facts)
    blocking = tuple(
        sorted((r for r in results if r.blocks), key=lambda r: r.outcome is not Outcome.FAIL)
    )
    required = [at for at in facts.locations if at.location.required]
    state = _state(facts, required, blocking)
    since = previous.since if previous and previous.state is state else facts.now
    changes, seconds = _exposed(facts, required)
    return Judgement(
        verdict=Verdict(state=state, since=since, blocking=blocking),
        results=results,
        exposed_changes=changes,
        exposed_seconds=seconds,
    )


def _state(
    facts: Facts, required: list[LocationFacts], blocking: tuple[CheckResult, ...]
) -> VerdictState:
    """Protected only if nothing blocks and each required location's newest judged is good.

    The second condition does not lean on the checks: one that was skipped or silenced must not
    turn a broken or an unread backup green.
    """
    judged = [at.state.newest_judged for at in required]
    if any(r.outcome is Outcome.FAIL for r in blocking):
        return VerdictState.AT_RISK
    if not required or any(candidate is None for candidate in judged):
        return VerdictState.UNKNOWN
    if blocking or not all(c is not None and checks.accepted(c, facts) for c in judged):
        return VerdictState.AT_RISK
    return VerdictState.PROTECTED


def _exposed(facts: Facts, required: list[LocationFacts]) -> tuple[int | None, float | None]:
    """Writes and seconds since the newest valid backup: what would be lost now; None if unknown."""
    valid = [at.state.last_valid for at in required if at.state.last_valid is not None]
    newest = max(valid, key=lambda c: c.taken_at or 0.0, default=None)
    if newest is None or newest.taken_at is None or newest.report is None:
        return None, None
    seconds = max(0.0, facts.now - newest.taken_at)
    if not isinstance(facts.server, ServerView) or facts.server.loading:
        return None, seconds
    if not holds_last_save(newest.report, facts.server):
        return None, seconds
    changes = facts.server.changes_since_last_save
    return changes, 0.0 if changes == 0 else seconds
