"""The demo: each fault turns it red with the right reason, and nothing is left of it."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import _DIE_WITH_PARENT, free_port, until

REASONS = {
    "truncate": "truncated",
    "flip": "checksum_mismatch",
    "stop": "snapshot_too_old",
    "empty": "dataset_empty",
}


#: Makes a terminal given as stdin the controlling one, as a shell does: Ctrl-C becomes SIGINT.
_TAKE_TERMINAL = "import fcntl,termios;fcntl.ioctl(0,termios.TIOCSCTTY,0);"


def _make() -> str:
    found = shutil.which("make")
    if found is None:
        pytest.fail("no make on PATH: install the package 'make'")
    return found


class Demo:
    """A running ``python -m exporter demo``; its temporary directory is below ``home``."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        through_make: bool = False,
    ) -> None:
        self.home = home
        self.port = free_port()
        self.output = home / "output"
        self.tmp = home / "t"
        self.tmp.mkdir()
        command = [
            sys.executable, "-m", "exporter", "demo",
            "--listen-address", f"127.0.0.1:{self.port}", *arguments,
        ]  # fmt: skip
        if through_make:
            recipe = home / "Makefile"
            recipe.write_text(f"run:\n\t@exec {shlex.join(command)}\n")
            command = [_make(), "-f", str(recipe), "run"]
        launcher = _DIE_WITH_PARENT
        if stdin != subprocess.DEVNULL:
            launcher = _TAKE_TERMINAL + launcher
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", launcher, str(os.getpid()), *command],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(self.tmp), "RBE_BACKUP_DIR": "/nowhere"},
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def wait_for(self, pattern: str) -> None:
        until(
            lambda: re.search(pattern, self.text) or self.process.poll() is not None,
            f"{pattern!r} in the demo's output",
        )
        assert re.search(pattern, self.text), self.text

    def processes(self) -> list[str]:
        """Command lines that name the temporary directory."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if entry.name.isdecimal() and str(self.tmp) in words:
                found.append(words)
        return found

    def assert_gone(self) -> None:
        """No process, no file, no listener."""
        until(lambda: not self.processes(), f"the end of {self.processes()}", seconds=5)
        until(lambda: not list(self.tmp.iterdir()), "no file to be left", seconds=5)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    made: list[Demo] = []

    def start(*arguments: str, **options: Any) -> Demo:
        home = tmp_path / f"d{len(made)}"
        home.mkdir()
        made.append(Demo(home, *arguments, **options))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("fault", REASONS)
def test_each_fault_turns_the_demo_red_and_says_why(demo: Callable[..., Demo], fault: str) -> None:
    """Green, a heartbeat, the fault, red with its reason; SIGTERM ends all of it within 2 s."""
    running = demo("--inject", fault, "--interval", "1s" if fault == "stop" else "3s")
    running.wait_for(r"PROTECTED")
    running.wait_for(rf"(?s)injecting: {fault}.*AT RISK.*{REASONS[fault]}.*remedy")
    assert "heartbeat 1 received" in running.text
    asked = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    assert time.monotonic() - asked < 2
    running.assert_gone()


def test_the_demo_ends_by_itself_and_says_whether_the_fault_showed(
    demo: Callable[..., Demo],
) -> None:
    """``--seconds`` too short for the fault: exit 1, told; without a fault: 0."""
    short = demo("--seconds", "1", "--inject", "stop")
    assert short.process.wait(60) == 1
    assert "did not turn the verdict" in short.text
    short.assert_gone()
    plain = demo("--seconds", "1")
    assert plain.process.wait(60) == 0
    plain.assert_gone()


def test_ctrl_c_within_two_seconds_also_while_the_sidecar_hangs(
    demo: Callable[..., Demo],
) -> None:
    """A frozen sidecar can't end by itself: it is killed, and its files go."""
    running = demo()
    running.wait_for(r"heartbeat 1 received")
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            b"exporter" in words
            and b"run" in words
            and str(running.tmp).encode() in b"".join(words)
        ):
            os.kill(int(entry.name), signal.SIGSTOP)
    asked = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0
    assert time.monotonic() - asked < 2
    running.assert_gone()


def test_a_killed_demo_takes_its_processes_along(demo: Callable[..., Demo]) -> None:
    """SIGKILL leaves no time to tidy up files, but no process survives."""
    running = demo()
    running.wait_for(r"heartbeat 1 received")
    running.process.kill()
    running.process.wait()
    until(lambda: not running.processes(), "the end of the demo's processes", seconds=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_make_that_started_it(
    demo: Callable[..., Demo], number: signal.Signals
) -> None:
    """make passes SIGTERM on; a killed make can't, and its orphan goes home by itself."""
    running = demo(through_make=True)
    running.wait_for(r"PROTECTED")
    running.process.send_signal(number)
    assert running.process.wait(30) != 0
    running.assert_gone()


def test_a_busy_port_is_said_clearly(demo: Callable[..., Demo]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = demo("--listen-address", f"127.0.0.1:{port}")
        assert running.process.wait(60) == 1
        assert f"port {port}" in running.text
        assert "--listen-address" in running.text
        assert "Traceback" not in running.text
    assert list(running.tmp.iterdir()) == []


def test_keys_and_ctrl_c_on_a_terminal(demo: Callable[..., Demo]) -> None:
    """f flips, r repairs, Ctrl-C ends; the terminal's settings are as before."""
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        running = demo("--interval", "3s", stdin=theirs)
        running.wait_for(r"PROTECTED")
        assert not termios.tcgetattr(theirs)[3] & termios.ICANON
        os.write(ours, b"f")
        running.wait_for(r"(?s)one bit of .* flipped.*AT RISK.*checksum_mismatch")
        os.write(ours, b"r")
        running.wait_for(r"(?s)AT RISK.*repaired.*PROTECTED")
        asked = time.monotonic()
        os.write(ours, b"\x03")
        assert running.process.wait(30) == 0
        assert time.monotonic() - asked < 2
        assert termios.tcgetattr(theirs) == before
        running.assert_gone()
    finally:
        os.close(ours)
        os.close(theirs)
