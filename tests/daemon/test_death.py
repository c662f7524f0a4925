"""A part that died ends the process with 70: old numbers are never served on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

GOOD = Path(__file__).parent.parent / "fixtures" / "rdb" / "redis-7.0.15" / "expiries.rdb"

PROLOGUE = """
import sys
from exporter import daemon
from exporter.settings import load

settings = load(
    {
        "backup.dir": sys.argv[1], "state.dir": sys.argv[2], "check.interval": "1s",
        "backup.settle_time": "0s", "web.listen_address": "127.0.0.1:0",
    },
    {},
)
"""


def run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs a sidecar in which ``code`` broke something."""
    backups = tmp_path / "backups"
    backups.mkdir()
    (backups / "a.rdb").write_bytes(GOOD.read_bytes())
    return subprocess.run(
        [
            sys.executable,
            "-c",
            PROLOGUE + textwrap.dedent(code) + "\nsys.exit(daemon.run(settings))",
            str(backups),
            str(tmp_path / "state"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_verifier_that_died_ends_the_process(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        from exporter.verify import verifier
        def broken(*args, **kwargs):
            raise RuntimeError("a bug in the reader")
        verifier.prove = broken
        """,
    )
    assert ended.returncode == 70, ended.stderr
    assert "thread=verifier" in ended.stderr
    assert "a bug in the reader" in ended.stderr


def test_a_loop_that_died_ends_the_process(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        def broken(self):
            raise RuntimeError("a bug in the loop")
        daemon.Daemon._pause = broken
        """,
    )
    assert ended.returncode == 70, ended.stderr
    assert "a bug in the loop" in ended.stderr


def test_a_web_server_that_died_ends_the_process(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        from exporter.publish import connections
        def broken(self, *args, **kwargs):
            raise SystemExit
        connections.Connections.serve_forever = broken
        """,
    )
    assert ended.returncode == 70, ended.stderr
    assert "thread=web" in ended.stderr


@pytest.mark.parametrize("failing", [1, 3])
def test_a_cycle_that_raises_is_counted_and_comes_again(tmp_path: Path, failing: int) -> None:
    ended = run(
        tmp_path,
        f"""
        import os, signal
        from exporter.daemon.assessment import Assessment
        looks = []
        look = Assessment.look
        def sometimes(self):
            looks.append(1)
            if len(looks) <= {failing}:
                raise RuntimeError("a bug in a look")
            if any(k.proof for k in self._known.get("local", ())):
                os.kill(os.getpid(), signal.SIGTERM)
            return look(self)
        Assessment.look = sometimes
        """,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("event=cycle.failed") == failing
    assert "status=valid" in ended.stderr
