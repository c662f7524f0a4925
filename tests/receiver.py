"""A heartbeat receiver that misbehaves on command: a real HTTP server on loopback.

Knows: when each request came, when its answer began and when it was fully written. Refuses to
know: what a ping stands for. Whoever asks ``pings`` gets frozen values.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Kind(Enum):
    ANSWER = "answer"
    HANG = "hang"
    DRIP = "drip"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one request is treated."""

    kind: Kind = Kind.ANSWER
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


OK = Behaviour()
ERROR = Behaviour(status=500)
NOT_FOUND = Behaviour(status=404)
HANG = Behaviour(kind=Kind.HANG)
"""Accepts, reads the request, never answers."""
DRIP = Behaviour(kind=Kind.DRIP)
"""One byte of the answer's header each 0.2 s, without an end."""
CLOSE = Behaviour(kind=Kind.CLOSE)
"""Closes without a word."""


def too_many(retry_after_seconds: int) -> Behaviour:
    return Behaviour(status=429, headers=(("Retry-After", str(retry_after_seconds)),))


def redirect(url: str, status: int = 302) -> Behaviour:
    return Behaviour(status=status, headers=(("Location", url),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One request; times are unix seconds. ``status`` is None where nothing was answered."""

    number: int
    method: str
    path: str
    host: str
    body: bytes
    user_agent: str
    behaviour: Behaviour
    received_at: float
    answer_began_at: float | None = None
    answered_at: float | None = None
    status: int | None = None

    @property
    def accepted(self) -> bool:
        """A 2xx went out whole, as far as this side can tell."""
        return self.status is not None and 200 <= self.status < 300


class Receiver:
    """``with Receiver() as receiver:`` serves at ``receiver.url``; ``down()`` refuses connections."""

    def __init__(self, path: str = "/api/v1/heartbeat/s3cr3t-0123456789abcdef") -> None:
        self.path = path
        self.default = OK
        self._script: deque[Behaviour] = deque()
        self._pings: list[Ping] = []
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        # Bound but never listening: keeps the port ours while the server is down.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._claim.bind(("127.0.0.1", 0))
        self.port: int = self._claim.getsockname()[1]

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._claim.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def secret(self) -> str:
        """The part of the URL that must be seen nowhere."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def pings(self) -> tuple[Ping, ...]:
        with self._changed:
            return tuple(self._pings)

    @property
    def accepted(self) -> tuple[Ping, ...]:
        return tuple(ping for ping in self.pings if ping.accepted)

    def then(self, *behaviours: Behaviour) -> None:
        """The next requests meet these, one each; later ones meet ``default``."""
        with self._changed:
            self._script.extend(behaviours)

    def up(self) -> None:
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="receiver", daemon=True
        )
        self._thread.start()

    def down(self) -> None:
        """Refuses connections, and drops those that are open, until ``up()``."""
        self._ended.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
            self._server = self._thread = None
        with self._changed:
            open_now = tuple(self._connections)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait_for(
        self, predicate: Callable[[tuple[Ping, ...]], bool], deadline_seconds: float = 60
    ) -> tuple[Ping, ...]:
        """The pings, once they are as ``predicate`` wants; TimeoutError else."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(tuple(self._pings)), deadline_seconds):
                raise TimeoutError(f"after {deadline_seconds} s the pings are {self._pings}")
            return tuple(self._pings)

    def wait_accepted(self, count: int, deadline_seconds: float = 60) -> tuple[Ping, ...]:
        return self.wait_for(
            lambda pings: sum(ping.accepted for ping in pings) >= count, deadline_seconds
        )

    def _take(self, request: _Request, body: bytes) -> Ping:
        with self._changed:
            ping = Ping(
                number=len(self._pings),
                method=request.command,
                path=request.path,
                host=request.headers.get("Host", ""),
                body=body,
                user_agent=request.headers.get("User-Agent", ""),
                behaviour=self._script.popleft() if self._script else self.default,
                received_at=time.time(),
            )
            self._pings.append(ping)
            self._changed.notify_all()
            return ping

    def _note(self, ping: Ping, **changes: Any) -> Ping:
        with self._changed:
            changed = replace(self._pings[ping.number], **changes)
            self._pings[ping.number] = changed
            self._changed.notify_all()
            return changed

    def _opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.add(connection)

    def _closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.server.receiver._opened(self.connection)

    def finish(self) -> None:
        self.server.receiver._closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Quiet: the record is ``pings``."""

    def _serve(self) -> None:
        receiver = self.server.receiver
        ended = receiver._ended
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ping = receiver._take(self, body)
        match ping.behaviour.kind:
            case Kind.HANG:
                self.close_connection = True
                ended.wait(self.timeout)
            case Kind.CLOSE:
                self.close_connection = True
            case Kind.DRIP:
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not ended.wait(0.2):
                    self.wfile.write(b"z")
                    self.wfile.flush()
            case Kind.ANSWER:
                self._answer(receiver, ping)

    def _answer(self, receiver: Receiver, ping: Ping) -> None:
        receiver._note(ping, answer_began_at=time.time())
        text = b"OK\n"
        self.send_response(ping.behaviour.status)
        for name, value in ping.behaviour.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
        self.wfile.flush()
        receiver._note(ping, answered_at=time.time(), status=ping.behaviour.status)

    do_GET = do_POST = do_HEAD = do_PUT = _serve  # noqa: N815 - names of http.server
