"""The numbers as Markdown for a person, and as JSON.

Knows: which numbers stand together, their units and goals. Refuses to know: how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.data import DataFile
from tests.bench.machine import Machine
from tests.bench.manners import COMMANDS, Manners
from tests.bench.memory import Peak
from tests.bench.rounds import CHECK_RDB, READ, Figures, Result

_MIB = 1 << 20
NOT_ASKED = "not measured in this run"

#: Times redis-check-rdb that are the goal, by kind and depth.
GOALS: Mapping[str, Mapping[str, float]] = {
    "small-keys": {"native structure": 13.0, "native full": 8.0},
    "large-values": {"native structure": 5.0, "native full": 5.0},
    "lzf-json": {"native structure": 13.0, "native full": 2.5},
}
#: And the share of read() that is the goal at depth checksum.
CHECKSUM_GOAL = 0.85
SCRAPE_GOAL_SECONDS = 0.010
LOSS_GOAL_PERCENT = 5.0
MEMORY_GOAL_BYTES = 24 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that one run measured; None: it was not asked to."""

    machine: Machine
    rounds: int
    floor_bytes: int
    idle_bytes: int
    results: Sequence[Result]
    peaks: Sequence[Peak] | None
    many_keys: bool
    manners: Manners | None
    manners_file: DataFile | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def markdown(outcome: Outcome) -> str:
    """The whole report."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    yield from _conditions(outcome)
    for result in outcome.results:
        yield ""
        yield from _speed(outcome, result)
    yield ""
    yield from _memory(outcome)
    yield ""
    yield from _manners(outcome)
    yield ""
    yield f"Measured in {outcome.seconds / 60:.0f} minutes by `make bench`."


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(*names: str) -> Iterator[str]:
    """The first column to the left, numbers to the right."""
    yield _row(*names)
    yield _row("---", *("---:" for _ in names[1:]))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:.1f}"


def _conditions(outcome: Outcome) -> Iterator[str]:
    machine = outcome.machine
    features = ", ".join(name for name, there in machine.features.items() if there) or "none"
    yield (
        f"**Conditions.** {machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB; "
        f"{machine.kernel}; Python {machine.python}; {machine.server}; native engine "
        f"{machine.engine}. Of the processor's features that matter: {features}."
    )
    yield (
        f"Medians of {outcome.rounds} interleaved rounds; ratios are taken within a round. Files are in "
        "the page cache. CPU is user + system; that of *native*, *read()* and *rdbtools* is the "
        "reading alone in a process of its own, that of *verify* and *redis-check-rdb* the whole "
        "process from start to end. GB = 10^9 bytes. RSS is the peak of the process; "
        f"an idle Python with our imports takes {_mib(outcome.idle_bytes)} MiB, and nothing can "
        f"be measured below {_mib(outcome.floor_bytes)} MiB."
    )
    if machine.load >= 0.5:
        yield (
            f"**The machine had other work** (load {machine.load:.1f} before the run): wall clock, "
            "scrapes and redis-benchmark tell more of that than of us."
        )
    yield f"CRC-64 on memory in the cache: {machine.crc_gb_per_second:.1f} GB per CPU second." + (
        ""
        if machine.wide_crc
        else " **This processor has no VPCLMULQDQ**: the goal of depth checksum is scaled by that."
    )


def _speed(outcome: Outcome, result: Result) -> Iterator[str]:
    file = result.file
    yield (
        f"**{file.title}**: {file.size_bytes / 1e9:.2f} GB, {file.keys:,} keys, written by "
        "a redis-server with `rdbcompression yes`, `rdbchecksum yes`"
    )
    yield ""
    yield from _head(
        "", "GB / CPU s", f"x {CHECK_RDB}", f"of {READ}", "CPU s", "wall s", "RSS MiB",
        "over idle", "goal",
    )  # fmt: skip
    read_speed = next(one.gb_per_cpu_second for one in result.figures if one.name == READ)
    for one in result.figures:
        yield _row(
            one.name + (f" (on {result.slice_bytes / 1e6:.0f} MB, scaled)" if one.on_slice else ""),
            f"{one.gb_per_cpu_second:.3g}",
            f"{one.times_check_rdb:.2f}",
            f"{one.share_of_read:.3f}",
            f"{one.cpu_seconds:.3f}",
            f"{one.wall_seconds:.3f}",
            _mib(one.peak_bytes),
            _mib(one.over_idle_bytes) if one.name.startswith("verify") else "",
            _speed_goal(outcome.machine, file.kind, one, read_speed),
        )


def _speed_goal(machine: Machine, kind: str, one: Figures, read_speed: float) -> str:
    if one.name == "native checksum":
        share = machine.scaled_share(CHECKSUM_GOAL, read_speed)
        return _met(f"{share:.2f} of {READ}", good=one.share_of_read >= share)
    if one.name.startswith("verify"):
        return _met("< 24 MiB over idle", good=one.over_idle_bytes < MEMORY_GOAL_BYTES)
    times = GOALS[kind].get(one.name)
    return "" if times is None else _met(f"{times:g} x", good=one.times_check_rdb >= times)


def _met(text: str, *, good: bool) -> str:
    return f"{text}: {'yes' if good else '**no**'}"


def _memory(outcome: Outcome) -> Iterator[str]:
    if outcome.peaks is None:
        yield f"**Memory**: {NOT_ASKED}."
        return
    yield "**Memory**: `verify`, depth full"
    yield ""
    yield from _head(
        "", "MB read", "RSS MiB", "over idle", "CPU s", "wall s", "searched for duplicates"
    )
    for peak in outcome.peaks:
        part = peak.duplicates_searched
        yield _row(
            peak.case,
            f"{peak.file_bytes / 1e6:.1f}",
            _mib(peak.peak_bytes),
            _mib(peak.over_idle_bytes),
            f"{peak.cpu_seconds:.2f}",
            f"{peak.wall_seconds:.2f}",
            "unknown" if part is None else ("all" if part["of"] == 1 else f"1 of {part['of']}"),
        )
    if not outcome.many_keys:
        yield ""
        yield f"A hundred million keys: {NOT_ASKED} (`--keys 100000000`)."


def _manners(outcome: Outcome) -> Iterator[str]:
    manners = outcome.manners
    if manners is None:
        yield f"**Manners**: {NOT_ASKED}."
        return
    yield (
        f"**Manners**: a running sidecar that reads a file of {manners.file_bytes / 1e9:.2f} GB again "
        f"and again, with `verify.max_rate: {manners.max_rate}` and without; {manners.rounds} "
        f"interleaved rounds of {manners.seconds:g} s"
    )
    yield ""
    yield from _head("`/metrics`, 10 a second", "scrapes", "p50 ms", "p99 ms", "max ms", "goal")
    for scrapes in manners.scrapes:
        p99 = scrapes.p99_seconds
        good = p99 is not None and p99 < SCRAPE_GOAL_SECONDS
        yield _row(
            scrapes.condition,
            f"{scrapes.count}",
            _ms(scrapes.p50_seconds),
            _ms(p99),
            _ms(scrapes.max_seconds),
            _met("p99 < 10 ms", good=good),
        )
    yield ""
    yield from _head(
        "redis-benchmark beside it", "reading", *(f"{name} / s" for name in COMMANDS),
        *(f"{name} loss" for name in COMMANDS), "loss", "goal",
    )  # fmt: skip
    for load in manners.throughput:
        good = load.loss_percent["both"] < LOSS_GOAL_PERCENT
        yield _row(
            load.condition,
            f"{load.reading_percent:.0f} %",
            *(f"{load.requests_per_second[name]:,.0f}" for name in COMMANDS),
            *(f"{load.loss_percent[name]:.1f} %" for name in COMMANDS),
            f"{load.loss_percent['both']:.1f} %",
            _met("< 5 %", good=good) if load.condition == "read with the limit" else "",
        )


def _ms(seconds: float | None) -> str:
    """None: no scrape fell into a reading, as the file was read in less than the pace."""
    return "none seen" if seconds is None else f"{seconds * 1e3:.2f}"
