"""The command ``verify`` as a person or a script starts it: lines, exit codes, a bar, Ctrl-C."""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import json
import lzma
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import IO, Any

import pytest

from exporter.judge.remedies import REMEDIES
from exporter.model import Reason, Status
from tests.test_cli import DUMP, PATIENCE_SECONDS, call, environment

#: DESIGN's contract; more names may follow.
CONTRACT = [
    "path",
    "status",
    "valid",
    "reason",
    "offset",
    "rdb_version",
    "dialect",
    "server_version",
    "ctime",
    "checksum",
    "crc64",
    "keys",
    "expires",
    "keys_by_db",
    "keys_by_type",
    "functions",
    "findings",
    "needs",
    "bytes",
    "seconds",
    "engine",
    "depth",
    "duplicates_searched",
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    whole = DUMP.read_bytes()
    contents = {
        "whole.rdb": whole,
        "cut.rdb": whole[:-20],
        "flipped.rdb": whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
        "empty.rdb": b"",
        "text.rdb": b"this is no dump at all, but a text",
        "newer.rdb": b"REDIS0099" + whole[9:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name.removesuffix(".rdb"): tmp_path / name for name in contents}


def test_verify_prints_one_object_a_file_with_the_names_of_the_contract(
    files: dict[str, Path],
) -> None:
    code, out, err = call("verify", "--json", files["whole"], files["cut"])
    first, second = map(json.loads, out.splitlines())
    assert (code, err) == (1, "")
    assert set(CONTRACT) <= set(first)
    assert (first["path"], first["status"], first["valid"]) == (str(files["whole"]), "valid", True)
    assert (first["keys"], first["functions"], first["checksum"]) == (2, 0, "ok")
    assert first["keys_by_db"] == {"0": {"keys": 2, "expires": 0}}
    assert len(first["crc64"]) == 16
    assert (second["status"], second["valid"]) == ("truncated", False)
    assert second["reason"]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["whole"], 0), (["whole", "whole"], 0), (["cut"], 1), (["flipped"], 1), (["empty"], 1),
        (["text"], 1), (["none"], 1), (["newer"], 3), (["whole", "newer"], 3),
        (["newer", "cut"], 1), (["whole", "cut"], 1),
    ],
)  # fmt: skip
def test_exit_code_says_the_worst(names: list[str], code: int, files: dict[str, Path]) -> None:
    paths = [files.get(name, Path("/not/there.rdb")) for name in names]
    assert call("verify", *paths)[0] == code


def test_human_lines_say_what_and_what_to_do(files: dict[str, Path]) -> None:
    _, out, err = call("verify", files["whole"], files["cut"], "/not/there.rdb")
    whole, cut, missing = out.splitlines()
    assert err == ""
    assert whole.startswith(f"valid  {files['whole']}: 2 keys (0 expiring), redis 7.0.15, RDB 10")
    assert whole.endswith(" by native, depth full")
    assert cut.startswith(f"truncated  {files['cut']} at byte ")
    assert cut.endswith(REMEDIES[Reason.TRUNCATED])
    assert missing.startswith("missing  /not/there.rdb")


def test_every_bad_status_has_a_remedy() -> None:
    assert all(Reason(status) in REMEDIES for status in Status if status is not Status.VALID)


def test_stdin_is_a_file_too(files: dict[str, Path]) -> None:
    whole = files["whole"].read_bytes()
    code, out, _ = call("verify", "--json", "-", stdin=whole)
    assert (code, json.loads(out)["path"], json.loads(out)["valid"]) == (0, "-", True)
    assert call("verify", "-", stdin=whole[:-1])[0] == 1
    assert call("verify", "-", stdin=b"")[0] == 1


def test_a_hostile_name_moves_no_terminal(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\x1b[2J\n\xff.rdb"
    Path(os.fsdecode(name)).write_bytes(DUMP.read_bytes())
    code, out, _ = call("verify", os.fsdecode(name))
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
    code, out, _ = call("verify", "--json", os.fsdecode(name))
    assert os.fsencode(json.loads(out)["path"]) == name


def test_usage_errors_of_verify(files: dict[str, Path], tmp_path: Path) -> None:
    for args, said in (
        ([], "FILE"),
        ([tmp_path], "is a directory"),
        (["--max-rate", "fast", files["whole"]], "no size"),
        (["--engine", "other", files["whole"]], "other"),
        (["--depth", "deep", files["whole"]], "deep"),
        (["-", "-"], "stdin"),
        (["--nope", files["whole"]], "--nope"),
    ):
        code, out, err = call("verify", *args)
        assert (code, out) == (2, ""), args
        assert said in err


def waits_for_more(pipe: IO[bytes]) -> bool:
    """Whether all that was written into a pipe was read."""
    unread = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return bool(unread == 0)


@pytest.mark.parametrize("name", ["native", "rdbtools"])
def test_ctrl_c_ends_verify_quickly_with_130(name: str) -> None:
    """While it waits for a pipe that never ends; a child that reads goes with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "verify", "--engine", name, "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(DUMP.read_bytes()[:50])
    process.stdin.flush()
    until = time.monotonic() + PATIENCE_SECONDS
    while not waits_for_more(process.stdin) and time.monotonic() < until:
        threading.Event().wait(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert time.monotonic() - began < 10
    assert bool(children) is (name == "rdbtools")
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    process.communicate()


def on_a_terminal(*args: str) -> str:
    """What a command writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.Popen(
            [sys.executable, "-m", "exporter", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
            env=environment(TERM="xterm"),
        )  # fmt: skip
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while chunk := os.read(ours, 4096):
                said += chunk
        assert done.wait(PATIENCE_SECONDS) == 0
    finally:
        os.close(ours)
    return said.decode()


def test_a_bar_shows_percent_and_rate_of_a_long_file_on_a_terminal_alone(tmp_path: Path) -> None:
    large = tmp_path / "large.rdb"
    size = 100 << 20
    with large.open("wb") as file:
        file.write(b"REDIS0002\xfe\x00\x00\x01k\x80" + size.to_bytes(4, "big"))
        file.seek(size, os.SEEK_CUR)
        file.write(b"\xff")
    said = on_a_terminal("verify", str(large))
    assert ".rdb  [" in said
    assert all(len(line) <= 80 for line in said.split("\r") if "MB/s" in line)
    assert "100%" in said
    assert "MB/s" in said
    assert "%" not in on_a_terminal("verify", str(DUMP))
    code, _, err = call("verify", large)
    assert (code, err) == (0, "")


def test_a_checksum_alone_counts_nothing(files: dict[str, Path]) -> None:
    code, out, _ = call("verify", "--depth", "checksum", files["whole"], files["flipped"])
    whole, flipped = out.splitlines()
    assert code == 1
    assert "whole, its keys not looked at" in whole
    assert "0 keys" not in whole
    assert whole.endswith("by native, depth checksum")
    assert flipped.startswith("checksum_mismatch")
    code, out, _ = call("verify", "--depth", "checksum", "--json", files["whole"])
    report = json.loads(out)
    assert (report["depth"], report["keys"], report["keys_by_db"]) == ("checksum", None, None)


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "| true"])
def test_a_result_that_nobody_can_read_is_not_called_a_bad_backup(redirect: str) -> None:
    """Exit code 1 would say that a backup is bad; a cron job may well have no stdout."""
    command = f"set -o pipefail; {sys.executable} -m exporter verify {DUMP} {DUMP} {redirect}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 74
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip), ("xz", lzma), ("bz2", bz2)])
def test_compressed_files_are_read_through(tmp_path: Path, suffix: str, pack: Any) -> None:
    packed = pack.compress(DUMP.read_bytes())
    whole, cut = tmp_path / f"a.rdb.{suffix}", tmp_path / f"cut.rdb.{suffix}"
    whole.write_bytes(packed)
    cut.write_bytes(packed[:-3])
    code, out, _ = call("verify", whole, cut)
    first, second = out.splitlines()
    assert code == 1
    assert first.startswith(f"valid  {whole}: 2 keys")
    assert not second.startswith("valid")


def test_the_rate_of_the_command_line_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    size = 300_000
    path.write_bytes(
        b"REDIS0002\xfe\x00\x00\x01k\x80" + size.to_bytes(4, "big") + bytes(size) + b"\xff"
    )
    code, out, _ = call("verify", "--json", "--max-rate", "100KiB/s", path)
    assert code == 0
    assert json.loads(out)["seconds"] > 1.5


def without_native(*args: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.without_native", *map(str, args)],
        capture_output=True, text=True, env=environment(), check=False, timeout=PATIENCE_SECONDS,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_lesser_engine_is_told_once_and_only_where_nobody_asked_for_it() -> None:
    code, out, err = without_native("verify", DUMP, DUMP)
    assert code == 0
    assert all(line.endswith(" by rdbtools, depth structure") for line in out.splitlines())
    assert err.startswith("warning: the native engine is not built: install the package")
    assert len(err.splitlines()) == 1
    assert without_native("verify", "--engine", "rdbtools", DUMP)[::2] == (0, "")
    code, out, err = without_native("verify", "--engine", "native", DUMP)
    assert (code, out) == (2, "")
    assert "the native engine is not built" in err
    assert "cargo" in err
