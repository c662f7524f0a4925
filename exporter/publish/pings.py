"""One ping to a heartbeat receiver, bounded in time.

Knows: HTTP, and that the URL is a secret. Refuses to know: when to ping, and what for.
"""

from __future__ import annotations

import contextlib
import email.utils
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from exporter import __version__

#: Redirects that are followed, on the same host only.
_REDIRECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one ping. ``detail`` never holds the URL."""

    delivered: bool
    failure: str | None = None
    """dns, connection, timeout, tls, redirect, http_4xx or http_5xx."""
    refused: bool = False
    """The receiver answered, and will not change its mind soon."""
    retry_after_seconds: float | None = None
    detail: str = ""


class Pinger:
    """Pings the URL that ``read_url`` gives; it is read anew each time, as secrets rotate."""

    def __init__(self, read_url: Callable[[], str], *, timeout_seconds: float) -> None:
        self._read_url = read_url
        self._timeout = timeout_seconds
        self.target = "?"
        """Scheme and host: all that may be shown."""
        with contextlib.suppress(OSError):
            self.target = _target(read_url())

    def ping(self) -> Answer:
        """One try. The whole of it is bounded, not only each read: a receiver may drip."""
        try:
            url = self._read_url()
        except OSError as error:
            detail = f"the heartbeat URL can't be read: {error.strerror}"
            return Answer(delivered=False, failure="connection", detail=detail)
        self.target = _target(url)
        box: list[Answer] = []
        thread = threading.Thread(
            target=lambda: box.append(self._exchange(url)), name="ping", daemon=True
        )
        thread.start()
        thread.join(self._timeout + 1.0)
        if box:
            return box[0]
        return Answer(
            delivered=False, failure="timeout", detail=f"no answer within {self._timeout:g} s"
        )

    def _exchange(self, url: str) -> Answer:
        try:
            with requests.Session() as session:
                session.headers["User-Agent"] = f"redis-backup-exporter/{__version__}"
                return self._follow(session, url)
        except requests.RequestException as error:
            failure, detail = _classify(error)
            return Answer(delivered=False, failure=failure, detail=detail)
        except (ValueError, OSError, urllib3.exceptions.HTTPError) as error:
            return Answer(delivered=False, failure="connection", detail=type(error).__name__)

    def _follow(self, session: requests.Session, url: str) -> Answer:
        deadline = time.monotonic() + self._timeout
        for _ in range(_REDIRECTS + 1):
            left = max(0.1, deadline - time.monotonic())
            with session.get(url, timeout=left, allow_redirects=False, stream=True) as response:
                if not response.is_redirect:
                    return _answer(response)
                # Only the host that was given learns the secret in the path.
                onward = urljoin(url, response.headers.get("Location", ""))
            if not _same_host(url, onward):
                detail = f"it redirects to another host ({_target(onward)})"
                return Answer(delivered=False, failure="redirect", refused=True, detail=detail)
            url = onward
        return Answer(
            delivered=False, failure="redirect", refused=True, detail="it redirects in a circle"
        )


def _answer(response: requests.Response) -> Answer:
    """What a final status means: only 2xx counts."""
    status = response.status_code
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer(delivered=True, detail=detail)
    if status in {408, 429} or status >= 500:
        return Answer(
            delivered=False,
            failure="http_5xx" if status >= 500 else "http_4xx",
            retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
            detail=detail,
        )
    if 300 <= status < 400:
        return Answer(delivered=False, failure="redirect", refused=True, detail=detail)
    return Answer(delivered=False, failure="http_4xx", refused=True, detail=detail)


def _retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After header: a number or a date (RFC 9110 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, at - time.time())


def _classify(error: requests.RequestException) -> tuple[str, str]:
    """A bounded word and a harmless detail; the texts of these exceptions hold the URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "tls", "the certificate or the TLS handshake was not accepted"
    if isinstance(error, requests.exceptions.Timeout):
        return "timeout", "no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        cause: BaseException | None = error
        for _ in range(8):
            if cause is None:
                break
            if isinstance(cause, socket.gaierror | urllib3.exceptions.NameResolutionError):
                return "dns", "the host name was not resolved"
            reason = getattr(cause, "reason", None)
            inner = cause.args[0] if cause.args else None
            cause = next(
                (c for c in (reason, inner, cause.__cause__) if isinstance(c, BaseException)), None
            )
        return "connection", "no connection"
    return "connection", type(error).__name__


def _target(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = parts.hostname or "?"
    return f"{parts.scheme}://[{host}]{port}" if ":" in host else f"{parts.scheme}://{host}{port}"


def _same_host(one: str, other: str) -> bool:
    """The same scheme, host and port; http to https on the same host is an upgrade."""
    a, b = urlsplit(one), urlsplit(other)
    if a.hostname != b.hostname:
        return False
    ports = {"http": 80, "https": 443}
    upgrade = (a.scheme, b.scheme) == ("http", "https") and not a.port and not b.port
    same = a.scheme == b.scheme and (a.port or ports.get(a.scheme)) == (
        b.port or ports.get(b.scheme)
    )
    return same or upgrade
