"""Hints: they come, they are few, and nothing depends on them."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
import structlog

from exporter.watch import hints as room
from exporter.watch.hints import Hints
from tests.servers import until


class Bell:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.rung = threading.Event()

    def __call__(self) -> None:
        self.times.append(time.monotonic())
        self.rung.set()


def rings_for(bell: Bell, path: Path) -> None:
    """Write until it rings: when the watch begins is not told."""
    bell.rung.clear()

    def written() -> bool:
        path.write_bytes(b"x")
        return bell.rung.wait(0.1)

    until(written, "a hint")


def test_a_file_gives_a_hint_and_a_storm_gives_few(tmp_path: Path) -> None:
    bell = Bell()
    hints = Hints([tmp_path], bell)
    hints.start()
    try:
        rings_for(bell, tmp_path / "dump.rdb")
        count, started = len(bell.times), time.monotonic()
        pause = threading.Event()
        while time.monotonic() - started < 3:
            (tmp_path / "dump.rdb").write_bytes(b"y")
            pause.wait(0.01)
        assert len(bell.times) - count <= 4
    finally:
        before = time.monotonic()
        hints.stop()
        took = time.monotonic() - before
    assert took < 5  # a second, and a busy machine
    until(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "hints"],
        "the thread to end",
    )


def test_a_missing_directory_is_said_once_and_watched_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_RECHECK_MS", 50)
    place, bell = tmp_path / "later", Bell()
    with structlog.testing.capture_logs() as logs:
        hints = Hints([place, tmp_path / "never"], bell)
        hints.start()
        try:
            until(lambda: len(logs) == 2, "two lines")
            place.mkdir()
            rings_for(bell, place / "dump.rdb")
            shutil.rmtree(place)
            until(lambda: len(logs) == 3, "the vanished directory to be said")
            place.mkdir()
            rings_for(bell, place / "dump.rdb")
        finally:
            hints.stop()
    assert [line["event"] for line in logs] == ["hints.directory_missing"] * 3


def test_stop_without_start_and_without_paths() -> None:
    hints = Hints([], Bell())
    hints.start()
    hints.stop()
    Hints(["/nowhere"], Bell()).stop()
