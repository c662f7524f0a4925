"""The metric families: one table of name, type, unit, help, labels, and where the value comes from.

Knows: every name and label value that may ever be exposed. Refuses to know: how it is served
(``metrics``), and whether a number is good. A getter that yields nothing leaves the series out:
what is not known is absent, never 0, -1 or the last good value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import (
    Candidate,
    CheckId,
    CheckResult,
    HeartbeatPolicy,
    HeartbeatState,
    Listing,
    LocationState,
    Outcome,
    Policy,
    Reason,
    ServerView,
    Severity,
    Snapshot,
    Status,
    VerdictState,
)
from exporter.publish.counts import Key
from exporter.publish.standing import Standing, newest_status

PREFIX = "redis_backup_"

#: Stands in a span for a value that comes from outside or from the build: one series at a time.
ANY = "*"

Point = tuple[tuple[str, ...], float]


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """All that a getter may look at."""

    snapshot: Snapshot
    standing: Standing
    counts: Mapping[Key, float]
    build: tuple[str, ...]

    @property
    def locations(self) -> tuple[LocationState, ...]:
        """Empty when stale: old observations are never served as new."""
        return self.snapshot.locations if self.standing.fresh else ()

    @property
    def server(self) -> ServerView | None:
        server = self.snapshot.server
        return server if self.standing.fresh and isinstance(server, ServerView) else None

    @property
    def results(self) -> tuple[CheckResult, ...]:
        return self.snapshot.results if self.standing.fresh else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label and the set of values that a configuration spans for it."""

    name: str
    values: Callable[[Policy], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    name: str
    """Without the prefix; counters with ``_total``."""
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...]
    points: Callable[[Scrape], Iterable[Point]] | None
    """None for what is counted: all spanned label values, from 0 on."""
    when: Callable[[Policy], bool]
    """Whether the configuration has this family at all."""

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


# --- Label values: fixed, or as configured ------------------------------------------------------

#: Reasons that only ever explain a skip: they can't withhold a heartbeat.
SKIP_REASONS = frozenset(
    {
        Reason.NO_REDIS,
        Reason.NOT_FOR_ORIGIN,
        Reason.FIELD_ABSENT,
        Reason.BASELINE_TOO_SHORT,
        Reason.NO_PREVIOUS_BACKUP,
        Reason.NOTHING_TO_JUDGE,
        Reason.NO_SECOND_OPINION,
        Reason.TARGET_UNKNOWN,
        Reason.SWITCHED_OFF,
    }
)
WITHHELD_REASONS = tuple(reason for reason in Reason if reason not in SKIP_REASONS)
FAILED_STATUSES = tuple(
    each for each in Status if each not in {Status.VALID, Status.PENDING, Status.MISSING}
)
HEARTBEAT_FAILURES = ("dns", "connection", "timeout", "tls", "redirect", "http_4xx", "http_5xx")
QUERY_FAILURES = {
    Reason.REDIS_UNREACHABLE: "connection",
    Reason.REDIS_TIMEOUT: "timeout",
    Reason.REDIS_AUTH_FAILED: "auth",
    Reason.REDIS_COMMAND_DENIED: "denied",
    Reason.REDIS_LOADING: "loading",
    Reason.REDIS_PROTOCOL_ERROR: "protocol",
    Reason.REDIS_IS_SENTINEL: "protocol",
}
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
OUTCOME_NUMBERS = {Outcome.PASS: 0, Outcome.WARN: 1, Outcome.FAIL: 2, Outcome.UNKNOWN: 3}
DURATION_BUCKETS = (0.1, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
MODES = ("standalone", "cluster", "sentinel", "other")
ROLES = ("master", "slave", "other")
DIALECTS = ("redis", "valkey", "other")


def _fixed(name: str, values: Iterable[str]) -> Label:
    words = tuple(str(value) for value in values)
    return Label(name=name, values=lambda _policy: words)


LOCATION = Label(name="location", values=lambda policy: tuple(p.name for p in policy.locations))
#: Of a check: a location, or empty (Prometheus: absent) for one of the server.
PLACE = Label(name="location", values=lambda policy: ("", *LOCATION.values(policy)))
HEARTBEAT = Label(
    name="heartbeat", values=lambda policy: ((policy.heartbeat or HeartbeatPolicy()).name,)
)
CHECK = _fixed("check", CheckId)


# --- Getters ------------------------------------------------------------------------------------


def _one(get: Callable[[Scrape], float | None]) -> Callable[[Scrape], Iterator[Point]]:
    def points(scrape: Scrape) -> Iterator[Point]:
        if (value := get(scrape)) is not None:
            yield (), float(value)

    return points


def _server(get: Callable[[ServerView], float | None]) -> Callable[[Scrape], Iterator[Point]]:
    return _one(lambda scrape: get(scrape.server) if scrape.server else None)


def _place(get: Callable[[LocationState], float | None]) -> Callable[[Scrape], Iterator[Point]]:
    def points(scrape: Scrape) -> Iterator[Point]:
        for state in scrape.locations:
            if (value := get(state)) is not None:
                yield (state.location.name,), float(value)

    return points


def _listed(
    get: Callable[[LocationState, Listing], float | None],
) -> Callable[[Scrape], Iterator[Point]]:
    """Of a location whose listing worked; absent otherwise."""
    return _place(lambda state: get(state, state.seen) if isinstance(state.seen, Listing) else None)


def _newest(get: Callable[[Candidate], float | None]) -> Callable[[Scrape], Iterator[Point]]:
    return _listed(lambda state, _seen: get(state.newest) if state.newest else None)


def _last_valid(get: Callable[[Candidate], float | None]) -> Callable[[Scrape], Iterator[Point]]:
    return _listed(
        lambda state, _seen: (
            get(state.last_valid) if state.last_valid and state.last_valid.exists else None
        )
    )


def _heartbeat(
    get: Callable[[Scrape, HeartbeatState], float | None],
) -> Callable[[Scrape], Iterator[Point]]:
    def points(scrape: Scrape) -> Iterator[Point]:
        state = scrape.snapshot.heartbeat
        if state is not None and (value := get(scrape, state)) is not None:
            yield (state.policy.name,), float(value)

    return points


def _protected(scrape: Scrape) -> float | None:
    return float(scrape.standing.protected) if scrape.standing.judged else None


def _verdict(scrape: Scrape) -> Iterator[Point]:
    if scrape.standing.judged:
        for state in VerdictState:
            yield (state.value,), float(state is scrape.standing.state)


def _newest_status(scrape: Scrape) -> Iterator[Point]:
    for state in scrape.locations:
        if (newest := newest_status(state)) is not None:
            for each in Status:
                yield (state.location.name, each.value), float(each is newest)


def _newest_time(newest: Candidate) -> float | None:
    # A time in the future is no age, but it is what the file claims: the rule that pages on a
    # clock gone wrong needs the number.
    if newest.taken_at is None and newest.report is not None:
        return newest.report.ctime
    return newest.taken_at


def _max_age(scrape: Scrape) -> Iterator[Point]:
    for place in scrape.snapshot.policy.locations:
        yield (place.name,), place.max_age_seconds


def _check_outcome(scrape: Scrape) -> Iterator[Point]:
    for each in scrape.results:
        if each.outcome is not Outcome.SKIP:
            labels = (each.check.value, each.location or "", each.severity.value)
            yield labels, float(OUTCOME_NUMBERS[each.outcome])


def _check_reason(scrape: Scrape) -> Iterator[Point]:
    for each in scrape.results:
        if each.outcome not in {Outcome.SKIP, Outcome.PASS} and each.reason is not None:
            yield (each.check.value, each.location or "", each.reason.value), 1.0


def _heartbeat_enabled(scrape: Scrape) -> Iterator[Point]:
    for name in HEARTBEAT.values(scrape.snapshot.policy):
        yield (name,), float(scrape.snapshot.policy.heartbeat is not None)


def _heartbeat_interval(scrape: Scrape) -> Iterator[Point]:
    policy = scrape.snapshot.policy.heartbeat
    if policy is not None and policy.mode.value == "continuous":
        yield (policy.name,), policy.interval_seconds


def _server_info(scrape: Scrape) -> Iterator[Point]:
    if (server := scrape.server) is not None:
        yield (
            (
                "".join(c for c in (server.version or "") if c.isascii() and c.isprintable())[:32],
                _known(server.dialect, DIALECTS),
                _known(server.mode, MODES),
                _known(server.role, ROLES),
            ),
            1.0,
        )


def _known(word: str | None, words: tuple[str, ...]) -> str:
    """What a server calls itself is text from outside: only words that we know become labels."""
    if word is None:
        return ""
    return word if word in words else "other"


def _server_up(scrape: Scrape) -> float | None:
    if scrape.snapshot.server is None or not scrape.standing.fresh:
        return None
    return float(scrape.server is not None)


def _started(server: ServerView) -> float | None:
    # Uptime comes in whole seconds of another clock: to the second, the difference jitters.
    return None if server.started_at is None else 10.0 * round(server.started_at / 10.0)


# --- The table ----------------------------------------------------------------------------------


def _always(_policy: Policy) -> bool:
    return True


def _gauge(
    name: str,
    text: str,
    points: Callable[[Scrape], Iterable[Point]],
    *labels: Label,
    when: Callable[[Policy], bool] = _always,
) -> Family:
    unit = next((u for u in ("seconds", "bytes", "ratio") if name.endswith("_" + u)), "")
    return Family(
        name=name, kind=Kind.GAUGE, unit=unit, help=text, labels=labels, points=points, when=when
    )


def _counter(
    name: str,
    text: str,
    *labels: Label,
    when: Callable[[Policy], bool] = _always,
    points: Callable[[Scrape], Iterable[Point]] | None = None,
) -> Family:
    unit = "bytes" if name.endswith("_bytes_total") else ""
    return Family(
        name=name, kind=Kind.COUNTER, unit=unit, help=text, labels=labels, points=points, when=when
    )


def _redis(policy: Policy) -> bool:
    return policy.redis


def _relayed(policy: Policy) -> bool:
    return policy.heartbeat is not None


# One row a family, so that the table reads as a table.
# fmt: off
# ruff: noqa: E501
FAMILIES: tuple[Family, ...] = (
    _gauge("protected", "1 while every required location's newest judged backup is proven, fresh and whole; 0 when at risk or unknown. Absent only before the first verdict.", _one(_protected)),
    _gauge("verdict", "The verdict as a state set: exactly one state is 1. A verdict that grew stale is unknown.", _verdict, _fixed("state", VerdictState)),
    _gauge("verdict_timestamp_seconds", "When the verdict was last computed over a whole cycle.", _one(lambda s: s.snapshot.cycle.at if s.snapshot.cycle and s.snapshot.verdict else None)),
    _gauge("newest_status", "Status of the newest judged backup as a state set; pending only where none is judged; none is exposed while the listing fails.", _newest_status, LOCATION, _fixed("status", Status)),
    _gauge("newest_timestamp_seconds", "When the newest backup, valid or not, says that it was taken (the RDB's own ctime where it has one: mtime lies after a copy).", _newest(_newest_time), LOCATION),
    _gauge("newest_size_bytes", "Size of the newest backup, valid or not.", _newest(lambda c: c.backup.size_bytes), LOCATION),
    _gauge("last_valid_timestamp_seconds", "When the newest valid backup that still exists was taken: the metric to page on. Absent when there is none or the listing fails.", _last_valid(lambda c: c.taken_at), LOCATION),
    _gauge("last_valid_size_bytes", "Size of the newest valid backup that still exists.", _last_valid(lambda c: c.backup.size_bytes), LOCATION),
    _gauge("last_valid_keys", "Keys counted in the newest valid backup that still exists, over all databases.", _last_valid(lambda c: c.report.keys if c.report else None), LOCATION),
    _gauge("last_valid_verified_timestamp_seconds", "When the newest valid backup was last read in full (bit rot comes after the first reading).", _last_valid(lambda c: c.proof.verified_at if c.proof else None), LOCATION),
    _gauge("files", "Files that match the location's pattern.", _listed(lambda state, _seen: state.files), LOCATION),
    _gauge("files_size_bytes", "Size of all files that match the location's pattern.", _listed(lambda state, _seen: state.files_size_bytes), LOCATION),
    _gauge("distinct_snapshots", "Recovery points that really differ: copies of one snapshot count once.", _listed(lambda state, _seen: state.distinct_snapshots), LOCATION),
    _gauge("location_up", "1 if the location could be listed in the last cycle.", _place(lambda state: isinstance(state.seen, Listing)), LOCATION),
    _gauge("location_free_bytes", "Space left where the location lies.", _listed(lambda _state, seen: seen.free_bytes), LOCATION),
    _gauge("max_age_seconds", "The configured age beyond which the newest backup is too old.", _max_age, LOCATION),
    _gauge("check_outcome", "Outcome of a check: 0 pass, 1 warn, 2 fail, 3 unknown; a skipped check is absent. Only a check of severity block withholds the heartbeat.", _check_outcome, CHECK, PLACE, _fixed("severity", Severity)),
    _gauge("check_reason_info", "1 for the reason of each check that does not pass.", _check_reason, CHECK, PLACE, _fixed("reason", Reason)),
    _gauge("exposed_changes", "Writes since the newest valid backup: what would be lost now.", _one(lambda s: s.snapshot.exposed_changes if s.standing.fresh else None), when=_redis),
    _gauge("exposed_seconds", "Time since the newest valid backup was taken, as of the last cycle: what would be lost now.", _one(lambda s: s.snapshot.exposed_seconds if s.standing.fresh else None)),
    _gauge("cycle_interval_seconds", "The configured time from one cycle to the next.", _one(lambda s: s.snapshot.policy.interval_seconds)),
    _gauge("last_cycle_timestamp_seconds", "When the last whole cycle ended.", _one(lambda s: s.snapshot.cycle.at if s.snapshot.cycle else None)),
    _gauge("last_cycle_duration_seconds", "How long the last whole cycle took.", _one(lambda s: s.snapshot.cycle.seconds if s.snapshot.cycle else None)),
    _counter("cycles_total", "Whole cycles that ended."),
    _counter("cycle_failures_total", "Cycles that a bug ended early; the loop goes on."),
    _counter("verifications_total", "Backups read to a final status.", LOCATION),
    _counter("verification_failures_total", "Backups that turned out not valid, or could not be verified, by status.", LOCATION, _fixed("reason", FAILED_STATUSES)),
    Family(name="verification_duration_seconds", kind=Kind.HISTOGRAM, unit="seconds", help="How long reading one backup took.", labels=(), points=None, when=_always),
    _counter("verified_bytes_total", "Bytes of backups read, as stored."),
    _gauge("verification_in_progress", "1 while a backup is being read.", _one(lambda s: s.snapshot.verifier.name is not None if s.standing.fresh else None)),
    _gauge("verification_progress_ratio", "How much of the backup that is being read is done; absent between readings.", _one(lambda s: s.snapshot.verifier.ratio if s.standing.fresh else None)),
    _gauge("heartbeat_enabled", "1 if a heartbeat is configured.", _heartbeat_enabled, HEARTBEAT),
    _gauge("heartbeat_interval_seconds", "The configured time between two heartbeats; only in continuous mode.", _heartbeat_interval, HEARTBEAT, when=_relayed),
    _gauge("heartbeat_last_success_timestamp_seconds", "When the receiver last accepted (2xx) a heartbeat.", _heartbeat(lambda _s, h: h.last_success_at), HEARTBEAT, when=_relayed),
    _gauge("heartbeat_pending", "Heartbeats that are due and not accepted yet; held ones, for which the verdict is not green, are not counted.", _heartbeat(lambda s, h: h.due if s.standing.fresh else None), HEARTBEAT, when=_relayed),
    _counter("heartbeat_attempts_total", "Heartbeats sent, with any result.", HEARTBEAT, when=_relayed),
    _counter("heartbeat_failures_total", "Heartbeats that were not accepted.", HEARTBEAT, _fixed("reason", HEARTBEAT_FAILURES), when=_relayed),
    _counter("heartbeats_withheld_total", "Heartbeats not sent because the verdict was not green, once per backup or interval, by the first blocking reason.", HEARTBEAT, _fixed("reason", WITHHELD_REASONS), when=_relayed),
    _gauge("server_up", "1 if the server answered INFO in the last cycle. It does not say that the server is healthy.", _one(_server_up), when=_redis),
    _gauge("server_start_time_seconds", "When the server started, from INFO uptime_in_seconds, rounded to 10 s because that jitters. Until its first save the server gives this time as its last save.", _server(_started), when=_redis),
    _gauge("server_loading", "INFO loading: 1 while the server loads its data; other fields are partial until then.", _server(lambda v: v.loading), when=_redis),
    _gauge("server_info", "What the server says it is, from INFO redis_version or valkey_version, server_name, redis_mode, role.", _server_info, _fixed("version", (ANY,)), _fixed("dialect", ("", *DIALECTS)), _fixed("mode", ("", *MODES)), _fixed("role", ("", *ROLES)), when=_redis),
    _gauge("server_last_save_timestamp_seconds", "INFO rdb_last_save_time. It equals the start time until a save, and a full sync that replaces the file does not move it.", _server(lambda v: v.last_save_at), when=_redis),
    _gauge("server_changes_since_last_save", "INFO rdb_changes_since_last_save. It restarts at 0 with the server, and 0 does not say that a backup exists.", _server(lambda v: v.changes_since_last_save), when=_redis),
    _gauge("server_bgsave_in_progress", "INFO rdb_bgsave_in_progress. It is 1 as well for a diskless replication child, which leaves no file.", _server(lambda v: v.bgsave_in_progress), when=_redis),
    _gauge("server_last_bgsave_success", "INFO rdb_last_bgsave_status is ok. It is ok on a server that never saved, while a child hangs for days, and again after a restart.", _server(lambda v: v.last_bgsave_ok), when=_redis),
    _gauge("server_last_bgsave_duration_seconds", "INFO rdb_last_bgsave_time_sec. Absent before the first BGSAVE (the server says -1); SAVE and FLUSHALL do not set it.", _server(lambda v: v.last_bgsave_seconds), when=_redis),
    _counter("server_saves_started_total", "INFO rdb_saves. It counts attempts, also failed ones, and not the save that FLUSHALL does.", when=_redis, points=_server(lambda v: v.saves_started)),
    _gauge("server_last_cow_bytes", "INFO rdb_last_cow_size: memory that the last save copied on write. 0 until a save.", _server(lambda v: v.last_cow_bytes), when=_redis),
    _gauge("server_latest_fork_seconds", "INFO latest_fork_usec: how long the last fork, of any kind, stopped the server. 0 until a fork.", _server(lambda v: v.latest_fork_seconds), when=_redis),
    _gauge("server_aof_enabled", "INFO aof_enabled. With 1 the server ignores the RDB at its start.", _server(lambda v: v.aof_enabled), when=_redis),
    _gauge("server_aof_last_write_success", "INFO aof_last_write_status is ok. It is ok as well where AOF is off.", _server(lambda v: v.aof_last_write_ok), when=_redis),
    _gauge("server_aof_last_rewrite_success", "INFO aof_last_bgrewrite_status is ok. It is ok as well where none was ever tried.", _server(lambda v: v.aof_last_rewrite_ok), when=_redis),
    _gauge("server_aof_size_bytes", "INFO aof_current_size; absent while AOF is off.", _server(lambda v: v.aof_size_bytes), when=_redis),
    _gauge("server_keys", "Keys in all databases, from INFO keyspace. Expired keys that are still in memory count.", _server(lambda v: v.keys), when=_redis),
    _gauge("server_used_memory_bytes", "INFO used_memory. A backup of it is smaller.", _server(lambda v: v.used_memory_bytes), when=_redis),
    _counter("server_query_failures_total", "Looks at the server that failed. Our own count: it stays while the server is down.", _fixed("reason", dict.fromkeys(QUERY_FAILURES.values())), when=_redis),
    _gauge("exporter_build_info", "1; what this exporter is, and which engine proves the backups.", lambda s: [(s.build, 1.0)], *(_fixed(name, (ANY,)) for name in ("version", "revision", "python_version", "engine"))),
    _counter("log_messages_total", "Log messages written, by level.", _fixed("level", LOG_LEVELS)),
)
# fmt: on
