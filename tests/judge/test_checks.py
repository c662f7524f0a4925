"""Each check, row by row: what passes, what does not, with which reason."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.judge.catalogue import CATALOGUE
from exporter.judge.checks import STATUS_TO_CHECK
from exporter.judge.remedies import REMEDIES
from exporter.model import (
    CheckId,
    CheckMode,
    ChecksumState,
    Origin,
    Outcome,
    Reason,
    Severity,
    Status,
    UnsupportedMode,
    VerdictState,
    VerifyPolicy,
)
from tests.judge.builders import (
    DAY,
    HOUR,
    arrival,
    daily,
    facts,
    judged,
    known,
    replace,
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


def test_a_healthy_backup_is_protected() -> None:
    judgement = judged(known(found=report()), watched=server(), history=daily())
    assert judgement.verdict.state is VerdictState.PROTECTED
    assert judgement.verdict.blocking == ()
    assert {r.outcome for r in judgement.results} == {PASS}


def test_every_status_is_decided_by_exactly_one_check() -> None:
    good = {Status.VALID, Status.PENDING}
    assert set(STATUS_TO_CHECK) == set(Status) - good


BROKEN = sorted(set(STATUS_TO_CHECK) - {Status.MISSING})


@pytest.mark.parametrize("status", BROKEN)
def test_a_broken_newest_backup_blocks_by_its_own_check_alone(status: Status) -> None:
    bad = report(status, checksum=None, crc64=None)
    older = known("old.rdb", report(age=HOUR), arrived=HOUR)
    judgement = judged(known("new.rdb", bad), older)
    check, how = STATUS_TO_CHECK[status]
    assert [(r.check, r.outcome, r.reason) for r in judgement.verdict.blocking] == [
        (check, how, Reason(status.value))
    ]
    assert judgement.verdict.state is VerdictState.AT_RISK


@pytest.mark.parametrize("status", BROKEN)
@pytest.mark.parametrize("checks", [dict.fromkeys(CheckId, CheckMode.OFF)])
def test_no_setting_turns_a_broken_backup_green(
    status: Status, checks: dict[CheckId, CheckMode]
) -> None:
    bad = report(status, checksum=None, crc64=None)
    assert judged(known(found=bad), checks=checks).verdict.state is not VerdictState.PROTECTED


def test_an_empty_location_misses_its_backup() -> None:
    assert outcome(CheckId.ARTIFACT_PRESENT) == (FAIL, Reason.MISSING)
    judgement = judged()
    assert [r.reason for r in judgement.verdict.blocking] == [Reason.MISSING]


def test_a_failed_listing_is_unknown_everywhere_and_never_the_last_good_value() -> None:
    judgement = judged(known(found=report()), seen=unseen(Reason.DIRECTORY_MISSING))
    at_location = [r for r in judgement.results if r.location]
    assert {(r.outcome, r.reason) for r in at_location} == {(UNKNOWN, Reason.DIRECTORY_MISSING)}
    assert judgement.verdict.state is VerdictState.UNKNOWN


def test_nothing_judged_yet_is_unknown_with_pending() -> None:
    judgement = judged(known())
    assert judgement.verdict.state is VerdictState.UNKNOWN
    assert [r.reason for r in judgement.verdict.blocking] == [Reason.PENDING]


def test_a_pending_arrival_stands_beside_the_judged_one() -> None:
    judgement = judged(known("new.rdb", arrived=5), known("old.rdb", report(), arrived=60))
    assert judgement.verdict.state is VerdictState.PROTECTED


def test_an_unreadable_newest_file_is_not_hidden_by_an_older_good_one() -> None:
    locked = known("new.rdb", identity="x", failure=unseen(Reason.UNREADABLE))
    judgement = judged(locked, known("old.rdb", report(), arrived=60))
    assert [(r.check, r.reason) for r in judgement.verdict.blocking] == [
        (CheckId.STRUCTURE, Reason.UNREADABLE)
    ]


@pytest.mark.parametrize(
    ("state", "config", "history", "expected"),
    [
        (ChecksumState.OK, None, (), (PASS, None)),
        (ChecksumState.DISABLED, None, (), (WARN, Reason.CHECKSUM_DISABLED)),
        (ChecksumState.DISABLED, "yes", (), (FAIL, Reason.CHECKSUM_LOST)),
        (ChecksumState.DISABLED, "no", daily(), (WARN, Reason.CHECKSUM_DISABLED)),
        (ChecksumState.DISABLED, None, daily(), (FAIL, Reason.CHECKSUM_LOST)),
        (None, None, (), (SKIP, Reason.FIELD_ABSENT)),
    ],
)
def test_a_zeroed_checksum_is_told_from_a_switched_off_one(
    state: ChecksumState | None, config: str | None, history: Any, expected: Any
) -> None:
    found = report(checksum=state, crc64=0 if state is ChecksumState.DISABLED else 77)
    watched = None if config is None else server(config={"rdbchecksum": config})
    assert (
        outcome(CheckId.RDB_CHECKSUM, known(found=found), history=history, watched=watched)
        == expected
    )


def test_a_checksum_setting_outlives_the_connection() -> None:
    found = report(checksum=ChecksumState.DISABLED, crc64=0)
    how: dict[str, Any] = {
        "watched": unseen(Reason.REDIS_UNREACHABLE),
        "more": {"last_good": server(config={"rdbchecksum": "yes"})},
    }
    assert outcome(CheckId.RDB_CHECKSUM, known(found=found), **how) == (FAIL, Reason.CHECKSUM_LOST)


@pytest.mark.parametrize(
    ("mode", "checksum", "state", "structure"),
    [
        (UnsupportedMode.BLOCK, ChecksumState.OK, VerdictState.AT_RISK, UNKNOWN),
        (UnsupportedMode.ACCEPT_CHECKSUM, ChecksumState.OK, VerdictState.PROTECTED, WARN),
        (UnsupportedMode.ACCEPT_CHECKSUM, None, VerdictState.AT_RISK, UNKNOWN),
        (UnsupportedMode.ACCEPT_CHECKSUM, ChecksumState.DISABLED, VerdictState.AT_RISK, UNKNOWN),
    ],
)
def test_a_newer_version_is_accepted_only_by_its_checksum_and_only_if_asked(
    mode: UnsupportedMode, checksum: ChecksumState | None, state: VerdictState, structure: Outcome
) -> None:
    found = report(Status.UNSUPPORTED_VERSION, rdb_version=99, checksum=checksum, age=None)
    policy = {"verify": VerifyPolicy(unsupported=mode)}
    judgement = judged(known(found=found), policy=policy)
    assert judgement.verdict.state is state
    assert result(CheckId.STRUCTURE, known(found=found), policy=policy).outcome is structure


def test_a_newer_version_with_a_wrong_checksum_fails() -> None:
    found = report(Status.UNSUPPORTED_VERSION, rdb_version=99, checksum=ChecksumState.MISMATCH)
    assert outcome(CheckId.RDB_CHECKSUM, known(found=found)) == (FAIL, Reason.CHECKSUM_MISMATCH)


AGED = 30 * HOUR


@pytest.mark.parametrize(
    ("age", "watched", "expected"),
    [
        (25.9 * HOUR, None, (PASS, None)),
        (26.1 * HOUR, None, (FAIL, Reason.SNAPSHOT_TOO_OLD)),
        (-200, None, (PASS, None)),
        (-301, None, (UNKNOWN, Reason.CTIME_IN_FUTURE)),
        (AGED, server(changes_since_last_save=1), (FAIL, Reason.SNAPSHOT_TOO_OLD)),
        (AGED, unseen(Reason.REDIS_TIMEOUT), (FAIL, Reason.SNAPSHOT_TOO_OLD)),
    ],
)
def test_age_is_by_the_time_in_the_file(age: float, watched: Any, expected: Any) -> None:
    found = known(found=report(age=age), arrived=5)
    assert outcome(CheckId.SNAPSHOT_AGE, found, watched=watched) == expected


IDLE = {"changes_since_last_save": 0}


@pytest.mark.parametrize(
    ("watched", "idle"),
    [
        (server(**IDLE, last_save_at=int(1_800_000_000 - AGED)), True),
        (server(**IDLE, last_save_at=int(1_800_000_000 - AGED + 10)), True),
        (server(**IDLE, last_save_at=int(1_800_000_000 - AGED + 11)), False),
        (
            server(**IDLE, last_save_at=int(1_800_000_000 - AGED + 50), last_bgsave_seconds=45),
            True,
        ),
        (server(**IDLE, last_save_at=None), False),
        (server(**IDLE, last_save_at=int(1_800_000_000 - AGED), loading=True), False),
        (server(changes_since_last_save=None, last_save_at=int(1_800_000_000 - AGED)), False),
    ],
)
def test_an_old_backup_of_an_idle_server_is_fresh_only_if_it_is_its_last_save(
    watched: Any, idle: bool
) -> None:
    found = known(found=report(age=AGED), arrived=AGED)
    expected = (PASS, None) if idle else (FAIL, Reason.SNAPSHOT_TOO_OLD)
    assert outcome(CheckId.SNAPSHOT_AGE, found, watched=watched) == expected


@pytest.mark.parametrize(
    ("loaded", "expired", "keys", "idle"),
    [
        (990, 10, 1000, True),
        (1000, 0, 1000, True),
        (0, 0, 1000, False),
        (None, 0, 1000, False),
        (1000, None, 1000, False),
        (0, 0, 0, False),
    ],
)
def test_after_a_restart_only_the_loaded_keys_prove_that_the_backup_is_the_last_save(
    loaded: int | None, expired: int | None, keys: int, idle: bool
) -> None:
    boot = int(1_800_000_000 - 2 * HOUR)
    restarted = server(
        **IDLE,
        uptime_seconds=int(2 * HOUR),
        last_save_at=boot,
        saves_started=0,
        last_bgsave_seconds=None,
        load_keys_loaded=loaded,
        load_keys_expired=expired,
    )
    found = known(found=report(age=AGED, keys=keys), arrived=AGED)
    how: dict[str, Any] = {"watched": restarted, "allow_empty": True}
    expected = (PASS, None) if idle else (FAIL, Reason.SNAPSHOT_TOO_OLD)
    assert outcome(CheckId.SNAPSHOT_AGE, found, **how) == expected


def test_a_server_that_came_up_empty_right_after_its_last_save_is_not_idle() -> None:
    boot = int(1_800_000_000 - AGED) + 3
    empty = server(
        **IDLE,
        uptime_seconds=int(AGED) - 3,
        last_save_at=boot,
        saves_started=0,
        last_bgsave_seconds=None,
        load_keys_loaded=0,
        load_keys_expired=0,
    )
    found = known(found=report(age=AGED), arrived=AGED)
    assert outcome(CheckId.SNAPSHOT_AGE, found, watched=empty) == (
        FAIL, Reason.SNAPSHOT_TOO_OLD,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"), [("dump-20270114.rdb", FAIL), ("dump-20270115.rdb", PASS)]
)
def test_a_file_without_ctime_is_as_old_as_its_name_says_if_a_pattern_is_set(
    name: str, expected: Outcome
) -> None:
    found = report(age=None)
    how: dict[str, Any] = {"name_time": "%Y%m%d", "max_age_seconds": 10 * HOUR}
    assert result(CheckId.SNAPSHOT_AGE, known(name, found, arrived=5), **how).outcome is expected


def test_a_file_without_any_time_in_it_is_as_old_as_its_mtime() -> None:
    found = result(CheckId.SNAPSHOT_AGE, known(found=report(age=None), arrived=27 * HOUR))
    assert (found.outcome, found.reason) == (FAIL, Reason.SNAPSHOT_TOO_OLD)
    assert "by mtime" in found.measured


def yesterday(found: Any = None, name: str = "old.rdb") -> Any:
    return arrival(name, found or report(age=DAY), arrived=DAY)


def test_yesterdays_dump_under_todays_name_is_no_new_backup() -> None:
    again = known("new.rdb", report(age=DAY), arrived=5)
    found = result(CheckId.SNAPSHOT_NEW, again, history=(yesterday(),))
    assert (found.outcome, found.reason) == (FAIL, Reason.SAME_SNAPSHOT_AS_BEFORE)
    assert "old.rdb" in found.measured


def test_an_older_snapshot_than_the_previous_one_is_seen_too() -> None:
    again = known("new.rdb", report(age=2 * DAY), arrived=5)
    history = (yesterday(report(age=2 * DAY), "older.rdb"), yesterday())
    assert outcome(CheckId.SNAPSHOT_NEW, again, history=history) == (
        FAIL, Reason.SAME_SNAPSHOT_AS_BEFORE,
    )  # fmt: skip


def test_the_same_snapshot_is_fine_while_the_server_is_idle() -> None:
    again = known("new.rdb", report(age=2 * HOUR), arrived=5)
    watched = server(**IDLE, last_save_at=int(1_800_000_000 - 2 * HOUR))
    history = (arrival("old.rdb", report(age=2 * HOUR), arrived=2 * HOUR - 30),)
    assert outcome(CheckId.SNAPSHOT_NEW, again, history=history, watched=watched) == (PASS, None)


@pytest.mark.parametrize(("saved_ago", "expected"), [(95, PASS), (89, FAIL)])
def test_the_same_snapshot_is_not_excused_once_the_server_has_saved_again(
    saved_ago: int, expected: Outcome
) -> None:
    """Two saves within the tolerance: the first copy had arrived before the second save."""
    history = (arrival("old.rdb", report(age=96), arrived=90),)
    again = known("new.rdb", report(age=96), arrived=5)
    watched = server(**IDLE, last_save_at=int(1_800_000_000 - saved_ago))
    found = result(CheckId.SNAPSHOT_NEW, again, history=history, watched=watched)
    assert found.outcome is expected


def test_a_restart_is_no_save_that_would_make_the_same_snapshot_suspect() -> None:
    boot = int(1_800_000_000 - HOUR)
    restarted = server(
        **IDLE,
        uptime_seconds=int(HOUR),
        last_save_at=boot,
        saves_started=0,
        last_bgsave_seconds=None,
        load_keys_loaded=1000,
        load_keys_expired=0,
    )
    again = known("new.rdb", report(age=DAY), arrived=5)
    how: dict[str, Any] = {"history": (yesterday(),), "watched": restarted}
    assert outcome(CheckId.SNAPSHOT_NEW, again, **how) == (PASS, None)


def test_a_good_copy_after_a_broken_copy_of_the_same_snapshot_is_new() -> None:
    same = report(age=HOUR)
    flipped = report(Status.CHECKSUM_MISMATCH, age=HOUR)
    again = known("b.rdb", same, arrived=5)
    history = (arrival("a.rdb", flipped, arrived=60),)
    assert outcome(CheckId.SNAPSHOT_NEW, again, history=history) == (PASS, None)


def test_a_backup_that_the_job_compressed_afterwards_is_the_same_backup() -> None:
    packed = replace(known("old.rdb.gz", report(age=DAY), arrived=5), same_as="id-old.rdb")
    gz = replace(yesterday(name="old.rdb.gz"), same_as="id-old.rdb")
    history = (arrival("older.rdb", report(age=2 * DAY), arrived=2 * DAY), yesterday(), gz)
    assert outcome(CheckId.SNAPSHOT_NEW, packed, history=history) == (PASS, None)


def test_the_first_backup_has_none_before_it() -> None:
    assert outcome(CheckId.SNAPSHOT_NEW, known(found=report())) == (
        SKIP, Reason.NO_PREVIOUS_BACKUP,
    )  # fmt: skip


def test_a_format_without_ctime_can_not_tell_two_saves_apart() -> None:
    old = known(found=report(age=None, rdb_version=6))
    assert outcome(CheckId.SNAPSHOT_NEW, old, history=(yesterday(report(age=None)),)) == (
        SKIP, Reason.FIELD_ABSENT,
    )  # fmt: skip


def test_the_servers_own_file_needs_not_be_new() -> None:
    again = known("dump.rdb", report(age=HOUR), arrived=5)
    assert outcome(
        CheckId.SNAPSHOT_NEW, again, history=(yesterday(),), origin=Origin.SERVER_FILE
    ) == (SKIP, Reason.NOT_FOR_ORIGIN)


@pytest.mark.parametrize(
    ("keys", "history", "allow_empty", "expected"),
    [
        (0, (), False, (FAIL, Reason.DATASET_EMPTY)),
        (0, daily(), False, (FAIL, Reason.DATASET_EMPTY)),
        (0, daily(), True, (PASS, None)),
        (1, (), False, (SKIP, Reason.BASELINE_TOO_SHORT)),
        (1, daily(2), False, (SKIP, Reason.BASELINE_TOO_SHORT)),
        (499, daily(3), False, (FAIL, Reason.KEYS_COLLAPSED)),
        (500, daily(3), False, (PASS, None)),
        (600, (*daily(9)[:4], *daily(5, keys=2000)), False, (WARN, Reason.KEYS_COLLAPSED)),
        (5000, daily(), False, (PASS, None)),
    ],
)
def test_an_empty_or_collapsed_dataset_is_seen_in_the_keys(
    keys: int, history: Any, allow_empty: bool, expected: Any
) -> None:
    found = known(found=report(keys=keys))
    assert outcome(CheckId.KEY_COUNT, found, history=history, allow_empty=allow_empty) == expected


def test_functions_alone_are_an_empty_dataset() -> None:
    found = known(found=report(keys=0, functions=3))
    assert outcome(CheckId.KEY_COUNT, found) == (FAIL, Reason.DATASET_EMPTY)


@pytest.mark.parametrize(
    ("size", "history", "expected"),
    [
        (4999, daily(3), (FAIL, Reason.SIZE_DROPPED)),
        (5000, daily(3), (PASS, None)),
        (10, daily(2), (SKIP, Reason.BASELINE_TOO_SHORT)),
    ],
)
def test_a_drop_in_size_warns_and_never_blocks(size: int, history: Any, expected: Any) -> None:
    found = known(found=report(), size_bytes=size)
    assert outcome(CheckId.SIZE_DROP, found, history=history) == expected
    assert judged(found, history=history).verdict.state is VerdictState.PROTECTED


@pytest.mark.parametrize(
    ("mode", "severity", "green"),
    [
        (CheckMode.WARN, Severity.WARN, True),
        (CheckMode.BLOCK, Severity.BLOCK, False),
        (CheckMode.OFF, Severity.BLOCK, True),
    ],
)
def test_a_person_decides_how_much_a_check_weighs(
    mode: CheckMode, severity: Severity, green: bool
) -> None:
    found = known(found=report(age=AGED), arrived=AGED)
    checks = {CheckId.SNAPSHOT_AGE: mode}
    assert result(CheckId.SNAPSHOT_AGE, found, checks=checks).severity is severity
    assert (judged(found, checks=checks).verdict.state is VerdictState.PROTECTED) is green


def test_the_checks_of_the_server_have_modes_too() -> None:
    how: dict[str, Any] = {
        "watched": server(last_bgsave_ok=False),
        "policy": {"checks": {CheckId.BGSAVE_STATUS: CheckMode.WARN}},
    }
    assert judged(known(found=report()), **how).verdict.state is VerdictState.PROTECTED


def test_every_result_that_asks_for_something_says_what_to_do() -> None:
    for reason in Reason:
        if reason in {
            Reason.NO_REDIS, Reason.NOT_FOR_ORIGIN, Reason.FIELD_ABSENT, Reason.SWITCHED_OFF,
            Reason.BASELINE_TOO_SHORT, Reason.NO_PREVIOUS_BACKUP, Reason.NOTHING_TO_JUDGE,
            Reason.NO_SECOND_OPINION, Reason.TARGET_UNKNOWN,
        }:  # fmt: skip
            continue
        assert len(REMEDIES[reason]) > 20, reason


def test_the_catalogue_has_every_check_once() -> None:
    assert sorted(row.id for row in CATALOGUE) == sorted(CheckId)
    assert all((row.at_location is None) != (row.of_server is None) for row in CATALOGUE)
    assert len(facts().locations) == 1
