"""The checks ``rdb_findings`` and ``second_opinion``: what engines say beside the status."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from exporter import verify
from exporter.model import (
    FINDINGS,
    CheckId,
    CheckMode,
    Finding,
    Outcome,
    Reason,
    SecondOpinion,
    Status,
    VerdictState,
    VerifyPolicy,
)
from tests.judge.builders import AGREED, HOUR, judged, known, report, result, unseen

FAIL, PASS, UNKNOWN, SKIP = Outcome.FAIL, Outcome.PASS, Outcome.UNKNOWN, Outcome.SKIP


def outcome(check: CheckId, *files: Any, **how: Any) -> tuple[Outcome, Reason | None]:
    found = result(check, *files, **how)
    return found.outcome, found.reason


# -- findings ---------------------------------------------------------------------------------------


def odd(*kinds: str) -> Any:
    return report(findings=tuple(Finding(kind=k, count=1200, offset=4711) for k in kinds))


CRATE = Path(__file__).parents[2] / "exporter" / "native"


def test_engines_and_judge_have_one_list_of_findings() -> None:
    """The native engine has its words in a crate of its own."""
    engine = "".join(path.read_text("utf-8") for path in Path(verify.__path__[0]).glob("*.py"))
    assert set(re.findall(r'(?:find|contradiction)\("(\w+)"', engine)) == set(FINDINGS)
    source = (CRATE / "src" / "tally.rs").read_text("utf-8")
    (words,) = re.findall(r"impl Odd \{.*?match self \{(.*?)\}", source, re.DOTALL)
    assert sorted(re.findall(r'=> "(\w+)"', words)) == sorted(FINDINGS)


@pytest.mark.parametrize("kind", sorted(FINDINGS))
def test_a_finding_is_told_with_its_meaning(kind: str) -> None:
    came = result(CheckId.RDB_FINDINGS, known(found=odd(kind)))
    assert (came.outcome, came.reason) == (FAIL, Reason.RDB_FINDINGS)
    assert came.measured == f"{kind} 1,200x, first at byte 4,711 ({FINDINGS[kind]})"
    assert "check" in came.remedy or "compare" in came.remedy


def test_many_findings_make_no_long_line() -> None:
    came = result(CheckId.RDB_FINDINGS, known(found=odd(*sorted(FINDINGS), "of_a_newer_engine")))
    assert "12 more kinds" in came.measured
    assert len(came.measured) < 600
    assert "new_kind 1,200x" in result(CheckId.RDB_FINDINGS, known(found=odd("new_kind"))).measured


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (report(), (PASS, None)),
        (report(Status.CORRUPT), (SKIP, Reason.NOTHING_TO_JUDGE)),
        (report(depth="checksum"), (SKIP, Reason.NOTHING_TO_JUDGE)),
        (None, (SKIP, Reason.NOTHING_TO_JUDGE)),
    ],
)
def test_findings_of_a_good_backup_alone_count(found: Any, expected: Any) -> None:
    assert outcome(CheckId.RDB_FINDINGS, known(found=found)) == expected


def test_the_next_backup_without_findings_ends_the_warning() -> None:
    before = known("a.rdb", odd("zset_order"), arrived=HOUR)
    assert outcome(CheckId.RDB_FINDINGS, before) == (FAIL, Reason.RDB_FINDINGS)
    assert outcome(CheckId.RDB_FINDINGS, before, known("b.rdb", report())) == (PASS, None)


# -- second opinion ---------------------------------------------------------------------------------

DISAGREED = SecondOpinion(engine="other", agrees=False, detail="keys: 1000 and 999", seconds=1.5)


@pytest.mark.parametrize(
    ("opinion", "expected"),
    [
        (AGREED, (PASS, None)),
        (DISAGREED, (FAIL, Reason.ENGINES_DISAGREE)),
        (None, (SKIP, Reason.NO_SECOND_OPINION)),
        (
            SecondOpinion(engine="other", agrees=None, detail="timeout"),
            (SKIP, Reason.NO_SECOND_OPINION),
        ),
    ],
)
def test_two_engines_agree_or_not(opinion: Any, expected: Any) -> None:
    assert outcome(CheckId.SECOND_OPINION, known(found=report(), opinion=opinion)) == expected


def test_a_disagreement_says_over_what_and_a_missing_opinion_why() -> None:
    came = result(CheckId.SECOND_OPINION, known(found=report(), opinion=DISAGREED))
    assert came.measured == "test and other disagree: keys: 1000 and 999"
    assert "redis-check-rdb" in came.remedy
    none = SecondOpinion(engine="other", agrees=None, detail="other: timeout")
    came = result(CheckId.SECOND_OPINION, known(found=report(), opinion=none))
    assert came.measured == "other: timeout"


@pytest.mark.parametrize(
    ("most", "why"),
    [
        (0, "no other engine is asked"),
        (9999, "larger than 9.8 KiB"),
        (10_000, "no other engine has read"),
        (float("inf"), "no other engine has read"),
    ],
)
def test_no_opinion_says_why(most: float, why: str) -> None:
    policy = {"verify": VerifyPolicy(second_opinion_max_bytes=most)}
    came = result(CheckId.SECOND_OPINION, known(found=report(), opinion=None), policy=policy)
    assert why in came.measured


def test_they_may_disagree_over_a_broken_file_too() -> None:
    bad = known(found=report(Status.CORRUPT), opinion=DISAGREED)
    assert outcome(CheckId.SECOND_OPINION, bad) == (FAIL, Reason.ENGINES_DISAGREE)
    assert [r.check for r in judged(bad).verdict.blocking] == [CheckId.STRUCTURE]


@pytest.mark.parametrize("check", [CheckId.SECOND_OPINION, CheckId.RDB_FINDINGS])
def test_where_nothing_can_be_judged_it_says_so(check: CheckId) -> None:
    assert outcome(check) == (SKIP, Reason.NOTHING_TO_JUDGE)
    assert outcome(check, known()) == (SKIP, Reason.NOTHING_TO_JUDGE)
    seen = unseen(Reason.DIRECTORY_MISSING)
    assert outcome(check, known(), seen=seen) == (UNKNOWN, Reason.DIRECTORY_MISSING)


def test_agreement_on_the_next_backup_ends_the_warning() -> None:
    before = known("a.rdb", report(age=HOUR), arrived=HOUR, opinion=DISAGREED)
    assert outcome(CheckId.SECOND_OPINION, before) == (FAIL, Reason.ENGINES_DISAGREE)
    assert outcome(CheckId.SECOND_OPINION, before, known("b.rdb", report())) == (PASS, None)


@pytest.mark.parametrize(
    ("check", "file"),
    [
        (CheckId.SECOND_OPINION, known(found=report(), opinion=DISAGREED)),
        (CheckId.RDB_FINDINGS, known(found=odd("zset_order"))),
    ],
)
@pytest.mark.parametrize(
    ("mode", "state", "came"),
    [
        (CheckMode.OFF, VerdictState.PROTECTED, SKIP),
        (CheckMode.WARN, VerdictState.PROTECTED, FAIL),
        (CheckMode.BLOCK, VerdictState.AT_RISK, FAIL),
        (None, VerdictState.PROTECTED, FAIL),
    ],
)
def test_both_warn_unless_made_to_block(
    check: CheckId, file: Any, mode: CheckMode | None, state: VerdictState, came: Outcome
) -> None:
    how: dict[str, Any] = {"checks": {} if mode is None else {check: mode}}
    assert judged(file, **how).verdict.state is state
    assert outcome(check, file, **how)[0] is came
