"""The metrics in every state: clean, bounded, absent where unknown, and free of locks and I/O."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.model import HeartbeatPolicy, Outcome, Policy, Reason, Snapshot, Status, VerdictState
from exporter.publish.families import (
    FAILED_STATUSES,
    FAMILIES,
    HEARTBEAT_FAILURES,
    QUERY_FAILURES,
    WITHHELD_REASONS,
    Kind,
)
from exporter.publish.metrics import ANY, Metrics, markdown_table, span
from tests.publish import snapshots
from tests.publish.snapshots import NOW, STATES

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"

Series = tuple[str, tuple[tuple[str, str], ...]]


def metrics_of(snapshot: Snapshot) -> Metrics:
    return Metrics(lambda: snapshot, engine="rdbtools", revision="abc123", clock=lambda: NOW)


def exercised(snapshot: Snapshot) -> Metrics:
    """Metrics with every counter counted once for each word that it may get."""
    metrics = metrics_of(snapshot)
    metrics.cycle_done()
    metrics.cycle_failed()
    for status in Status:
        for seconds in (0.05, 3.0, 7200.0):
            metrics.verification_done("local", replace(snapshots.report(status), seconds=seconds))
    name = (snapshot.policy.heartbeat or HeartbeatPolicy()).name
    metrics.heartbeat_attempted(name)
    for word in HEARTBEAT_FAILURES:
        metrics.heartbeat_failed(name, word)
    for reason in WITHHELD_REASONS:
        metrics.heartbeat_withheld(name, reason)
    for reason in QUERY_FAILURES:
        metrics.query_failed(reason)
    for level in ("debug", "info", "warning", "error", "critical"):
        metrics.log_message(level)
    return metrics


def series_of(metrics: Metrics) -> dict[Series, float]:
    body, _ = metrics.exposition(None)
    found: dict[Series, float] = {}
    for family in parse_text(body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"exposed twice: {key}"
            found[key] = sample.value
    return found


def ours(metrics: Metrics) -> dict[Series, float]:
    return {key: value for key, value in series_of(metrics).items() if key[0].startswith("redis_")}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return series_of(metrics).get((f"redis_backup_{name}", tuple(sorted(labels.items()))))


@pytest.fixture(params=sorted(STATES))
def state(request: pytest.FixtureRequest) -> Snapshot:
    return STATES[request.param]()


def test_promtool_finds_nothing_to_say(state: Snapshot) -> None:
    body, content_type = exercised(state).exposition(None)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60, check=False
    )
    # process_* is the library's own.
    said = [line for line in (done.stdout + done.stderr).decode().splitlines() if line]
    assert (done.returncode, said) == (0, [])


def test_openmetrics_passes_the_strict_parser(state: Snapshot) -> None:
    body, content_type = exercised(state).exposition(OPENMETRICS)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(parse_openmetrics(body.decode()))
    assert len(families) > 15
    assert not [s.name for f in families for s in f.samples if s.name.endswith("_created")]


def test_both_formats_say_the_same(state: Snapshot) -> None:
    metrics = exercised(state)
    body, _ = metrics.exposition(OPENMETRICS)
    strict = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in parse_openmetrics(body.decode())
        for s in family.samples
        if s.name.startswith("redis_")
    }
    assert strict == ours(metrics)


def test_series_stay_within_what_configuration_spans(state: Snapshot) -> None:
    allowed = span(state.policy)
    shapes = {(name, _without_empty(labels)) for name, labels in allowed}
    free: Counter[str] = Counter()
    for name, labels in ours(exercised(state)):
        if (name, labels) in shapes:
            continue
        loose = [
            shape
            for other, shape in shapes
            if other == name
            and any(text == ANY for _, text in shape)
            and _fits(dict(labels), dict(shape))
        ]
        assert loose, f"{name}{dict(labels)} is outside the span"
        free[name] += 1
    assert all(count == 1 for count in free.values()), free


def _without_empty(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels))


def _fits(labels: dict[str, str], shape: dict[str, str]) -> bool:
    return labels.keys() == shape.keys() and all(
        shape[name] in {ANY, text} for name, text in labels.items()
    )


def test_the_span_is_finite_and_small() -> None:
    policy = snapshots.POLICY
    assert len(span(policy)) < 2000
    assert not [row for row in span(replace(policy, redis=False)) if "_server_" in row[0]]
    relayed = {name for name, _ in span(replace(policy, heartbeat=None)) if "heartbeat" in name}
    assert relayed == {"redis_backup_heartbeat_enabled"}


def test_exactly_one_verdict_and_one_status_holds(state: Snapshot) -> None:
    found = ours(metrics_of(state))
    verdicts = [v for (name, _), v in found.items() if name == "redis_backup_verdict"]
    assert sorted(verdicts) in ([], [0, 0, 1])
    per_place: Counter[str] = Counter()
    for (name, labels), number in found.items():
        if name == "redis_backup_newest_status":
            per_place[dict(labels)["location"]] += int(number)
    assert all(count == 1 for count in per_place.values())


def test_protected_is_one_only_for_a_fresh_green_verdict(state: Snapshot) -> None:
    number = value(metrics_of(state), "protected")
    verdict = state.verdict
    if verdict is None:
        assert number is None
    else:
        green = verdict.state is VerdictState.PROTECTED and abs(NOW - state.at) < 60
        assert number == float(green)


@pytest.mark.parametrize("name", ["stale", "from_the_future"])
def test_a_stale_verdict_is_unknown_and_takes_old_numbers_with_it(name: str) -> None:
    metrics = exercised(STATES[name]())
    assert value(metrics, "protected") == 0
    assert value(metrics, "verdict", state="unknown") == 1
    assert value(metrics, "verdict", state="protected") == 0
    names = {key[0].removeprefix("redis_backup_") for key in ours(metrics)}
    old = {
        "newest_status", "newest_timestamp_seconds", "last_valid_timestamp_seconds", "files",
        "location_up", "check_outcome", "server_up", "server_keys", "exposed_seconds",
        "verification_in_progress", "heartbeat_pending",
    }  # fmt: skip
    assert not names & old
    assert {"last_cycle_timestamp_seconds", "max_age_seconds", "cycles_total"} <= names


def test_before_the_first_verdict_nothing_is_claimed() -> None:
    metrics = metrics_of(STATES["first_start"]())
    names = {key[0].removeprefix("redis_backup_") for key in ours(metrics)}
    assert not names & {
        "protected", "verdict", "verdict_timestamp_seconds", "last_cycle_timestamp_seconds",
        "server_up", "location_up", "newest_status",
    }  # fmt: skip
    assert value(metrics, "max_age_seconds", location="local") == 26 * 3600
    assert value(metrics, "cycles_total") == 0


@pytest.mark.parametrize("name", ["redis_down", "redis_timeout", "redis_denied"])
def test_of_a_server_that_is_not_seen_only_server_up_stays(name: str) -> None:
    metrics = metrics_of(STATES[name]())
    seen = {key[0] for key in ours(metrics) if key[0].startswith("redis_backup_server_")}
    # The counter of failed looks is our own, and is what tells why server_up is 0.
    assert seen == {"redis_backup_server_up", "redis_backup_server_query_failures_total"}
    assert value(metrics, "server_up") == 0


def test_without_a_server_there_is_nothing_of_one() -> None:
    names = {key[0] for key in ours(exercised(STATES["no_redis"]()))}
    assert not [name for name in names if "_server_" in name]
    assert "redis_backup_exposed_changes" not in names
    assert "redis_backup_exposed_seconds" in names


def test_unknown_server_fields_are_absent_not_zero() -> None:
    metrics = metrics_of(STATES["redis_loading"]())
    assert value(metrics, "server_up") == 1
    assert value(metrics, "server_loading") == 1
    assert value(metrics, "server_keys") is None
    assert value(metrics, "server_last_bgsave_duration_seconds") is None


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("empty_directory", "missing"),
        ("pending", "pending"),
        ("pending_beside_valid", "valid"),
        ("valid", "valid"),
        ("broken_corrupt", "corrupt"),
        ("broken_timeout", "timeout"),
    ],
)
def test_newest_status_is_that_of_the_newest_judged(name: str, status: str) -> None:
    metrics = metrics_of(STATES[name]())
    assert value(metrics, "newest_status", location="local", status=status) == 1


def test_a_location_that_cannot_be_listed_has_no_numbers() -> None:
    metrics = metrics_of(STATES["no_directory"]())
    assert value(metrics, "location_up", location="local") == 0
    names = {key[0] for key, _ in ours(metrics).items() if dict(key[1]).get("location") == "local"}
    assert not [
        name for name in names if "newest" in name or "last_valid" in name or "files" in name
    ]


def test_a_broken_newest_leaves_the_last_valid_its_own_numbers() -> None:
    metrics = metrics_of(STATES["broken_corrupt"]())
    assert value(metrics, "newest_timestamp_seconds", location="local") == NOW - 3.2 * 3600
    assert value(metrics, "last_valid_timestamp_seconds", location="local") == NOW - 27.2 * 3600
    assert value(metrics, "last_valid_keys", location="local") == 2_000_000


def test_a_last_valid_that_is_gone_is_absent() -> None:
    snapshot = STATES["valid"]()
    place = snapshot.locations[0]
    assert place.last_valid is not None
    gone = replace(place, last_valid=replace(place.last_valid, exists=False))
    metrics = metrics_of(replace(snapshot, locations=(gone,)))
    assert value(metrics, "last_valid_timestamp_seconds", location="local") is None


def test_a_time_in_the_future_is_shown_as_claimed() -> None:
    """The rule that pages on a clock gone wrong needs the number that the file claims."""
    metrics = metrics_of(STATES["future_ctime"]())
    claimed = value(metrics, "newest_timestamp_seconds", location="local")
    assert claimed is not None
    assert claimed > NOW + 300


def test_checks_carry_outcome_severity_and_reason() -> None:
    metrics = metrics_of(STATES["too_old"]())
    labels = {"check": "snapshot_age", "location": "local"}
    assert value(metrics, "check_outcome", **labels, severity="block") == 2
    assert value(metrics, "check_reason_info", **labels, reason="snapshot_too_old") == 1
    drop = {"check": "size_drop", "location": "local"}
    assert value(metrics, "check_outcome", **drop, severity="warn") == 1
    assert (
        value(metrics, "check_outcome", check="rdb_magic", location="local", severity="block") == 0
    )
    reasons = [k for k in ours(metrics) if k[0] == "redis_backup_check_reason_info"]
    assert len(reasons) == 2


def test_a_skipped_check_is_absent() -> None:
    snapshot = STATES["valid"]()
    assert any(each.outcome is Outcome.SKIP for each in snapshot.results)
    names = {str(key) for key in ours(metrics_of(snapshot)) if "check_" in key[0]}
    assert not [name for name in names if "size_drop" in name]


def test_counters_begin_at_zero_for_each_word() -> None:
    found = ours(metrics_of(STATES["valid"]()))
    counted = {
        family.full_name
        for family in FAMILIES
        if family.points is None and family.kind is Kind.COUNTER
    }
    expected = {
        (name, tuple(sorted(labels))) for name, labels in span(snapshots.POLICY) if name in counted
    }
    assert {key: found[key] for key in expected} == dict.fromkeys(expected, 0.0)


def test_counters_count() -> None:
    metrics = metrics_of(STATES["valid"]())
    for status, seconds in ((Status.VALID, 0.1), (Status.CORRUPT, 31.0), (Status.CORRUPT, 1e6)):
        metrics.verification_done(
            "local", replace(snapshots.report(status), seconds=seconds, bytes=10)
        )
    metrics.heartbeat_withheld("default", Reason.CORRUPT)
    metrics.query_failed(Reason.REDIS_IS_SENTINEL)
    assert value(metrics, "verifications_total", location="local") == 3
    assert value(metrics, "verification_failures_total", location="local", reason="corrupt") == 2
    assert value(metrics, "verified_bytes_total") == 30
    assert value(metrics, "verification_duration_seconds_count") == 3
    assert value(metrics, "verification_duration_seconds_sum") == pytest.approx(1_000_031.1)
    buckets = [
        value(metrics, "verification_duration_seconds_bucket", le=le)
        for le in ("0.1", "30.0", "120.0", "3600.0", "+Inf")
    ]
    assert buckets == [1, 1, 2, 2, 3]
    assert value(metrics, "heartbeats_withheld_total", heartbeat="default", reason="corrupt") == 1
    assert value(metrics, "server_query_failures_total", reason="protocol") == 1


def test_a_word_of_no_table_is_refused() -> None:
    metrics = metrics_of(STATES["valid"]())
    for call in (
        lambda: metrics.heartbeat_failed("default", "https://token@host"),
        lambda: metrics.heartbeat_withheld("default", Reason.SWITCHED_OFF),
    ):
        with pytest.raises(ValueError):
            call()


def test_an_answer_that_is_absent_is_no_failed_look() -> None:
    metrics = metrics_of(STATES["valid"]())
    metrics.query_failed(Reason.FIELD_ABSENT)
    for word in QUERY_FAILURES.values():
        assert value(metrics, "server_query_failures_total", reason=word) == 0


def test_a_log_level_of_no_table_counts_as_an_error() -> None:
    metrics = metrics_of(STATES["valid"]())
    metrics.log_message("loud")
    assert value(metrics, "log_messages_total", level="error") == 1


def test_every_way_to_fail_a_look_at_the_server_has_a_word() -> None:
    assert set(QUERY_FAILURES) == {reason for reason in Reason if reason.startswith("redis_")}
    assert set(FAILED_STATUSES) == set(Status) - {Status.VALID, Status.PENDING, Status.MISSING}


def test_heartbeat_interval_is_only_of_the_continuous_mode() -> None:
    assert (
        value(metrics_of(STATES["continuous"]()), "heartbeat_interval_seconds", heartbeat="night")
        == 300
    )
    assert (
        value(metrics_of(STATES["valid"]()), "heartbeat_interval_seconds", heartbeat="default")
        is None
    )
    assert (
        value(metrics_of(STATES["no_heartbeat"]()), "heartbeat_enabled", heartbeat="default") == 0
    )


def test_secrets_and_names_from_outside_are_in_no_line(state: Snapshot) -> None:
    body, _ = exercised(state).exposition(None)
    for never in (b"hunter2", b"dump-", b"/backups", b"heartfly", b"a" * 40, b"1f2e3d4c"):
        assert never not in body


def test_start_time_does_not_jitter() -> None:
    """Uptime in whole seconds moves the difference by up to a second between looks."""
    starts = set()
    for tick in range(50):
        at = NOW + tick * 15.37
        view = replace(snapshots.SERVER, at=at, uptime_seconds=int(at - (NOW - 864_000.4)))
        snapshot = replace(STATES["valid"](), server=view)
        starts.add(value(metrics_of(snapshot), "server_start_time_seconds"))
    assert len(starts) == 1


def test_the_registry_refuses_a_second_collector_of_the_same_names() -> None:
    metrics = metrics_of(STATES["valid"]())
    with pytest.raises(ValueError, match="redis_backup_protected"):
        metrics.registry.register(metrics_of(STATES["valid"]()))


def test_the_table_is_well_formed() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    for family in FAMILIES:
        assert family.help.endswith("."), family.name
        assert family.name.endswith("_total") is (family.kind is Kind.COUNTER), family.name
        assert not family.unit or family.unit in family.name
    help_by_name = {family.name: family.help for family in FAMILIES}
    for name, field in {
        "server_last_save_timestamp_seconds": "rdb_last_save_time",
        "server_last_bgsave_success": "rdb_last_bgsave_status",
        "server_saves_started_total": "rdb_saves",
        "server_changes_since_last_save": "rdb_changes_since_last_save",
    }.items():
        assert f"INFO {field}" in help_by_name[name]


def test_markdown_lists_every_family() -> None:
    rows = markdown_table().splitlines()
    assert len(rows) == len(FAMILIES) + 2
    assert all(f"| `{family.full_name}` |" in "\n".join(rows) for family in FAMILIES)


def test_every_family_is_exposed_in_some_state() -> None:
    exposed: set[str] = set()
    full = replace(snapshots.SERVER, aof_size_bytes=5)
    for build in (*STATES.values(), lambda: replace(STATES["valid"](), server=full)):
        exposed |= {name for name, _ in ours(exercised(build()))}
    histogram = "redis_backup_verification_duration_seconds"
    missing = {family.full_name for family in FAMILIES} - exposed - {histogram}
    assert not missing


def test_policy_alone_decides_which_counters_exist() -> None:
    place = replace(snapshots.LOCAL, name="other-place")
    snapshot = replace(STATES["valid"](), policy=Policy(locations=(place,)))
    metrics = exercised(snapshot)
    assert value(metrics, "verifications_total", location="other-place") == 0
    assert value(metrics, "verifications_total", location="local") is None
