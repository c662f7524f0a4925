"""SIGKILL at random moments: no ping lost, none repeated without a cause, no proof forgotten."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.conftest import ServerFactory
from tests.e2e.backups import Backups
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.e2e.sidecar import Sidecar
from tests.receiver import ERROR, Ping, Receiver

#: The commit follows the answer at once; a machine under load may take this long for it.
COMMIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One backup, the kills that fell while it was new, and the pings that came for it."""

    name: str
    kills: tuple[float, ...]
    pings: tuple[Ping, ...]

    def unexplained_repeats(self) -> list[tuple[Ping, Ping]]:
        """Repeats of an accepted ping without a kill between its arrival here and our commit."""
        accepted = [ping for ping in self.pings if ping.accepted]
        return [
            (first, second)
            for first, second in pairwise(accepted)
            if not any(
                first.received_at <= kill <= min(
                    second.received_at, (first.answered_at or 0.0) + COMMIT_SECONDS
                )
                for kill in self.kills
            )
        ]  # fmt: skip


def _play(watcher: Sidecar, job: Backups, receiver: Receiver, chance: random.Random) -> Round:
    """A new backup, a kill somewhere on its way to the ping (or right at it), a restart."""
    before = len(receiver.pings)
    if chance.random() < 0.2:
        receiver.then(ERROR)
    name = job.good()
    kills = []
    if chance.random() < 0.5:
        # At the ping itself: between its arrival here and the commit over there.
        receiver.wait_for(lambda pings: len(pings) > before)
        moment = chance.uniform(0, chance.choice([0.0, 0.003, 0.02]))
    else:
        moment = chance.uniform(0, 4)
    until = time.monotonic() + moment
    watcher.wait(lambda: time.monotonic() >= until, "the moment of the kill")
    kills.append(watcher.kill())
    watcher.launch()
    receiver.wait_for(lambda pings: any(ping.accepted for ping in pings[before:]), 110)
    watcher.wait_protected(name)
    watcher.wait(
        lambda: (
            (watcher.metrics().total("heartbeat_pending") == 0)
            and watcher.metrics().total("cycles_total") >= 2
        ),
        "an empty outbox",
    )
    return Round(name=name, kills=tuple(kills), pings=receiver.pings[before:])


def _kill_often(
    watcher: Sidecar, job: Backups, receiver: Receiver, *, times: int, seed: int
) -> None:
    chance = random.Random(seed)
    watcher.start()
    rounds = [_play(watcher, job, receiver, chance) for _ in range(times)]
    watcher.wait_cycles(3)
    assert watcher.stop() == 0
    told = sum(len(each.pings) for each in rounds)
    assert len(receiver.pings) == told, "a ping came after its round had ended"
    for number, each in enumerate(rounds):
        assert any(ping.accepted for ping in each.pings), (number, each)
        assert not each.unexplained_repeats(), (number, each)
    read = Counter(event["name"] for event in watcher.events("backup.verified"))
    assert set(read) <= {each.name for each in rounds}
    assert {name: count for name, count in read.items() if count > 1} == {}
    repeats = told - len([p for p in receiver.pings if not p.accepted]) - times
    print(f"{times} kills: {repeats} repeats, each explained; seed {seed}")


@pytest.mark.timeout(400)
def test_ten_kills(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    job = backups(redis_server())
    _kill_often(sidecar(job, receiver=receiver), job, receiver, times=10, seed=20261122)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    job = backups(any_server())
    seed = random.SystemRandom().randrange(1 << 32)
    _kill_often(sidecar(job, receiver=receiver), job, receiver, times=100, seed=seed)
