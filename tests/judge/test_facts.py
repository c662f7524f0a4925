"""Which backup counts: newest, newest judged, last valid, distinct ones."""

from __future__ import annotations

from exporter.judge.baseline import baseline, source_of
from exporter.judge.facts import place
from exporter.model import (
    Arrival,
    Baseline,
    ChecksumState,
    Known,
    Listing,
    Location,
    LocationState,
    Origin,
    RdbHeader,
    Status,
    TimeSource,
)
from tests.judge.builders import DAY, HOUR, NOW, arrival, daily, known, replace, report


def state(*files: Known, **location: object) -> LocationState:
    here = Location(name="local", path="/b", **location)  # type: ignore[arg-type]
    seen = Listing(location="local", at=NOW, backups=tuple(k.backup for k in files if k.exists))
    return place(here, seen, files, (), NOW).state


def name(candidate: object) -> str | None:
    return getattr(getattr(candidate, "backup", None), "name", None)


def test_newest_is_the_latest_arrival_and_not_the_latest_ctime() -> None:
    restored = known("old-data.rdb", report(age=30 * DAY), arrived=5)
    found = state(restored, known("fresh.rdb", report(age=60), arrived=60))
    assert name(found.newest_judged) == "old-data.rdb"
    assert name(found.last_valid) == "fresh.rdb"


def test_ties_of_arrival_go_by_change_time_then_modification_then_name() -> None:
    tied = [known(n, report(), arrived=5, ctime_ns=1, mtime_ns=1) for n in ("b.rdb", "a.rdb")]
    assert name(state(*tied).newest_judged) == "b.rdb"
    later = replace(tied[1], backup=replace(tied[1].backup, ctime_ns=2))
    assert name(state(tied[0], later).newest_judged) == "a.rdb"


def test_pending_lists_only_what_is_newer_than_the_newest_judged() -> None:
    found = state(
        known("unread.rdb", arrived=5),
        known("judged.rdb", report(), arrived=60),
        known("backlog.rdb", arrived=HOUR),
    )
    assert [name(c) for c in found.pending] == ["unread.rdb"]
    assert (name(found.newest), name(found.newest_judged)) == ("unread.rdb", "judged.rdb")
    assert found.files == 3


def test_last_valid_has_the_greatest_trusted_ctime() -> None:
    future = known("future.rdb", report(age=-400), arrived=5)
    found = state(future, known("good.rdb", report(age=HOUR), arrived=60))
    assert name(found.last_valid) == "good.rdb"
    assert found.newest_judged is not None
    assert found.newest_judged.taken_at is None


def test_a_replaced_snapshot_counts_as_last_valid_only_for_the_servers_own_file() -> None:
    files = (
        known("dump.rdb", arrived=5, identity=None),
        known("dump.rdb", report(), arrived=60, exists=False, identity="before"),
    )
    live = state(*files, origin=Origin.SERVER_FILE)
    assert live.newest_judged is not None
    assert (name(live.last_valid), live.newest_judged.exists) == ("dump.rdb", False)
    copied = state(*files, origin=Origin.COPY)
    assert copied.newest_judged is not None
    assert copied.last_valid is None
    assert (live.files, copied.files) == (1, 1)


def test_distinct_snapshots_count_copies_of_one_once_and_broken_ones_never() -> None:
    twin = RdbHeader(crc64=5, ctime=9, rdb_version=11)
    unread = [replace(known(f"u{n}.rdb", arrived=n), header=twin) for n in (1, 2)]
    found = state(
        *unread,
        known("a.rdb", report(age=5), arrived=9),
        known("b.rdb", report(age=5), arrived=10),
        known("c.rdb", report(Status.CORRUPT, age=6), arrived=11),
        known("d.rdb", report(age=None), arrived=12),
    )
    assert found.distinct_snapshots == 3


def test_an_unread_file_is_dated_by_its_own_header() -> None:
    pending = replace(
        known("p.rdb", arrived=5), header=RdbHeader(ctime=int(NOW - 90), rdb_version=11, crc64=1)
    )
    newest = state(pending).newest
    assert newest is not None
    assert (newest.taken_at, newest.time_source) == (NOW - 90, TimeSource.CTIME)


def test_a_snapshot_without_checksum_is_known_by_its_time_and_size() -> None:
    off = report(checksum=ChecksumState.DISABLED, crc64=0)
    one = state(known("a.rdb", off)).newest
    other = state(known("b.rdb", off, size_bytes=10_001)).newest
    assert one is not None
    assert other is not None
    assert one.fingerprint != other.fingerprint


def measure(history: tuple[Arrival, ...], *, allow_empty: bool = False) -> Baseline:
    candidate = state(known("day-0.rdb", report(), arrived=5)).newest
    assert candidate is not None
    return baseline(history, candidate, allow_empty=allow_empty)


def test_a_baseline_is_the_last_seven_snapshots_or_seven_days() -> None:
    assert len(measure(daily(20)).keys) == 8
    sparse = tuple(
        arrival(f"day-{n}.rdb", report(age=n * 30 * DAY), arrived=n) for n in range(20, 0, -1)
    )
    assert len(measure(sparse).keys) == 7


def test_a_burst_of_snapshots_enters_the_baseline_once_an_hour() -> None:
    burst = tuple(
        arrival(f"day-{n}.rdb", report(age=n * 60), arrived=n * 60) for n in range(150, 0, -1)
    )
    assert len(measure(burst).keys) == 3


def test_collapsed_empty_and_broken_snapshots_never_enter() -> None:
    good = daily(9)[:5]
    bad = (
        arrival("day-4.rdb", report(age=4 * DAY, keys=10), arrived=4 * DAY),
        arrival("day-3.rdb", report(age=3 * DAY, keys=0), arrived=3 * DAY),
        arrival("day-2.rdb", report(Status.CORRUPT, age=2 * DAY, keys=1), arrived=2 * DAY),
    )
    assert set(measure((*good, *bad)).keys) == {1000}


def test_a_snapshot_of_the_future_does_not_freeze_the_baseline() -> None:
    wrong = arrival("day-5.rdb", report(age=-400 * DAY, keys=1000), arrived=5 * DAY)
    later = tuple(
        arrival(f"day-{n}.rdb", report(age=n * DAY, keys=10**6), arrived=n * DAY)
        for n in range(4, 0, -1)
    )
    assert measure((*daily(9)[:4], wrong, *later)).keys[-4:] == (10**6,) * 4


def test_an_accepted_drop_is_the_new_baseline() -> None:
    accepted = replace(arrival("day-1.rdb", report(age=DAY, keys=10), arrived=DAY), accepted=True)
    assert measure((*daily(9)[:5], accepted)).keys == (10,)


def test_sources_do_not_mix() -> None:
    other = tuple(replace(a, name=f"cache-{a.name}") for a in daily(5, keys=9))
    assert measure((*other, *daily(4))).keys == (1000,) * 4
    assert source_of("dump-2027-01.rdb", None) == "name:dump-"
    assert source_of("dump-2027-01.rdb", "abc") == "replid:abc"


def test_sizes_of_another_compression_do_not_count() -> None:
    packed = tuple(replace(a, report=replace(a.report, compression="gzip")) for a in daily(4))
    assert measure(packed).sizes == ()
    assert len(measure(packed).keys) == 4
