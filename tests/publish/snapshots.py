"""Example Snapshots for every state that outputs must show: values only, all at NOW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from exporter.model import (
    Backup,
    Candidate,
    CheckId,
    CheckResult,
    ChecksumState,
    Cycle,
    Dialect,
    HeartbeatMode,
    HeartbeatPolicy,
    HeartbeatState,
    Listing,
    Location,
    LocationState,
    Notice,
    Origin,
    Outcome,
    Policy,
    Proof,
    RdbReport,
    Reason,
    ServerView,
    Severity,
    Snapshot,
    Status,
    TimeSource,
    Unseen,
    Verdict,
    VerdictState,
    VerifierState,
)

NOW = 1_795_334_400.0  # 2026-11-22 08:00:00 UTC
HOUR = 3600.0

LOCAL = Location(name="local", path="/backups/redis", pattern="dump-*.rdb")
POLICY = Policy(
    locations=(LOCAL,), redis=True, heartbeat=HeartbeatPolicy(mode=HeartbeatMode.PER_BACKUP)
)
CYCLE = Cycle(number=4711, at=NOW - 4, seconds=0.042)

STATUS_CHECK = {
    Status.EMPTY: CheckId.ARTIFACT_COMPLETE,
    Status.TRUNCATED: CheckId.RDB_CHECKSUM,
    Status.BAD_MAGIC: CheckId.RDB_MAGIC,
    Status.UNSUPPORTED_VERSION: CheckId.STRUCTURE,
    Status.CHECKSUM_MISMATCH: CheckId.RDB_CHECKSUM,
    Status.CORRUPT: CheckId.STRUCTURE,
    Status.TRAILING_DATA: CheckId.STRUCTURE,
    Status.UNREADABLE: CheckId.STRUCTURE,
    Status.TIMEOUT: CheckId.STRUCTURE,
}
UNKNOWN_STATUSES = {Status.UNSUPPORTED_VERSION, Status.UNREADABLE, Status.TIMEOUT}


def backup(name: str = "dump-2026-11-22.rdb", size: int = 74_120_331, age: float = 3.2 * HOUR) -> Backup:
    return Backup(
        location="local",
        name=name,
        path=f"/backups/redis/{name}",
        size_bytes=size,
        mtime_ns=int((NOW - age) * 1e9),
        ctime_ns=int((NOW - age) * 1e9),
        inode=1234,
        device=64,
        settled=True,
        head=b"REDIS0010",
        tail=b"\x01" * 8,
    )


def report(status: Status = Status.VALID, age: float = 3.2 * HOUR) -> RdbReport:
    valid = status is Status.VALID
    return RdbReport(
        status=status,
        reason=None if valid else f"seen at key 1204: {status.replace('_', ' ')}",
        offset=None if valid else 48_120_004,
        key_index=None if valid else 1204,
        rdb_version=10,
        dialect=Dialect.REDIS,
        server_version="7.0.15",
        ctime=int(NOW - age),
        checksum=ChecksumState.OK if valid else None,
        crc64=0x1F2E3D4C5B6A7988 if valid else None,
        keys=2_000_000 if valid else 1204,
        expires=120_411 if valid else 7,
        keys_by_db={0: (2_000_000, 120_411)},
        keys_by_type={"string": 1_900_000, "hash": 100_000},
        bytes=74_120_331,
        seconds=1.84,
        engine="rdbtools",
    )


def candidate(
    status: Status = Status.VALID, *, name: str = "dump-2026-11-22.rdb", age: float = 3.2 * HOUR
) -> Candidate:
    seen = backup(name=name, age=age, size=0 if status is Status.EMPTY else 74_120_331)
    judged = status is not Status.PENDING
    proof = Proof(
        identity=seen.identity,
        report=report(status, age),
        verified_at=NOW - age + 95,
        ctime_ns=seen.ctime_ns,
    )
    return Candidate(
        backup=seen,
        identity=seen.identity,
        arrived_at=NOW - age + 60,
        taken_at=NOW - age,
        time_source=TimeSource.CTIME if judged else TimeSource.MTIME,
        fingerprint="1f2e3d4c5b6a7988" if status is Status.VALID else None,
        proof=proof if judged else None,
    )


def listing(*found: Candidate) -> Listing:
    return Listing(
        location="local",
        at=NOW - 4,
        backups=tuple(each.backup for each in found),
        free_bytes=41_200_000_000,
        total_bytes=100_000_000_000,
    )


SERVER = ServerView(
    at=NOW - 4,
    version="7.0.15",
    dialect="redis",
    mode="standalone",
    role="master",
    run_id="a" * 40,
    uptime_seconds=864_000,
    last_save_at=int(NOW - 3.2 * HOUR) + 2,
    changes_since_last_save=4_211,
    bgsave_in_progress=False,
    last_bgsave_ok=True,
    last_bgsave_seconds=2,
    saves_started=240,
    last_cow_bytes=12_582_912,
    latest_fork_seconds=0.0031,
    aof_enabled=False,
    aof_last_write_ok=True,
    aof_last_rewrite_ok=True,
    keys=2_003_110,
    used_memory_bytes=353_000_000,
    lastsave_at=int(NOW - 3.2 * HOUR) + 2,
    config={
        "dir": "/var/lib/redis",
        "dbfilename": "dump.rdb",
        "save": "3600 1",
        "requirepass": "hunter2-never-shown",
        "appendonly": Unseen(source="redis", at=NOW, reason=Reason.REDIS_COMMAND_DENIED),
    },
    info={"executable": "/usr/bin/redis-server", "hidden_field": "hidden-info-never-shown"},
)


def result(
    check: CheckId, outcome: Outcome, reason: Reason | None = None, *, location: str | None = "local",
    measured: str = "", limit: str = "", remedy: str = "", severity: Severity | None = None,
) -> CheckResult:  # fmt: skip
    default = Severity.WARN if check is CheckId.SIZE_DROP else Severity.BLOCK
    return CheckResult(
        check=check, location=location, outcome=outcome, severity=severity or default,
        reason=reason, measured=measured, limit=limit, remedy=remedy,
    )  # fmt: skip


def results(*different: CheckResult) -> tuple[CheckResult, ...]:
    """All checks pass but those given, and one that is skipped."""
    server = {CheckId.REDIS_REACHABLE, CheckId.BGSAVE_STATUS}
    rows = {
        check: result(check, Outcome.PASS, location=None if check in server else "local")
        for check in CheckId
    }
    rows[CheckId.SIZE_DROP] = result(
        CheckId.SIZE_DROP, Outcome.SKIP, Reason.BASELINE_TOO_SHORT, remedy="Wait for 3 backups."
    )
    rows |= {each.check: each for each in different}
    return tuple(rows.values())


HEARTBEAT = HeartbeatState(
    policy=POLICY.heartbeat or HeartbeatPolicy(),
    target="https://heartfly.example",
    last_success_at=NOW - 3.1 * HOUR,
)


def valid() -> Snapshot:
    best = candidate()
    older = candidate(name="dump-2026-11-21.rdb", age=27.2 * HOUR)
    return Snapshot(
        at=NOW - 4,
        policy=POLICY,
        engine="rdbtools",
        verdict=Verdict(state=VerdictState.PROTECTED, since=NOW - 9.5 * 86400),
        cycle=CYCLE,
        server=SERVER,
        locations=(
            LocationState(
                location=LOCAL,
                seen=listing(best, older),
                newest=best,
                newest_judged=best,
                last_valid=best,
                files=12,
                files_size_bytes=12 * 74_120_331,
                distinct_snapshots=12,
            ),
        ),
        results=results(),
        exposed_changes=4_211,
        exposed_seconds=3.2 * HOUR,
        heartbeat=HEARTBEAT,
    )


def first_start() -> Snapshot:
    return Snapshot(at=NOW, policy=POLICY, engine="rdbtools", heartbeat=replace(HEARTBEAT, last_success_at=None))


def _not_green(base: Snapshot, why: CheckResult, state: VerdictState = VerdictState.AT_RISK) -> Snapshot:
    verdict = Verdict(state=state, since=NOW - 720, blocking=(why,))
    return replace(base, verdict=verdict, results=results(why))


def _at(state: LocationState) -> Snapshot:
    return replace(valid(), locations=(state,))


def no_directory() -> Snapshot:
    seen = Unseen(source="local", at=NOW - 4, reason=Reason.DIRECTORY_MISSING, detail="no such directory")
    why = result(CheckId.ARTIFACT_PRESENT, Outcome.UNKNOWN, Reason.DIRECTORY_MISSING, remedy="Mount it.")
    base = _at(LocationState(location=LOCAL, seen=seen))
    return _not_green(replace(base, exposed_changes=None, exposed_seconds=None), why, VerdictState.UNKNOWN)


def empty_directory() -> Snapshot:
    why = result(
        CheckId.ARTIFACT_PRESENT, Outcome.FAIL, Reason.MISSING, measured="0 files", limit="at least 1",
        remedy="Check that the backup job runs and writes here.",
    )  # fmt: skip
    base = _at(LocationState(location=LOCAL, seen=listing()))
    return _not_green(replace(base, exposed_changes=None, exposed_seconds=None), why)


def pending() -> Snapshot:
    first = candidate(Status.PENDING)
    why = result(CheckId.STRUCTURE, Outcome.UNKNOWN, Reason.PENDING, remedy="Wait: it is being read.")
    state = LocationState(
        location=LOCAL, seen=listing(first), newest=first, pending=(first,), files=1, files_size_bytes=74_120_331
    )
    reading = VerifierState(location="local", name=first.backup.name, started_at=NOW - 5, ratio=0.42)
    return replace(_not_green(_at(state), why, VerdictState.UNKNOWN), verifier=reading)


def pending_beside_valid() -> Snapshot:
    base = valid()
    coming = tuple(candidate(Status.PENDING, name=f"dump-next-{n}.rdb", age=60.0 + n) for n in range(7))
    state = replace(base.locations[0], newest=coming[0], pending=coming)
    reading = VerifierState(location="local", name="dump-next-0.rdb", started_at=NOW - 5, ratio=0.63)
    return replace(base, locations=(state,), verifier=reading)


def broken(status: Status) -> Snapshot:
    worst = candidate(status)
    older = candidate(name="dump-2026-11-21.rdb", age=27.2 * HOUR)
    outcome = Outcome.UNKNOWN if status in UNKNOWN_STATUSES else Outcome.FAIL
    why = result(
        STATUS_CHECK[status], outcome, Reason(status.value), measured="at byte 48,120,004",
        remedy="Take a new backup, then check disk, memory and transfer.",
    )  # fmt: skip
    state = replace(valid().locations[0], newest=worst, newest_judged=worst, last_valid=older)
    return _not_green(_at(state), why)


def too_old() -> Snapshot:
    old = candidate(age=31 * HOUR)
    why = result(
        CheckId.SNAPSHOT_AGE, Outcome.FAIL, Reason.SNAPSHOT_TOO_OLD, measured="31.0h", limit="26.0h",
        remedy="Check that the server saves and that the copy job runs; backup.max_age is the limit.",
    )  # fmt: skip
    drop = result(CheckId.SIZE_DROP, Outcome.WARN, Reason.SIZE_DROPPED, measured="31.2 MiB", limit="35.3 MiB", remedy="Compare with the last backups.")
    state = replace(valid().locations[0], newest=old, newest_judged=old, last_valid=old)
    base = _not_green(_at(state), why)
    return replace(base, results=results(why, drop))


def future_ctime() -> Snapshot:
    odd = replace(candidate(age=-HOUR), taken_at=None)
    why = result(CheckId.SNAPSHOT_AGE, Outcome.FAIL, Reason.CTIME_IN_FUTURE, remedy="Set the clocks right.")
    state = replace(valid().locations[0], newest=odd, newest_judged=odd, last_valid=candidate(age=25 * HOUR))
    return _not_green(_at(state), why)


def _server_gone(reason: Reason, outcome: Outcome = Outcome.FAIL) -> Snapshot:
    why = result(CheckId.REDIS_REACHABLE, outcome, reason, location=None, remedy="Start the server.")
    seen = Unseen(source="redis", at=NOW - 4, reason=reason, detail="connection refused")
    return replace(_not_green(valid(), why), server=seen, exposed_changes=None)


def loading() -> Snapshot:
    view = ServerView(at=NOW - 4, version="7.0.15", dialect="redis", loading=True, loading_progress=5, uptime_seconds=7)
    why = result(CheckId.REDIS_REACHABLE, Outcome.WARN, Reason.REDIS_LOADING, location=None)
    return replace(valid(), server=view, results=results(why), exposed_changes=None)


def stale() -> Snapshot:
    return replace(valid(), cycle=replace(CYCLE, at=NOW - 420), at=NOW - 420)


def from_the_future() -> Snapshot:
    """The wall clock was set back by an hour, and the loop hangs since."""
    return replace(valid(), cycle=replace(CYCLE, at=NOW + 3600), at=NOW + 3600)


def heartbeat_failing() -> Snapshot:
    beat = replace(
        HEARTBEAT, due=1, last_failure="http_5xx", last_failure_at=NOW - 30, next_attempt_at=NOW + 90
    )
    return replace(valid(), heartbeat=beat)


def continuous() -> Snapshot:
    place = replace(LOCAL, origin=Origin.SERVER_FILE, pattern="dump.rdb")
    beat = HeartbeatPolicy(mode=HeartbeatMode.CONTINUOUS, name="night")
    policy = replace(POLICY, heartbeat=beat, locations=(place,))
    base = valid()
    return replace(
        base, policy=policy, locations=(replace(base.locations[0], location=place),),
        heartbeat=replace(HEARTBEAT, policy=beat, next_attempt_at=NOW + 200),
    )  # fmt: skip


def no_heartbeat() -> Snapshot:
    return replace(valid(), heartbeat=None, policy=replace(POLICY, heartbeat=None))


def no_redis() -> Snapshot:
    off = [
        result(check, Outcome.SKIP, Reason.NO_REDIS, location=None)
        for check in (CheckId.REDIS_REACHABLE, CheckId.BGSAVE_STATUS)
    ]
    base = replace(valid(), server=None, policy=replace(POLICY, redis=False), results=results(*off))
    return replace(base, exposed_changes=None)


def two_places() -> Snapshot:
    """A required one that is good, and an advisory one that can't be listed."""
    base = valid()
    other = Location(name="offsite-nfs", path="/mnt/nfs", required=False)
    seen = Unseen(source="offsite-nfs", at=NOW - 4, reason=Reason.DIRECTORY_UNREADABLE, detail="permission denied")
    why = result(CheckId.ARTIFACT_PRESENT, Outcome.UNKNOWN, Reason.DIRECTORY_UNREADABLE, location="offsite-nfs", severity=Severity.WARN)
    return replace(
        base,
        policy=replace(POLICY, locations=(LOCAL, other)),
        locations=(*base.locations, LocationState(location=other, seen=seen)),
        results=(*base.results, why),
        notices=(Notice(id="state_not_kept", text="The state directory can't be written: a restart reads all again."),),
    )  # fmt: skip


HOSTILE = '<script>alert(1)</script>"&\u202egpj.\udcff\x1b[31m\n' + "long" * 60


def hostile() -> Snapshot:
    """Every text that comes from outside tries something."""
    base = valid()
    bad = candidate(name=HOSTILE)
    waiting = candidate(Status.PENDING, name=HOSTILE + "2")
    proof = bad.proof
    assert proof is not None
    read = replace(proof.report, server_version=HOSTILE, reason=HOSTILE, status=Status.CORRUPT)
    bad = replace(bad, proof=replace(proof, report=read), fingerprint=HOSTILE)
    state = replace(base.locations[0], newest=waiting, newest_judged=bad, pending=(waiting,))
    view = replace(
        SERVER, version=HOSTILE, dialect=HOSTILE, mode=HOSTILE, role=HOSTILE, config={"dir": HOSTILE}
    )
    why = result(
        CheckId.STRUCTURE, Outcome.FAIL, Reason.CORRUPT, measured=HOSTILE, limit=HOSTILE, remedy=HOSTILE
    )
    beat = replace(HEARTBEAT, target=HOSTILE, last_failure=HOSTILE)
    reading = VerifierState(location="local", name=HOSTILE + "2", started_at=NOW, ratio=0.5)
    return replace(
        _not_green(base, why), locations=(state,), server=view, heartbeat=beat,
        verifier=reading, notices=(Notice(id="x", text=HOSTILE),), engine="rdbtools",
    )  # fmt: skip


STATES: Mapping[str, Callable[[], Snapshot]] = {
    "first_start": first_start,
    "no_directory": no_directory,
    "empty_directory": empty_directory,
    "pending": pending,
    "pending_beside_valid": pending_beside_valid,
    "valid": valid,
    **{f"broken_{status}": (lambda status=status: broken(status)) for status in STATUS_CHECK},
    "too_old": too_old,
    "future_ctime": future_ctime,
    "redis_down": lambda: _server_gone(Reason.REDIS_UNREACHABLE),
    "redis_timeout": lambda: _server_gone(Reason.REDIS_TIMEOUT, Outcome.UNKNOWN),
    "redis_denied": lambda: _server_gone(Reason.REDIS_COMMAND_DENIED),
    "redis_loading": loading,
    "stale": stale,
    "from_the_future": from_the_future,
    "heartbeat_failing": heartbeat_failing,
    "continuous": continuous,
    "no_heartbeat": no_heartbeat,
    "no_redis": no_redis,
    "two_places": two_places,
    "hostile": hostile,
}
