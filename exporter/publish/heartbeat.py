"""The relay: a ping only while the newest backup is fresh and intact.

Knows: when a heartbeat is owed and when it may go out (DESIGN 7). Refuses to know: how the verdict
is reached, where the outbox keeps its rows, and how a ping travels (``pings``).

The verdict decides twice: when a ping is owed, and again in the moment in which it is sent. So a
row that waited out an outage is sent late only if it is still true.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from exporter.model import (
    Candidate,
    HeartbeatMode,
    HeartbeatPolicy,
    HeartbeatState,
    OwedHeartbeat,
    Reason,
    Snapshot,
)
from exporter.publish.pings import Answer, Pinger

log = structlog.get_logger()

#: Waits between tries: 1 s, doubling, at most 5 min; a jitter spreads many sidecars.
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 300.0
#: A receiver that refuses (4xx, a redirect elsewhere) is asked again only this often.
REFUSED_SECONDS = 900.0
#: Retry-After is obeyed up to this long.
RETRY_AFTER_LONGEST_SECONDS = 3600.0
#: The very first ping waits at most this long for the older backups to be read.
PATIENCE_SECONDS = 600.0


class OutboxStore(Protocol):
    """The durable outbox, as the relay needs it."""

    def owed(self) -> OwedHeartbeat | None: ...
    def owe(self, key: str, now: float, arrived_at: float) -> None: ...
    def drop(self, key: str) -> None: ...
    def failed(self, key: str, failure: str, next_attempt_at: float) -> None: ...
    def delivered(self, owed: OwedHeartbeat, now: float) -> None: ...
    def last_arrived_at(self) -> float | None: ...
    def was_delivered(self, key: str) -> bool: ...
    def last_success_at(self) -> float | None: ...


class Counts(Protocol):
    """The counters that the relay moves."""

    def heartbeat_attempted(self, name: str) -> None: ...
    def heartbeat_failed(self, name: str, reason: str) -> None: ...
    def heartbeat_withheld(self, name: str, reason: Reason) -> None: ...


class Relay:
    """Owes, holds and sends the pings of one heartbeat."""

    def __init__(
        self,
        policy: HeartbeatPolicy,
        pinger: Pinger,
        outbox: OutboxStore,
        counts: Counts,
        current: Callable[[], Snapshot],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """``changed`` is called on the sender's thread after each try."""
        self._policy = policy
        self._pinger = pinger
        self._outbox = outbox
        self._counts = counts
        self._current = current
        self._changed = changed
        self._began_at = time.time()
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._told: str | None = None
        self._withheld: str | None = None
        self._withheld_at: float | None = None
        self._failure: tuple[str, float] | None = None
        self.failure: BaseException | None = None
        """The bug that ended the thread, if one did."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_seconds: float = 3.0) -> None:
        """Ends the thread; a ping that is on its way is waited for, bounded."""
        with self._wake:
            self._stopping.set()
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    # The main thread: what is owed

    def consider(self, snapshot: Snapshot, now: float) -> None:
        """Books what ``snapshot`` owes, drops what it no longer stands for, wakes the sender."""
        owed = self._outbox.owed()
        key = _key(self._policy.mode, snapshot, now, self._policy.interval_seconds)
        last = self._outbox.last_success_at()
        if owed is not None and not _still_true(self._policy.mode, owed, key):
            self._outbox.drop(owed.key)
            log.info("heartbeat.superseded", heartbeat=self._policy.name)
            owed = None
        if _green(snapshot, now):
            self._withheld = None
            newest = _newest(snapshot)
            arrived_at = newest.arrived_at if newest is not None else now
            if owed is not None or key is None or self._is_first_and_early(snapshot, last, now):
                pass
            elif self._is_due(key, arrived_at, last, now):
                self._outbox.owe(key, now, arrived_at)
        else:
            self._withhold(snapshot, key, owed, now)
        with self._wake:
            self._wake.notify()

    def _is_first_and_early(self, snapshot: Snapshot, last: float | None, now: float) -> bool:
        """Whether nothing was ever told, and the older backups, which may show that the newest is
        an old or a collapsed one, are still being read: a little patience.
        """
        early = 0 <= now - self._began_at < PATIENCE_SECONDS
        return last is None and snapshot.backlog and early

    def _is_due(self, key: str, arrived_at: float, last: float | None, now: float) -> bool:
        if self._policy.mode is HeartbeatMode.CONTINUOUS:
            # A clock that was set back must not silence it for that long.
            return last is None or not 0 <= now - last < self._policy.interval_seconds
        return not self._outbox.was_delivered(key) and self._is_news(arrived_at, now)

    def _is_news(self, arrived_at: float, now: float) -> bool:
        """Whether no later backup was told of: where newer ones were deleted, an older one is the
        newest again, and no new backup.
        """
        if self._policy.mode is HeartbeatMode.CONTINUOUS:
            return True
        latest = self._outbox.last_arrived_at()
        # One of the future is of a clock that ran ahead: it says nothing about what came since.
        return latest is None or latest > now or arrived_at >= latest

    def _withhold(
        self, snapshot: Snapshot, key: str | None, owed: OwedHeartbeat | None, now: float
    ) -> None:
        """Counts what is withheld: once per backup, or once per interval in continuous mode."""
        if snapshot.verdict is None or key is None:
            return
        blocking = snapshot.verdict.blocking
        reason = Reason.VERDICT_STALE if snapshot.stale(now) else None
        reason = reason or (blocking[0].reason if blocking else None) or Reason.PENDING
        if self._policy.mode is HeartbeatMode.CONTINUOUS:
            if reason is Reason.PENDING and self._withheld_at is None:
                self._withheld_at = now  # the first backup is being read: nothing is late yet
            since = self._withheld_at
            if since is not None and 0 <= now - since < self._policy.interval_seconds:
                return
        elif key == self._withheld or (owed is None and self._outbox.was_delivered(key)):
            return
        self._withheld, self._withheld_at = key, now
        self._counts.heartbeat_withheld(self._policy.name, reason)
        log.warning("heartbeat.withheld", heartbeat=self._policy.name, reason=str(reason))

    # The sender's thread: what may go out

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                wait = self._step(time.time())
                with self._wake:
                    if not self._stopping.is_set():
                        self._wake.wait(wait)
        except BaseException as error:  # noqa: BLE001 - the daemon ends the process on any bug
            self.failure = error

    def _step(self, now: float) -> float | None:
        """Sends what is owed, due and true; answers how long to sleep (None: until woken)."""
        owed = self._outbox.owed()
        if owed is None:
            return None
        # Further ahead than any wait of ours is a clock that was set back.
        ahead = max(owed.next_attempt_at, self._not_before(now)) - now
        longest = max(RETRY_AFTER_LONGEST_SECONDS, self._policy.min_interval_seconds)
        if 0 < ahead <= longest * 1.5:
            return ahead
        if not self._may_send(owed, now):
            return None
        if not self._is_news(owed.arrived_at, now):
            # Owed while the ping before was under way, and not yet known to be delivered.
            self._outbox.drop(owed.key)
            return 0.0
        self._counts.heartbeat_attempted(self._policy.name)
        answer = self._pinger.ping()
        wait = self._book(owed, answer, time.time())
        self._changed()
        return wait

    def _not_before(self, now: float) -> float:
        """When the next ping may go out by ``min_interval``. Asked by the sender alone, after its
        last ping was booked: whoever owes a ping may not know of that one yet.
        """
        last = self._outbox.last_success_at()
        if last is None or last > now or self._policy.mode is HeartbeatMode.CONTINUOUS:
            return 0.0  # a success of the future is of a clock that ran ahead
        return last + self._policy.min_interval_seconds

    def _book(self, owed: OwedHeartbeat, answer: Answer, now: float) -> float:
        """Commits what came of a try; answers when to look again."""
        if answer.delivered:
            self._outbox.delivered(owed, now)
            self._failure = None
            self._tell(None, answer)
            log.info("heartbeat.sent", heartbeat=self._policy.name, attempts=owed.attempts + 1)
            return 0.0
        failure = answer.failure or "connection"
        self._counts.heartbeat_failed(self._policy.name, failure)
        self._failure = (failure, now)
        wait = _wait(answer, owed.attempts)
        self._outbox.failed(owed.key, failure, now + wait)
        self._tell(failure, answer)
        return wait

    def _may_send(self, owed: OwedHeartbeat, now: float) -> bool:
        """The last look before a ping leaves: green, fresh, and about this very backup."""
        return self._may_send_in(self._current(), owed, now)

    def _tell(self, failure: str | None, answer: Answer) -> None:
        """Logs a change of how delivery goes, not each try."""
        if failure == self._told:
            return
        self._told = failure
        if failure is None:
            log.info("heartbeat.recovered", heartbeat=self._policy.name)
        else:
            log.error(
                "heartbeat.rejected" if answer.refused else "heartbeat.failed",
                heartbeat=self._policy.name,
                target=self._pinger.target,
                reason=failure,
                detail=answer.detail,
            )

    def state(self, snapshot: Snapshot, now: float) -> HeartbeatState:
        """The relay as outputs show it."""
        owed = self._outbox.owed()
        held = owed is not None and not self._may_send_in(snapshot, owed, now)
        return HeartbeatState(
            policy=self._policy,
            target=self._pinger.target,
            last_success_at=self._outbox.last_success_at(),
            due=int(owed is not None and not held),
            held=int(held),
            last_failure=self._failure[0] if self._failure else (owed.failure if owed else None),
            last_failure_at=self._failure[1] if self._failure else None,
            next_attempt_at=owed.next_attempt_at if owed else None,
        )

    def _may_send_in(self, snapshot: Snapshot, owed: OwedHeartbeat, now: float) -> bool:
        key = _key(self._policy.mode, snapshot, now, self._policy.interval_seconds)
        return _green(snapshot, now) and _still_true(self._policy.mode, owed, key)


def _green(snapshot: Snapshot, now: float) -> bool:
    return snapshot.verdict is not None and snapshot.verdict.protected and not snapshot.stale(now)


def _key(
    mode: HeartbeatMode, snapshot: Snapshot, now: float, interval_seconds: float
) -> str | None:
    """What a ping of this moment would stand for: the newest judged backup, or the interval."""
    if mode is HeartbeatMode.CONTINUOUS:
        return f"continuous:{int(now // interval_seconds)}"
    newest = _newest(snapshot)
    if newest is None:
        return None
    return f"{newest.backup.location}:{newest.same_as or newest.identity}"


def _newest(snapshot: Snapshot) -> Candidate | None:
    """The newest judged backup of the location that heartbeats follow."""
    trigger = snapshot.policy.trigger.name
    return next((s.newest_judged for s in snapshot.locations if s.location.name == trigger), None)


def _still_true(mode: HeartbeatMode, owed: OwedHeartbeat, key: str | None) -> bool:
    """Whether an owed ping says what is so now; unknown (no key) is no reason to forget it."""
    if mode is HeartbeatMode.CONTINUOUS:
        return owed.key.startswith("continuous:")
    return key is None or owed.key == key


def _wait(answer: Answer, attempts: int) -> float:
    """Seconds until the next try."""
    if answer.retry_after_seconds is not None:
        return min(answer.retry_after_seconds, RETRY_AFTER_LONGEST_SECONDS)
    if answer.refused:
        return REFUSED_SECONDS
    step: float = min(BACKOFF_FIRST_SECONDS * 2 ** min(attempts, 16), BACKOFF_LONGEST_SECONDS)
    return step * random.uniform(0.75, 1.25)  # noqa: S311 - a jitter, no secret
