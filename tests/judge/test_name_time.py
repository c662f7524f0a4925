"""The time in a file's name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.judge.name_time import name_time
from exporter.model import Location


def at(pattern: str | None, name: str, zone: str = "UTC") -> datetime | None:
    place = Location(name="x", path="/x", name_time=pattern, name_time_zone=zone)
    found = name_time(place, name)
    return None if found is None else datetime.fromtimestamp(found, UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("%Y-%m-%d", "dump-2024-02-29.rdb", utc(2024, 2, 29)),
        ("%Y-%m-%d", "dump-2023-02-29.rdb", None),
        ("%Y%m%dT%H%M%S", "20240102T030405.rdb", utc(2024, 1, 2, 3, 4, 5)),
        ("%Y%m%dT%H%M%S%z", "a-20240102T030405+0200.rdb", utc(2024, 1, 2, 1, 4, 5)),
        ("%Y%m%dT%H%M%S%z", "a-20240102T030405Z.rdb", utc(2024, 1, 2, 3, 4, 5)),
        ("%d.%b.%Y", "02.Jan.2024.rdb", utc(2024, 1, 2)),
        ("dump-%Y%m%d", "20200101-dump-20240102.rdb", utc(2024, 1, 2)),
        ("%Y%m%d", "redis6379_20240102.rdb", utc(2024, 1, 2)),
        ("%Y%m%d", "host99999999_20240102.rdb", utc(2024, 1, 2)),
        ("%Y%m%d", "20240102030405.rdb", utc(2024, 1, 2)),
        ("%Y%m%d", "12320240102.rdb", None),
        ("%Y%m%d%H%M", "dump.rdb", None),
        ("100%%-%Y", "100%-2024", utc(2024, 1, 1)),
        ("%Q", "Q", None),
        ("%", "%", None),
        (None, "2024-01-02.rdb", None),
        ("%Y-%m-%d", "bad-\udcff-2024-01-02.rdb", utc(2024, 1, 2)),
        ("%Y", "٢٠٢٤.rdb", None),
    ],
)
def test_found_anywhere_or_not_at_all(
    pattern: str | None, name: str, expected: datetime | None
) -> None:
    assert at(pattern, name) == expected


def test_the_zone_is_applied() -> None:
    pattern = "%Y-%m-%d_%H-%M"
    assert at(pattern, "2024-07-01_12-00.rdb", "Europe/Berlin") == utc(2024, 7, 1, 10)
    assert at(pattern, "2024-01-01_12-00.rdb", "Europe/Berlin") == utc(2024, 1, 1, 11)


def test_the_repeated_hour_is_the_earlier_one() -> None:
    assert at("%Y%m%d%H%M", "202410270230", "Europe/Berlin") == utc(2024, 10, 27, 0, 30)


@pytest.mark.parametrize("zone", ["Nowhere/None", "../etc/passwd", "/etc/passwd", ""])
def test_an_unknown_zone_gives_no_time(zone: str) -> None:
    assert at("%Y", "2024", zone) is None


@given(st.text(max_size=30), st.text(max_size=60))
def test_never_raises(pattern: str, name: str) -> None:
    at(pattern, name)


NAIVE = st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 30))  # noqa: DTZ001 - as strptime


@given(NAIVE.map(lambda moment: moment.replace(microsecond=0)))
def test_what_strftime_writes_is_read_again(moment: datetime) -> None:
    stamp = f"{moment:%Y}".rjust(4, "0") + f"{moment:%m%d-%H%M%S}"
    assert at("%Y%m%d-%H%M%S", f"dump-{stamp}.rdb") == moment.replace(tzinfo=UTC)
