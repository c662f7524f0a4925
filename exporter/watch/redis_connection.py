"""One connection to a server: how to reach it, log in, and ask; a failure is a ``Refusal``.

Knows: the three forms of URL, TLS files and where the password comes from. What one exchange may
take is bounded in time and in bytes, whatever the other side sends.
Refuses to know: which commands are asked, and what the answers mean.

On the wire are AUTH (with a password) and the commands asked, nothing else: no HELLO, CLIENT
SETINFO, SELECT or PING, which a least-privilege user may not have, and which would fill ACL LOG.
"""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

import redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from exporter.model import Reason, RedisTarget
from exporter.watch.refusal import Refusal, refusal_of, with_detail

#: INFO of a large server is 30 KiB; what is longer than this is no Redis.
_ANSWER_LIMIT_BYTES = 8 << 20
_PASSWORD_LIMIT_BYTES = 64 << 10

#: RESP2 answers, decoded by nobody yet.
Answer = bytes | int | list[Any] | None


class _Allowance:
    """What is left of one exchange: seconds and bytes."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._bytes = _ANSWER_LIMIT_BYTES

    def seconds(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for one exchange is over")
        return left

    def take(self, count: int) -> None:
        self._bytes -= count
        if self._bytes < 0:
            raise OverflowError("the answer is longer than any of a server")


class _BoundedSocket:
    """A socket under an allowance. A timeout per recv, which the library has, stops nobody who
    sends a byte a second, and nothing stops one who never ends a line.
    """

    def __init__(self, inner: socket.socket, seconds: float) -> None:
        self._inner = inner
        self.allowance = _Allowance(seconds)

    def recv(self, size: int) -> bytes:
        self._inner.settimeout(self.allowance.seconds())
        data = self._inner.recv(size)
        self.allowance.take(len(data))
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        self._inner.settimeout(self.allowance.seconds())
        count = self._inner.recv_into(buffer, size)
        self.allowance.take(count)
        return count

    def sendall(self, data: Any) -> None:
        self._inner.settimeout(self.allowance.seconds())
        self._inner.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """The allowance decides."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _bounded(kind: type[Any]) -> type[Any]:
    """The library's connection class ``kind`` with its socket under an allowance."""

    class Bounded(kind):  # type: ignore[misc] # the library's classes are not typed
        def _connect(self) -> _BoundedSocket:
            return _BoundedSocket(super()._connect(), self.socket_timeout)

    return Bounded


# None: no CLIENT SETINFO. Newer libraries know driver_info and warn of the two older names.
_PARAMETERS = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
_SILENT: Mapping[str, None] = dict.fromkeys(
    ("driver_info",) if "driver_info" in _PARAMETERS else ("lib_name", "lib_version")
)
_KINDS = {
    "redis": _bounded(Connection),
    "rediss": _bounded(SSLConnection),
    "unix": _bounded(UnixDomainSocketConnection),
}


class RedisConnection:
    """A logged-in connection. ``open`` makes one; ``close`` is harmless at any time."""

    def __init__(self, inner: Any, seconds: float, secrets: Sequence[str]) -> None:
        self._inner = inner
        self._seconds = seconds
        self._secrets = secrets

    @classmethod
    def open(cls, target: RedisTarget) -> Self | Refusal:
        """Connect and log in within the target's timeout. The password file is read here."""
        where = _address(target.url)
        if isinstance(where, Refusal):
            return where
        password = _password(target, where)
        if isinstance(password, Refusal):
            return password
        missing = _unreadable_tls_file(target) if where.scheme == "rediss" else None
        if missing is not None:
            return missing
        username = target.username or unquote(where.username or "") or None
        inner = _KINDS[where.scheme](
            **_place(where),
            **(_tls(target) if where.scheme == "rediss" else {}),
            **_SILENT,
            db=0,
            protocol=2,
            username=username,
            password=password or None,
            socket_timeout=target.timeout_seconds,
            socket_connect_timeout=target.timeout_seconds,
        )
        connection = cls(inner, target.timeout_seconds, _variants(password))
        try:
            inner.connect()
        except Exception as error:  # noqa: BLE001 - see refusal_of
            connection.close()
            refusal = refusal_of(error, connection._secrets)
            if refusal.reason is not Reason.REDIS_COMMAND_DENIED:
                return with_detail(refusal, refusal.detail, lost=True)
            # The one command so far was AUTH.
            return Refusal(
                reason=Reason.REDIS_AUTH_FAILED, detail=f"AUTH: {refusal.detail}", retry=False
            )
        return connection

    def allow(self) -> None:
        """A new exchange begins: renew what it may take."""
        bounded = self._inner._sock  # noqa: SLF001 - set by _connect above
        if bounded is not None:
            bounded.allowance = _Allowance(self._seconds)

    def ask(self, *commands: Sequence[str]) -> list[Answer | Refusal]:
        """The answers to commands sent in one go, in order; never raises."""
        try:
            self._inner.send_packed_command(self._inner.pack_commands(commands), check_health=False)
        except Exception as error:  # noqa: BLE001 - see refusal_of
            refusal = refusal_of(error, self._secrets)
            self.close()
            return [refusal] * len(commands)
        answers: list[Answer | Refusal] = []
        for _ in commands:
            try:
                answers.append(self._inner.read_response(disable_decoding=True))
            except Exception as error:  # noqa: BLE001 - see refusal_of
                refusal = refusal_of(error, self._secrets)
                answers.append(refusal)
                if refusal.lost:
                    self.close()
                    break
        return answers + [answers[-1]] * (len(commands) - len(answers))

    def close(self) -> None:
        self._inner.disconnect()


# -- where, and how to log in --------------------------------------------------------------------


def _address(url: str) -> SplitResult | Refusal:
    """The parts of a URL that can be used as it is.

    The refusal must not quote it: an unescaped ``/``, ``?`` or ``#`` in a password ends the host
    early, so that any part of the URL may be a part of the password.
    """
    invalid = Refusal(
        reason=Reason.REDIS_UNREACHABLE,
        detail="redis.url is not valid: redis://host:port, rediss://host:port or unix:///path "
        "(special characters of a password as %XX)",
        retry=False,
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return invalid
    spilled = "@" in parts.path + parts.query + parts.fragment and parts.scheme != "unix"
    place = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in _KINDS or not place or spilled or port == 0:
        return invalid
    return parts


def _place(where: SplitResult) -> Mapping[str, Any]:
    if where.scheme == "unix":
        return {"path": unquote(where.path)}
    # A database number in the path is ignored: SELECT is not needed, and not in the ACL.
    return {"host": unquote(where.hostname or ""), "port": where.port or 6379}


def _password(target: RedisTarget, where: SplitResult) -> bytes | Refusal:
    """The password as bytes, empty for none: file before setting before URL."""
    if target.password_file is None:
        text = target.password if target.password is not None else unquote(where.password or "")
        return text.encode("utf-8", "surrogateescape")
    try:
        with Path(target.password_file).open("rb") as file:
            return file.read(_PASSWORD_LIMIT_BYTES).rstrip(b"\r\n")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
        return Refusal(
            reason=Reason.REDIS_AUTH_FAILED,
            detail=f"redis.password_file can not be read: {why.lower()}",
            retry=False,
        )


def _variants(password: bytes) -> Sequence[str]:
    """How the password could look in a text."""
    text = password.decode("utf-8", "replace")
    return [text] if text else []


def _tls(target: RedisTarget) -> Mapping[str, Any]:
    return {
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": target.ca_file,
        "ssl_certfile": target.cert_file,
        "ssl_keyfile": target.key_file,
        "ssl_check_hostname": target.check_hostname,
        "ssl_password": "",  # without it OpenSSL asks the terminal for an encrypted key's password
    }


def _unreadable_tls_file(target: RedisTarget) -> Refusal | None:
    """OpenSSL's own error for a missing file names none."""
    for name in ("ca_file", "cert_file", "key_file"):
        path = getattr(target, name)
        if path is None:
            continue
        try:
            with Path(path).open("rb"):
                pass
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
            return Refusal(
                reason=Reason.REDIS_UNREACHABLE,
                detail=f"TLS: redis.{name} can not be read: {why.lower()}",
                retry=False,
            )
    return None
