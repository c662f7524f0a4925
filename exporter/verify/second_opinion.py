"""What another engine says of the same file, and whether the two agree.

Knows: which differences mean that one of the engines, or the file's bytes between two readings, is
wrong. Refuses to know: when a file gets its second opinion (``queue``), and what a disagreement
costs (the judge).

Both read all that there is, so the rules below leave out only what can't be compared: a file that
one of the two could not verify, and how far each came with a file that both call broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from exporter.model import UNVERIFIED, RdbReport, SecondOpinion, Status

K = TypeVar("K")

#: So many differences are told; a file may have a million databases.
_TOLD = 5

#: With these an engine says that it does not know; that contradicts nobody.
NO_OPINION = UNVERIFIED | {Status.UNSUPPORTED_VERSION}


def second_opinion(first: RdbReport, second: RdbReport) -> SecondOpinion:
    """Whether ``second``, read after ``first``, says the same."""
    for report in (first, second):
        if report.status in NO_OPINION:
            reason = f": {report.reason}" if report.reason else ""
            detail = f"{report.engine} could not verify it ({report.status}{reason})"
            return _opinion(second, detail, agrees=None)
    differences = list(_differences(first, second))
    more = len(differences) - _TOLD
    told = differences[:_TOLD] + ([f"and {more} more"] if more > 0 else [])
    return _opinion(second, "; ".join(told), agrees=not differences)


def _opinion(second: RdbReport, detail: str, *, agrees: bool | None) -> SecondOpinion:
    return SecondOpinion(engine=second.engine, agrees=agrees, detail=detail, seconds=second.seconds)


def _differences(first: RdbReport, second: RdbReport) -> Iterator[str]:
    valid = [report.status is Status.VALID for report in (first, second)]
    if valid[0] != valid[1]:
        yield f"{_said(first)}, {_said(second)}"
        return
    if not valid[0]:
        # Broken for both. Where each gave up, and so the word and the counts, may differ: one
        # looks into a value that the other skips, and then finds the checksum wrong, or not.
        return
    facts: list[tuple[str, object, object]] = [("checksum", _crc(first), _crc(second))]
    if first.counted and second.counted:
        facts += [
            (f"keys in db {db} (all, expiring)", one, other)
            for db, one, other in _pairs(first.keys_by_db, second.keys_by_db, (0, 0))
        ]
        facts += [
            (f"keys of type {kind}", one, other)
            for kind, one, other in _pairs(first.keys_by_type, second.keys_by_type, 0)
        ]
        facts.append(("function libraries", first.functions, second.functions))
    for name, one, other in facts:
        if one != other:
            yield f"{name}: {one} by {first.engine}, {other} by {second.engine}"


def _said(report: RdbReport) -> str:
    where = "" if report.offset is None else f" at byte {report.offset}"
    reason = f" ({report.reason})" if report.reason else ""
    return f"{report.engine} says {report.status}{where}{reason}"


def _crc(report: RdbReport) -> str:
    state = str(report.checksum or "none")
    return state if report.crc64 is None else f"{state} {report.crc64:016x}"


def _pairs(
    one: Mapping[K, object], other: Mapping[K, object], absent: object
) -> Iterator[tuple[K, object, object]]:
    for key in sorted({*one, *other}, key=str):
        yield key, one.get(key, absent), other.get(key, absent)
