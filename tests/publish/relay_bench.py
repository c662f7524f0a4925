"""A relay with its outbox on disk, and the verdict that it follows, set by hand."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.ledger import Ledger
from exporter.model import (
    Candidate,
    CheckId,
    CheckResult,
    Cycle,
    HeartbeatPolicy,
    Listing,
    Location,
    LocationState,
    Outcome,
    Policy,
    Reason,
    Severity,
    Snapshot,
    Verdict,
    VerdictState,
)
from exporter.publish.heartbeat import Relay
from exporter.publish.pings import Pinger
from tests.judge.builders import backup

HERE = Location(name="local", path="/b")
FAILED = CheckResult(
    check=CheckId.SNAPSHOT_AGE,
    location="local",
    outcome=Outcome.FAIL,
    severity=Severity.BLOCK,
    reason=Reason.SNAPSHOT_TOO_OLD,
)


@dataclass
class Counts:
    attempts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    withheld: Counter[Reason] = field(default_factory=Counter)

    def heartbeat_attempted(self, name: str) -> None:
        self.attempts += 1

    def heartbeat_failed(self, name: str, reason: str) -> None:
        self.failures[reason] += 1

    def heartbeat_withheld(self, name: str, reason: Reason) -> None:
        self.withheld[reason] += 1


class Bench:
    """A relay, its outbox on disk, and the verdict that it follows."""

    def __init__(self, state: Path, url: Callable[[], str], **policy: Any) -> None:
        self.policy = HeartbeatPolicy(**{"timeout_seconds": 1.0, **policy})
        self.counts = Counts()
        self.ledger = Ledger(state, now=time.time())
        self.arrivals: dict[str, float] = {}
        self.snapshot = self.see(None, green=False)
        self.relay = Relay(
            self.policy,
            Pinger(url, timeout_seconds=self.policy.timeout_seconds),
            self.ledger.outbox("default"),
            self.counts,
            lambda: self.snapshot,
        )
        self.relay.start()

    def see(
        self,
        identity: str | None,
        *,
        green: bool = True,
        cycle_age: float = 0.0,
        backlog: bool = False,
    ) -> Snapshot:
        now = time.time()
        newest = None
        if identity is not None:
            arrived_at = self.arrivals.setdefault(identity, now)
            newest = Candidate(backup=backup(), identity=identity, arrived_at=arrived_at)
        seen = Listing(location="local", at=now, backups=())
        return Snapshot(
            at=now,
            policy=Policy(locations=(HERE,), interval_seconds=1.0, heartbeat=self.policy),
            engine="test",
            verdict=Verdict(
                state=VerdictState.PROTECTED if green else VerdictState.AT_RISK,
                since=now,
                blocking=() if green else (FAILED,),
            ),
            cycle=Cycle(number=1, at=now - cycle_age, seconds=0.1),
            locations=(LocationState(location=HERE, seen=seen, newest_judged=newest),),
            backlog=backlog,
        )

    def judge(self, identity: str | None, *, green: bool = True) -> None:
        """A cycle ends with this newest judged backup and this verdict."""
        self.snapshot = self.see(identity, green=green)
        self.relay.consider(self.snapshot, self.snapshot.at)

    def judge_until(self, done: Callable[[], bool], identity: str, *, green: bool = True) -> None:
        """Cycle after cycle with the same verdict, as the daemon goes on."""
        deadline = time.monotonic() + 30
        while not done():
            assert time.monotonic() < deadline, (self.counts, self.state())
            self.judge(identity, green=green)
            time.sleep(0.05)

    def state(self) -> Any:
        return self.relay.state(self.snapshot, time.time())

    def close(self) -> None:
        self.relay.stop()
        assert self.relay.failure is None
        self.ledger.close()


def settle(bench: Bench, identity: str, *, green: bool = True, cycles: int = 10) -> None:
    """Gives a ping that must not come the time to come."""
    for _ in range(cycles):
        bench.judge(identity, green=green)
        time.sleep(0.03)
