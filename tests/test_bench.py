"""The benchmark measures everything that it shows: a tiny run, looked at whole. No number is judged."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.bench.__main__ import arguments, measure
from tests.bench.content import KINDS
from tests.bench.launch import Failed, floor_bytes, measured
from tests.bench.many_keys import blocks
from tests.bench.rounds import CONTESTANTS
from tests.bench.table import GOALS, NOT_ASKED, Outcome, markdown

MIB = 1 << 20
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def outcome(directory: Path) -> Outcome:
    """4 MiB, one round, everything in it."""
    return measure(
        arguments([
            *("--size", "4MiB"), *("--slice", "1MiB"), *("--rounds", "1"), *("--keys", "20000"),
            *("--seconds", "1"), *("--max-rate", "1MiB"), *("--dir", str(directory)),
        ])
    )  # fmt: skip


def numbers(value: object) -> Iterator[float]:
    """Every number in there, at any depth."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.timeout(600)
def test_every_contestant_has_every_number_on_every_kind(outcome: Outcome) -> None:
    assert [result.file.kind for result in outcome.results] == list(KINDS) == list(GOALS)
    for result in outcome.results:
        assert result.file.size_bytes == pytest.approx(4 * MIB, rel=0.3)
        assert [one.name for one in result.figures] == [one.name for one in CONTESTANTS]
        for one in result.figures:
            told = dataclasses.asdict(one)
            over_idle = told.pop("over_idle_bytes")
            assert isinstance(over_idle, int)
            assert len(one.samples) == 1
            assert all(number > 0 for number in numbers(told)), told


@pytest.mark.timeout(600)
def test_memory_and_manners_have_every_number(outcome: Outcome) -> None:
    assert outcome.peaks is not None
    assert [peak.keys for peak in outcome.peaks] == [2, 20_000]
    for peak in outcome.peaks:
        assert min(peak.peak_bytes, peak.file_bytes, peak.wall_seconds, peak.cpu_seconds) > 0
        assert peak.duplicates_searched
    manners = outcome.manners
    assert manners is not None
    without, limited, _ = manners.scrapes
    for scrapes in (without, limited):
        assert scrapes.count > 0
        assert scrapes.p50_seconds is not None
        assert scrapes.p99_seconds is not None
        assert scrapes.max_seconds is not None
        assert 0 < scrapes.p50_seconds <= scrapes.p99_seconds <= scrapes.max_seconds
    for load in manners.throughput:
        assert set(load.requests_per_second) == {"SET", "GET"}
        assert all(rate > 0 for rate in load.requests_per_second.values())
        assert set(load.loss_percent) == {"SET", "GET", "both"}
    assert manners.throughput[0].reading_percent == 0
    assert manners.throughput[1].reading_percent > 0


@pytest.mark.timeout(600)
def test_the_tables_are_whole(outcome: Outcome) -> None:
    text = markdown(outcome)
    tables: list[list[str]] = []
    previous = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                tables.append([])
            tables[-1].append(line)
        previous = line
    rows = len(CONTESTANTS) + 2
    assert [len(table) for table in tables] == [rows, rows, rows, 4, 5, 5]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, table
    assert NOT_ASKED not in text
    assert "nan" not in text
    assert outcome.machine.processor in text
    assert json.loads(json.dumps(outcome.to_dict()))["rounds"] == 1


@pytest.mark.timeout(600)
def test_a_part_that_is_left_out_is_said(outcome: Outcome) -> None:
    partial = dataclasses.replace(outcome, peaks=None, manners=None)
    assert f"**Memory**: {NOT_ASKED}" in markdown(partial)
    assert f"**Manners**: {NOT_ASKED}" in markdown(partial)
    assert NOT_ASKED in markdown(dataclasses.replace(outcome, many_keys=False))


@pytest.mark.timeout(600)
def test_a_slower_checksum_lowers_the_goal_of_depth_checksum(outcome: Outcome) -> None:
    machine = dataclasses.replace(
        outcome.machine,
        features={**outcome.machine.features, "vpclmulqdq": False},
        crc_gb_per_second=15.0,
    )
    assert machine.scaled_share(0.85, 8.5) == pytest.approx(
        0.85 * (1 / 8.5 + 1 / 74) / (1 / 8.5 + 1 / 15)
    )
    assert "no VPCLMULQDQ" in markdown(dataclasses.replace(outcome, machine=machine))


@pytest.mark.timeout(600)
def test_files_are_found_by_the_next_run_and_removed_when_asked(
    outcome: Outcome, directory: Path
) -> None:
    first = {path.name: path.stat().st_mtime_ns for path in directory.glob("*.rdb")}
    stranger = directory / "mine.txt"
    stranger.touch()
    done = command("--size", "4MiB", "--slice", "1MiB", "--rounds", "1", "--dir", str(directory),
                   "--without", "memory", "--without", "manners", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in directory.glob("*.rdb")} == first
    assert len(json.loads(done.stdout)["results"]) == len(outcome.results)
    done = command("--size", "4MiB", "--slice", "1MiB", "--rounds", "1", "--dir", str(directory),
                   "--without", "memory", "--without", "manners", "--clean")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in directory.iterdir()] == [stranger.name]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *words],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def test_the_many_keys_are_an_rdb_that_the_check_tool_takes(tmp_path: Path) -> None:
    path = tmp_path / "many.rdb"
    path.write_bytes(b"".join(blocks(25_001)))
    said = measured(["redis-check-rdb", str(path)]).output
    assert "Checksum OK" in said
    assert "25001 keys read" in said


def test_content_is_the_same_each_time() -> None:
    for kind in KINDS.values():
        first, second = (b"".join(islice(kind.commands(), 3)) for _ in range(2))
        assert first == second


def test_what_a_process_took_is_its_own() -> None:
    """The peak of a small process is small, however much the measuring one holds."""
    held = bytearray(os.urandom(1)) * (64 * MIB)
    assert floor_bytes() < 24 * MIB
    cost = measured(
        [sys.executable, "-I", "-S", "-c", "x = bytearray(b'x') * (40 << 20); print(len(x))"]
    )
    assert 40 * MIB < cost.peak_bytes < 64 * MIB
    assert cost.cpu_seconds > 0
    assert cost.output == f"{40 * MIB}\n"
    assert len(held) == 64 * MIB


def test_a_process_that_fails_gives_no_number() -> None:
    with pytest.raises(Failed, match=r"exit code 3: .*out of ink"):
        measured(
            [sys.executable, "-c", "import sys; print('out of ink', file=sys.stderr); sys.exit(3)"]
        )
    with pytest.raises(Failed, match="no-such-program"):
        measured(["no-such-program"])
