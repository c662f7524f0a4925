"""Example Snapshots for every state that outputs must show: values only, all at NOW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from exporter.model import (
    CheckId,
    CheckResult,
    HeartbeatMode,
    HeartbeatPolicy,
    Location,
    LocationState,
    Notice,
    Origin,
    Outcome,
    Reason,
    ServerView,
    Severity,
    Snapshot,
    Status,
    Unseen,
    Verdict,
    VerdictState,
    VerifierState,
)
from tests.publish.snapshot_parts import (
    CYCLE,
    HEARTBEAT,
    HOUR,
    LOCAL,
    NOW,
    POLICY,
    SERVER,
    STATUS_CHECK,
    UNKNOWN_STATUSES,
    candidate,
    listing,
    report,
    result,
    results,
)

__all__ = ["LOCAL", "NOW", "POLICY", "SERVER", "STATES", "candidate", "hostile", "report", "stale"]


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
    return Snapshot(
        at=NOW, policy=POLICY, engine="rdbtools", heartbeat=replace(HEARTBEAT, last_success_at=None)
    )


def _not_green(
    base: Snapshot, why: CheckResult, state: VerdictState = VerdictState.AT_RISK
) -> Snapshot:
    verdict = Verdict(state=state, since=NOW - 720, blocking=(why,))
    return replace(base, verdict=verdict, results=results(why))


def _at(state: LocationState) -> Snapshot:
    return replace(valid(), locations=(state,))


def no_directory() -> Snapshot:
    seen = Unseen(
        source="local", at=NOW - 4, reason=Reason.DIRECTORY_MISSING, detail="no such directory"
    )
    why = result(
        CheckId.ARTIFACT_PRESENT, Outcome.UNKNOWN, Reason.DIRECTORY_MISSING, remedy="Mount it."
    )
    base = _at(LocationState(location=LOCAL, seen=seen))
    return _not_green(
        replace(base, exposed_changes=None, exposed_seconds=None), why, VerdictState.UNKNOWN
    )


def empty_directory() -> Snapshot:
    why = result(
        CheckId.ARTIFACT_PRESENT, Outcome.FAIL, Reason.MISSING, measured="0 files", limit="at least 1",
        remedy="Check that the backup job runs and writes here.",
    )  # fmt: skip
    base = _at(LocationState(location=LOCAL, seen=listing()))
    return _not_green(replace(base, exposed_changes=None, exposed_seconds=None), why)


def pending() -> Snapshot:
    first = candidate(Status.PENDING)
    why = result(
        CheckId.STRUCTURE, Outcome.UNKNOWN, Reason.PENDING, remedy="Wait: it is being read."
    )
    state = LocationState(
        location=LOCAL,
        seen=listing(first),
        newest=first,
        pending=(first,),
        files=1,
        files_size_bytes=74_120_331,
    )
    reading = VerifierState(
        location="local", name=first.backup.name, started_at=NOW - 5, ratio=0.42
    )
    return replace(_not_green(_at(state), why, VerdictState.UNKNOWN), verifier=reading)


def pending_beside_valid() -> Snapshot:
    base = valid()
    coming = tuple(
        candidate(Status.PENDING, name=f"dump-next-{n}.rdb", age=60.0 + n) for n in range(7)
    )
    state = replace(base.locations[0], newest=coming[0], pending=coming)
    reading = VerifierState(
        location="local", name="dump-next-0.rdb", started_at=NOW - 5, ratio=0.63
    )
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
    drop = result(
        CheckId.SIZE_DROP,
        Outcome.WARN,
        Reason.SIZE_DROPPED,
        measured="31.2 MiB",
        limit="35.3 MiB",
        remedy="Compare with the last backups.",
    )
    state = replace(valid().locations[0], newest=old, newest_judged=old, last_valid=old)
    base = _not_green(_at(state), why)
    return replace(base, results=results(why, drop))


def future_ctime() -> Snapshot:
    odd = replace(candidate(age=-HOUR), taken_at=None)
    why = result(
        CheckId.SNAPSHOT_AGE, Outcome.FAIL, Reason.CTIME_IN_FUTURE, remedy="Set the clocks right."
    )
    state = replace(
        valid().locations[0], newest=odd, newest_judged=odd, last_valid=candidate(age=25 * HOUR)
    )
    return _not_green(_at(state), why)


def _server_gone(reason: Reason, outcome: Outcome = Outcome.FAIL) -> Snapshot:
    why = result(
        CheckId.REDIS_REACHABLE, outcome, reason, location=None, remedy="Start the server."
    )
    seen = Unseen(source="redis", at=NOW - 4, reason=reason, detail="connection refused")
    return replace(_not_green(valid(), why), server=seen, exposed_changes=None)


def loading() -> Snapshot:
    view = ServerView(
        at=NOW - 4,
        version="7.0.15",
        dialect="redis",
        loading=True,
        loading_progress=5,
        uptime_seconds=7,
    )
    why = result(CheckId.REDIS_REACHABLE, Outcome.WARN, Reason.REDIS_LOADING, location=None)
    return replace(valid(), server=view, results=results(why), exposed_changes=None)


def stale() -> Snapshot:
    return replace(valid(), cycle=replace(CYCLE, at=NOW - 420), at=NOW - 420)


def from_the_future() -> Snapshot:
    """The wall clock was set back by an hour, and the loop hangs since."""
    return replace(valid(), cycle=replace(CYCLE, at=NOW + 3600), at=NOW + 3600)


def heartbeat_failing() -> Snapshot:
    beat = replace(
        HEARTBEAT,
        due=1,
        last_failure="http_5xx",
        last_failure_at=NOW - 30,
        next_attempt_at=NOW + 90,
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
    seen = Unseen(
        source="offsite-nfs",
        at=NOW - 4,
        reason=Reason.DIRECTORY_UNREADABLE,
        detail="permission denied",
    )
    why = result(
        CheckId.ARTIFACT_PRESENT,
        Outcome.UNKNOWN,
        Reason.DIRECTORY_UNREADABLE,
        location="offsite-nfs",
        severity=Severity.WARN,
    )
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
        SERVER,
        version=HOSTILE,
        dialect=HOSTILE,
        mode=HOSTILE,
        role=HOSTILE,
        config={"dir": HOSTILE},
    )
    why = result(
        CheckId.STRUCTURE,
        Outcome.FAIL,
        Reason.CORRUPT,
        measured=HOSTILE,
        limit=HOSTILE,
        remedy=HOSTILE,
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
