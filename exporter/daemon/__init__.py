"""The composition root: threads, schedule, signals, the order of shutdown.

Knows: all rooms, and in which order they start and stop. Refuses to know: what happens in them.

Threads: main (schedule), verifier, heartbeat sender, web. A bug that ends one ends the process with
70: numbers that nobody renews any more must not be served.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import schedule
import structlog

from exporter import __version__
from exporter.daemon.assessment import Assessment
from exporter.daemon.journal import Journal
from exporter.ledger import Ledger, LedgerBusyError
from exporter.model import Notice, Snapshot
from exporter.publish import logs
from exporter.publish.connections import ListenError
from exporter.publish.heartbeat import Relay
from exporter.publish.metrics import Metrics
from exporter.publish.pings import Pinger
from exporter.publish.web import WebServer
from exporter.settings import Problem, Settings, secret_parts
from exporter.verify.engines import Engine, EngineUnavailable, engine, fallback
from exporter.verify.queue import Why
from exporter.verify.verifier import Done, Verifier
from exporter.watch.directory import DirectoryWatch
from exporter.watch.hints import Hints
from exporter.watch.mount import is_remote
from exporter.watch.redis_server import RedisServer

log = structlog.get_logger()

EXIT_OK = 0
EXIT_CONFIG = 2
EXIT_DIED = 70
#: A stop that takes longer than this (a mount that hangs) is cut short.
STOP_SECONDS = 8.0
#: How often progress is shown while a backup is read.
PROGRESS_SECONDS = 1.0
#: The clocks may part by this much between two ticks before the schedule is planned anew.
CLOCK_JUMP_SECONDS = 2.0


def run(settings: Settings) -> int:
    """Runs the sidecar until a signal; answers the exit code."""
    # `schedule` plans in naive local time: in UTC it has no gap and no doubled hour.
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        daemon = Daemon(settings)
    except EngineUnavailable as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return EXIT_CONFIG
    return daemon.run()


def _second_engine(settings: Settings, first: Engine) -> Engine | None:
    """The engine for second opinions; None where it is the first one already, or none is wanted."""
    if first.name != "native" or not settings.policy.verify.second_opinion_max_bytes:
        return None
    try:
        return engine("rdbtools")
    except EngineUnavailable:
        return None


class Daemon:
    """One sidecar."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = engine(settings.engine)
        self._second = _second_engine(settings, self._engine)
        self._policy = settings.policy
        if self._second is None:
            # Outputs then say that there is none, and none is planned.
            verify = replace(self._policy.verify, second_opinion_max_bytes=0)
            self._policy = replace(self._policy, verify=verify)
        self._snapshot = Snapshot(at=time.time(), policy=self._policy, engine=self._engine.name)
        self.metrics = Metrics(self.current, engine=self._engine.name)
        self._redactor = logs.configure(
            settings.log_level,
            settings.log_format,
            settings.secrets(),
            self.metrics.log_message,
        )
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._look_soon = threading.Event()
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._tick = time.monotonic()
        self._looked = -1e9
        self._journal = Journal()
        self._warnings = tuple(
            Notice(id=f"settings_warning_{number}", text=text)
            for number, text in enumerate(settings.warnings, start=1)
        )
        lesser = fallback(settings.engine, self._engine)
        if lesser is not None:
            self._warnings = (Notice(id="engine_fallback", text=lesser), *self._warnings)
        self._closers: list[Callable[[], None]] = []

    def current(self) -> Snapshot:
        return self._snapshot

    # Start and stop

    def run(self) -> int:
        """Starts the rooms, keeps the schedule, stops them in order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        code = EXIT_DIED
        try:
            code = self._start() or self._loop()
        except Exception:
            log.exception("daemon.died")
        finally:
            threading.Thread(target=self._cut_short, args=(code,), daemon=True).start()
            for close in reversed(self._closers):
                close()
            log.info("daemon.stopped", code=code)
        return code

    def _start(self) -> int:
        """Opens the port first, then the ledger, then the rooms; non-zero is an exit code."""
        settings = self._settings
        log.info(
            "daemon.started",
            version=__version__,
            engine=self._engine.name,
            locations=" ".join(location.name for location in self._policy.locations),
            redis=self._policy.redis,
        )
        self._web = web = WebServer(
            str(settings.listen_address),
            current=self.current,
            metrics=self.metrics,
            last_tick=lambda: self._tick,
        )
        try:
            web.start()
            remote = is_remote(settings.state_dir)
            self._ledger = Ledger(
                Path(settings.state_dir),
                now=time.time(),
                network=remote,
                engine=self._engine.name,
            )
        except (ListenError, LedgerBusyError) as error:
            log.error("daemon.refused", detail=str(error))  # noqa: TRY400 - a setting, not a bug
            web.stop()
            return EXIT_CONFIG
        log.info("web.listening", address=str(settings.listen_address), port=web.port)
        server = RedisServer(settings.redis) if settings.redis else None
        self._assessment = Assessment(
            self._policy,
            self._ledger,
            server,
            {location.name: DirectoryWatch(location) for location in self._policy.locations},
            engine=self._engine.name,
        )
        self._verifier = Verifier(
            self._engine, self._ledger, self._policy.verify, self._on_done, second=self._second
        )
        self._relay = self._make_relay()
        hints = Hints([Path(place.path) for place in self._policy.locations], self._on_hint)
        self._scheduler = schedule.Scheduler()
        # What is started last stops first, but the loop itself: schedule, verifier (cancelled),
        # outbox (bounded), web, ledger.
        self._closers = [self._ledger.close, web.stop]
        if server is not None:
            self._closers.append(server.close)
        if self._relay is not None:
            self._closers.append(self._relay.stop)
            self._relay.start()
        self._closers += [self._verifier.stop, hints.stop, self._scheduler.clear]
        self._verifier.start()
        hints.start()
        return EXIT_OK

    def _make_relay(self) -> Relay | None:
        policy = self._policy.heartbeat
        if policy is None:
            return None
        return Relay(
            policy,
            Pinger(self._heartbeat_url, timeout_seconds=policy.timeout_seconds),
            self._ledger.outbox(policy.name),
            self.metrics,
            self.current,
            self._wake.set,
        )

    def _heartbeat_url(self) -> str:
        """The URL as its file has it now; raises OSError where it can't be read."""
        url = self._settings.reread_heartbeat_url()
        if url is None or isinstance(url, Problem):
            raise OSError(0, "" if url is None else str(url))
        text = url.get_secret_value()
        self._redactor.add(secret_parts(text))
        return text

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()
        self._wake.set()
        threading.Thread(target=self._cut_short, args=(EXIT_OK,), daemon=True).start()

    @staticmethod
    def _cut_short(code: int) -> None:
        """Ends a stop that hangs, as on a dead network mount. Children die with us."""
        time.sleep(STOP_SECONDS)
        os._exit(code)

    # The loop

    def _loop(self) -> int:
        """Looks on schedule, judges on news, until told to stop."""
        self._plan()
        apart = time.time() - time.monotonic()
        self._guarded(self._cycle)
        while not self._stop.is_set():
            self._tick = time.monotonic()
            dead = self._dead()
            if dead is not None:
                log.error("daemon.died", thread=dead[0], exc_info=dead[1])
                return EXIT_DIED
            if abs(time.time() - time.monotonic() - apart) > CLOCK_JUMP_SECONDS:
                apart = time.time() - time.monotonic()
                log.warning("clock.jumped")
                self._plan()
                self._guarded(self._cycle)
            self._scheduler.run_pending()
            if self._is_time_to_look():
                self._guarded(self._cycle)
            self._guarded(self._verifier.rescue)
            self._guarded(self._take_news)
            self._wake.wait(self._pause())
            self._wake.clear()
        return EXIT_OK

    def _plan(self) -> None:
        self._scheduler.clear()
        job = self._scheduler.every(self._policy.interval_seconds)  # type: ignore[arg-type] # fractions work
        job.seconds.do(self._guarded, self._cycle)

    def _guarded(self, job: Callable[[], None]) -> None:
        """Runs ``job``; one that raises is logged and counted, and comes again."""
        try:
            job()
        except Exception:
            self.metrics.cycle_failed()
            log.exception("cycle.failed")

    def _dead(self) -> tuple[str, BaseException | None] | None:
        """The thread that a bug ended, if any."""
        if not self._verifier.alive or self._verifier.failure is not None:
            return "verifier", self._verifier.failure
        if self._relay is not None and not self._relay.alive:
            return "heartbeat", self._relay.failure
        return None if self._web.alive else ("web", None)

    def _pause(self) -> float:
        """Seconds until something is due."""
        pause = self._scheduler.idle_seconds
        waits = [self._policy.interval_seconds if pause is None else max(0.0, pause)]
        if self._verifier.busy:
            waits.append(PROGRESS_SECONDS)
        if self._assessment.settling or self._look_soon.is_set():
            waits.append(max(0.05, self._looked + self._soon - time.monotonic()))
        return min(waits)

    @property
    def _soon(self) -> float:
        """How soon after a look another one is worth it: when what was seen may have settled."""
        least = min(location.settle_seconds for location in self._policy.locations)
        return min(max(least, 0.2) + 0.05, self._policy.interval_seconds)

    def _is_time_to_look(self) -> bool:
        soon = self._assessment.settling or self._look_soon.is_set()
        return soon and time.monotonic() >= self._looked + self._soon

    def _cycle(self) -> None:
        """One whole cycle: look, judge, publish, plan the next reading."""
        began = self._looked = time.monotonic()
        self._look_soon.clear()
        for unseen in self._assessment.look():
            self.metrics.query_failed(unseen.reason)
        self._tick = time.monotonic()
        self._publish(self._assessment.judge(time.monotonic() - began))
        self.metrics.cycle_done()
        self._read_next()

    def _take_news(self) -> None:
        """Books finished readings, judges anew where there are any, shows progress."""
        news = False
        while not self._done.empty():
            done = self._done.get()
            news = True
            self._journal.read(done)
            if done.job.why is not Why.SECOND_OPINION:
                self._assessment.note_read(done.job.location, done.seconds)
            if done.report is not None:
                self.metrics.verification_done(done.job.location.name, done.report)
            elif done.opinion is None:
                self._look_soon.set()
        if news:
            self._publish(self._assessment.judge(None))
            # A file that changed under its reader is looked at again before it is read again.
            if not self._look_soon.is_set():
                self._read_next()
        else:
            self._show(self._snapshot)

    def _read_next(self) -> None:
        if self._verifier.free and self._done.empty():
            self._verifier.offer(self._assessment.next_job())
            self._show(self._snapshot)

    def _publish(self, snapshot: Snapshot) -> None:
        """Swaps the Snapshot in, then lets the relay and the journal act on it."""
        snapshot = replace(snapshot, notices=(*self._warnings, *self._ledger.notices))
        self._show(snapshot)
        if self._relay is not None:
            self._relay.consider(snapshot, snapshot.at)
        if self._journal.tell(snapshot) and snapshot.verdict is not None:
            self._ledger.record(snapshot.verdict, snapshot.at)
        self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        """One assignment: what scrapes and pages read."""
        now = time.time()
        self._snapshot = replace(
            snapshot,
            verifier=self._verifier.state(),
            heartbeat=self._relay.state(snapshot, now) if self._relay else None,
        )

    # Called from other threads

    def _on_done(self, done: Done) -> None:
        self._done.put(done)
        self._wake.set()

    def _on_hint(self) -> None:
        self._look_soon.set()
        self._wake.set()
