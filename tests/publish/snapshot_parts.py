"""What example Snapshots are made of: a backup, a report, a server, check results, all at NOW."""

from __future__ import annotations

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
    Outcome,
    Policy,
    Proof,
    RdbReport,
    Reason,
    ServerView,
    Severity,
    Status,
    TimeSource,
    Unseen,
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
#: Checks that never withhold the heartbeat by themselves.
WARNING = {
    CheckId.SIZE_DROP,
    CheckId.RDB_FINDINGS,
    CheckId.RESTORE_TARGET,
    CheckId.SECOND_OPINION,
}
UNKNOWN_STATUSES = {Status.UNSUPPORTED_VERSION, Status.UNREADABLE, Status.TIMEOUT}


def backup(
    name: str = "dump-2026-11-22.rdb", size: int = 74_120_331, age: float = 3.2 * HOUR
) -> Backup:
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
    default = Severity.WARN if check in WARNING else Severity.BLOCK
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
