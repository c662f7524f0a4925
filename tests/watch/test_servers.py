"""The test servers themselves: what other tests rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.conftest import ServerFactory
from tests.servers import TlsFiles, until


def test_saves_restarts_and_keeps_its_data(any_server: ServerFactory) -> None:
    server = any_server()
    server.client().set("a", "1")
    path = server.save()
    assert path.read_bytes()[:5] in {b"REDIS", b"VALKE"}
    server.kill()
    assert not server.running
    server.restart()
    assert server.client().get("a") == "1"
    server.stop()
    assert not server.running


def test_unix_socket_and_password(any_server: ServerFactory) -> None:
    server = any_server(unix_socket=True, password="open sesame".replace(" ", "-"))
    assert server.url.startswith("unix://")
    assert server.client().ping()
    with pytest.raises(redis.AuthenticationError):
        server.client(password=None).ping()


def test_tls_with_client_certificates(redis_server: ServerFactory, tmp_path: Path) -> None:
    server = redis_server(tls=TlsFiles(tmp_path / "tls"), client_certificates=True)
    assert server.url.startswith("rediss://")
    assert server.client().ping()
    with pytest.raises(redis.ConnectionError):
        server.client(ssl_certfile=None, ssl_keyfile=None).ping()


def test_a_killed_test_run_leaves_no_server(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from tests.servers import RealServer\n"
        "s = RealServer(pathlib.Path(sys.argv[1])); s.start(); print(s.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        stat = Path(f"/proc/{pid}/stat")
        assert stat.exists()
        run.kill()
        run.wait()

        def gone() -> bool:
            try:
                return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True

        until(gone, "the server to die with the run")
