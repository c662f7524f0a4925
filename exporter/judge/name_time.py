"""The time that a backup carries in its name, by a configured strptime pattern and zone.

Knows: how to find the pattern anywhere in a name. Refuses to guess: no pattern, no time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exporter.model import Location

#: What each directive of strptime may look like in a name; two-digit fields are fully written
#: there. strptime decides afterwards whether it is a time.
_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "j": r"\d{3}",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "p": r"[AaPp][Mm]",
    "b": r"[A-Za-z]{3}",
    "B": r"[A-Za-z]{3,9}",
    "a": r"[A-Za-z]{3}",
    "A": r"[A-Za-z]{6,9}",
    "z": r"(?:Z|[+-]\d{2}:?\d{2})",
    "%": "%",
}


def name_time(location: Location, name: str) -> float | None:
    """Unix seconds of the time in ``name``, or None: no pattern configured, or none found.

    Digits beside the match are no part of a time (``host12320240102``), unless nothing else
    matches and they follow (``20240102030405`` under ``%Y%m%d``). In the hour that autumn repeats
    it is the earlier one: a backup is rather called too old than too young.
    """
    if location.name_time is None:
        return None
    zone = _zone(location.name_time_zone)
    if zone is None:
        return None
    for expression in _expressions(location.name_time):
        for match in expression.finditer(name):
            try:
                found = datetime.strptime(match.group(), location.name_time)  # noqa: DTZ007 - below
                aware = found if found.tzinfo is not None else found.replace(tzinfo=zone)
                return aware.timestamp()
            except (ValueError, OverflowError):
                continue
    return None


@lru_cache(maxsize=64)
def _expressions(pattern: str) -> tuple[re.Pattern[str], ...]:
    """Strict and lax form of a strptime pattern; none where a directive is unknown."""
    body, index = [], 0
    while index < len(pattern):
        if pattern[index] != "%":
            body.append(re.escape(pattern[index]))
            index += 1
            continue
        directive = _DIRECTIVES.get(pattern[index + 1 : index + 2])
        if directive is None:
            return ()
        body.append(directive)
        index += 2
    text = "".join(body)
    return (
        re.compile(rf"(?<!\d){text}(?!\d)", re.ASCII),
        re.compile(rf"(?<!\d){text}", re.ASCII),
    )


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    if name == "UTC":  # also where no zone database is installed
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
