"""The checks of the server: reachable, and its last save."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.model import (
    CheckId,
    Origin,
    Outcome,
    Reason,
    VerdictState,
)
from tests.judge.builders import (
    judged,
    known,
    report,
    result,
    server,
    unseen,
)

FAIL, WARN, PASS, UNKNOWN, SKIP = (
    Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.UNKNOWN, Outcome.SKIP,
)  # fmt: skip


def outcome(check: CheckId, *files: Any, **how: Any) -> tuple[Outcome, Reason | None]:
    found = result(check, *files, **how)
    return found.outcome, found.reason


@pytest.mark.parametrize(
    ("reason", "since", "ever", "expected"),
    [
        (Reason.REDIS_UNREACHABLE, 599, True, WARN),
        (Reason.REDIS_UNREACHABLE, 601, True, FAIL),
        (Reason.REDIS_UNREACHABLE, 5, False, FAIL),
        (Reason.REDIS_AUTH_FAILED, 601, True, FAIL),
        (Reason.REDIS_COMMAND_DENIED, 601, True, FAIL),
        (Reason.REDIS_IS_SENTINEL, 0, False, FAIL),
    ],
)
def test_a_server_out_of_reach_blocks_after_the_grace_period(
    reason: Reason, since: float, ever: bool, expected: Outcome
) -> None:
    more = {"unseen_seconds": since, "last_good": server() if ever else None}
    how: dict[str, Any] = {"watched": unseen(reason), "more": more}
    assert outcome(CheckId.REDIS_REACHABLE, known(found=report()), **how) == (expected, reason)
    green = judged(known(found=report()), **how).verdict.state is VerdictState.PROTECTED
    assert green == (expected is WARN)


@pytest.mark.parametrize(("stalled", "expected"), [(0, WARN), (599, WARN), (601, FAIL)])
def test_loading_with_progress_never_fails(stalled: float, expected: Outcome) -> None:
    how: dict[str, Any] = {
        "watched": server(loading=True),
        "more": {"loading_stalled_seconds": stalled},
    }
    assert outcome(CheckId.REDIS_REACHABLE, known(found=report()), **how) == (
        expected, Reason.REDIS_LOADING,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("watched", "last_good", "expected"),
    [
        (server(), None, (PASS, None)),
        (server(last_bgsave_ok=False), None, (FAIL, Reason.BGSAVE_FAILED)),
        (server(last_bgsave_ok=None), None, (SKIP, Reason.FIELD_ABSENT)),
        (None, None, (SKIP, Reason.NO_REDIS)),
        (unseen(Reason.REDIS_TIMEOUT), server(), (UNKNOWN, Reason.REDIS_TIMEOUT)),
        (
            unseen(Reason.REDIS_TIMEOUT),
            server(last_bgsave_ok=False),
            (FAIL, Reason.BGSAVE_FAILED),
        ),
    ],
)
def test_a_failed_save_is_told_and_is_not_forgotten_with_the_connection(
    watched: Any, last_good: Any, expected: Any
) -> None:
    how: dict[str, Any] = {"watched": watched, "more": {"last_good": last_good}}
    assert outcome(CheckId.BGSAVE_STATUS, known(found=report()), **how) == expected


@pytest.mark.parametrize("origin", [Origin.STREAM, Origin.EXPORT])
def test_the_servers_own_saves_say_nothing_about_streams_and_exports(origin: Origin) -> None:
    how: dict[str, Any] = {"watched": server(last_bgsave_ok=False), "origin": origin}
    assert outcome(CheckId.BGSAVE_STATUS, known(found=report()), **how) == (
        SKIP, Reason.NOT_FOR_ORIGIN,
    )  # fmt: skip


def test_an_unknown_bgsave_status_does_not_block() -> None:
    how: dict[str, Any] = {
        "watched": unseen(Reason.REDIS_TIMEOUT),
        "more": {"last_good": server(), "unseen_seconds": 5.0},
    }
    assert judged(known(found=report()), **how).verdict.state is VerdictState.PROTECTED
