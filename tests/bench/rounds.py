"""Who reads the files, round after round, and the medians of what it took.

Knows: the contestants, and that each has to have read the whole file rightly before its numbers
count. Refuses to know: how a table looks, and which number is a good one.

Rounds are interleaved: in each, every contestant reads the file once, from the page cache, in
another order. A busy moment of the machine then hits them all; ratios are taken within a round.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.data import DataFile, say, warm
from tests.bench.launch import Cost, Failed, measured

_HERE = Path(__file__).parent
_PYTHON = sys.executable
DEPTHS = ("checksum", "structure", "full")
READ, CHECK_RDB, RDBTOOLS = "read()", "redis-check-rdb", "rdbtools"

#: What the modules of ours that ``verify`` needs take when nothing is read.
IDLE = (
    _PYTHON, "-P", "-c",
    "import exporter.cli, exporter.verify.engines, exporter.verify.file;"
    "import exporter.verify.native_engine, exporter._native",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of one file."""

    cpu_seconds: float
    """Of the reading; where ``whole`` is set, of the process from start to end."""
    wall_seconds: float
    peak_bytes: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way to read a file, as a process; ``read`` raises Failed where it went wrong."""

    name: str
    read: Callable[[DataFile], Sample]
    on_slice: bool = False
    """Too slow for the whole file: it reads a smaller one of the same kind."""


def _whole(cost: Cost) -> Sample:
    return Sample(
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_bytes=cost.peak_bytes,
        whole=True,
    )


def _inside(cost: Cost, said: Mapping[str, Any]) -> Sample:
    return Sample(
        cpu_seconds=said["cpu_seconds"],
        wall_seconds=said["wall_seconds"],
        peak_bytes=cost.peak_bytes,
        whole=False,
    )


def _expect(file: DataFile, who: str, **found: tuple[object, object]) -> None:
    """Each pair is (found, wanted)."""
    wrong = {name: pair for name, pair in found.items() if pair[0] != pair[1]}
    if wrong:
        raise Failed(f"{who} on {file.path}: (found, wanted) {wrong}")


def _proven(file: DataFile, who: str, report: Mapping[str, Any], depth: str) -> None:
    _expect(file, who, status=(report["status"], "valid"), checksum=(report["checksum"], "ok"))
    if depth != "checksum":
        _expect(file, who, keys=(report["keys"], file.keys))


def _read(file: DataFile) -> Sample:
    cost = measured([_PYTHON, "-I", "-S", str(_HERE / "plain_read.py"), file.path])
    said = json.loads(cost.output)
    _expect(file, READ, bytes=(said["bytes"], file.size_bytes))
    return _inside(cost, said)


def _native(depth: str) -> Contestant:
    def read(file: DataFile) -> Sample:
        script = str(_HERE / "native_read.py")
        cost = measured([_PYTHON, "-P", script, depth, file.path])
        said = json.loads(cost.output)
        _proven(file, "native", said["report"], depth)
        return _inside(cost, said)

    return Contestant(name=f"native {depth}", read=read)


def verify_command(path: str, depth: str) -> list[str]:
    return [
        _PYTHON, "-P", "-m", "exporter", "verify", "--json",
        "--engine", "native", "--depth", depth, path,
    ]  # fmt: skip


def _verify(depth: str) -> Contestant:
    def read(file: DataFile) -> Sample:
        cost = measured(verify_command(file.path, depth))
        _proven(file, "verify", json.loads(cost.output), depth)
        return _whole(cost)

    return Contestant(name=f"verify {depth}", read=read)


def _check_rdb(file: DataFile) -> Sample:
    cost = measured([CHECK_RDB, file.path])
    keys = re.search(r"\[info\] (\d+) keys read", cost.output)
    _expect(
        file,
        CHECK_RDB,
        keys=(keys and int(keys[1]), file.keys),
        checksum=("Checksum OK" in cost.output, True),
    )
    return _whole(cost)


def _rdbtools(file: DataFile) -> Sample:
    cost = measured([_PYTHON, "-P", str(_HERE / "rdbtools_read.py"), file.path])
    said = json.loads(cost.output)
    _proven(file, RDBTOOLS, said["report"], "structure")
    return _inside(cost, said)


CONTESTANTS: tuple[Contestant, ...] = (
    Contestant(name=READ, read=_read),
    *map(_native, DEPTHS),
    *map(_verify, DEPTHS),
    Contestant(name=CHECK_RDB, read=_check_rdb),
    Contestant(name=RDBTOOLS, read=_rdbtools, on_slice=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The medians of one contestant on one kind of content, scaled to the whole file."""

    name: str
    on_slice: bool
    whole_process: bool
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    over_idle_bytes: int
    gb_per_cpu_second: float
    times_check_rdb: float
    """How many times the bytes per CPU second of redis-check-rdb."""
    share_of_read: float
    """Bytes per CPU second as a share of read()'s."""
    samples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One kind of content: the whole file, and the slice for who is slow."""

    whole: DataFile
    part: DataFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that was measured on one kind of content."""

    file: DataFile
    slice_bytes: int
    figures: Sequence[Figures]


def run_rounds(
    courses: Sequence[Course],
    rounds: int,
    *,
    idle_bytes: int,
    contestants: Sequence[Contestant] = CONTESTANTS,
) -> list[Result]:
    """Everyone on every file, ``rounds`` times."""
    shuffle = random.Random(1).shuffle
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(1, rounds + 1):
        for course in courses:
            say(f"round {number} of {rounds}: {course.whole.title}")
            warm(course.part.path)
            warm(course.whole.path)
            order = list(contestants)
            shuffle(order)
            for contestant in order:
                file = course.part if contestant.on_slice else course.whole
                found = samples.setdefault((course.whole.kind, contestant.name), [])
                found.append(contestant.read(file))
    return [
        Result(
            file=course.whole,
            slice_bytes=course.part.size_bytes,
            figures=_figures(course, contestants, samples, idle_bytes),
        )
        for course in courses
    ]


def _figures(
    course: Course,
    contestants: Sequence[Contestant],
    samples: Mapping[tuple[str, str], Sequence[Sample]],
    idle_bytes: int,
) -> list[Figures]:
    def rates(contestant: Contestant) -> list[float]:
        """Bytes per CPU second, round by round."""
        file = course.part if contestant.on_slice else course.whole
        return [
            # A reading that the clock could not see took one tick of it.
            file.size_bytes / max(sample.cpu_seconds, 1e-6)
            for sample in samples[course.whole.kind, contestant.name]
        ]

    by_name = {contestant.name: rates(contestant) for contestant in contestants}
    found = []
    for contestant in contestants:
        file = course.part if contestant.on_slice else course.whole
        scale = course.whole.size_bytes / file.size_bytes
        own = samples[course.whole.kind, contestant.name]
        rate = by_name[contestant.name]
        peak = round(median(sample.peak_bytes for sample in own))
        found.append(
            Figures(
                name=contestant.name,
                on_slice=contestant.on_slice,
                whole_process=own[0].whole,
                cpu_seconds=median(sample.cpu_seconds for sample in own) * scale,
                wall_seconds=median(sample.wall_seconds for sample in own) * scale,
                peak_bytes=peak,
                over_idle_bytes=peak - idle_bytes,
                gb_per_cpu_second=median(rate) / 1e9,
                times_check_rdb=median(
                    a / b for a, b in zip(rate, by_name[CHECK_RDB], strict=True)
                ),
                share_of_read=median(a / b for a, b in zip(rate, by_name[READ], strict=True)),
                samples=[asdict(sample) for sample in own],
            )
        )
    return found
