"""The HTTP face on a real socket: routes, health, and clients that misbehave."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from exporter.model import Snapshot
from exporter.publish import connections
from exporter.publish.connections import CONNECTIONS
from exporter.publish.metrics import Metrics
from exporter.publish.web import ListenError, WebServer, parse_address
from tests.publish.snapshots import NOW, STATES

DEADLINE = 30.0


@dataclass
class Site:
    """A served Snapshot with clocks that a test turns."""

    snapshot: Snapshot = field(default_factory=STATES["valid"])
    monotonic_now: float = 1000.0
    ticked: float = 1000.0
    server: WebServer | None = None

    def start(self, address: str = "127.0.0.1:0") -> None:
        metrics = Metrics(lambda: self.snapshot, engine="rdbtools", clock=lambda: NOW)
        self.server = WebServer(
            address,
            current=lambda: self.snapshot,
            metrics=metrics,
            last_tick=lambda: self.ticked,
            monotonic=lambda: self.monotonic_now,
            clock=lambda: NOW,
        )
        self.server.start()

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers or {}, body=body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def raw(self, sent: bytes) -> bytes:
        """All that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as link:
            link.sendall(sent)
            return _read_all(link)


def _read_all(link: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := link.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def site() -> Iterator[Site]:
    it = Site()
    it.start()
    yield it
    assert it.server is not None
    it.server.stop()


def poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?from=bookmark#x", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/v1/status", "application/json"),
        ("/-/healthy", "text/plain; charset=utf-8"),
        ("/-/ready", "text/plain; charset=utf-8"),
    ],
)
def test_every_route_answers_get_and_head_alike(site: Site, path: str, content_type: str) -> None:
    status, headers, body = site.ask(path)
    assert (status, headers["Content-Type"]) == (200, content_type)
    assert headers["Content-Length"] == str(len(body))
    assert body
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "redis-backup-exporter"
    head_status, head_headers, nothing = site.ask(path, "HEAD")
    assert (head_status, nothing) == (200, b"")
    if path != "/metrics":  # process_* differs from scrape to scrape
        assert head_headers["Content-Length"] == headers["Content-Length"]


def test_metrics_come_as_openmetrics_and_gzip_where_asked(site: Site) -> None:
    _, headers, body = site.ask(
        "/metrics", headers={"accept-encoding": "gzip", "accept": "application/openmetrics-text"}
    )
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert headers["Vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(body).endswith(b"# EOF\n")


@pytest.mark.parametrize("refused", ["identity", "gzip;q=0", "br, gzip; q=0.0", ""])
def test_metrics_come_plain_where_gzip_is_not_wanted(site: Site, refused: str) -> None:
    _, headers, body = site.ask("/metrics", headers={"Accept-Encoding": refused})
    assert "Content-Encoding" not in headers
    assert body.startswith(b"# HELP redis_backup_protected ")


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/../etc/passwd", "/api/v1/", "/%2e"])
def test_unknown_paths_are_404_and_not_repeated(site: Site, path: str) -> None:
    status, headers, body = site.ask(path)
    assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert b"passwd" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_405(site: Site, method: str) -> None:
    status, headers, body = site.ask("/", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"Method Not Allowed.\n"
    assert headers["Connection"] == "close"


def test_a_body_is_never_taken_for_the_next_request(site: Site) -> None:
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    answer = site.raw(head + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1
    chunked = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert site.raw(chunked + smuggled).count(b"HTTP/1.1 ") == 1


def test_a_connection_serves_several_requests(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.connect()
        link = connection.sock
        for path in ("/metrics", "/", "/nothing", "/-/healthy"):
            connection.request("GET", path)
            connection.getresponse().read()
            assert connection.sock is link


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET / HTTP/x\r\n\r\n", b"400"),
        (b"<script>alert(1)</script> / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"GET http://[ HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 300 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 9000 + b"\r\n") * 5 + b"\r\n", b"431"),
    ],
)
def test_bad_requests_get_a_plain_line_and_are_not_quoted(
    site: Site, sent: bytes, code: bytes
) -> None:
    answer = site.raw(sent)
    if answer:  # a reset may overtake the answer where more was sent than is ever read
        head, _, body = answer.partition(b"\r\n\r\n")
        assert code in head.split(b"\r\n")[0]
        assert b"<script>" not in answer
        assert len(body) < 100
    assert site.ask("/-/healthy")[0] == 200


def test_an_absolute_request_line_is_understood(site: Site) -> None:
    answer = site.raw(b"GET http://example.test/-/healthy HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


def test_healthy_from_the_first_moment_and_until_the_loop_is_silent(site: Site) -> None:
    """3 x 15 s + 60 s on the monotonic clock; a wall clock that jumps is nobody's death."""
    site.snapshot = STATES["first_start"]()
    assert site.ask("/-/healthy")[0] == 200
    site.monotonic_now = 1000.0 + 105.0
    assert site.ask("/-/healthy")[0] == 200
    site.monotonic_now += 0.5
    status, _, body = site.ask("/-/healthy")
    assert (status, body) == (503, b"The loop gave no sign for 106 s; the limit is 105 s.\n")
    site.ticked = site.monotonic_now
    assert site.ask("/-/healthy")[0] == 200


def test_ready_once_the_first_cycle_has_ended(site: Site) -> None:
    site.snapshot = STATES["first_start"]()
    assert site.ask("/-/ready")[0] == 503
    site.snapshot = STATES["valid"]()
    assert site.ask("/-/ready")[0] == 200


@pytest.mark.parametrize(
    "name", ["broken_corrupt", "redis_down", "no_directory", "empty_directory", "stale"]
)
def test_health_never_depends_on_a_backup(site: Site, name: str) -> None:
    site.snapshot = STATES[name]()
    assert site.ask("/-/healthy")[0] == 200
    assert site.ask("/-/ready")[0] == 200


@pytest.mark.parametrize("name", sorted(STATES))
def test_page_json_and_metrics_answer_in_every_state(site: Site, name: str) -> None:
    site.snapshot = STATES[name]()
    for path in ("/", "/metrics", "/api/v1/status"):
        assert site.ask(path)[0] == 200, path


def test_page_forbids_scripts_and_everything_from_elsewhere(site: Site) -> None:
    _, headers, body = site.ask("/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert b"<script" not in body
    assert b"style=" not in body


def test_a_bug_in_one_page_is_a_500_and_the_rest_goes_on(site: Site) -> None:
    good = site.snapshot
    site.snapshot = None  # type: ignore[assignment]
    status, _, body = site.ask("/")
    assert (status, body) == (500, b"Internal error; see the log.\n")
    site.snapshot = good
    assert site.ask("/")[0] == 200


def test_silent_clients_keep_no_scrape_waiting(site: Site) -> None:
    """More clients than there are places, each silent after half a request."""
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS + 20):
            link = stack.enter_context(
                socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE)
            )
            link.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        status, _, _ = site.ask("/metrics")
        assert status == 200
        # Alone the grace of a silent client is 1 s; the rest is a busy machine.
        assert time.monotonic() - began < connections.PHASE_SECONDS


def test_a_byte_now_and_then_does_not_prolong_a_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PHASE_SECONDS", 0.6)
    with socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE) as link:
        link.sendall(b"GET / HTTP/1.1\r\n")
        closed = threading.Event()

        def listen() -> None:
            assert _read_all(link) == b""
            closed.set()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()

        def drip() -> bool:
            with contextlib.suppress(OSError):
                link.sendall(b"X")
            return closed.is_set()

        poll(drip)
        thread.join(DEADLINE)


def test_a_client_that_never_reads_is_sent_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PHASE_SECONDS", 0.6)
    server = site.server
    assert server is not None
    bound = server._connections
    assert bound is not None
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        link.settimeout(DEADLINE)
        link.connect(("127.0.0.1", site.port))
        with contextlib.suppress(OSError):
            link.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        poll(lambda: not bound._open)
    assert site.ask("/-/healthy")[0] == 200


def test_two_hundred_at_once_are_all_answered(site: Site) -> None:
    start = threading.Barrier(200)

    def scrape(_: int) -> int:
        start.wait(DEADLINE)
        return site.ask("/metrics")[0]

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(scrape, range(200))) == [200] * 200


def test_stop_is_quick_with_open_connections_and_frees_the_port() -> None:
    site = Site()
    site.start()
    port = site.port
    server = site.server
    assert server is not None
    links = [
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        for _ in range(CONNECTIONS + 5)
    ]
    site_bound = server._connections
    assert site_bound is not None
    poll(lambda: len(site_bound._open) == CONNECTIONS)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 1.5
    for link in links:
        assert _read_all(link) == b""
        link.close()
    again = Site()
    again.start(f"127.0.0.1:{port}")
    assert again.ask("/-/healthy")[0] == 200
    assert again.server is not None
    again.server.stop()
    again.server.stop()


def test_stop_before_start_is_nothing() -> None:
    site = Site()
    metrics = Metrics(lambda: site.snapshot, engine="rdbtools")
    WebServer(
        "127.0.0.1:0", current=lambda: site.snapshot, metrics=metrics, last_tick=lambda: 0.0
    ).stop()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (":19121", ("", 19121)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:19121", ("::1", 19121)),
        ("[::]:80", ("::", 80)),
        ("redis-0.local:9", ("redis-0.local", 9)),
    ],
)
def test_listen_addresses_are_understood(text: str, parsed: tuple[str, int]) -> None:
    assert parse_address(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "19121", "localhost", "::1:19121", "host:", "host:x", ":99999", "h:-1", "h:\uff18\uff10"],
)
def test_a_listen_address_that_is_none_says_what_is_right(text: str) -> None:
    with pytest.raises(ListenError, match="listen address"):
        parse_address(text)


def test_all_interfaces_answer_on_both_families() -> None:
    site = Site()
    site.start(":0")
    try:
        for host in ("127.0.0.1", "::1"):
            if host == "::1" and not _has_ipv6():
                continue  # no IPv6 loopback on this host: nothing could answer there
            connection = http.client.HTTPConnection(host, site.port, timeout=DEADLINE)
            with contextlib.closing(connection):
                connection.request("GET", "/-/healthy")
                assert connection.getresponse().status == 200
    finally:
        assert site.server is not None
        site.server.stop()


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def test_a_port_in_use_is_told_with_what_to_do(site: Site) -> None:
    second = Site()
    with pytest.raises(
        ListenError, match=rf"127.0.0.1:{site.port}: the port is in use; .* another port"
    ):
        second.start(f"127.0.0.1:{site.port}")
    assert second.server is not None
    second.server.stop()


def test_an_address_of_another_host_is_told() -> None:
    with pytest.raises(ListenError, match="this host has no such address"):
        Site().start("192.0.2.1:0")


def test_a_low_port_is_told() -> None:
    """Asked of the wording alone: root may bind any port."""
    refused = PermissionError(errno.EACCES, "Permission denied")
    assert connections._why(refused) == "not permitted; choose a port from 1024 up"


def test_a_host_that_is_not_known_is_told() -> None:
    with pytest.raises(ListenError, match="the host name is not known"):
        Site().start("no-such-host.invalid:0")


def test_the_document_is_served_as_strict_json(site: Site) -> None:
    site.snapshot = STATES["hostile"]()
    _, _, body = site.ask("/api/v1/status")
    assert json.loads(body)["verdict"]["state"] == "at_risk"
