"""The relay against receivers that misbehave: late where it is still true, never otherwise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from exporter.model import (
    Reason,
)
from exporter.publish import heartbeat
from tests.publish.relay_bench import Bench, settle
from tests.receiver import (
    CLOSE,
    DRIP,
    ERROR,
    HANG,
    NOT_FOUND,
    OK,
    Behaviour,
    Receiver,
    redirect,
    too_many,
)


def test_one_ping_for_each_new_backup(make: Callable[..., Bench], receiver: Receiver) -> None:
    bench = make()
    for number, identity in enumerate(("a", "b", "c"), start=1):
        bench.judge(identity)
        receiver.wait_accepted(number)
        settle(bench, identity)
    assert len(receiver.pings) == 3
    assert bench.counts.attempts == 3
    assert receiver.pings[0].user_agent.startswith("redis-backup-exporter/")


def test_a_restart_repeats_nothing(make: Callable[..., Bench], receiver: Receiver) -> None:
    make().judge("a")
    receiver.wait_accepted(1)
    bench = make()
    settle(bench, "a")
    assert len(receiver.pings) == 1


def test_an_older_backup_that_is_the_newest_again_is_not_pinged_again(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make()
    bench.judge("a")
    receiver.wait_accepted(1)
    bench.judge("b")
    receiver.wait_accepted(2)
    settle(bench, "a")
    assert len(receiver.pings) == 2


def test_an_older_backup_that_comes_to_light_when_newer_ones_are_deleted_is_no_new_one(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make()
    bench.arrivals = {"old": time.time() - 5000, "new": time.time() - 10}
    bench.judge("new")
    receiver.wait_accepted(1)
    settle(bench, "old")
    assert len(receiver.pings) == 1
    bench.judge("newer")
    receiver.wait_accepted(2)


def test_a_clock_that_ran_ahead_silences_nothing_once_it_is_right(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make(min_interval_seconds=1.0)
    bench.arrivals = {"ahead": time.time() + 2400}
    bench.judge("ahead")
    receiver.wait_accepted(1)
    bench.judge_until(lambda: bench.state().due == 0, "ahead")
    bench.ledger._database.write(("UPDATE delivered SET at = at + 2400", ()))
    bench.arrivals["next"] = time.time() - 1
    bench.judge_until(lambda: len(receiver.accepted) == 2, "next")


def test_the_very_first_ping_waits_for_the_older_backups_to_be_read(
    make: Callable[..., Bench], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    bench.snapshot = bench.see("a", backlog=True)
    for _ in range(5):
        bench.relay.consider(bench.snapshot, time.time())
        time.sleep(0.03)
    assert receiver.pings == ()
    monkeypatch.setattr(heartbeat, "PATIENCE_SECONDS", 0.0)
    bench.relay.consider(bench.snapshot, time.time())
    receiver.wait_accepted(1)


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (HANG, "timeout"),
        (DRIP, "timeout"),
        (ERROR, "http_5xx"),
        (CLOSE, "connection"),
        (too_many(1), "http_4xx"),
        (Behaviour(status=408), "http_4xx"),
    ],
)
def test_a_passing_trouble_is_outlived(
    make: Callable[..., Bench], receiver: Receiver, behaviour: Behaviour, word: str
) -> None:
    receiver.then(behaviour)
    bench = make()
    bench.judge("a")
    receiver.wait_accepted(1)
    assert bench.counts.failures == Counter({word: 1})
    assert bench.counts.attempts == 2


def test_retry_after_is_obeyed(make: Callable[..., Bench], receiver: Receiver) -> None:
    receiver.then(too_many(3))
    bench = make()
    bench.judge("a")
    pings = receiver.wait_accepted(1)
    assert pings[1].received_at - (pings[0].answered_at or 0) >= 2.9


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (NOT_FOUND, "http_4xx"),
        (Behaviour(status=403), "http_4xx"),
        (Behaviour(status=304), "redirect"),
        (redirect("http://localhost:9/elsewhere"), "redirect"),
        (redirect("http://127.0.0.1:9/other-port"), "redirect"),
    ],
)
def test_a_refusal_is_told_and_asked_again_only_in_a_quarter_of_an_hour(
    make: Callable[..., Bench], receiver: Receiver, behaviour: Behaviour, word: str
) -> None:
    receiver.default = behaviour
    bench = make()
    bench.judge("a")
    bench.judge_until(lambda: bench.counts.failures[word] == 1, "a")
    settle(bench, "a", cycles=40)
    assert len(receiver.pings) == 1
    state = bench.state()
    assert state.due == 1
    assert state.last_failure == word
    assert 800 < state.next_attempt_at - time.time() <= 900
    assert receiver.secret not in repr(state)


def test_a_redirect_on_the_same_host_is_followed(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    receiver.then(redirect("/moved/here"), OK)
    bench = make()
    bench.judge("a")
    pings = receiver.wait_accepted(1)
    assert pings[1].path == "/moved/here"
    assert bench.counts.attempts == 1


def test_a_circle_of_redirects_ends(make: Callable[..., Bench], receiver: Receiver) -> None:
    receiver.default = redirect("/round")
    bench = make()
    bench.judge("a")
    bench.judge_until(lambda: bench.counts.failures["redirect"] == 1, "a")
    assert len(receiver.pings) <= 5


def test_a_receiver_that_is_down_gets_the_ping_when_it_is_back(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    receiver.down()
    bench = make()
    bench.judge_until(lambda: bench.counts.failures["connection"] >= 2, "a")
    receiver.up()
    receiver.wait_accepted(1)
    settle(bench, "a")
    assert len(receiver.pings) == 1


def test_a_ping_that_is_no_longer_true_is_never_sent(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    receiver.down()
    bench = make()
    bench.judge_until(lambda: bench.counts.attempts >= 1, "a")
    bench.judge("a", green=False)
    receiver.up()
    settle(bench, "a", green=False, cycles=80)
    assert receiver.pings == ()
    assert (bench.state().held, bench.state().due) == (1, 0)
    bench.judge_until(lambda: len(receiver.accepted) == 1, "a")


def test_a_ping_for_a_backup_that_was_followed_by_a_broken_one_is_dropped(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    receiver.down()
    bench = make()
    bench.judge_until(lambda: bench.counts.attempts >= 1, "a")
    bench.judge("broken", green=False)
    receiver.up()
    settle(bench, "broken", green=False, cycles=80)
    assert receiver.pings == ()
    assert bench.state().held == 0


def test_only_the_newest_is_sent_after_an_outage(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    receiver.down()
    bench = make()
    for identity in ("a", "b", "c"):
        bench.judge(identity)
    receiver.up()
    bench.judge_until(lambda: len(receiver.accepted) == 1, "c")
    settle(bench, "c")
    assert len(receiver.pings) == 1


def test_a_stalled_watcher_is_silent(make: Callable[..., Bench], receiver: Receiver) -> None:
    bench = make()
    bench.snapshot = bench.see("a", cycle_age=64.0)
    bench.relay.consider(bench.snapshot, time.time())
    time.sleep(0.3)
    assert receiver.pings == ()
    assert bench.counts.withheld == Counter({Reason.VERDICT_STALE: 1})


def test_a_withheld_backup_is_counted_once_with_its_first_reason(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make()
    settle(bench, "a", green=False)
    assert bench.counts.withheld == Counter({Reason.SNAPSHOT_TOO_OLD: 1})
    settle(bench, "b", green=False)
    assert bench.counts.withheld == Counter({Reason.SNAPSHOT_TOO_OLD: 2})
    assert receiver.pings == ()


def test_nothing_judged_sends_nothing(make: Callable[..., Bench], receiver: Receiver) -> None:
    bench = make()
    bench.judge(None)
    time.sleep(0.2)
    assert receiver.pings == ()


def test_min_interval_puts_a_ping_off_and_sends_what_is_newest_then(
    make: Callable[..., Bench], receiver: Receiver
) -> None:
    bench = make(min_interval_seconds=1.5)
    bench.judge("a")
    receiver.wait_accepted(1)
    bench.judge("b")
    bench.judge("c")
    first, second = receiver.wait_accepted(2)
    assert second.received_at - (first.answered_at or 0) >= 1.4
    settle(bench, "c")
    assert len(receiver.pings) == 2
