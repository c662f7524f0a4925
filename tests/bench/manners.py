"""What a running sidecar does to its neighbours while it reads: its own scrapes, and a Redis.

Knows: two sidecars, one with ``verify.max_rate`` and one without, each kept reading a large file
that is touched again and again. Refuses to know: how reading works, and what is bearable.

Rounds are interleaved as those of the readings are: without, with the limit, without the limit.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.bench.data import DataFile, say, warm
from tests.bench.launch import Failed, measured
from tests.e2e.sidecar import Sidecar
from tests.servers import RealServer

SCRAPES_PER_SECOND = 10
WITHOUT, LIMITED, UNLIMITED = "no file read", "read with the limit", "read without a limit"
CONDITIONS = (WITHOUT, LIMITED, UNLIMITED)
COMMANDS = ("SET", "GET")
_FOLLOW_SECONDS = 0.2
_CALIBRATION_REQUESTS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrapes:
    """Answers of ``/metrics`` under one condition: medians of rounds, and the longest of all."""

    condition: str
    count: int
    """Scrapes that count: where a file is to be read, those that fell into a reading."""
    p50_seconds: float | None
    p99_seconds: float | None
    max_seconds: float | None
    rounds: Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """redis-benchmark under one condition, all rounds; each number a median of rounds."""

    condition: str
    requests_per_second: Mapping[str, float]
    loss_percent: Mapping[str, float]
    """Against the same round's run without a reading; by command, and over both."""
    reading_percent: float
    """How much of the benchmark's time a file was being read."""
    rounds: Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """All that was measured of neighbours."""

    file_bytes: int
    max_rate: str
    seconds: float
    rounds: int
    scrapes: Sequence[Scrapes]
    throughput: Sequence[Throughput]


@dataclass(slots=True)
class _Reader:
    """A sidecar that watches two copies of a file, and the thread that keeps it reading.

    One copy is touched while the other is read: it has settled when its turn comes. When something
    was read is taken from the log, where nobody has to ask for it.
    """

    sidecar: Sidecar
    files: Sequence[Path]
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def readings(self) -> list[tuple[float, float]]:
        """When each reading began and ended; a file that did not turn out valid ends the run."""
        found = []
        for event in self.sidecar.events("backup.verified"):
            if event["status"] != "valid":
                raise Failed(f"the sidecar read {event['name']}: {event}")
            ended = datetime.fromisoformat(event["ts"]).timestamp()
            found.append((ended - event["seconds"], ended))
        return found

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """One reading after another; entered when the first one has begun."""
        self._stop.clear()
        before = len(self.readings())
        self._thread = threading.Thread(target=self._touch, daemon=True)
        self._thread.start()
        try:
            self.sidecar.wait(
                lambda: (
                    self.sidecar.metrics().value("verification_in_progress") == 1
                    or len(self.readings()) > before
                ),
                "a reading to begin",
            )
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def rest(self) -> None:
        """Until nothing is being read any more."""
        quiet = 3.0

        def idle() -> bool:
            if self.sidecar.metrics().value("verification_in_progress"):
                return False
            return time.time() > max((end for _, end in self.readings()), default=0.0) + quiet

        self.sidecar.wait(idle, "all readings to end", 300.0)

    def _touch(self) -> None:
        turns = itertools.cycle(self.files)
        done = len(self.readings())
        next(turns).touch()
        next_touch = next(turns)
        # The second one is touched behind the first, so that one is always waiting.
        self._stop.wait(2.0)
        while not self._stop.is_set():
            next_touch.touch()
            next_touch = next(turns)
            while not self._stop.wait(_FOLLOW_SECONDS):
                count = len(self.readings())
                if count > done:
                    done = count
                    break


def _overlap(readings: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Seconds between ``begin`` and ``end`` in which a file was being read."""
    return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in readings)


def _percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def _scrape(port: int, seconds: float) -> list[tuple[float, float]]:
    """(when, how long) of each scrape."""
    script = str(Path(__file__).parent / "scrape.py")
    count = max(1, round(seconds * SCRAPES_PER_SECOND))
    words = [str(port), str(count), str(SCRAPES_PER_SECOND)]
    said = json.loads(measured([sys.executable, "-I", "-S", script, *words]).output)
    return [(at, took) for at, took in said]


def _benchmark(port: int, requests: int) -> dict[str, float]:
    """Requests per second by command."""
    done = subprocess.run(
        [
            "redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "set,get",
            "-n", str(requests), "-r", "100000", "--csv",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    rows = {row["test"]: float(row["rps"]) for row in csv.DictReader(done.stdout.splitlines())}
    if done.returncode or set(rows) != set(COMMANDS):
        raise Failed(f"redis-benchmark: {done.stdout[-500:]}{done.stderr[-500:]}")
    return rows


@contextlib.contextmanager
def _reader(home: Path, source: Path, max_rate: str | None) -> Iterator[_Reader]:
    """A sidecar with two copies of ``source``, which it has read once."""
    backups = home / "backups"
    backups.mkdir(parents=True)
    files = [backups / f"{name}.rdb" for name in ("one", "two")]
    for file in files:
        shutil.copyfile(source, file)
    settings = {
        "backup.dir": str(backups),
        "verify.engine": "native",
        # As for any file of the usual size: the default gives no second opinion on a gigabyte.
        "second-opinion.max-size": "off",
        "log.level": "info",
        **({} if max_rate is None else {"verify.max-rate": max_rate}),
    }
    sidecar = Sidecar(home, settings)
    try:
        sidecar.start()
        reader = _Reader(sidecar, files)
        sidecar.wait(lambda: len(reader.readings()) >= 2, "both copies to be read", 300.0)
        yield reader
        sidecar.stop()
    finally:
        sidecar.close()


def measure_manners(
    directory: Path, file: DataFile, rounds: int, seconds: float, max_rate: str
) -> Manners:
    """``seconds`` of scrapes, and about as many of each benchmark, per condition and round."""
    with contextlib.ExitStack() as stack:
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="manners-", dir=directory))
        )
        say("starting two sidecars and a redis-server ...")
        source = Path(file.path)
        warm(file.path)
        limited = stack.enter_context(_reader(home / "limited", source, max_rate))
        unlimited = stack.enter_context(_reader(home / "unlimited", source, None))
        readers = {WITHOUT: None, LIMITED: limited, UNLIMITED: unlimited}
        server = stack.enter_context(RealServer(home / "server"))
        speed = _benchmark(server.port, _CALIBRATION_REQUESTS)
        each = sum(1 / speed[command] for command in COMMANDS)
        requests = max(1_000, round(seconds / each))
        scraped: dict[str, list[dict[str, float]]] = {name: [] for name in CONDITIONS}
        loaded: dict[str, list[dict[str, float]]] = {name: [] for name in CONDITIONS}
        for number in range(1, rounds + 1):
            # Turned by one each round, so that no condition is always the first.
            order = [CONDITIONS[(number + place) % 3] for place in range(3)]
            for condition in order:
                say(f"round {number} of {rounds}: manners, {condition}")
                reader = readers[condition]
                with _at_work(reader):
                    scraped[condition].append(_scrape_round(reader, unlimited, seconds))
                    loaded[condition].append(_benchmark_round(reader, server.port, requests))
                if reader is not None:
                    reader.rest()
    return Manners(
        file_bytes=file.size_bytes,
        max_rate=max_rate,
        seconds=seconds,
        rounds=rounds,
        scrapes=[_scrapes(name, scraped[name]) for name in CONDITIONS],
        throughput=[_throughput(name, loaded[name], loaded[WITHOUT]) for name in CONDITIONS],
    )


def _at_work(reader: _Reader | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if reader is None else reader.at_work()


def _scrape_round(reader: _Reader | None, idle: _Reader, seconds: float) -> dict[str, float]:
    port = (reader or idle).sidecar.port
    found = _scrape(port, seconds)
    if reader is not None:
        # The log tells of a reading when it has ended: wait for the one that is under way.
        last = found[-1][0]
        reader.sidecar.wait(
            lambda: max((end for _, end in reader.readings()), default=0.0) > last,
            "a reading to end",
            300.0,
        )
        readings = reader.readings()
        found = [(at, took) for at, took in found if _overlap(readings, at, at + took) > 0]
    took = [took for _, took in found]
    if not took:
        return {"count": 0}
    return {
        "count": len(took),
        "p50": _percentile(took, 0.50),
        "p99": _percentile(took, 0.99),
        "max": max(took),
    }


def _benchmark_round(reader: _Reader | None, port: int, requests: int) -> dict[str, float]:
    began = time.time()
    found = _benchmark(port, requests)
    ended = time.time()
    share = 0.0
    if reader is not None:
        reader.sidecar.wait(
            lambda: max((end for _, end in reader.readings()), default=0.0) > ended,
            "a reading to end",
            300.0,
        )
        share = _overlap(reader.readings(), began, ended) / (ended - began)
    return {**found, "reading": share}


def _scrapes(condition: str, rounds: Sequence[Mapping[str, float]]) -> Scrapes:
    def middle(name: str) -> float | None:
        values = [one[name] for one in rounds if name in one]
        return statistics.median(values) if values else None

    return Scrapes(
        condition=condition,
        count=round(sum(one["count"] for one in rounds)),
        p50_seconds=middle("p50"),
        p99_seconds=middle("p99"),
        max_seconds=max((one["max"] for one in rounds if "max" in one), default=None),
        rounds=rounds,
    )


def _throughput(
    condition: str,
    rounds: Sequence[Mapping[str, float]],
    without: Sequence[Mapping[str, float]],
) -> Throughput:
    def seconds(one: Mapping[str, float], commands: Sequence[str]) -> float:
        """Per request of each command."""
        return sum(1 / one[command] for command in commands)

    def loss(commands: Sequence[str]) -> float:
        return statistics.median(
            100 * (1 - seconds(base, commands) / seconds(one, commands))
            for one, base in zip(rounds, without, strict=True)
        )

    return Throughput(
        condition=condition,
        requests_per_second={
            command: statistics.median(one[command] for one in rounds) for command in COMMANDS
        },
        loss_percent={
            **{command: loss([command]) for command in COMMANDS},
            "both": loss(COMMANDS),
        },
        reading_percent=100 * statistics.median(one["reading"] for one in rounds),
        rounds=rounds,
    )
