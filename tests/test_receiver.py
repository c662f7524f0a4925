"""The misbehaving receiver misbehaves as told: what the heartbeat tests lean on."""

from __future__ import annotations

import pytest
import requests

from tests.receiver import CLOSE, DRIP, ERROR, HANG, OK, Behaviour, Receiver, redirect, too_many


def test_each_request_meets_the_next_behaviour_and_is_recorded() -> None:
    """Answers follow the script, then the default, with times in order."""
    with Receiver() as receiver:
        receiver.then(ERROR, too_many(7))
        answers = [requests.get(receiver.url, timeout=10) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [500, 429, 200]
        assert answers[1].headers["Retry-After"] == "7"
        pings = receiver.wait_accepted(1)
        assert [ping.status for ping in pings] == [500, 429, 200]
        assert {ping.path for ping in pings} == {receiver.path}
        for ping in pings:
            assert ping.answer_began_at is not None
            assert ping.answered_at is not None
            assert ping.received_at <= ping.answer_began_at <= ping.answered_at


@pytest.mark.parametrize("behaviour", [HANG, DRIP], ids=["hang", "drip"])
def test_a_silent_receiver_lets_the_client_run_into_its_own_timeout(behaviour: Behaviour) -> None:
    """A hang is a read timeout; a drip passes each read timeout and is bounded by stopping."""
    with Receiver() as receiver:
        receiver.then(behaviour)
        with pytest.raises(requests.RequestException):
            requests.get(receiver.url, timeout=0.1)
        assert receiver.pings[0].status is None


def test_closed_and_refused_connections_are_errors_and_the_port_comes_back() -> None:
    """``down`` refuses, ``up`` serves on the same port."""
    with Receiver() as receiver:
        receiver.then(CLOSE)
        with pytest.raises(requests.ConnectionError):
            requests.get(receiver.url, timeout=10)
        receiver.down()
        with pytest.raises(requests.ConnectionError):
            requests.get(receiver.url, timeout=10)
        receiver.up()
        assert requests.get(receiver.url, timeout=10).status_code == 200


def test_a_redirect_leads_to_the_other_receiver() -> None:
    """A client that follows is seen by the target."""
    with Receiver() as target, Receiver() as receiver:
        receiver.then(redirect(target.url))
        assert requests.get(receiver.url, timeout=10).status_code == 200
        assert len(target.accepted) == 1
        assert receiver.default is OK
