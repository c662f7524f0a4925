"""The commands as a person, a script or a container starts them: processes, lines, exit codes."""

from __future__ import annotations

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
from exporter.settings import MASK

DUMP = Path(__file__).parent / "image" / "dump.rdb"
SECRET = "geheim-4711"
#: The machine may be busy with other work.
PATIENCE_SECONDS = 60


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
