"""One look at everything, and what it comes to.

Knows: the way of the data - watch, ledger, judge, Snapshot. Refuses to know: threads, time tables,
signals, and how outputs look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from exporter.judge.facts import Facts, place
from exporter.judge.verdict import judge
from exporter.model import (
    Arrival,
    Cycle,
    Known,
    Listing,
    Location,
    Policy,
    RdbHeader,
    ServerView,
    Snapshot,
    Unseen,
    Verdict,
)
from exporter.verify.queue import Job, Shelf, Why, next_job
from exporter.verify.rdb import read_header


class ServerWatch(Protocol):
    def look(self, now: float) -> ServerView | Unseen: ...


class LocationWatch(Protocol):
    def look(self, now: float, monotonic: float) -> Listing | Unseen: ...
    @property
    def settling(self) -> bool: ...


class Files(Protocol):
    """The ledger, as far as files go."""

    def recognise(self, listing: Listing, now: float) -> tuple[Known, ...]: ...
    def arrivals(self, location: str) -> tuple[Arrival, ...]: ...


@dataclass(slots=True)
class _Reads:
    """What was read of a location in this life."""

    ended_at: float | None = None
    seconds: float = 0.0


class Assessment:
    """What was last seen, and the Snapshot made of it."""

    def __init__(
        self,
        policy: Policy,
        files: Files,
        server: ServerWatch | None,
        watches: Mapping[str, LocationWatch],
        *,
        engine: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._files = files
        self._server_watch = server
        self._watches = watches
        self._engine = engine
        self._clock = clock
        self._monotonic = monotonic
        self._server: ServerView | Unseen | None = None
        self._last_good: ServerView | None = None
        self._good_at = monotonic()
        self._loaded: tuple[int | None, float] = (None, monotonic())
        self._seen: dict[str, Listing | Unseen] = {}
        self._known: dict[str, tuple[Known, ...]] = {}
        self._headers: dict[str, RdbHeader | None] = {}
        self._reads = {location.name: _Reads() for location in policy.locations}
        self._verdict: Verdict | None = None
        self._cycle: Cycle | None = None
        self._cycles = 0

    @property
    def settling(self) -> bool:
        """Whether a file was seen that is not settled yet: worth an earlier look."""
        return any(watch.settling for watch in self._watches.values())

    def look(self) -> tuple[Unseen, ...]:
        """Looks at the server and at every location; answers the queries that failed."""
        failed: list[Unseen] = []
        if self._server_watch is not None:
            self._server = self._server_watch.look(self._clock())
            failed = self._note_server(self._server)
        for location in self._policy.locations:
            watch = self._watches[location.name]
            self._seen[location.name] = watch.look(self._clock(), self._monotonic())
        return tuple(failed)

    def _note_server(self, seen: ServerView | Unseen) -> list[Unseen]:
        """Keeps the last good look and the progress of loading, for the grace periods."""
        monotonic = self._monotonic()
        if isinstance(seen, Unseen):
            return [seen]
        self._last_good, self._good_at = seen, monotonic
        if not seen.loading or seen.loading_progress != self._loaded[0]:
            self._loaded = (seen.loading_progress, monotonic)
        answers = (*seen.config.values(), seen.lastsave_at)
        return [answer for answer in answers if isinstance(answer, Unseen)]

    def judge(self, seconds: float | None) -> Snapshot:
        """The Snapshot of what was last seen and is proven now.

        ``seconds`` is how long the look took where this ends a whole cycle, else None.
        """
        now, monotonic = self._clock(), self._monotonic()
        places = []
        for location in self._policy.locations:
            seen = self._seen[location.name]
            known = self._recognise(seen, now)
            self._known[location.name] = known
            arrivals: Sequence[Arrival] = self._files.arrivals(location.name)
            places.append(place(location, seen, known, arrivals, now))
        facts = Facts(
            now=now,
            policy=self._policy,
            locations=tuple(places),
            server=self._server,
            last_good=self._last_good,
            unseen_seconds=monotonic - self._good_at,
            loading_stalled_seconds=monotonic - self._loaded[1],
        )
        judgement = judge(facts, self._verdict)
        self._verdict = judgement.verdict
        if seconds is not None:
            self._cycles += 1
            self._cycle = Cycle(number=self._cycles, at=now, seconds=seconds)
        return Snapshot(
            at=now,
            policy=self._policy,
            engine=self._engine,
            verdict=judgement.verdict,
            cycle=self._cycle,
            server=self._server,
            locations=tuple(at.state for at in places),
            results=judgement.results,
            exposed_changes=judgement.exposed_changes,
            exposed_seconds=judgement.exposed_seconds,
            backlog=(job := self.next_job()) is not None and job.why is Why.BACKLOG,
        )

    def _recognise(self, seen: Listing | Unseen, now: float) -> tuple[Known, ...]:
        if isinstance(seen, Unseen):
            return ()
        known = tuple(
            k if k.proof or not k.identity else replace(k, header=self._header(k))
            for k in self._files.recognise(seen, now)
        )
        if len(self._headers) > 2 * len(known) + 1000:
            self._headers.clear()
        return known

    def _header(self, known: Known) -> RdbHeader | None:
        key = known.identity or ""
        if key not in self._headers and known.backup.head:
            self._headers[key] = read_header(known.backup.head, known.backup.tail)
        return self._headers.get(key)

    def next_job(self) -> Job | None:
        """The reading that is due now."""
        shelves = [
            Shelf(
                location=location,
                known=self._known.get(location.name, ()),
                last_read_ended_at=self._reads[location.name].ended_at,
                last_read_seconds=self._reads[location.name].seconds,
            )
            for location in self._policy.locations
        ]
        return next_job(shelves, self._policy.verify, self._clock())

    def note_read(self, location: Location, seconds: float) -> None:
        """A reading ended: the next one of this location is planned by it."""
        reads = self._reads[location.name]
        reads.ended_at, reads.seconds = self._clock(), seconds
