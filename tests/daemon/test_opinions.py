"""The sidecar's second opinions, and what it says where it has no native engine."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GOOD = ROOT / "tests" / "fixtures" / "rdb" / "redis-7.0.15" / "expiries.rdb"
PATIENCE_SECONDS = 60


class Sidecar:
    """A running sidecar and its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify()

    def wait(self, *words: str) -> str:
        """The first line with all of ``words``."""

        def found() -> str | None:
            return next((line for line in self.lines if all(word in line for word in words)), None)

        with self._news:
            assert self._news.wait_for(found, PATIENCE_SECONDS), "".join(self.lines)
            line = found()
        assert line is not None
        return line

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)
        self._thread.join(PATIENCE_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def sidecar(tmp_path: Path, *flags: str, module: str = "exporter") -> Iterator[Sidecar]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", module, "run", "--backup.dir", str(tmp_path / "backups"),
            "--state.dir", str(tmp_path / "state"), "--check.interval", "1s",
            "--backup.settle-time", "0", "--web.listen-address", "127.0.0.1:0", *flags,
        ],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    running = Sidecar(process)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(autouse=True)
def backups(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "a.rdb").write_bytes(GOOD.read_bytes())
    return tmp_path / "backups"


def test_each_new_backup_gets_one_after_its_verdict_and_never_again(
    tmp_path: Path, backups: Path
) -> None:
    with sidecar(tmp_path) as running:
        running.wait("backup.verified", "name=a.rdb", "engine=native", "depth=full")
        running.wait("backup.second_opinion", "name=a.rdb", "engine=rdbtools", "agrees=yes")
        other = backups / "b.rdb.new"
        other.write_bytes(GOOD.read_bytes())
        other.rename(backups / "b.rdb")
        running.wait("backup.second_opinion", "name=b.rdb", "agrees=yes")
    told = [line for line in running.lines if "event=backup." in line]
    assert ["name=a.rdb" in line for line in told] == [True, True, False, False]
    assert not any("engine_fallback" in line for line in running.lines)
    with sidecar(tmp_path) as again:
        (backups / "c.rdb").write_bytes(GOOD.read_bytes())
        again.wait("backup.second_opinion", "name=c.rdb")
    assert [line for line in again.lines if "event=backup." in line and "c.rdb" not in line] == []


def test_switched_off_there_is_none(tmp_path: Path, backups: Path) -> None:
    with sidecar(tmp_path, "--second-opinion.max-size", "off") as running:
        running.wait("backup.verified", "name=a.rdb")
        (backups / "b.rdb").write_bytes(GOOD.read_bytes())
        running.wait("backup.verified", "name=b.rdb")
    assert not any("second_opinion" in line for line in running.lines)


def test_without_the_native_engine_it_warns_at_its_start_and_reads_each_file_once(
    tmp_path: Path, backups: Path
) -> None:
    with sidecar(tmp_path, module="tests.without_native") as running:
        line = running.wait("engine_fallback")
        assert "the native engine is not built" in line
        assert "level=warning" in line
        running.wait("backup.verified", "engine=rdbtools", "depth=structure")
        (backups / "b.rdb").write_bytes(GOOD.read_bytes())
        running.wait("backup.verified", "name=b.rdb")
    assert sum("engine_fallback" in line for line in running.lines) == 1
    assert not any("backup.second_opinion" in line for line in running.lines)


def test_who_asked_for_rdbtools_is_not_warned(tmp_path: Path) -> None:
    with sidecar(tmp_path, "--verify.engine", "rdbtools") as running:
        running.wait("backup.verified", "engine=rdbtools")
    assert not any("engine_fallback" in line for line in running.lines)


def test_an_engine_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with sidecar(tmp_path, "--verify.engine", "native", module="tests.without_native") as running:
        assert running.process.wait(PATIENCE_SECONDS) == 2
    assert "the native engine is not built" in "".join(running.lines)
