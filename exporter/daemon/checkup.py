"""One whole assessment, printed check by check: the command ``check``.

Knows: the way of one cycle without the loop - look, settle, look again, read what is unproven. The
ledger is only read. Refuses to know: heartbeats; a look from the shell must not ping.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exporter.daemon.assessment import Assessment
from exporter.ledger import Ledger
from exporter.model import CheckResult, Notice, Outcome, Severity, Snapshot, VerdictState
from exporter.publish.status_json import status_json
from exporter.settings import Settings
from exporter.verify.engines import engine, fallback
from exporter.verify.queue import Why
from exporter.verify.verifier import Done, Verifier
from exporter.watch.directory import DirectoryWatch
from exporter.watch.redis_server import RedisServer

EXIT_CODES = {VerdictState.PROTECTED: 0, VerdictState.AT_RISK: 1, VerdictState.UNKNOWN: 3}

#: A single look reads what a verdict needs, and nothing that was proven before.
_READ = frozenset({Why.ARRIVAL, Why.RETRY, Why.TOUCHED, Why.BACKLOG})
_SIGNS = {
    Outcome.PASS: "ok",
    Outcome.WARN: "WARN",
    Outcome.FAIL: "FAIL",
    Outcome.UNKNOWN: "UNKNOWN",
    Outcome.SKIP: "skip",
}


def run(settings: Settings, *, as_json: bool, echo: Callable[[str], None]) -> int:
    """Assesses what ``settings`` describe and prints it; answers the exit code."""
    snapshot = assess(settings)
    if as_json:
        echo(json.dumps(json.loads(status_json(snapshot, snapshot.at))))
    else:
        for line in lines(snapshot):
            echo(line)
    assert snapshot.verdict is not None
    return EXIT_CODES[snapshot.verdict.state]


def assess(settings: Settings) -> Snapshot:
    """Looks twice, the settle time apart, and reads what is not proven, as a first start does."""
    policy = settings.policy
    reader = engine(settings.engine)
    ledger = Ledger(Path(settings.state_dir), now=time.time(), read_only=True, engine=reader.name)
    done: queue.SimpleQueue[Done] = queue.SimpleQueue()
    server = RedisServer(settings.redis) if settings.redis else None
    watches = {location.name: DirectoryWatch(location) for location in policy.locations}
    assessment = Assessment(policy, ledger, server, watches, engine=reader.name)
    verifier = Verifier(reader, ledger, policy.verify, done.put)
    verifier.start()
    try:
        began = time.monotonic()
        assessment.look()
        snapshot = assessment.judge(time.monotonic() - began)
        if assessment.settling:
            time.sleep(max(location.settle_seconds for location in policy.locations) + 0.05)
            assessment.look()
            snapshot = assessment.judge(time.monotonic() - began)
        while (job := assessment.next_job()) is not None and job.why in _READ:
            verifier.offer(job)
            read = done.get()
            assessment.note_read(job.location, read.seconds)
            snapshot = assessment.judge(time.monotonic() - began)
            if read.report is None:
                break
    finally:
        verifier.stop()
        if server is not None:
            server.close()
        ledger.close()
    lesser = fallback(settings.engine, reader)
    if lesser is None:
        return snapshot
    notice = Notice(id="engine_fallback", text=lesser)
    return replace(snapshot, notices=(notice, *snapshot.notices))


def lines(snapshot: Snapshot) -> list[str]:
    """The snapshot for a terminal: every check, then the verdict and what to do."""
    assert snapshot.verdict is not None
    shown = [f"note: {notice.text}" for notice in snapshot.notices]
    shown += [_line(result) for result in snapshot.results]
    shown.append("")
    shown.append(str(snapshot.verdict.state).replace("_", " ").upper())
    told: set[tuple[str | None, object, str]] = set()
    for result in snapshot.verdict.blocking:
        cause = (result.location, result.reason, result.measured)
        if cause in told:
            continue  # one cause, such as a directory that can't be listed, stops many checks
        told.add(cause)
        where = f" at {result.location}" if result.location else ""
        shown.append(f"  {result.check}{where}: {result.reason}: {result.measured}")
        shown.append(f"    {result.remedy}")
    return [_printable(line) for line in shown]


def _line(result: CheckResult) -> str:
    # A fail of a check that only warns withholds nothing.
    warns = result.outcome is Outcome.FAIL and result.severity is Severity.WARN
    sign = _SIGNS[Outcome.WARN if warns else result.outcome]
    words = [f"{sign:8}{result.location or '-':12} {result.check:18}"]
    if result.reason:
        words.append(f"{result.reason}:" if result.measured else f"{result.reason}")
    if result.measured:
        words.append(result.measured)
    if result.limit and result.outcome is not Outcome.SKIP:
        words.append(f"[limit: {result.limit}]")
    return " ".join(words).rstrip()


def _printable(text: str) -> str:
    """A file's name must not drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
