"""The command ``check``: one assessment from the shell, beside a sidecar or without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import RealServer

GOOD = Path(__file__).parent.parent / "fixtures" / "rdb" / "redis-7.0.15" / "expiries.rdb"


def check(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "exporter", "check", "--backup.dir", str(tmp_path / "backups"),
            "--state.dir", str(tmp_path / "state"), "--backup.settle-time", "0.2s",
            "--checks.snapshot-age", "off", *flags,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def test_a_good_backup_is_protected_and_leaves_no_state(tmp_path: Path, backups: Path) -> None:
    (backups / "a.rdb").write_bytes(GOOD.read_bytes())
    done = check(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PROTECTED" in done.stdout
    assert not (tmp_path / "state").exists()


def test_a_cut_backup_is_at_risk_and_says_what_to_do(tmp_path: Path, backups: Path) -> None:
    (backups / "a\n\x1b[2J.rdb").write_bytes(GOOD.read_bytes()[:-20])
    done = check(tmp_path)
    assert done.returncode == 1
    assert "rdb_checksum at local: truncated" in done.stdout
    assert "copy again" in done.stdout
    assert "\x1b" not in done.stdout


def test_nothing_to_see_is_unknown(tmp_path: Path) -> None:
    done = check(tmp_path, "--json")
    assert done.returncode == 3
    verdict = json.loads(done.stdout)["verdict"]
    assert (verdict["state"], verdict["reason"]) == ("unknown", "directory_missing")


def test_wrong_settings_are_2(tmp_path: Path) -> None:
    done = check(tmp_path, "--check.interval", "soon", "--backup.origin", "moon")
    assert done.returncode == 2
    assert "check.interval" in done.stderr
    assert "backup.origin" in done.stderr


def test_a_server_is_looked_at_too(
    tmp_path: Path, backups: Path, redis_server: type[RealServer]
) -> None:
    server = redis_server("save ''")
    (backups / "a.rdb").write_bytes(GOOD.read_bytes())
    done = check(tmp_path, "--redis.url", server.url)
    assert done.returncode == 0, done.stdout
    assert "redis_reachable" in done.stdout
    server.stop()
    assert check(tmp_path, "--redis.url", server.url).returncode == 1
