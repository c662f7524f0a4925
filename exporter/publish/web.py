"""The HTTP face: status page, metrics, JSON, and the two health endpoints.

Knows: routes, headers, and what each answers. Refuses to know: how a verdict is reached. Health
endpoints speak of the sidecar only: a bad backup must never restart it or take it out of service.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import structlog

from exporter.model import Snapshot
from exporter.publish.connections import (
    PHASE_SECONDS,
    Connections,
    ListenError,
    RequestHead,
    listen,
    parse_address,
)
from exporter.publish.metrics import Metrics
from exporter.publish.page import StatusPage
from exporter.publish.status_json import status_json

__all__ = ["ListenError", "WebServer", "parse_address"]

_TEXT = "text/plain; charset=utf-8"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    body: bytes
    content_type: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class WebServer:
    """Serves one Snapshot at a time on ``address`` (``host:port``, ``[v6]:port``, ``:port``).

    ``current`` gives the Snapshot; ``last_tick`` the monotonic time of the loop's last sign of
    life; ``clock`` unix seconds. Nothing is bound before :meth:`start`.
    """

    def __init__(
        self,
        address: str,
        *,
        current: Callable[[], Snapshot],
        metrics: Metrics,
        last_tick: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._current = current
        self._metrics = metrics
        self._last_tick = last_tick
        self._monotonic = monotonic
        self._clock = clock
        self._page = StatusPage()
        self._log = structlog.get_logger()
        self._connections: Connections | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        """The port that is really bound; 0 before :meth:`start`."""

    def start(self) -> None:
        """Binds, then serves in a daemon thread; raises :class:`ListenError`."""
        handler = type("_Handler", (_Handler,), {"site": self})
        self._connections = listen(self._address, handler, self._failed)
        self.port = self._connections.server_port
        self._thread = threading.Thread(
            target=self._connections.serve_forever, args=(_POLL_SECONDS,), name="web", daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Ends the listener and all connections; returns within a second."""
        if self._connections is not None and self._thread is not None:
            self._connections.stop()
            self._thread.join(1.0)
            self._connections = self._thread = None

    def answer(self, path: str, headers: Message[str, str]) -> Answer:
        """What is answered to GET ``path``."""
        routes: Mapping[str, Callable[[Message[str, str]], Answer]] = {
            "/": self._status_page,
            "/metrics": self._exposition,
            "/api/v1/status": self._status_json,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
        }
        if path not in routes:
            known = " ".join(routes)
            return Answer(
                body=f"Not found. There are: {known}\n".encode(), status=HTTPStatus.NOT_FOUND
            )
        try:
            return routes[path](headers)
        except Exception as error:  # noqa: BLE001 - a bug in one page must not look like a dead port
            self._failed(error, route=path)
            return Answer(
                body=b"Internal error; see the log.\n", status=HTTPStatus.INTERNAL_SERVER_ERROR
            )

    def _status_page(self, _headers: Message[str, str]) -> Answer:
        return Answer(
            body=self._page.render(self._current(), self._clock()),
            content_type="text/html; charset=utf-8",
            headers={
                "Content-Security-Policy": self._page.content_security_policy,
                "Referrer-Policy": "no-referrer",
                "X-Frame-Options": "DENY",
            },
        )

    def _exposition(self, headers: Message[str, str]) -> Answer:
        body, content_type = self._metrics.exposition(headers.get("Accept"))
        extra = {"Vary": "Accept, Accept-Encoding"}
        if _accepts_gzip(headers.get("Accept-Encoding") or ""):
            body = gzip.compress(body, compresslevel=5, mtime=0)
            extra["Content-Encoding"] = "gzip"
        return Answer(body=body, content_type=content_type, headers=extra)

    def _status_json(self, _headers: Message[str, str]) -> Answer:
        body = status_json(self._current(), self._clock())
        return Answer(body=body, content_type="application/json")

    def _healthy(self, _headers: Message[str, str]) -> Answer:
        # Monotonic: a wall clock that was set must not get the sidecar killed.
        silent = self._monotonic() - self._last_tick()
        limit = self._current().policy.stale_after_seconds
        if silent > limit:
            text = f"The loop gave no sign for {silent:.0f} s; the limit is {limit:.0f} s.\n"
            return Answer(body=text.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)
        return Answer(body=b"Healthy.\n")

    def _ready(self, _headers: Message[str, str]) -> Answer:
        if self._current().cycle is None:
            return Answer(
                body=b"The first cycle has not ended yet.\n", status=HTTPStatus.SERVICE_UNAVAILABLE
            )
        return Answer(body=b"Ready.\n")

    def _failed(self, error: BaseException, route: str = "") -> None:
        # The type only: a message or a traceback may quote what a stranger sent.
        self._log.error("web.request_failed", route=route, error=type(error).__name__)


class _Handler(BaseHTTPRequestHandler):
    """One connection; speaks HTTP and nothing else."""

    site: WebServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    """Of a request that names none: even then it gets a status line and headers."""
    timeout = PHASE_SECONDS
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._head = RequestHead(cast("BinaryIO", self.rfile))
        self.rfile = cast("BufferedIOBase", self._head)

    @property
    def _connections(self) -> Connections:
        return cast("Connections", self.server)

    def handle_one_request(self) -> None:
        self._head.renew()
        self._connections.enter(self.request, waiting=True)
        super().handle_one_request()

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self._connections.enter(self.request, waiting=False)
            if (
                self.headers.get("Content-Length", "0") != "0"
                or "Transfer-Encoding" in self.headers
            ):
                # A body is never read, so what follows it is never taken for a request.
                self.close_connection = True
        return parsed

    def do_GET(self) -> None:
        try:
            path = urlsplit(self.path).path
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        self._send(self.site.answer(path, self.headers))

    do_HEAD = do_GET  # noqa: N815

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **answer.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A plain line. What the client sent is not sent back: it may be another page's script."""
        del message, explain
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:  # the library's word for a method without a `do_`
            status, allowed = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"}
        else:
            status, allowed = HTTPStatus(code), {}
        self._send(Answer(body=f"{status.phrase}.\n".encode(), status=status, headers=allowed))

    def version_string(self) -> str:
        return "redis-backup-exporter"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing per request: logs tell changes of state."""


def _accepts_gzip(header: str) -> bool:
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        if coding == "gzip":
            return not any(each.replace(" ", "") in _REFUSED for each in parameters)
    return False


_REFUSED = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})
