"""BGSAVE and ``cp`` into the watched directory, and each way in which that goes wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.conftest import ServerFactory
from tests.e2e.backups import Backups, flip_bit, truncate
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.e2e.sidecar import Sidecar
from tests.receiver import Receiver
from tests.servers import until


def assert_told(sidecar: Sidecar, reason: str) -> None:
    """The same reason id in JSON, metric, page and log; and not protected anywhere."""
    status = sidecar.status()
    assert status["verdict"]["state"] in {"at_risk", "unknown"}
    rows = [row for row in status["verdict"]["blocking"] if row["reason"] == reason]
    assert rows, status["verdict"]
    assert all(row["remedy"] for row in rows)
    metrics = sidecar.metrics()
    assert metrics.value("protected") == 0
    assert metrics.value("verdict", state="protected") == 0
    for row in rows:
        assert {
            "check": row["check"],
            "location": row["location"] or "",
            "reason": reason,
        } in metrics.labels("check_reason_info")
    assert reason in sidecar.text("/")
    assert any(reason in str(event) for event in sidecar.events()), sidecar.describe()
    sidecar.promtool()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is put into the directory, and the reason that must come of it."""

    reason: str
    make: Callable[[Backups, bytes], bytes]
    """Gets the job and yesterday's dump; returns today's file."""


def _emptied(job: Backups, yesterday: bytes) -> bytes:
    job.client.flushall()
    return job.dump()


def _stale(job: Backups, yesterday: bytes) -> bytes:
    job.write()
    # Within ten seconds two saves of a server can't be told apart by their times.
    taken = (job.directory / "backup-0001.rdb").stat().st_mtime
    until(lambda: time.time() > taken + 12, "the first backup to be of another time")
    return yesterday


FAULTS = [
    Fault(reason="truncated", make=lambda job, _: truncate(job.dump())),
    Fault(reason="checksum_mismatch", make=lambda job, _: flip_bit(job.dump())),
    Fault(reason="empty", make=lambda *_: b""),
    Fault(reason="bad_magic", make=lambda *_: b"<html>503 Service Unavailable</html>\n" * 20),
    Fault(reason="trailing_data", make=lambda job, _: job.dump() + b"tail of a longer one"),
    Fault(reason="dataset_empty", make=_emptied),
    Fault(reason="same_snapshot_as_before", make=_stale),
]


def test_each_copy_is_proven_and_each_fault_is_told(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Good copies: protected, one heartbeat each. Bad ones: none, the reason everywhere, then recovery."""
    job = backups(any_server())
    job.write()
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    watcher.wait_blocked("missing")
    assert_told(watcher, "missing")
    good = 0
    for fault in FAULTS:
        name = job.good()
        yesterday = (job.directory / "backup-0001.rdb").read_bytes()
        watcher.wait_protected(name)
        good += 1
        receiver.wait_accepted(good)
        watcher.promtool()
        job.write()
        bad = job.put(fault.make(job, yesterday))
        watcher.wait_blocked(fault.reason)
        judged = watcher.status()["locations"][0]["newest_judged"]
        assert judged["name"] == bad, fault
        assert_told(watcher, fault.reason)
    name = job.good()
    watcher.wait_protected(name)
    good += 1
    receiver.wait_accepted(good)
    watcher.wait_cycles(3)
    assert len(receiver.pings) == good
    metrics = watcher.metrics()
    assert metrics.total("verifications_total") == len(FAULTS) + good
    assert metrics.total("heartbeats_withheld_total") == len(FAULTS)


def test_a_copy_is_protected_within_two_intervals_after_settling(
    redis_server: ServerFactory, backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """Settle 1 s + 2 x 3 s, and some for a busy machine; a growing file is never judged broken."""
    job = backups(redis_server())
    watcher = sidecar(job, settings={"check.interval": "3s", "backup.settle-time": "1s"})
    watcher.start()
    watcher.wait_blocked("missing")
    job.write(20_000)
    content = job.dump()
    path = job.directory / "slow.rdb"
    pieces = 8
    with path.open("wb") as file:
        for part in range(pieces):
            file.write(content[part * len(content) // pieces : (part + 1) * len(content) // pieces])
            file.flush()
            watcher.wait_cycles(0)
            assert watcher.metrics().total("verification_failures_total") == 0
    ended = time.monotonic()
    watcher.wait_protected("slow.rdb")
    assert time.monotonic() - ended < 1 + 2 * 3 + 5
    assert watcher.metrics().total("verification_failures_total") == 0
    assert watcher.metrics().total("verifications_total") == 1


def test_a_first_backup_that_is_not_settled_is_pending_and_neither_green_nor_red(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Unknown, with its reason, and no heartbeat."""
    job = backups(redis_server())
    job.good()
    watcher = sidecar(job, receiver=receiver, settings={"backup.settle-time": "10m"})
    watcher.start()
    watcher.wait_blocked("pending")
    assert_told(watcher, "pending")
    assert watcher.metrics().value("newest_status", status="pending") == 1
    watcher.wait_cycles(3)
    assert watcher.state() == "unknown"
    assert receiver.pings == ()


def test_copies_that_stop_are_too_old_and_no_heartbeat_goes_out(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """The newest backup ages past the limit while the server is written to; a new copy repairs it."""
    job = backups(any_server())
    name = job.good()
    watcher = sidecar(job, receiver=receiver, settings={"backup.max-age": "6s"})
    watcher.start()
    watcher.wait_protected(name)
    job.write()
    watcher.wait_blocked("snapshot_too_old")
    assert_told(watcher, "snapshot_too_old")
    assert len(receiver.wait_accepted(1)) == 1
    name = job.good()
    watcher.wait_protected(name)
    receiver.wait_accepted(2)
    assert len(receiver.pings) == 2


def test_a_quiet_night_on_the_servers_own_dump_stays_green(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """``save 3600 1``, no writes, a dump far older than the limit: protected and pinged throughout."""
    server = any_server("save 3600 1")
    job = Backups(server.dir, server)
    job.write()
    server.save()
    watcher = sidecar(
        receiver=receiver,
        settings={
            "redis.url": server.url,
            "backup.dir": str(server.dir),
            "backup.pattern": "dump.rdb",
            "backup.max-age": "3s",
            "verify.min-interval": "1s",
            "heartbeat.interval": "2s",
        },
    )
    watcher.start()
    watcher.wait_protected("dump.rdb")
    since = watcher.status()["verdict"]["since"]
    dusk = time.time()
    first = len(receiver.pings)
    withheld = watcher.metrics().total("heartbeats_withheld_total")
    watcher.wait(lambda: time.time() > dusk + 8, "the night to pass")
    assert len(receiver.wait_accepted(first + 3)) >= first + 3
    verdict = watcher.status()["verdict"]
    assert (verdict["state"], verdict["since"]) == ("protected", since)
    metrics = watcher.metrics()
    assert metrics.total("verifications_total") == 1
    assert metrics.total("heartbeats_withheld_total") == withheld
    watcher.promtool()
    job.write(1)
    watcher.wait_blocked("snapshot_too_old")
    assert_told(watcher, "snapshot_too_old")
    silent_from = len(receiver.pings)
    watcher.wait_cycles(4)
    assert len(receiver.pings) == silent_from
    server.save()
    watcher.wait_protected()
    receiver.wait_accepted(silent_from + 1)


def test_without_any_redis_connection_the_files_alone_are_judged(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Artifact-only: no server metrics, checks of the server skipped, faults of files still told."""
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(receiver=receiver, settings={"backup.dir": str(job.directory)})
    watcher.start()
    watcher.wait_protected(name)
    receiver.wait_accepted(1)
    assert not [n for n in watcher.metrics().names() if n.startswith("redis_backup_server_")]
    reachable = watcher.check("redis_reachable")
    assert (reachable["outcome"], reachable["reason"]) == ("skip", "no_redis")
    watcher.promtool()
    job.put(truncate(job.dump()))
    watcher.wait_blocked("truncated")
    assert_told(watcher, "truncated")
    job.put(flip_bit(job.dump()))
    watcher.wait_blocked("checksum_mismatch")
    watcher.wait_protected(job.good())
    receiver.wait_accepted(2)
    assert len(receiver.pings) == 2


def test_a_directory_that_vanishes_is_told_and_its_return_needs_no_new_proof(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Not listed is not empty: its own reason, no last value; back again, nothing is read anew."""
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    watcher.wait_protected(name)
    receiver.wait_accepted(1)
    away = job.directory.with_name("away")
    job.directory.rename(away)
    watcher.wait_blocked("directory_missing")
    assert_told(watcher, "directory_missing")
    metrics = watcher.metrics()
    assert metrics.value("location_up", location="local") == 0
    assert metrics.value("last_valid_timestamp_seconds", location="local") is None
    away.rename(job.directory)
    watcher.wait_protected(name)
    assert watcher.metrics().total("verifications_total") == 1
    watcher.wait_cycles(2)
    assert len(receiver.pings) == 1


@pytest.mark.timeout(300)
def test_a_first_start_on_500_backups_judges_the_newest_and_pings_once(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """A verdict after the newest is read; the backlog is read in part; a restart reads nothing."""
    job = backups(redis_server())
    snapshots = []
    for _ in range(20):
        job.write(5)
        snapshots.append(job.dump())
    job.write(5)
    newest = job.dump()
    for number in range(499):
        name = job.put(snapshots[number % len(snapshots)])
        at = time.time() - (500 - number) * 600
        os.utime(job.directory / name, (at, at))
    name = job.put(newest)
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    watcher.wait_protected(name)
    receiver.wait_accepted(1)
    verified = watcher.events("backup.verified")
    assert verified[0]["name"] == name, verified[0]
    watcher.wait(
        lambda: not watcher.metrics().total("verification_in_progress"), "the backlog to be read"
    )
    watcher.wait_cycles(5)
    metrics = watcher.metrics()
    assert metrics.value("files", location="local") == 500
    # Seven distinct snapshots are enough for a baseline.
    assert metrics.total("verifications_total") == 7
    assert metrics.value("distinct_snapshots", location="local") == 21
    assert len(receiver.pings) == 1
    watcher.promtool()
    assert watcher.stop() == 0
    watcher.start()
    watcher.wait_protected(name)
    watcher.wait_cycles(3)
    assert watcher.metrics().total("verifications_total") == 0
    assert len(receiver.pings) == 1
