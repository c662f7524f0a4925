"""What the last good snapshots of one source held: the measure for a collapse.

Knows: which snapshots enter (DESIGN 6), and that the whole history can be told again from the
proven arrivals, so that nothing but those is kept. Refuses to know: what a collapse means.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.model import Arrival, Baseline, Candidate, Status

#: Fewer snapshots than this are no baseline.
BASELINE_MIN = 3
#: A baseline spans this many snapshots or this long, whichever is longer.
BASELINE_SNAPSHOTS = 7
BASELINE_SECONDS = 7 * 86400.0
#: At most one snapshot an hour enters, so that a burst of bad ones can't become the measure.
SPACING_SECONDS = 3600.0
#: Below this share of the minimum a snapshot has collapsed, and does not enter.
COLLAPSE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class _Entry:
    at: float
    keys: int
    size_bytes: int
    compression: str | None


def source_of(name: str, repl_id: str | None) -> str:
    """Whose snapshots a file is one of: the replication id, else what its name begins with."""
    if repl_id:
        return f"replid:{repl_id}"
    return "name:" + re.split(r"\d", name, maxsplit=1)[0]


def baseline(history: Sequence[Arrival], newest: Candidate, *, allow_empty: bool) -> Baseline:
    """The baseline that ``newest`` is measured against, told from ``history`` (oldest first)."""
    report = newest.report
    if report is None:
        return Baseline()
    source = source_of(newest.backup.name, report.repl_id)
    entries: deque[_Entry] = deque()
    for arrival in history:
        if source_of(arrival.name, arrival.report.repl_id) != source:
            continue
        _enter(entries, arrival, allow_empty=allow_empty)
    return Baseline(
        keys=tuple(e.keys for e in entries),
        sizes=tuple(e.size_bytes for e in entries if e.compression == report.compression),
    )


def _collapsed(entries: deque[_Entry], keys: int) -> bool:
    return len(entries) >= BASELINE_MIN and keys < COLLAPSE_SHARE * min(e.keys for e in entries)


def _enter(entries: deque[_Entry], arrival: Arrival, *, allow_empty: bool) -> None:
    """Lets ``arrival`` into ``entries`` if it is good and due."""
    report = arrival.report
    if report.status is not Status.VALID:
        return
    # A time in the future would keep all that follow out, for they came "before" it.
    at = min(arrival.arrived_at, arrival.arrived_at if report.ctime is None else report.ctime)
    if arrival.accepted:
        entries.clear()
    empty = report.keys == 0 and not allow_empty
    soon = bool(entries) and at - entries[-1].at < SPACING_SECONDS
    if not arrival.accepted and (empty or soon or _collapsed(entries, report.keys)):
        return
    entries.append(_Entry(at, report.keys, arrival.size_bytes, report.compression))
    while len(entries) > BASELINE_SNAPSHOTS and entries[0].at < at - BASELINE_SECONDS:
        entries.popleft()
