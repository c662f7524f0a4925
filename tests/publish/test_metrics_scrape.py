"""A scrape: the format asked for, no lock that a writer holds, no torn counts, no I/O."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.publish import snapshots
from tests.publish.snapshots import STATES
from tests.publish.test_metrics import OPENMETRICS, exercised, metrics_of


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (OPENMETRICS, True),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.2", False),
        ("application/openmetrics-text; version=nonsense; q=1", True),
        ("application/openmetrics-text; q=nan", False),
        ("application/openmetrics-text; q=0", False),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1",
            True,
        ),
        (";;;,,,=;q", False),
    ],
)
def test_format_is_negotiated(accept: str | None, openmetrics: bool) -> None:
    body, content_type = metrics_of(STATES["valid"]()).exposition(accept)
    assert ("openmetrics" in content_type) is openmetrics
    assert body.endswith(b"# EOF\n") is openmetrics


def test_a_scrape_waits_for_no_writer() -> None:
    """A writer that hangs while it holds the lock of the counters keeps no scrape waiting."""
    metrics = metrics_of(STATES["valid"]())
    done = threading.Event()
    with metrics._counts._lock:
        thread = threading.Thread(
            target=lambda: (metrics.exposition(None), done.set()), daemon=True
        )
        thread.start()
        assert done.wait(30)
    thread.join(30)


def test_counts_of_one_verification_are_never_seen_in_part() -> None:
    metrics = metrics_of(STATES["valid"]())
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            metrics.verification_done("local", replace(snapshots.report(), bytes=7, seconds=1.0))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        for _ in range(60):
            found = {m.name: m for m in metrics.collect()}
            count = found["redis_backup_verifications"].samples[0].value
            assert found["redis_backup_verified_bytes"].samples[0].value == 7 * count
            assert found["redis_backup_verification_duration_seconds"].samples[-1].value == count
    finally:
        stop.set()
        thread.join(30)


_AUDITED: list[str] = []
_AUDIT_THREAD: list[int] = []
_AUDIT_INSTALLED: list[bool] = []


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _AUDIT_THREAD and threading.get_ident() == _AUDIT_THREAD[0]:
        if event == "open" and str(args[0]).startswith("/proc/"):
            return
        if event.split(".", maxsplit=1)[0] in {"open", "socket", "sqlite3", "subprocess", "os"}:
            _AUDITED.append(f"{event} {args!r}")


@pytest.fixture
def audited() -> Iterator[list[str]]:
    """What this thread opens, connects or starts (an audit hook can't be taken back: it idles)."""
    if not _AUDIT_INSTALLED:
        sys.addaudithook(_audit)
        _AUDIT_INSTALLED.append(True)
    _AUDITED.clear()
    _AUDIT_THREAD.append(threading.get_ident())
    yield _AUDITED
    _AUDIT_THREAD.clear()


def test_a_scrape_opens_nothing_but_proc(audited: list[str]) -> None:
    metrics = exercised(STATES["valid"]())
    metrics.exposition(None)  # imports at the first use are not the scrape's
    audited.clear()
    metrics.exposition(None)
    metrics.exposition(OPENMETRICS)
    assert [row for row in audited if not row.startswith("os.listdir ('/proc/")] == []
