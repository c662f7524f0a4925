"""What makes a verdict, and what would be lost now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.judge.facts import Facts, place
from exporter.judge.verdict import judge
from exporter.model import (
    CheckId,
    CheckMode,
    Listing,
    Location,
    Outcome,
    Policy,
    Reason,
    Severity,
    Status,
    Verdict,
    VerdictState,
)
from tests.judge.builders import DAY, HOUR, NOW, facts, judged, known, report, server, unseen


def two(required: bool, second: Any) -> Facts:
    """A good required location, and another one."""
    places = []
    for name, files, need in (("one", (known(found=report()),), True), ("two", second, required)):
        here = Location(name=name, path=f"/{name}", required=need)
        seen = Listing(location=name, at=NOW, backups=tuple(k.backup for k in files))
        places.append(place(here, seen, files, (), NOW))
    policy = Policy(locations=tuple(at.location for at in places))
    return Facts(now=NOW, policy=policy, locations=tuple(places))


BAD = (known(found=report(Status.CORRUPT)),)


def test_each_required_location_must_be_good() -> None:
    assert judge(two(True, BAD)).verdict.state is VerdictState.AT_RISK
    assert judge(two(True, ())).verdict.state is VerdictState.AT_RISK
    assert judge(two(True, (known(),))).verdict.state is VerdictState.UNKNOWN
    assert judge(two(True, (known(found=report()),))).verdict.state is VerdictState.PROTECTED


def test_an_advisory_location_is_told_and_never_blocks() -> None:
    judgement = judge(two(False, BAD))
    assert judgement.verdict.state is VerdictState.PROTECTED
    failed = [r for r in judgement.results if r.outcome is Outcome.FAIL]
    assert [(r.location, r.severity) for r in failed] == [("two", Severity.WARN)]


def test_no_required_location_is_never_protected() -> None:
    nothing = facts(known(found=report()), required=False)
    assert judge(nothing).verdict.state is VerdictState.UNKNOWN


def test_since_is_kept_while_the_state_holds() -> None:
    good = judged(known(found=report())).verdict
    before = replace(good, since=NOW - 500)
    assert judged(known(found=report()), previous=before).verdict.since == NOW - 500
    assert judged(*BAD, previous=before).verdict.since == NOW


def test_failures_are_named_before_unknowns() -> None:
    how: dict[str, Any] = {"watched": unseen(Reason.REDIS_UNREACHABLE)}
    locked = known(found=report(Status.TIMEOUT))
    blocking = judged(locked, **how).verdict.blocking
    assert [r.outcome for r in blocking] == [Outcome.FAIL, Outcome.UNKNOWN]


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        (None, (None, 60.0)),
        (server(last_save_at=int(NOW - 60), changes_since_last_save=7), (7, 60.0)),
        (server(last_save_at=int(NOW - 60), changes_since_last_save=0), (0, 0.0)),
        (server(last_save_at=int(NOW - 20), changes_since_last_save=0), (None, 60.0)),
        (server(loading=True), (None, 60.0)),
    ],
)
def test_exposure_counts_from_the_newest_valid_backup(watched: Any, expected: Any) -> None:
    judgement = judged(known(found=report(age=60)), watched=watched)
    assert (judgement.exposed_changes, judgement.exposed_seconds) == expected


def test_exposure_is_unknown_without_a_valid_backup() -> None:
    judgement = judged(*BAD)
    assert (judgement.exposed_changes, judgement.exposed_seconds) == (None, None)


statuses = st.sampled_from([None, *Status])
ages = st.floats(min_value=-2 * DAY, max_value=40 * DAY)
modes = st.dictionaries(st.sampled_from(list(CheckId)), st.sampled_from(list(CheckMode)))


@given(
    status=statuses.filter(lambda s: s not in {Status.PENDING, Status.MISSING}),
    age=ages,
    keys=st.integers(0, 5),
    checks=modes,
    allow_empty=st.booleans(),
)
def test_green_means_that_the_newest_judged_backup_is_valid_and_fresh(
    status: Status | None, age: float, keys: int, checks: Any, allow_empty: bool
) -> None:
    found = None if status is None else report(status, age=age, keys=keys)
    files = (known("n.rdb", found, arrived=5), known("o.rdb", report(age=HOUR), arrived=HOUR))
    verdict = judged(*files, checks=checks, allow_empty=allow_empty).verdict
    if not verdict.protected:
        return
    if status is None:
        return  # the older one is the newest judged
    assert status is Status.VALID
    if checks.get(CheckId.SNAPSHOT_AGE) not in {CheckMode.OFF, CheckMode.WARN}:
        assert -301 <= age <= 26 * HOUR + 1
    if checks.get(CheckId.KEY_COUNT) not in {CheckMode.OFF, CheckMode.WARN}:
        assert keys > 0 or allow_empty


@given(age=st.floats(min_value=0, max_value=25 * HOUR), keys=st.integers(1, 10**9))
def test_a_good_fresh_backup_is_never_red(age: float, keys: int) -> None:
    verdict = judged(known(found=report(age=age, keys=keys), arrived=5)).verdict
    assert verdict == Verdict(state=VerdictState.PROTECTED, since=NOW)
