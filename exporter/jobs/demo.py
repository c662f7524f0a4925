"""The demo: a server, a backup job that can be broken, a heartbeat receiver, the real sidecar.

Knows: how to start them, show what the sidecar says at each change, and leave nothing behind.
Refuses to know: anything of the sidecar that a user could not see; it runs as a subprocess and is
asked over HTTP.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from exporter.jobs.console import Stop, single_keys
from exporter.jobs.embedded import EmbeddedServer, ServerUnavailable, find_server
from exporter.jobs.leash import Leashed
from exporter.jobs.receiver import heartbeat_receiver
from exporter.jobs.rehearsal import Fault, Rehearsal

DEFAULT_ADDRESS = "127.0.0.1:19121"
DEFAULT_INTERVAL_SECONDS = 5.0
STARTUP_SECONDS = 60.0
#: How long the sidecar may take to end by itself; with the rest it must stay within two seconds.
GRACE_SECONDS = 1.2
#: Longer paths are refused by the kernel for unix sockets.
SOCKET_PATH_BYTES = 107

KEYS: dict[str, Fault | None] = {
    "t": Fault.TRUNCATE,
    "f": Fault.FLIP,
    "s": Fault.STOP,
    "e": Fault.EMPTY,
    "r": None,
}
LEGEND = """\
t truncate the next copy   f flip a bit in the newest copy   s stop the copies (or go on)
   e empty the data           r repair                          q quit"""
COLOURS = {"protected": "green", "at_risk": "red", "unknown": "yellow"}


def run(
    *,
    listen_address: str = DEFAULT_ADDRESS,
    inject: str | None = None,
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
    seconds: float | None = None,
) -> int:
    """Run until q, a signal or ``seconds``; the exit code.

    ``inject`` is the name of a :class:`Fault`, done after the first green. 0 is a normal end; 1
    where something could not be started or ended by itself, and where time ran out before an
    injected fault turned the verdict red; 2 for arguments that make no sense.
    """
    try:
        fault = None if inject is None else Fault(inject)
        host, port = _address(listen_address)
    except ValueError as error:
        click.echo(f"demo: {error}", err=True)
        return 2
    if interval_seconds < 1:
        click.echo("demo: an interval below 1s would give two copies one name", err=True)
        return 2
    with contextlib.ExitStack() as stack:
        try:
            stop = stack.enter_context(Stop())
            demo = _Demo(stack, stop, host, port, interval_seconds)
            demo.inject = fault
            return demo.live(seconds)
        except (ServerUnavailable, OSError) as error:
            click.echo(f"demo: {error}", err=True)
            return 1


def _address(text: str) -> tuple[str, int]:
    """Host and port; a free port where 0 is asked for."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: write host:port, such as {DEFAULT_ADDRESS}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _claim_port(host: str, port: int) -> int:
    """Say it clearly and early where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen on {host} port {port} ({error.strerror}): end what uses it,"
                " or choose another with --listen-address"
            ) from error
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What decides whether a line is worth printing: the state, and the reasons that block."""

    state: str
    reasons: tuple[str, ...]


class _Demo:
    """All parts, started in order; the stack ends them in the opposite one."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        stop: Stop,
        host: str,
        port: int,
        interval_seconds: float,
    ) -> None:
        self.inject: Fault | None = None
        self._stop = stop
        self._print_lock = threading.Lock()
        self._seen: _Seen | None = None
        self._injected = self._turned = False
        program = find_server()
        port = _claim_port(host, port)
        self._base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        home = _private_directory(stack)
        backups = home / "backups"
        backups.mkdir()
        heartbeats = stack.enter_context(heartbeat_receiver(self.say))
        server = EmbeddedServer(program, home / "server")
        stack.callback(server.end)
        self._job = Rehearsal(server, backups, interval_seconds=interval_seconds, say=self.say)
        stack.callback(self._job.end)
        url_file = home / "heartbeat-url"
        url_file.touch(mode=0o600)
        url_file.write_text(heartbeats, encoding="ascii")
        max_age_seconds = round(6 * interval_seconds)
        # Without the variables that configure a real sidecar on this machine.
        env = {name: value for name, value in os.environ.items() if not name.startswith("RBE_")}
        self._sidecar = Leashed(
            [
                sys.executable, "-m", "exporter", "run",
                "--redis.url", server.url,
                "--backup.dir", str(backups),
                "--backup.max-age", f"{max_age_seconds}s",
                "--backup.settle-time", "1s",
                "--check.interval", "2s",
                "--heartbeat.url-file", str(url_file),
                "--state.dir", str(home / "state"),
                "--web.listen-address", f"{f'[{host}]' if ':' in host else host}:{port}",
            ],
            log=home / "sidecar.log",
            env=env,
        )  # fmt: skip
        stack.callback(self._sidecar.end, grace_seconds=GRACE_SECONDS)
        self._introduce(server.version, backups, interval_seconds, max_age_seconds)
        self._job.start()

    def say(self, text: str, **style: Any) -> None:
        with self._print_lock, contextlib.suppress(OSError):
            click.echo(f"{time.strftime('%H:%M:%S')}  {click.style(text, **style)}")

    def _introduce(self, server: str, backups: Path, interval: float, max_age: int) -> None:
        click.echo(
            f"A {server} with some traffic, a snapshot every {interval:g} s copied to {backups},\n"
            f"and the sidecar, which proves each copy. Older than {max_age} s is too old.\n"
            f"   status page  {self._base}/\n"
            f"   metrics      {self._base}/metrics\n"
            f"   JSON         {self._base}/api/v1/status\n"
            "The heartbeat goes to a receiver in here; each one is a line below.\n"
            f"   {LEGEND if sys.stdin.isatty() else 'Ctrl-C ends it.'}\n"
        )

    # The loop: keys, time, and what the sidecar says.

    def live(self, seconds: float | None) -> int:
        started = time.monotonic()
        watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        watcher.start()
        with single_keys() as keys:
            while not self._stop.event.is_set():
                if seconds is not None and time.monotonic() - started >= seconds:
                    break
                if self._sidecar.exit_code is not None:
                    return self._sidecar_ended()
                if self._stop.orphaned():
                    break
                if self._seen is None and time.monotonic() - started > STARTUP_SECONDS:
                    click.echo(f"demo: the sidecar does not answer at {self._base}", err=True)
                    return self._sidecar_ended()
                ready, _, _ = select.select([self._stop.reader.fileno(), *keys], [], [], 0.2)
                if keys and keys[0] in ready and not self._key(os.read(keys[0], 1)):
                    break
        ended_early = self._stop.event.is_set()
        self._stop.set()
        self._sidecar.ask_to_end()
        if self.inject is None or self._turned or ended_early:
            return 0
        click.echo(f"demo: the fault {self.inject.value!r} did not turn the verdict", err=True)
        return 1

    def _sidecar_ended(self) -> int:
        code = self._sidecar.exit_code
        words = self._sidecar.last_words()
        click.echo(
            f"demo: the sidecar ended with exit code {code}; its last words:\n{words}", err=True
        )
        return 1

    def _key(self, raw: bytes) -> bool:
        """False to quit."""
        key = raw.decode("ascii", "replace").lower()
        if key == "q" or not raw:
            return False
        if key not in KEYS:
            self.say(LEGEND)
            return True
        fault = KEYS[key]
        if fault is None or (fault is Fault.STOP and self._job.fault is Fault.STOP):
            self._job.repair()
            self.say("repaired: copies go on as usual", fg="cyan")
        else:
            self._job.break_(fault)
        return True

    def _watch(self) -> None:
        """Print each change of the verdict; do the injection after the first green."""
        while not self._stop.event.wait(0.25):
            status = _ask(f"{self._base}/api/v1/status")
            verdict = status.get("verdict") if status else None
            if verdict:
                self._note(verdict)

    def _note(self, verdict: dict[str, Any]) -> None:
        blocking = verdict.get("blocking") or []
        seen = _Seen(
            state=verdict["state"],
            reasons=tuple(f"{row['check']}: {row['reason']}" for row in blocking),
        )
        if seen == self._seen:
            return
        self._seen = seen
        self.say(
            seen.state.upper().replace("_", " ") + ("  heartbeats go out" if not blocking else ""),
            fg=COLOURS.get(seen.state),
            bold=True,
        )
        for row in blocking:
            place = f" at {row['location']}" if row.get("location") else ""
            self.say(f"  {row['reason']}  (check {row['check']}{place}: {row['outcome']})")
            for name in ("measured", "limit", "remedy"):
                if row.get(name):
                    self.say(f"    {name}: {row[name]}")
        if self.inject is None:
            return
        if not self._injected and seen.state == "protected":
            self._injected = True
            self.say(f"injecting: {self.inject.value}", fg="cyan")
            self._job.break_(self.inject)
        elif self._injected and seen.state == "at_risk":
            self._turned = True


def _private_directory(stack: contextlib.ExitStack) -> Path:
    """A temporary directory that goes with the demo, short enough for a unix socket."""
    longest = len(os.fsencode(tempfile.gettempdir())) + len("/rbe-demo-12345678/server/s")
    root = None if longest <= SOCKET_PATH_BYTES else "/tmp"  # noqa: S108 - mkdtemp makes it private
    home = Path(tempfile.mkdtemp(prefix="rbe-demo-", dir=root))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    return home


def _ask(url: str) -> dict[str, Any] | None:
    """The JSON at ``url``; None where there is none at the moment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1) as answer:
            found = json.load(answer)
    except (OSError, ValueError):  # URLError, timeouts and broken answers among them
        return None
    return found if isinstance(found, dict) else None
