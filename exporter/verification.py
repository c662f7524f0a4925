"""One run of the command ``verify``: files in, one line for each out.

Knows: what is proven of a path or of stdin, the bar while that takes long, Ctrl-C, and how a report
is told to a person and to a machine. Refuses to know: command lines and exit codes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import click

from exporter.judge.remedies import REMEDIES
from exporter.model import RdbReport, Reason, Status, VerifyPolicy
from exporter.terminal import plain
from exporter.verify.engines import Cancelled, Depth, Engine, limits
from exporter.verify.file import Changed, prove

_PROGRESS_FROM_BYTES = 64 << 20
_STDIN_TIMEOUT_SECONDS = 86400.0
_CHANGED_TRIES = 3
#: The bar itself, percent, time to go and rate.
_BAR_COLUMNS = 72
_LABEL_LEAST = 6


def run(
    paths: Sequence[str], engine: Engine, policy: VerifyPolicy, *, depth: Depth, as_json: bool
) -> set[Status] | None:
    """Proves ``paths`` and prints a line for each; their statuses, or None where it was stopped."""
    statuses = set()
    with _interruptible() as interrupted:
        for path in paths:
            try:
                report = _prove(path, engine, policy, depth, interrupted)
            except Cancelled:
                return None
            statuses.add(report.status)
            _say(_json_line(path, report) if as_json else _line(path, report))
    return statuses


def _say(line: str) -> None:
    """Prints ``line`` at once: whoever reads a pipe waits for it. A closed stdout is an error."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")
    click.echo(line)
    sys.stdout.flush()


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the reading to stop; a second one does not ask."""
    asked = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _prove(
    path: str,
    engine: Engine,
    policy: VerifyPolicy,
    depth: Depth,
    cancelled: Callable[[], bool],
) -> RdbReport:
    if path == "-":
        return _prove_stdin(engine, policy, depth, cancelled)
    try:
        size_bytes = os.stat(path).st_size  # noqa: PTH116 - as given
    except (OSError, ValueError):
        size_bytes = 0  # said by prove
    detail = ""
    for _ in range(_CHANGED_TRIES):
        with _progress(path, size_bytes) as progress:
            found = prove(
                path,
                engine,
                limits=limits(policy, size_bytes),
                depth=depth,
                progress=progress,
                cancelled=cancelled,
            )
        if not isinstance(found, Changed):
            return found
        detail = found.detail
    return RdbReport(
        status=Status.UNREADABLE,
        reason=f"it changes while it is read ({detail}): still being written?",
        engine=engine.name,
    )


def _prove_stdin(
    engine: Engine, policy: VerifyPolicy, depth: Depth, cancelled: Callable[[], bool]
) -> RdbReport:
    """A pipe may take as long as it needs; the size of a redirected file is known."""
    try:
        found = os.fstat(0)
        size_bytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
    except OSError:
        size_bytes = 0  # closed: said by the engine
    bounds = replace(limits(policy, size_bytes), timeout_seconds=_STDIN_TIMEOUT_SECONDS)
    with _progress("-", size_bytes) as progress:
        return engine.read(0, limits=bounds, depth=depth, progress=progress, cancelled=cancelled)


@contextlib.contextmanager
def _progress(path: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for a large file, if a person sits there: percent, rate, time to go."""
    if size_bytes < _PROGRESS_FROM_BYTES or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    began = time.monotonic()

    def rate(read_bytes: int | None) -> str:
        return f"{(read_bytes or 0) / 1e6 / max(time.monotonic() - began, 1e-3):.0f} MB/s"

    with click.progressbar(
        length=size_bytes, label=_label(path), file=sys.stderr, item_show_func=rate
    ) as bar:

        def show(read_bytes: int) -> None:
            # A file that grows beyond what it was is said later, not here.
            bar.update(max(0, min(read_bytes, size_bytes) - bar.pos), read_bytes)

        yield show


def _label(path: str) -> str:
    """As much of the path's end as leaves the bar on one line, which is drawn over and over."""
    label = plain(path)
    room = max(_LABEL_LEAST, shutil.get_terminal_size().columns - _BAR_COLUMNS)
    return label if len(label) <= room else f"…{label[1 - room :]}"


def _json_line(path: str, report: RdbReport) -> str:
    return json.dumps({"path": path, **report.to_dict()})


def _line(path: str, report: RdbReport) -> str:
    """One line for a person; with a remedy where the file is not valid."""
    name = "stdin" if path == "-" else plain(path)
    if report.status is Status.VALID:
        return f"{report.status}  {name}: {', '.join(_facts(report))}"
    where = "" if report.offset is None else f" at byte {report.offset}"
    if report.key_index is not None:
        where += f", key {report.key_index}"
    remedy = REMEDIES.get(Reason(report.status), "")
    reason = plain(report.reason or "no reason")
    return f"{report.status}  {name}{where}: {reason}. {remedy}".rstrip()


def _facts(report: RdbReport) -> Iterator[str]:
    if report.counted:
        yield f"{report.keys} keys ({report.expires} expiring)"
    else:
        yield "whole, its keys not looked at"
    if report.functions:
        yield f"{report.functions} function libraries"
    if report.counted:
        yield f"{report.dialect or 'RDB'} {report.server_version or 'of unknown version'}"
    yield f"RDB {report.rdb_version}"
    yield f"checksum {report.checksum or 'none'}"
    yield f"{report.bytes / 1e6:.1f} MB" if report.bytes >= 1e5 else f"{report.bytes} bytes"
    if report.needs.modules:
        yield f"needs modules {', '.join(map(plain, report.needs.modules))}"
    if report.findings:
        yield f"odd: {', '.join(plain(finding.kind) for finding in report.findings)}"
    searched = report.duplicates_searched
    if searched is not None and searched.of > 1:
        yield f"duplicates searched in part {searched.part} of {searched.of}"
    yield f"{report.seconds:.1f} s by {report.engine}, depth {report.depth}"
