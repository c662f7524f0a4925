"""Log lines: logfmt or JSON, to stderr, in UTC, without any secret.

Knows: how an event becomes a line, and which words must never stand in one. Refuses to know: what
is worth logging. Libraries that use the standard ``logging`` come out the same way, from WARNING
on; so does an exception that nobody caught.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

import structlog

MASK = "********"

#: C0, DEL, C1, and what terminals or log viewers take as a line end or a change of direction.
#: A backslash is escaped too, so that an escape can't be forged by a file name.
_ODD = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(rf"[\\\x00-\x1f{_ODD}]")
#: JSON escapes line ends and backslashes by itself, and readers undo it: tracebacks keep lines.
_UNSAFE_IN_JSON = re.compile(rf"[\x00-\x08\x0b-\x1f{_ODD}]")
_PLAIN_VALUE = re.compile(r"[^\s\"=\\]+")
_PLAIN_KEY = re.compile(r"[^A-Za-z0-9_.-]")

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("logfmt", "json")


class Redactor:
    """Replaces registered secrets, in any of the spellings that libraries give them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._spellings: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Registers more, as when a secret file was rewritten. None is ever forgotten."""
        with self._lock:
            self._spellings |= {
                spelling for secret in secrets if secret for spelling in _spellings(secret)
            }
            longest_first = sorted(self._spellings, key=len, reverse=True)
            self._pattern = (
                re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
            )

    def __call__(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)


def _spellings(secret: str) -> frozenset[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    quoted = {quote(raw), quote(raw, safe=""), quote_plus(raw)}
    return frozenset(
        {
            secret,
            *quoted,
            *(re.sub("%..", lambda found: found[0].lower(), text) for text in quoted),
            repr(secret)[1:-1],
            ascii(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            base64.b64encode(raw).decode(),
        }
    )


def configure(
    level: str,
    format: str,  # noqa: A002 - the name of the setting
    secrets: Iterable[str] = (),
    on_message: Callable[[str], None] = lambda _level: None,
) -> Redactor:
    """Sets up logging for the process and tells every written line's level to ``on_message``.

    The returned redactor takes secrets that come up later.
    """
    redactor = Redactor(secrets)
    render, unsafe = {"logfmt": (_logfmt, _UNSAFE), "json": (_json, _UNSAFE_IN_JSON)}[format]

    def clean(text: str) -> str:
        return unsafe.sub(_escape, redactor(text))

    def count(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        on_message(event["level"])
        return event

    def line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        return render({_key(key): _clean(value, clean) for key, value in event.items()})

    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _traceback_text,
            count,
            _in_order,
            line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed
    return redactor


class _StderrLogger:
    """One write a line, so that lines of several threads never mix."""

    def __init__(self, *_args: Any) -> None:
        pass

    def msg(self, message: str) -> None:
        try:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # nobody listens any more; the work must go on

    debug = info = warning = error = critical = exception = log = msg


class _ToStructlog(logging.Handler):
    """What libraries log, as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's broken format string is still a message
            message = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        log = structlog.get_logger()
        getattr(log, level)(
            "library.logged", logger=record.name, text=message, exc_info=record.exc_info or None
        )


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().error("process.crashed", exc_info=(kind, error, trace))


def _thread_crashed(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    structlog.get_logger().error(
        "thread.crashed",
        thread=args.thread.name if args.thread else None,
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )


def _traceback_text(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The traceback as text: file, line, message; never the values of locals."""
    given = event.pop("exc_info", None)
    if given is None or given is False:
        return event
    if isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    elif not isinstance(given, tuple):
        given = sys.exc_info()
    if given[1] is not None:
        event["exception"] = "".join(traceback.format_exception(*given)).rstrip()
    return event


def _in_order(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")
    stamped = stamp(None, "", {})
    last = {"exception": event.pop("exception")} if "exception" in event else {}
    return {
        "ts": stamped["ts"],
        "level": event.pop("level"),
        "event": event.pop("event", ""),
        **event,
        **last,
    }


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    """``value`` as JSON can hold it, every text in it without secrets and control characters."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_clean(str(key), clean): _clean(item, clean) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, clean) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return clean(str(value))


def _escape(found: re.Match[str]) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
    letter = found[0]
    number = ord(letter)
    return short.get(letter) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def _key(key: str) -> str:
    return _PLAIN_KEY.sub("_", str(key))


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, allow_nan=False, default=str)


def _logfmt(event: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in event.items())


def _logfmt_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text and _PLAIN_VALUE.fullmatch(text):
        return text
    # What is escaped already stays readable: only the quotes still need it.
    return '"' + text.replace('"', '\\"') + '"'
