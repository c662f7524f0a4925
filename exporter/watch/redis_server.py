"""The watched server: a look asks INFO, LASTSAVE, CONFIG GET of exact names, MODULE LIST, and
says what came.

Knows: which commands, how often to try, and that a refused command is a value beside the others.
Refuses to know: whether what the server says is good, and the last good answer: a failed look
never repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from exporter.model import Reason, RedisTarget, ServerView, Unseen
from exporter.watch import redis_info
from exporter.watch.redis_connection import Answer, RedisConnection
from exporter.watch.refusal import Refusal, one_line, with_detail

_SOURCE = "redis"

#: Exact names only: CONFIG GET with a pattern returns passwords too. One name a command: servers
#: before 7.0 take no more, and a name that one of them does not know spoils none of the others.
CONFIG_NAMES = (
    "dir",
    "dbfilename",
    "save",
    "rdbchecksum",
    "databases",
    "cluster-databases",
    "rdb-version-check",
    "appendonly",
    "appenddirname",
    "appendfilename",
    "appendfsync",
    "auto-aof-rewrite-percentage",
    "aof-disable-auto-gc",
    "aof-timestamp-enabled",
    "enable-protected-configs",
)

#: A refused command leaves an entry in the server's ACL LOG, so it is not asked at each look.
_ASK_AGAIN_SECONDS = 600.0

_REMEDY = {
    "INFO": "ACL SETUSER <user> +info",
    "LASTSAVE": "ACL SETUSER <user> +lastsave",
    "CONFIG GET": "ACL SETUSER <user> +config|get, or pin the values in the settings",
    "MODULE LIST": "ACL SETUSER <user> +module|list, or name them in target.modules",
}


class RedisServer:
    """One server over one lasting connection, made anew when it breaks. For one thread."""

    def __init__(self, target: RedisTarget) -> None:
        self._target = target
        self._connection: RedisConnection | None = None
        self._refused: dict[str, tuple[float, Refusal]] = {}

    def look(self, now: float) -> ServerView | Unseen:
        """What the server says now, or why it said nothing. Never raises.

        Takes at most ``attempts`` times ``timeout_seconds`` (and what the system's resolver
        takes for a name).
        """
        idle = self._connection is not None
        answer = self._info()
        if idle and isinstance(answer, Refusal) and answer.reason is Reason.REDIS_UNREACHABLE:
            # An idle connection ends with a restart of the server: that was no try.
            answer = self._info()
        for _ in range(1, self._target.attempts):
            if not isinstance(answer, Refusal) or not answer.retry:
                break
            answer = self._info()
        if isinstance(answer, Refusal):
            return _unseen(_SOURCE, now, answer)
        return self._view(answer, now)

    def close(self) -> None:
        """End the connection; a later look makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._refused.clear()

    def _info(self) -> bytes | Refusal:
        """INFO's answer: ``all``, for commandstats; a list of sections is unknown before 7.0."""
        if self._connection is None:
            opened = RedisConnection.open(self._target)
            if isinstance(opened, Refusal):
                return opened
            self._connection = opened
        else:
            self._connection.allow()
        (answer,) = self._connection.ask(("INFO", "all"))
        if isinstance(answer, bytes):
            return answer
        if not isinstance(answer, Refusal):
            answer = Refusal(
                reason=Reason.REDIS_PROTOCOL_ERROR, detail="INFO was answered by no text"
            )
        if answer.lost:
            self.close()
        return _with_remedy(answer, "INFO")

    def _view(self, answer: bytes, now: float) -> ServerView | Unseen:
        info = redis_info.parse(answer)
        if redis_info.is_sentinel(info):
            self.close()
            return Unseen(
                source=_SOURCE,
                at=now,
                reason=Reason.REDIS_IS_SENTINEL,
                detail="this is a Sentinel, which holds no data: let redis.url name the Redis "
                "server itself (its port is usually 6379)",
            )
        if not any(info.values()):
            self.close()
            return Unseen(
                source=_SOURCE,
                at=now,
                reason=Reason.REDIS_PROTOCOL_ERROR,
                detail="INFO's answer holds no field that a Redis has",
            )
        fields = redis_info.view_fields(info)
        lastsave = self._ask_one("LASTSAVE", ("LASTSAVE",), now)
        config = self._config(now)
        return ServerView(
            at=now,
            **fields,
            lastsave_at=_lastsave(lastsave, now),
            config=MappingProxyType(config),
            modules=self._modules(now, loading=fields["loading"]),
        )

    def _modules(self, now: float, *, loading: bool) -> frozenset[str] | Unseen:
        """While it loads, a server answers INFO and CONFIG, and MODULE LIST with an error."""
        if loading:
            answer: Answer | Refusal = Refusal(
                reason=Reason.REDIS_LOADING, detail="not told while the server loads its data"
            )
        else:
            answer = self._ask_one("MODULE LIST", ("MODULE", "LIST"), now)
        return _module_names(answer, now)

    def _config(self, now: float) -> dict[str, str | Unseen]:
        """The first name alone: where CONFIG is denied, that is one ACL LOG entry, not a dozen."""
        first, *others = CONFIG_NAMES
        answers = [self._ask_one("CONFIG GET", ("CONFIG", "GET", first), now)]
        if not isinstance(answers[0], Refusal) and self._connection is not None:
            answers += self._connection.ask(*(("CONFIG", "GET", name) for name in others))
        answers += [answers[-1]] * (len(CONFIG_NAMES) - len(answers))
        self._drop_if_lost(answers)
        return {
            name: _config_value(name, answer, now)
            for name, answer in zip(CONFIG_NAMES, answers, strict=True)
        }

    def _ask_one(self, what: str, command: Sequence[str], now: float) -> Answer | Refusal:
        """One command, unless the server refused it a short while ago."""
        if self._connection is None:
            return Refusal(reason=Reason.REDIS_UNREACHABLE, detail="the connection broke")
        refused_at, refusal = self._refused.get(what, (now, None))
        if refusal is not None and 0 <= now - refused_at < _ASK_AGAIN_SECONDS:
            return refusal
        (answer,) = self._connection.ask(command)
        if isinstance(answer, Refusal):
            answer = _with_remedy(answer, what)
            if answer.reason is Reason.REDIS_COMMAND_DENIED:
                self._refused[what] = (now, answer)
        else:
            self._refused.pop(what, None)
        self._drop_if_lost([answer])
        return answer

    def _drop_if_lost(self, answers: Sequence[Answer | Refusal]) -> None:
        if any(isinstance(answer, Refusal) and answer.lost for answer in answers):
            self.close()


def _with_remedy(refusal: Refusal, what: str) -> Refusal:
    if refusal.reason is not Reason.REDIS_COMMAND_DENIED:
        return refusal
    return with_detail(refusal, f"{what}: {refusal.detail}. Remedy: {_REMEDY[what]}")


def _unseen(source: str, now: float, refusal: Refusal) -> Unseen:
    return Unseen(source=source, at=now, reason=refusal.reason, detail=refusal.detail)


def _lastsave(answer: Answer | Refusal, now: float) -> int | Unseen:
    source = f"{_SOURCE} LASTSAVE"
    if isinstance(answer, Refusal):
        return _unseen(source, now, answer)
    if isinstance(answer, int) and answer >= 0:
        return answer
    return Unseen(
        source=source, at=now, reason=Reason.REDIS_PROTOCOL_ERROR, detail="answered by no time"
    )


def _module_names(answer: Answer | Refusal, now: float) -> frozenset[str] | Unseen:
    """``name`` of each module; what else a version tells of it (path, arguments) is left out."""
    source = f"{_SOURCE} MODULE LIST"
    if isinstance(answer, Refusal):
        return _unseen(source, now, answer)
    rows = answer if isinstance(answer, list) else [None]
    names = [_field(row, b"name") for row in rows]
    if all(isinstance(name, bytes) for name in names):
        return frozenset(one_line(str(name, "utf-8", "replace")) for name in names if name)
    return Unseen(
        source=source, at=now, reason=Reason.REDIS_PROTOCOL_ERROR, detail="answered by no list"
    )


def _field(row: object, name: bytes) -> bytes | None:
    if not isinstance(row, list):
        return None
    found = next((v for k, v in zip(row[::2], row[1::2], strict=False) if k == name), None)
    return found if isinstance(found, bytes) else None


def _config_value(name: str, answer: Answer | Refusal, now: float) -> str | Unseen:
    source = f"{_SOURCE} CONFIG {name}"
    if isinstance(answer, Refusal):
        return _unseen(source, now, answer)
    if isinstance(answer, list) and all(isinstance(item, bytes) for item in answer):
        found = dict(zip(answer[::2], answer[1::2], strict=False))
        value = found.get(name.encode())
        if value is not None:
            return str(value, "utf-8", "backslashreplace")
        return Unseen(
            source=source,
            at=now,
            reason=Reason.FIELD_ABSENT,
            detail="this server has no such setting",
        )
    return Unseen(
        source=source, at=now, reason=Reason.REDIS_PROTOCOL_ERROR, detail="answered by no list"
    )
