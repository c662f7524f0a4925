"""Why a server gave no answer: what the exceptions of redis-py, ssl and the system mean.

Knows: their texts, and that none may carry a secret outside: a server repeats the arguments of a
command that it does not know, a password among them where AUTH is renamed.
Refuses to know: what was asked, and whether to ask again.
"""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis
from redis.exceptions import NoPermissionError

from exporter.model import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no answer. ``lost``: the connection is useless now; ``retry``: it may help."""

    reason: Reason
    detail: str
    lost: bool = True
    retry: bool = True


def with_detail(refusal: Refusal, detail: str, *, lost: bool | None = None) -> Refusal:
    return dataclasses.replace(refusal, detail=detail, lost=refusal.lost if lost is None else lost)


def refusal_of(error: Exception, secrets: Sequence[str]) -> Refusal:
    """What an exception means, whichever it is.

    The library's parser answers a stranger's bytes with ValueError, IndexError, RecursionError and
    more; what nothing here explains is therefore the stranger's mistake.
    """
    text = one_line(str(error), secrets)
    for meaning in _MEANINGS:
        if isinstance(error, meaning.kind) and meaning.words in text:
            return Refusal(
                reason=meaning.reason,
                detail=meaning.detail,
                lost=isinstance(error, redis.ConnectionError | redis.TimeoutError | TimeoutError),
                retry=meaning.retry,
            )
    cause = _system_error(error)
    if cause is not None:
        return Refusal(reason=Reason.REDIS_UNREACHABLE, detail=_system_detail(cause))
    if isinstance(error, redis.ResponseError):
        return Refusal(
            reason=Reason.REDIS_COMMAND_DENIED,
            detail=f"the server refused: {text}",
            lost=False,
            retry=False,
        )
    if isinstance(error, redis.ConnectionError) and not isinstance(error, redis.InvalidResponse):
        return Refusal(reason=Reason.REDIS_UNREACHABLE, detail="the connection broke")
    return Refusal(
        reason=Reason.REDIS_PROTOCOL_ERROR,
        detail=f"what answers there is no Redis ({type(error).__name__} while reading)",
    )


def one_line(text: str, secrets: Sequence[str] = ()) -> str:
    """Text of a stranger for a person: no secret, no control characters, not long."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = "".join(char if char.isprintable() else " " for char in text)
    return text.encode("ascii", "backslashreplace").decode()[:160].strip()


class _Meaning(NamedTuple):
    kind: type[BaseException]
    words: str
    reason: Reason
    retry: bool
    detail: str


# First match. Connection errors of redis-py include AuthenticationError and BusyLoadingError.
_MEANINGS = (
    _Meaning(
        redis.RedisError, "protected mode", Reason.REDIS_AUTH_FAILED, False,
        "the server is in protected mode: give it a user with a password, or let it listen where "
        "the sidecar runs",
    ),
    _Meaning(
        redis.RedisError, "called without any password", Reason.REDIS_AUTH_FAILED, False,
        "a password is configured here, but the server has none for this user",
    ),
    _Meaning(
        redis.RedisError, "no password is set", Reason.REDIS_AUTH_FAILED, False,
        "a password is configured here, but the server has none",
    ),
    _Meaning(
        redis.AuthenticationError, "required", Reason.REDIS_AUTH_FAILED, False,
        "the server wants a login: set redis.username and redis.password_file",
    ),
    _Meaning(
        redis.AuthenticationError, "", Reason.REDIS_AUTH_FAILED, False,
        "wrong user name or password, or the user is switched off",
    ),
    _Meaning(
        redis.BusyLoadingError, "", Reason.REDIS_LOADING, False,
        "the server is loading its data",
    ),
    _Meaning(
        NoPermissionError, "", Reason.REDIS_COMMAND_DENIED, False,
        "the user may not run it (ACL)",
    ),
    _Meaning(
        redis.ResponseError, "unknown command", Reason.REDIS_COMMAND_DENIED, False,
        "the server does not know it: renamed, switched off, or not in its version",
    ),
    _Meaning(
        redis.ResponseError, "nknown subcommand", Reason.REDIS_COMMAND_DENIED, False,
        "the server does not know it: switched off, or not in its version",
    ),
    _Meaning(
        redis.ResponseError, "BUSY ", Reason.REDIS_TIMEOUT, False,
        "the server runs a script and answers nobody",
    ),
    _Meaning(
        redis.RedisError, "max number of clients", Reason.REDIS_UNREACHABLE, True,
        "maxclients of the server is reached",
    ),
    _Meaning(redis.TimeoutError, "", Reason.REDIS_TIMEOUT, True, "no answer in time"),
    _Meaning(TimeoutError, "", Reason.REDIS_TIMEOUT, True, "no answer in time"),
    _Meaning(
        redis.ConnectionError, "closed by server", Reason.REDIS_UNREACHABLE, True,
        "the server closed the connection (if it wants TLS: rediss://)",
    ),
)  # fmt: skip


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error that the library wrapped, if one is in the chain."""
    for _ in range(10):
        if error is None or isinstance(error, OSError):
            break
        error = error.__cause__ or error.__context__
    return error if isinstance(error, OSError) else None


def _system_detail(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the server's certificate is not trusted: {one_line(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {one_line(error.reason or 'handshake failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"DNS: {one_line(error.strerror or 'name not resolved')}"
    return one_line(error.strerror or type(error).__name__).lower()
