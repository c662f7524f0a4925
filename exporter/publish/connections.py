"""A bounded HTTP listener: how many talk at once, for how long, and who goes when it is full.

Knows: sockets, deadlines, phases of a connection. Refuses to know: routes and what is answered.

The threat is not load but silence: clients that connect and send nothing, or a byte every nine
seconds, must never keep a scrape waiting. So a connection has a deadline for the whole of its
request, not for each byte, and a full house sends away who has been silent longest.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

#: Connections that are served at once; more wait in the kernel's queue.
CONNECTIONS = 64
#: What a request, or an answer, may take as a whole.
PHASE_SECONDS = 10.0
#: How long a silent connection is safe when others wait for its place.
GRACE_SECONDS = 1.0
#: All header lines of one request together.
HEAD_BYTES = 32 * 1024


class ListenError(Exception):
    """The listen address can't be used; the message says which, why, and what to do."""


@dataclass(slots=True)
class _Phase:
    waiting: bool
    """For a request; otherwise its answer is on the way."""
    since: float
    dropped: bool = False


class RequestHead:
    """A connection's input that gives no more header lines than a request may have."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._left = HEAD_BYTES

    def renew(self) -> None:
        self._left = HEAD_BYTES

    def readline(self, size: int = -1) -> bytes:
        line = self._raw.readline(size)
        self._left -= len(line)
        # The request line has its own limit in the library, before any header.
        if self._left < 0 and len(line) <= HEAD_BYTES:
            raise LineTooLong("header")
        return line

    def close(self) -> None:
        self._raw.close()

    @property
    def closed(self) -> bool:
        return self._raw.closed


class Connections(ThreadingHTTPServer):
    """A thread for each connection, never more than :data:`CONNECTIONS`."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    allow_reuse_port = False
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        family: socket.AddressFamily,
        handler: type[BaseHTTPRequestHandler],
        *,
        failed: Callable[[BaseException], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address_family = family
        self._monotonic = monotonic
        self._failed = failed
        self._changed = threading.Condition()
        self._open: dict[socket.socket, _Phase] = {}
        self._stopping = False
        super().__init__(address, handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not the library's way, which asks the name service about the host and may hang there.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                # The connection stays in the queue: without a pause this would spin.
                with self._changed:
                    self._changed.wait(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._admit(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - library's
        import sys  # noqa: PLC0415 - only here

        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self._failed(error)

    def service_actions(self) -> None:
        """Called by the accept loop some times a second: ends what is overdue."""
        with self._changed:
            self._drop_overdue()

    def enter(self, request: socket.socket, *, waiting: bool) -> None:
        """A connection begins to wait for a request, or to answer one."""
        with self._changed:
            if phase := self._open.get(request):
                phase.waiting, phase.since = waiting, self._monotonic()

    def stop(self) -> None:
        """Ends the accept loop, the listener and every connection."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.shutdown()
        self.server_close()
        with self._changed:
            for request, phase in self._open.items():
                self._drop(request, phase)

    def _admit(self, request: socket.socket) -> bool:
        with self._changed:
            while len(self._open) >= CONNECTIONS and not self._stopping:
                self._drop_overdue()
                silent = [each for each in self._open.items() if each[1].waiting]
                if silent:
                    oldest = min(silent, key=lambda each: each[1].since)
                    if self._monotonic() - oldest[1].since >= GRACE_SECONDS:
                        self._drop(*oldest)
                self._changed.wait(0.02)
            if self._stopping:
                return False
            self._open[request] = _Phase(waiting=True, since=self._monotonic())
            return True

    def _drop_overdue(self) -> None:
        now = self._monotonic()
        for request, phase in self._open.items():
            if now - phase.since >= PHASE_SECONDS:
                self._drop(request, phase)

    @staticmethod
    def _drop(request: socket.socket, phase: _Phase) -> None:
        """Wakes the connection's thread with an end of file; the thread does the rest."""
        if not phase.dropped:
            phase.dropped = True
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the other side was faster


def parse_address(text: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port`` (all interfaces; host is then empty)."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ListenError(f"listen address {text!r} has no port: write host:port, [v6]:port, :port")
    if ":" in bare and not bracketed:
        raise ListenError(
            f"listen address {text!r}: an IPv6 address goes in brackets, [::1]:{port}"
        )
    return bare, int(port)


def listen(
    text: str, handler: type[BaseHTTPRequestHandler], failed: Callable[[BaseException], None]
) -> Connections:
    """Binds ``text`` and listens there, or raises :class:`ListenError`."""
    host, port = parse_address(text)
    try:
        if host:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            return Connections((host, port), found[0][0], handler, failed=failed)
        if socket.has_dualstack_ipv6():
            try:
                return Connections(("", port), socket.AF_INET6, handler, failed=failed)
            except OSError as error:
                # Compiled in, and switched off on this host.
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
        return Connections(("", port), socket.AF_INET, handler, failed=failed)
    except OSError as error:
        raise ListenError(f"can't listen on {text}: {_why(error)}") from error


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name is not known; use an address of this host, or :port for all"
    known = {
        errno.EADDRINUSE: "the port is in use; end what listens there, or choose another port",
        errno.EACCES: "not permitted; choose a port from 1024 up",
        errno.EADDRNOTAVAIL: "this host has no such address; use one of its own, or :port for all",
    }
    return known.get(error.errno or 0, error.strerror or "it failed")
