"""Values as people write them: durations, sizes, addresses, patterns, zones.

Knows: how one value is read, what is wrong with it and what would be right. Refuses to know:
which key it belongs to, and where it came from.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit
from zoneinfo import ZoneInfo

from exporter.model import Dialect

MASK = "********"
#: Slower limits would make every reading end in a timeout.
LEAST_MAX_RATE = 64 << 10

Word = TypeVar("Word", bound=StrEnum)

_DURATION = re.compile(
    r"(?:(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|min|sec|hours?|days?|weeks?|[smhdw]))"
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SECONDS |= {"sec": 1.0, "min": 60.0, "hour": 3600.0, "hours": 3600.0}
_SECONDS |= {"day": 86400.0, "days": 86400.0, "week": 604800.0, "weeks": 604800.0}
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[kmgt]i?b|b)", re.IGNORECASE)
_BYTES = {"b": 1} | {
    f"{letter}{i}b": (1024 if i else 1000) ** power
    for power, letter in enumerate("kmgt", start=1)
    for i in ("", "i")
}
_TEN_YEARS = 3653 * 86400.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DURATION_REMEDY = "write it like 26h, 7d, 1h30m, 90s or 500ms"
_SIZE_REMEDY = "write it like 2GiB, 512MiB or 500MB"
_VERSION_REMEDY = "write it like 7.2, redis 7.2 or valkey 8.1"
_MODULE_REMEDY = "write their names with commas between, like search, ReJSON; or none"
_URL_REMEDY = "write redis://HOST:6379, rediss://HOST:6379 or unix:///run/redis/redis.sock"


class WrongValue(ValueError):  # noqa: N818 - named for what it is: a value that is wrong
    """A value that cannot be taken, and what would be right. Neither part repeats the value."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVersion:
    """Which server (None: not said), and which release of it."""

    server: Dialect | None
    version: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.server or ''} {self.version[0]}.{self.version[1]}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where the HTTP port opens; an empty host is every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def text(raw: object) -> str:
    """One plain value; lists, sections and control characters are none."""
    if not isinstance(raw, str):
        raise WrongValue("is not one plain value", "write a single value, not a list or a section")
    if not raw.strip():
        raise WrongValue("is empty", "give a value or leave the key out")
    if _CONTROL.search(raw):
        raise WrongValue("holds a control character", "remove line breaks and tabs")
    return raw.strip()


def secret(raw: object) -> str:
    """A secret: kept as it is, blanks included."""
    if not isinstance(raw, str):
        raise WrongValue("is not one plain value", "write a single value, not a list or a section")
    if not raw:
        raise WrongValue("is empty", "give a value or leave the key out")
    return raw


def duration(minimum: float = 0.0) -> Callable[[object], float]:
    """Seconds, of at least ``minimum``. A bare number but 0 is refused: seconds or minutes?"""

    def read(raw: object) -> float:
        written = text(raw).lower().replace(" ", "")
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", written):
            if float(written) != 0:
                raise WrongValue("has no unit", _DURATION_REMEDY)
            seconds = 0.0
        else:
            parts = list(_DURATION.finditer(written))
            units = [part["unit"] for part in parts]
            if "".join(part[0] for part in parts) != written or len(set(units)) != len(units):
                raise WrongValue("is no duration", _DURATION_REMEDY)
            seconds = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)
        if seconds < minimum:
            raise WrongValue("is too short", f"give at least {show_duration(minimum)}")
        if seconds > _TEN_YEARS:
            raise WrongValue("is too long", "give at most 3653d")
        return seconds

    return read


def size(minimum: int = 1) -> Callable[[object], int]:
    """Bytes, of at least ``minimum``: MB is a million, MiB is 1024 x 1024."""

    def read(raw: object) -> int:
        found = _SIZE.fullmatch(text(raw))
        if not found:
            raise WrongValue("is no size", _SIZE_REMEDY)
        measured = int(float(found["number"]) * _BYTES[found["unit"].lower()])
        if measured < minimum:
            raise WrongValue("is too small", f"give at least {show_size(minimum)}")
        if measured > 1 << 60:
            raise WrongValue("is too large", "give at most 1024TiB")
        return measured

    return read


def rate(raw: object) -> float:
    """Bytes per second: ``5MB`` or ``5MB/s``."""
    return float(size()(text(raw).removesuffix("/s")))


def max_rate(raw: object) -> int:
    """Bytes per second as `rate`; 0 is no limit. So slow that nothing is ever read is a mistake."""
    written = text(raw)
    if written == "0":
        return 0
    measured = int(rate(written))
    if measured < LEAST_MAX_RATE:
        raise WrongValue("is too slow", f"give at least {show_size(LEAST_MAX_RATE)}, or 0 for none")
    return measured


def size_limit(raw: object) -> float:
    """A size up to which something is done; ``always`` is infinity, ``off`` is 0."""
    written = text(raw).lower()
    words = {"always": math.inf, "off": 0.0}
    if written in words:
        return words[written]
    try:
        return float(size()(written))
    except WrongValue as error:
        raise WrongValue(error.problem, f"{error.remedy}, always or off") from None


def server_version(raw: object) -> ServerVersion:
    """``7.2``, ``redis 7.2.4`` or ``valkey 8.1``: major and minor count."""
    found = re.fullmatch(
        r"(?:(redis|valkey)[ -]?)?v?([0-9]{1,4})\.([0-9]{1,4})(?:\.[0-9]{1,4})?", text(raw).lower()
    )
    if not found:
        raise WrongValue("is no version of a server", _VERSION_REMEDY)
    return ServerVersion(
        server=Dialect(found[1]) if found[1] else None, version=(int(found[2]), int(found[3]))
    )


def modules(raw: object) -> tuple[str, ...]:
    """Names with commas between; ``none`` says that there is no module."""
    written = text(raw)
    names = [name.strip() for name in written.split(",")]
    if not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in names):
        raise WrongValue("is no list of modules", _MODULE_REMEDY)
    return () if written.lower() == "none" else tuple(sorted(set(names)))


def count(minimum: int, maximum: int) -> Callable[[object], int]:
    def read(raw: object) -> int:
        written = text(raw)
        if not re.fullmatch(r"[0-9]{1,9}", written) or not minimum <= int(written) <= maximum:
            raise WrongValue("is no such number", f"write a whole number, {minimum} to {maximum}")
        return int(written)

    return read


def switch(raw: object) -> bool:
    found = {"true": True, "yes": True, "on": True, "1": True}.get(
        written := text(raw).lower(), None if written not in {"false", "no", "off", "0"} else False
    )
    if found is None:
        raise WrongValue("is neither true nor false", "write true or false")
    return found


def choice(words: type[Word]) -> Callable[[object], Word]:
    def read(raw: object) -> Word:
        try:
            return words(text(raw).lower())
        except ValueError as error:
            if isinstance(error, WrongValue):
                raise
            raise WrongValue("is not one of the words", f"write {', '.join(words)}") from None

    return read


def absolute_path(raw: object) -> str:
    written = text(raw)
    if not PurePosixPath(written).is_absolute():
        raise WrongValue(
            "is a relative path", "write it from the root, like /data: a service has no home"
        )
    return written


def pattern(raw: object) -> str:
    """One name or one glob, inside the directory."""
    written = text(raw)
    if "/" in written or written in {".", ".."}:
        raise WrongValue(
            "is not a file name",
            "write a name or a glob without '/'; the directory has its own key",
        )
    return written


def label(raw: object) -> str:
    """A name that becomes a label value: bounded, and safe in every output."""
    written = text(raw)
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", written):
        raise WrongValue("is no such name", "write 1 to 32 of a-z, 0-9, '-' and '_'")
    return written


def name_time(raw: object) -> str:
    """A strptime pattern that tells at least the day."""
    written = text(raw)
    remedy = "write a strptime pattern like dump-%Y%m%d-%H%M%S.rdb"
    probe = datetime(2031, 11, 23, 13, 47, 59, tzinfo=UTC)
    try:
        again = datetime.strptime(probe.strftime(written), written)  # noqa: DTZ007 - only a probe
    except ValueError:
        raise WrongValue("is no time pattern", remedy) from None
    if again.date() != probe.date():
        raise WrongValue("does not tell year, month and day", remedy)
    return written


def zone(raw: object) -> str:
    written = text(raw)
    try:
        ZoneInfo(written)
    except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        raise WrongValue(
            "is no time zone known here", "write a name like Europe/Berlin or UTC"
        ) from None
    return written


def listen_address(raw: object) -> ListenAddress:
    written = text(raw)
    remedy = "write HOST:PORT, :PORT or [IPV6]:PORT, like 127.0.0.1:19121"
    found = re.fullmatch(
        r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})", written
    )
    if not found or int(found["port"]) > 65535:
        raise WrongValue("is no listen address", remedy)
    host = found["v6"] if found["v6"] is not None else found["host"]
    try:
        if found["v6"] is not None:
            ipaddress.IPv6Address(host)
    except ValueError:
        raise WrongValue("is no listen address", remedy) from None
    if host and found["v6"] is None and not _HOST_NAME.fullmatch(host):
        raise WrongValue("is no listen address", remedy)
    return ListenAddress(host=host, port=int(found["port"]))


def _split(written: str, problem: str, remedy: str) -> SplitResult:
    """The parts of a URL whose authority is beyond doubt, so that its host may be shown."""
    try:
        parts = urlsplit(written)
        _ = parts.port
    except ValueError:
        raise WrongValue(problem, remedy) from None
    if "@" in parts.path + parts.query + parts.fragment:
        # An unquoted '/', '?' or '#' in a password ends the authority too early; what then looks
        # like the host is a piece of the secret.
        raise WrongValue(
            "has an '@' after its host",
            "percent-encode special characters of user and password (%2F for '/', %40 for '@')",
        )
    return parts


def redis_url(raw: object) -> str:
    """``redis://``, ``rediss://`` or ``unix://``; a password in it is judged by its source."""
    written = text(raw)
    parts = _split(written, "is no Redis URL", _URL_REMEDY)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise WrongValue("is no Redis URL", _URL_REMEDY)
    if set(parse_qs(parts.query, keep_blank_values=True)) - {"db", "password"} or parts.fragment:
        raise WrongValue("has options after '?' or '#'", "use the redis.* keys; only ?db=N is read")
    if parts.scheme == "unix":
        if not parts.path.startswith("/"):
            raise WrongValue("names no socket", "write unix:///run/redis/redis.sock")
        return written
    if not parts.hostname or any(letter.isspace() for letter in written):
        raise WrongValue("names no host", _URL_REMEDY)
    if not re.fullmatch(r"(/[0-9]{0,5})?", parts.path):
        raise WrongValue("has a path that is no database number", "write redis://HOST:6379/0")
    return written


def http_url(raw: object) -> str:
    written = text(raw)
    remedy = "write the whole address that the monitor shows, https://HOST/..."
    parts = _split(written, "is no http(s) URL", remedy)
    blank = any(letter.isspace() for letter in written)
    if parts.scheme not in {"http", "https"} or not parts.hostname or blank or parts.fragment:
        raise WrongValue("is no http(s) URL", remedy)
    return written


def url_password(url: str) -> str | None:
    """The password that stands inside a URL, as written (still percent-encoded)."""
    parts = urlsplit(url)
    return parts.password or next(iter(parse_qs(parts.query).get("password", ())), None)


def show_url(url: str) -> str:
    """What of a URL may be seen: scheme and host. All else can be the secret."""
    try:
        parts = _split(url, "", "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return MASK
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if parts.scheme not in {"redis", "rediss", "http", "https"} or not host:
        return MASK
    shown = f"[{host}]" if ":" in host else host
    end = f":{port}" if port is not None else ""
    if parts.scheme in {"http", "https"}:
        return f"{parts.scheme}://{shown}{end}/{MASK}"
    login = f"{MASK}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{login}{shown}{end}{parts.path}"


def show_duration(seconds: float) -> str:
    """The duration in its largest whole units: 93600.0 is ``26h``."""
    if seconds == 0:
        return "0"
    millis = round(seconds * 1000)
    for unit in ("d", "h", "m", "s", "ms"):
        whole = round(_SECONDS[unit] * 1000)
        # 26h says more than 1d2h: days only from two on, and only whole ones.
        if millis % whole == 0 and (unit != "d" or millis // whole > 1):
            return f"{millis // whole}{unit}"
    raise AssertionError(seconds)  # unreachable: every whole number of ms is one of ms


def show_size_limit(size_bytes: float) -> str:
    words = {math.inf: "always", 0.0: "off"}
    return words.get(size_bytes) or show_size(size_bytes)


def show_size(size_bytes: float) -> str:
    if not size_bytes:
        return "0"
    for unit in ("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB"):
        if size_bytes % _BYTES[unit.lower()] == 0:
            return f"{size_bytes / _BYTES[unit.lower()]:.0f}{unit}"
    return f"{size_bytes:.0f}B"
