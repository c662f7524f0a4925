"""The heartbeat against receivers that misbehave: late where it is still true, never otherwise."""

from __future__ import annotations

from tests.conftest import ServerFactory
from tests.e2e.backups import truncate
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.receiver import (
    CLOSE,
    DRIP,
    ERROR,
    HANG,
    NOT_FOUND,
    Receiver,
    redirect,
    too_many,
)


def test_hangs_drips_errors_and_closed_connections_are_retried_until_one_is_accepted(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """One backup, four bad answers, then one good: one accepted ping, each failure counted by kind."""
    receiver.then(HANG, ERROR, CLOSE, DRIP)
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    watcher.wait_protected(name)
    receiver.wait_accepted(1, 110)
    watcher.wait(
        lambda: watcher.metrics().value("heartbeat_last_success_timestamp_seconds"), "the success"
    )
    watcher.wait_cycles(2)
    assert len(receiver.accepted) == 1
    metrics = watcher.metrics()
    assert metrics.total("heartbeat_attempts_total") == 5
    assert metrics.value("heartbeat_failures_total", reason="http_5xx") == 1
    assert metrics.value("heartbeat_failures_total", reason="timeout") == 2
    assert metrics.value("heartbeat_failures_total", reason="connection") == 1
    assert metrics.total("heartbeat_pending") == 0


def test_retry_after_is_honoured(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """429 with Retry-After 4: not before, and then once."""
    receiver.then(too_many(4))
    job = backups(redis_server())
    job.good()
    sidecar(job, receiver=receiver).start()
    first, second = receiver.wait_accepted(1)
    assert second.received_at - first.received_at >= 4


def test_a_404_is_not_hammered_and_the_next_backup_gets_its_own_ping(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """A refusal is logged as an error and waits; the failed row goes when a newer backup is judged."""
    receiver.then(NOT_FOUND)
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    receiver.wait_for(lambda pings: len(pings) == 1)
    watcher.wait_protected(name)
    watcher.wait(
        lambda: watcher.metrics().value("heartbeat_failures_total", reason="http_4xx") == 1,
        "the failure to be counted",
    )
    watcher.wait_cycles(6)
    assert len(receiver.pings) == 1
    assert watcher.metrics().total("heartbeat_pending") == 1
    assert any(event.get("level") == "error" for event in watcher.events())
    watcher.promtool()
    job.good()
    receiver.wait_accepted(1)
    watcher.wait(lambda: watcher.metrics().total("heartbeat_pending") == 0, "no row due")
    watcher.wait_cycles(2)
    assert len(receiver.pings) == 2


def test_a_redirect_to_another_host_is_refused_and_one_on_the_same_is_followed(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """The secret path never reaches somebody else; a redirect within the host does arrive."""
    with Receiver(receiver.path) as stranger:
        foreign = stranger.url.replace("127.0.0.1", "localhost")
        receiver.then(redirect(foreign))
        job = backups(redis_server())
        name = job.good()
        watcher = sidecar(job, receiver=receiver)
        watcher.start()
        watcher.wait_protected(name)
        watcher.wait(
            lambda: watcher.metrics().value("heartbeat_failures_total", reason="redirect") == 1,
            "the redirect to be refused",
        )
        receiver.then(redirect(f"{receiver.url}/moved", 307))
        job.good()
        receiver.wait_accepted(1)
        watcher.wait_cycles(2)
        assert stranger.pings == ()
        assert receiver.accepted[0].path == f"{receiver.path}/moved"


def test_while_the_receiver_is_down_nothing_is_lost_and_only_the_newest_is_told_late(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Two backups while it is down, a restart of the sidecar, then it is up: one ping, late."""
    receiver.down()
    job = backups(redis_server())
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    for _ in range(2):
        watcher.wait_protected(job.good())
    watcher.wait(
        lambda: watcher.metrics().total("heartbeat_failures_total", reason="connection") >= 1,
        "a refused connection",
    )
    watcher.promtool()
    assert watcher.stop() == 0
    watcher.start()
    watcher.wait_state("protected")
    receiver.up()
    receiver.wait_accepted(1, 110)
    watcher.wait(lambda: watcher.metrics().total("heartbeat_pending") == 0, "no row due")
    watcher.wait_cycles(2)
    assert len(receiver.pings) == 1


def test_a_ping_is_held_while_red_and_dropped_where_its_backup_is_no_longer_the_newest(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Down while green, up while red: silence. Green again by a newer backup: one ping, for that."""
    receiver.down()
    job = backups(redis_server())
    watcher = sidecar(job, receiver=receiver)
    watcher.start()
    watcher.wait_protected(job.good())
    watcher.wait(
        lambda: watcher.metrics().total("heartbeat_failures_total", reason="connection") >= 1,
        "a refused connection",
    )
    job.put(truncate(job.dump()))
    watcher.wait_blocked("truncated")
    receiver.up()
    watcher.wait_cycles(8)
    assert receiver.pings == ()
    watcher.wait_protected(job.good())
    receiver.wait_accepted(1)
    watcher.wait_cycles(3)
    assert len(receiver.pings) == 1


def test_a_held_ping_goes_out_when_the_server_is_back_and_its_backup_still_the_newest(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Held because Redis was away past the grace, sent once it answers again."""
    receiver.down()
    server = redis_server()
    job = backups(server)
    watcher = sidecar(
        job,
        receiver=receiver,
        settings={"redis.grace": "1s", "redis.timeout": "500ms", "redis.attempts": "1"},
    )
    watcher.start()
    watcher.wait_protected(job.good())
    watcher.wait(
        lambda: watcher.metrics().total("heartbeat_failures_total", reason="connection") >= 1,
        "a refused connection",
    )
    server.freeze()
    watcher.wait(lambda: watcher.state() == "at_risk", "at risk", 110)
    receiver.up()
    watcher.wait_cycles(2)
    assert receiver.pings == ()
    server.thaw()
    watcher.wait_state("protected")
    receiver.wait_accepted(1, 110)
    watcher.wait_cycles(2)
    assert len(receiver.pings) == 1
