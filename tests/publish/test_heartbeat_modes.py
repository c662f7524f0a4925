"""Heartbeats of continuous mode, and what a ping never tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import structlog

from exporter.model import (
    HeartbeatMode,
    Reason,
)
from exporter.publish.pings import Pinger
from tests.publish.relay_bench import Bench, settle
from tests.receiver import (
    ERROR,
    NOT_FOUND,
    Receiver,
)


def test_continuous_mode_pings_each_interval_while_green_and_not_otherwise(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make(mode=HeartbeatMode.CONTINUOUS, interval_seconds=1.0)
    bench.judge_until(lambda: len(receiver.accepted) == 3, "a")
    times = [ping.received_at for ping in receiver.accepted]
    assert all(0.9 <= later - sooner <= 2.5 for sooner, later in pairwise(times))
    before = len(receiver.pings)
    settle(bench, "a", green=False, cycles=60)
    assert len(receiver.pings) == before
    assert 1 <= bench.counts.withheld[Reason.SNAPSHOT_TOO_OLD] <= 4


def test_continuous_mode_goes_on_where_the_newest_backup_was_deleted(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make(mode=HeartbeatMode.CONTINUOUS, interval_seconds=0.5)
    bench.arrivals = {"old": time.time() - 5000, "new": time.time() - 10}
    bench.judge_until(lambda: len(receiver.accepted) == 1, "new")
    bench.judge_until(lambda: len(receiver.accepted) == 3, "old")


def test_continuous_mode_is_not_early_after_a_restart(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    make(mode=HeartbeatMode.CONTINUOUS, interval_seconds=300.0).judge("a")
    receiver.wait_accepted(1)
    bench = make(mode=HeartbeatMode.CONTINUOUS, interval_seconds=300.0)
    settle(bench, "a")
    assert len(receiver.pings) == 1


def test_the_url_is_read_anew_for_each_ping(tmp_path: Path, receiver: Receiver) -> None:
    urls = ["http://127.0.0.1:9/old"]
    bench = Bench(tmp_path / "s", lambda: urls[0])
    try:
        bench.judge_until(lambda: bench.counts.failures["connection"] >= 1, "a")
        urls[0] = receiver.url
        bench.judge_until(lambda: len(receiver.accepted) == 1, "a")
    finally:
        bench.close()


def test_a_name_that_is_not_resolved_is_told_as_such(tmp_path: Path) -> None:
    pinger = Pinger(lambda: "http://no-such-host.invalid/secret-path", timeout_seconds=5.0)
    answer = pinger.ping()
    assert (answer.delivered, answer.failure) == (False, "dns")
    assert "secret" not in repr(answer)


def test_a_plain_answer_to_tls_is_a_tls_failure(receiver: Receiver) -> None:
    answer = Pinger(lambda: receiver.url.replace("http", "https"), timeout_seconds=5.0).ping()
    assert (answer.delivered, answer.failure) == (False, "tls")
    assert receiver.secret not in repr(answer)


def test_no_log_line_holds_the_secret(make: Callable[..., Bench], receiver: Receiver) -> None:
    receiver.then(ERROR, NOT_FOUND)
    with structlog.testing.capture_logs() as lines:
        bench = make()
        bench.judge("a")
        bench.judge_until(lambda: bench.counts.attempts >= 2, "a")
        bench.relay.stop()
    assert [line["event"] for line in lines] == ["heartbeat.failed", "heartbeat.rejected"]
    assert receiver.secret not in repr(lines)
