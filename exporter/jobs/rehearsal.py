"""The demo's backup job: traffic, a snapshot every few seconds, a copy of it - and its faults.

Knows: how such jobs work, and four of the ways in which they fail. Refuses to know: whether
anybody notices.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import redis

from exporter.jobs.embedded import EmbeddedServer

KEEP = 20
SEED_KEYS = 2000
WRITES_PER_SECOND = 4


class Fault(StrEnum):
    """What a person can break; each lasts until it is repaired."""

    TRUNCATE = "truncate"
    FLIP = "flip"
    STOP = "stop"
    EMPTY = "empty"


class Rehearsal:
    """The job, in a thread of its own; :meth:`break_` and :meth:`repair` work from any thread.

    After a cut copy and a flipped bit the job pauses until it is repaired: the next good copy would
    end the alarm before anybody could read it.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        backups: Path,
        *,
        interval_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._server = server
        self._backups = backups
        self._interval_seconds = interval_seconds
        self._say = say
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="rehearsal", daemon=True)

    def start(self) -> None:
        self._seed()
        self._thread.start()

    def end(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(1)

    @property
    def fault(self) -> Fault | None:
        return self._fault

    def break_(self, fault: Fault) -> None:
        with self._lock:
            self._repair()
            self._fault = fault
            _BREAK[fault](self)

    def repair(self) -> None:
        with self._lock:
            self._repair()

    def _repair(self) -> None:
        if self._fault is Fault.EMPTY:
            self._seed()
        self._fault = None
        self._paused = False

    # What each fault does at once; TRUNCATE waits for the next copy.

    def _truncate(self) -> None:
        self._say("the next copy will end in the middle of the file, as when a disk is full")

    def _flip(self) -> None:
        newest = max(self._backups.glob("*.rdb"), default=None)
        self._paused = True
        if newest is None:
            self._say("there is no copy yet whose bit could be flipped")
            return
        with newest.open("r+b") as file:
            middle = newest.stat().st_size // 2
            file.seek(middle)
            (value,) = file.read(1)
            file.seek(middle)
            file.write(bytes([value ^ 1]))
        self._say(f"one bit of {newest.name} flipped at byte {middle}, size and name as before")

    def _stop(self) -> None:
        self._paused = True
        self._say("no more copies are made, and nobody was told: it shows once the newest is old")

    def _empty(self) -> None:
        self._server.client.flushall()
        self._say("FLUSHALL: snapshots go on, fresh, whole, and of nothing")

    # The job itself.

    def _seed(self) -> None:
        with self._server.client.pipeline(transaction=False) as pipe:
            for number in range(SEED_KEYS):
                pipe.set(f"user:{number}", f"name of user {number}")
                pipe.hset(f"cart:{number % 200}", f"item-{number}", number)
            pipe.execute()

    def _run(self) -> None:
        next_copy = time.monotonic()
        number = 0
        while not self._stopped.wait(1 / WRITES_PER_SECOND):
            try:
                with self._lock:
                    if self._fault is not Fault.EMPTY:
                        number += 1
                        self._server.client.set(f"visit:{number}", time.time())
                    if time.monotonic() >= next_copy and not self._paused:
                        next_copy = time.monotonic() + self._interval_seconds
                        self._copy()
            except (OSError, redis.RedisError) as error:
                if not self._stopped.is_set():
                    self._say(f"the backup job failed: {error}")

    def _copy(self) -> None:
        """As a careful script does it: a temporary name, then a rename."""
        if not self._server.save(self._stopped):
            return
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        unfinished = self._backups / f".{name}.part"
        shutil.copyfile(self._server.dump, unfinished)
        if self._fault is Fault.TRUNCATE:
            whole = unfinished.stat().st_size
            with unfinished.open("r+b") as file:
                file.truncate(whole * 2 // 3)
            self._paused = True
            self._say(f"{name}.rdb ends after {whole * 2 // 3} of {whole} bytes")
        unfinished.rename(self._backups / f"{name}.rdb")
        for old in sorted(self._backups.glob("*.rdb"))[:-KEEP]:
            old.unlink()


_BREAK: dict[Fault, Callable[[Rehearsal], None]] = {
    Fault.TRUNCATE: Rehearsal._truncate,  # noqa: SLF001 - the table of this class
    Fault.FLIP: Rehearsal._flip,  # noqa: SLF001
    Fault.STOP: Rehearsal._stop,  # noqa: SLF001
    Fault.EMPTY: Rehearsal._empty,  # noqa: SLF001
}
