"""The commands as a person, a script or a container starts them: processes, lines, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from exporter.jobs.rehearsal import Fault
from exporter.judge.remedies import REMEDIES
from exporter.model import Reason, Status
from exporter.settings import MASK

DUMP = Path(__file__).parent / "image" / "dump.rdb"
SECRET = "geheim-4711"
#: The machine may be busy with other work.
PATIENCE_SECONDS = 60

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
]


def environment(**more: str) -> dict[str, str]:
    """The process' own, without settings that the machine may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RBE_")}
    return kept | more


def call(
    *args: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "exporter", *map(str, args)],
        input=stdin, capture_output=True, env=environment(**(env or {})), check=False,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


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


# verify


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
        (["--engine", "native", files["whole"]], "native"),
        (["--engine", "other", files["whole"]], "other"),
        (["--depth", "deep", files["whole"]], "deep"),
        (["-", "-"], "stdin"),
        (["--nope", files["whole"]], "--nope"),
    ):
        code, out, err = call("verify", *args)
        assert (code, out) == (2, ""), args
        assert said in err


def test_ctrl_c_ends_verify_quickly_with_130() -> None:
    """While it waits for a pipe that never ends; the child that reads goes with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "verify", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(DUMP.read_bytes()[:50])
    process.stdin.flush()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + PATIENCE_SECONDS
    while not (started := children.read_text().split()) and time.monotonic() < until:
        os.sched_yield()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert time.monotonic() - began < 10
    assert started
    assert not any(Path(f"/proc/{child}").exists() for child in started)
    process.communicate()


# settings


def test_config_check_says_everything_at_once() -> None:
    code, out, err = call(
        "config", "check", "--backup.dir", "x", "--redis.password", SECRET, "--redis.url",
        f"redis://:{SECRET}@h", "--heartbeat.url", f"https://h/{SECRET}",
        env={"RBE_LOG_LEVEL": "loud", "RBE_REDIS_PASWORD": SECRET},
    )  # fmt: skip
    assert (code, out) == (2, "")
    keys = {line.split()[1].rstrip(":") for line in err.splitlines()}
    assert keys == {
        "backup.dir", "redis.password", "redis.url", "heartbeat.url", "log.level",
        "RBE_REDIS_PASWORD",
    }  # fmt: skip
    assert SECRET not in err


def test_config_show_masks_and_tells_sources(tmp_path: Path) -> None:
    file = tmp_path / "rbe.yml"
    file.write_text("backup: {max_age: 2h}")
    code, out, _ = call(
        "config", "show", "--backup.dir", tmp_path, "--config.file", file, "--backup.allow-empty",
        env={"RBE_HEARTBEAT_URL": f"https://h.example/{SECRET}", "RBE_PORT": "tcp://10.0.0.1:1"},
    )  # fmt: skip
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert SECRET not in out
    assert lines["heartbeat.url"].endswith(f"https://h.example/{MASK}  (RBE_HEARTBEAT_URL)")
    assert lines["backup.max_age"].endswith(f"2h  ({file})")
    assert lines["backup.allow_empty"].endswith("true  (--backup.allow-empty)")
    assert lines["check.interval"].endswith("15s  (default)")


@pytest.mark.parametrize("command", [["run"], ["config", "check"], ["config", "show"]])
def test_wrong_command_lines_end_with_2_and_show_no_stray_argument(command: list[str]) -> None:
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert "backup.dir" in err
    code, _, err = call(*command, "--backup.dir", "/x", f"redis://:{SECRET}@h")
    assert code == 2
    assert SECRET not in err
    code, _, err = call(*command, "--backup.dri", "/x")
    assert code == 2
    assert "--backup.dir" in err
    code, _, err = call(*command, f"--redis.pasword={SECRET}")
    assert code == 2
    assert SECRET not in err


def test_run_refuses_bad_settings_before_it_opens_anything(tmp_path: Path) -> None:
    code, _, err = call(
        "run", "--backup.dir", tmp_path, "--state.dir", tmp_path / "state",
        env={"RBE_CHECK_INTERVAL": "15"},
    )  # fmt: skip
    assert code == 2
    assert "check.interval (RBE_CHECK_INTERVAL): '15' has no unit" in err
    assert not (tmp_path / "state").exists()


def test_run_starts_among_the_services_of_kubernetes_and_ends_with_0(tmp_path: Path) -> None:
    """With the variables of a Service of its own name, and secrets from the environment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "dump.rdb").write_bytes(DUMP.read_bytes())
    injected = {
        "RBE_SERVICE_HOST": "10.96.0.7",
        "RBE_SERVICE_PORT": "19121",
        "RBE_SERVICE_PORT_METRICS": "19121",
        "RBE_PORT": "tcp://10.96.0.7:19121",
        "RBE_PORT_19121_TCP": "tcp://10.96.0.7:19121",
        "RBE_PORT_19121_TCP_PROTO": "tcp",
        "RBE_PORT_19121_TCP_PORT": "19121",
        "RBE_PORT_19121_TCP_ADDR": "10.96.0.7",
        "REDIS_BACKUP_EXPORTER_PORT": "tcp://10.96.0.8:19121",
    }
    ours = {
        "RBE_WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "RBE_BACKUP_DIR": str(tmp_path),
        "RBE_STATE_DIR": str(tmp_path / "state"),
        "RBE_HEARTBEAT_URL": f"https://127.0.0.1:9/{SECRET}",
        "RBE_LOG_LEVEL": "debug",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter", "run"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**injected, **ours),
        )  # fmt: skip
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while (code := call("healthcheck", env=ours)[0]) and time.monotonic() < until:
            assert process.poll() is None
        assert code == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert SECRET not in (tmp_path / "log").read_text()


def test_help_and_version() -> None:
    assert call("--version") == (
        0,
        f"redis-backup-exporter, version {version('redis-backup-exporter')}\n",
        "",
    )
    code, out, _ = call("run", "--help")
    assert code == 0
    assert "--backup.max-age DURATION" in out
    assert "--redis.password " not in out
    code, out, _ = call("-h")
    assert code == 0
    assert {"run", "verify", "healthcheck", "config", "demo"} <= set(out.split())
    assert call()[0] == 2
    assert call("nonsense")[0] == 2


def test_the_installed_script_is_the_same_program() -> None:
    script = shutil.which("redis-backup-exporter", path=str(Path(sys.executable).parent))
    assert script
    done = subprocess.run([script, "--version"], capture_output=True, check=True, timeout=60)
    assert b"redis-backup-exporter" in done.stdout


# demo


def test_demo_takes_the_faults_that_it_has() -> None:
    code, out, _ = call("demo", "--help")
    assert code == 0
    assert "[" + "|".join(Fault) + "]" in out.replace("\n", "").replace(" ", "")
    assert call("demo", "--inject", "rust")[0] == 2
    assert call("demo", "--interval", "5")[0] == 2


# healthcheck


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[int, list[str]]]:
    """A real HTTP server on loopback; its port, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield httpd.server_address[1], asked
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def with_status(status: int) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    return answer


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01 not http\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(with_status(200), 0), (with_status(503), 1), (with_status(302), 1), (garbage, 1)],
    ids=["healthy", "stalled", "redirect", "garbage"],
)
def test_healthcheck_is_what_the_sidecar_says(
    answer: Callable[[BaseHTTPRequestHandler], None], code: int
) -> None:
    """Asked by address from flag or environment, on loopback for a wildcard, never by a proxy."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    with server(answer) as (port, asked):
        found, _, err = call("healthcheck", "--web.listen-address", f":{port}", env=proxies)
        assert found == code
        assert (err == "") is (code == 0)
        address = {"RBE_WEB_LISTEN_ADDRESS": f"0.0.0.0:{port}", "RBE_BACKUP_DIR": "wrong"}
        assert call("healthcheck", env=address)[0] == code
    assert asked == ["/-/healthy"] * 2


def test_healthcheck_does_not_wait_for_ever() -> None:
    """A port that takes connections and never answers, as of a process that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        code, _, err = call(
            "healthcheck", "--web.listen-address", f"127.0.0.1:{silent.getsockname()[1]}"
        )
    assert code == 1
    assert "no answer" in err
    assert time.monotonic() - began < 30


def test_healthcheck_knows_only_0_and_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert call("healthcheck", "--web.listen-address", f"127.0.0.1:{port}")[0] == 1
    assert call("healthcheck", "--web.listen-address", "nowhere")[0] == 1
    assert call("healthcheck", "--nope")[0] == 1
    assert call("healthcheck", "stray")[0] == 1


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "| true"])
def test_a_result_that_nobody_can_read_is_not_called_a_bad_backup(redirect: str) -> None:
    """Exit code 1 would say that a backup is bad; a cron job may well have no stdout."""
    command = f"set -o pipefail; {sys.executable} -m exporter verify {DUMP} {DUMP} {redirect}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 74
    assert "Traceback" not in done.stderr
