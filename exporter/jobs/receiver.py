"""The demo's heartbeat receiver: stands where the monitoring service would.

Knows: one secret URL on loopback, and that each ping is a line for the person who watches. Refuses
to know: why a ping came.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextlib.contextmanager
def heartbeat_receiver(say: Callable[..., None]) -> Iterator[str]:
    """A heartbeat receiver on a free loopback port; its URL, with a secret as real ones have."""
    path = f"/api/v1/heartbeat/{secrets.token_urlsafe(12)}"
    count = 0

    class Receiver(BaseHTTPRequestHandler):
        timeout = 10

        def _serve(self) -> None:
            nonlocal count
            known = secrets.compare_digest(self.path.encode(), path.encode())
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if known:
                count += 1
                say(f"heartbeat {count} received", fg="magenta")

        do_GET = do_POST = do_HEAD = _serve  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """The line above says it; the path is a secret."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{path}"
        finally:
            server.shutdown()
            thread.join(1)
