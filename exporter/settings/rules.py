"""Rules between keys, and with the world: what is right alone and wrong together.

Knows: which settings contradict each other, which files must be there. Refuses to know: how single
values are read. Each rule is a function that yields problems; a rule whose keys are already known
to be wrong stays silent.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from exporter.model import CheckId, CheckMode
from exporter.settings import units
from exporter.settings.errors import Problem, shown
from exporter.settings.fields import KEYS, Place
from exporter.settings.layers import Written
from exporter.settings.sources import Layer
from exporter.settings.units import show_duration

LOCAL = "local"

#: What makes a green light mean anything; a required location cannot do without.
INDISPENSABLE = (CheckId.ARTIFACT_PRESENT, CheckId.RDB_MAGIC, CheckId.STRUCTURE)

#: Checks of the server: they have no location.
OF_SERVER = (CheckId.REDIS_REACHABLE, CheckId.BGSAVE_STATUS)

SECRET_FILE_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The settings under judgement, and who said what."""

    written: Written
    layers: Sequence[Layer]
    broken: frozenset[str]
    """Keys that are already known to be wrong."""
    warnings: list[str] = field(default_factory=list)

    def known(self, name: str) -> bool:
        """Whether ``name``, or the list entry that holds it, is already known to be wrong."""
        entry = name.partition("]")[0] + "]"
        return name in self.broken or entry in self.broken

    def given(self, name: str) -> bool:
        return name in self.broken or self.source(name) != ""

    def source(self, name: str) -> str:
        if name.startswith("locations"):
            return next((layer.file for layer in self.layers if layer.place is Place.FILE), "")
        path = tuple(name.split("."))
        return next((layer.label(path) for layer in self.layers if layer.has(path)), "")

    def problem(self, name: str, problem: str, remedy: str, *, value: object = None) -> Problem:
        return Problem(
            key=name,
            source=self.source(name),
            value=None if value is None else shown(name, value),
            problem=problem,
            remedy=remedy,
        )


def judge(case: Case) -> tuple[Problem, ...]:
    return tuple(problem for rule in RULES for problem in rule(case) if not case.known(problem.key))


def _redis_needs_url(case: Case) -> Iterator[Problem]:
    """Without a URL only files are judged; a password without one is a mistake, not that wish."""
    if case.written.redis.url is not None or "redis.url" in case.broken:
        return
    for key in KEYS:
        if key.path[0] == "redis" and case.given(key.name):
            yield case.problem(
                key.name, "is given without redis.url", "give redis.url, or leave it out"
            )


def _one_login(case: Case) -> Iterator[Problem]:
    keys = case.written.redis
    in_url = urlsplit(keys.url) if keys.url else None
    if keys.password is not None and keys.password_file is not None:
        yield case.problem(
            "redis.password", "is given beside redis.password_file", "give one of the two"
        )
    if keys.url and units.url_password(keys.url) is not None:
        for name in ("redis.password", "redis.password_file"):
            if case.given(name):
                yield case.problem(name, "is given beside a password in redis.url", "give one")
    if in_url and in_url.scheme != "unix" and in_url.username and keys.username:
        yield case.problem("redis.username", "is given beside a user in redis.url", "give one")


def _tls(case: Case) -> Iterator[Problem]:
    keys = case.written.redis
    if keys.url and not keys.url.startswith("rediss://"):
        for name in ("ca_file", "cert_file", "key_file", "check_hostname"):
            if case.given(f"redis.{name}"):
                yield case.problem(
                    f"redis.{name}",
                    "is for TLS, but redis.url does not use it",
                    "write rediss:// in redis.url, or leave it out",
                )
    if keys.key_file and not case.given("redis.cert_file"):
        yield case.problem(
            "redis.key_file", "is given without redis.cert_file", "give both or neither"
        )
    if keys.url and keys.url.startswith("rediss://") and not keys.check_hostname:
        case.warnings.append(
            "redis.check_hostname is false: any certificate of the same CA is taken for the server"
        )


def _files(case: Case) -> Iterator[Problem]:
    redis, heartbeat = case.written.redis, case.written.heartbeat
    for name, path, is_secret in (
        ("redis.password_file", redis.password_file, True),
        ("redis.ca_file", redis.ca_file, False),
        ("redis.cert_file", redis.cert_file, False),
        ("redis.key_file", redis.key_file, True),
        ("heartbeat.url_file", heartbeat.url_file, True),
    ):
        if path is None:
            continue
        trouble = file_trouble(path, empty_is_wrong=is_secret)
        if trouble:
            yield case.problem(name, *trouble, value=path)
        elif is_secret and os.stat(path).st_mode & 0o077:  # noqa: PTH116 - a str from outside
            case.warnings.append(
                f"{name} {path!a} can be read by others than its owner: chmod 0600 it"
            )


def file_trouble(path: str, *, empty_is_wrong: bool = True) -> tuple[str, str] | None:
    """What is wrong with a file that must be there, and the remedy."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file", "name a plain file"
        if not os.access(path, os.R_OK):
            return "can't be read by this user", f"let uid {os.geteuid()} read it"
        if empty_is_wrong and status.st_size == 0:
            return "is an empty file", "write the secret into it"
        if status.st_size > SECRET_FILE_LIMIT_BYTES << 4:
            return "is far too large", "name the right file"
    except PermissionError:
        return "can't be reached by this user", f"let uid {os.geteuid()} enter its directories"
    except (OSError, ValueError):
        return "is not there", "create it, or correct the path"
    return None


def _heartbeat(case: Case) -> Iterator[Problem]:
    keys = case.written.heartbeat
    if keys.url and keys.url_file:
        yield case.problem(
            "heartbeat.url", "is given beside heartbeat.url_file", "give one of the two"
        )
    if keys.url and plain_http_abroad(keys.url):
        case.warnings.append(PLAIN_HTTP)
    if not case.given("heartbeat.url") and not case.given("heartbeat.url_file"):
        idle = [key.name for key in KEYS if key.path[0] == "heartbeat" and case.given(key.name)]
        if idle:
            case.warnings.append(
                f"{', '.join(idle)} given without heartbeat.url_file: no heartbeat is sent"
            )


PLAIN_HTTP = "the heartbeat address is http://: everyone on the way can read and replay it"


def plain_http_abroad(url: str) -> bool:
    """Whether the URL would travel unencrypted beyond this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _local_location(case: Case) -> Iterator[Problem]:
    if case.written.backup.dir is not None or "backup.dir" in case.broken:
        return
    for key in KEYS:
        if key.path[0] == "backup" and case.given(key.name):
            yield case.problem(
                key.name,
                "is given without backup.dir",
                "give backup.dir; entries of locations have keys of their own",
            )


def _locations(case: Case) -> Iterator[Problem]:
    written = case.written
    names = Counter(place.name for place in written.locations if place.name)
    if written.backup.dir is not None:
        names[LOCAL] += 1
    file = next((layer.file for layer in case.layers if layer.place is Place.FILE), "")
    for number, place in enumerate(written.locations):
        at = f"locations[{number}]"
        if place.name is None:
            yield Problem(
                key=f"{at}.name", source=file, problem="is missing", remedy="name the location"
            )
        elif names[place.name] > 1:
            taken = " (local is the one of backup.dir)" if place.name == LOCAL else ""
            yield Problem(
                key=f"{at}.name",
                source=file,
                value=ascii(place.name),
                problem="is given twice",
                remedy=f"give each location its own name{taken}",
            )
        if place.path is None:
            yield Problem(
                key=f"{at}.path", source=file, problem="is missing", remedy="name its directory"
            )
    any_broken = any(key.startswith(("backup.dir", "locations")) for key in case.broken)
    required = written.backup.dir is not None or any(row.required for row in written.locations)
    if not required and not any_broken:
        yield Problem(
            key="backup.dir",
            problem="is missing, and no other required location is configured",
            remedy="give --backup.dir, the directory where the backups lie",
        )


def _limits(case: Case) -> Iterator[Problem]:
    written = case.written
    places = [("backup", written.backup.settle_time, written.backup.max_age)]
    places += [
        (f"locations[{number}]", place.settle_time, place.max_age)
        for number, place in enumerate(written.locations)
    ]
    for at, settle, age in places:
        if settle >= age:
            yield case.problem(
                f"{at}.settle_time",
                f"is not below {at}.max_age",
                f"give less than {show_duration(age)}: else each backup is too old once settled",
            )
        if written.check.interval >= age:
            yield case.problem(
                f"{at}.max_age",
                "is not above check.interval",
                f"give more than {show_duration(written.check.interval)}",
            )
    if written.heartbeat.interval < written.check.interval:
        yield case.problem(
            "heartbeat.interval",
            "is below check.interval",
            f"give at least {show_duration(written.check.interval)}: there is no newer verdict",
        )
    budget = written.redis.timeout * written.redis.attempts
    if budget > 3 * written.check.interval + 60:
        yield case.problem(
            "redis.timeout",
            "times redis.attempts outlasts the life of a verdict",
            f"keep the product within {show_duration(3 * written.check.interval + 60)}",
        )


def _indispensable(case: Case) -> Iterator[Problem]:
    written = case.written
    remedy = "leave it at block, or make the location advisory (required: false)"
    required = case.given("backup.dir") or any(
        place.required and not set(INDISPENSABLE) & set(place.checks) for place in written.locations
    )
    for check in INDISPENSABLE:
        if required and written.checks.get(check, CheckMode.BLOCK) is not CheckMode.BLOCK:
            yield case.problem(
                f"checks.{check}",
                "would call broken backups good",
                remedy,
                value=written.checks[check].value,
            )
        for number, place in enumerate(written.locations):
            mode = place.checks.get(check, CheckMode.BLOCK)
            if place.required and mode is not CheckMode.BLOCK:
                yield case.problem(
                    f"locations[{number}].checks.{check}",
                    "would call broken backups good",
                    remedy,
                    value=mode.value,
                )


def _server_checks(case: Case) -> Iterator[Problem]:
    for number, place in enumerate(case.written.locations):
        for check in OF_SERVER:
            if check in place.checks:
                yield case.problem(
                    f"locations[{number}].checks.{check}",
                    "is a check of the server and not of a location",
                    f"set checks.{check}",
                )


def _directories(case: Case) -> Iterator[Problem]:
    """A directory may come later (a mount, the first backup): told, not refused."""
    rows = [("backup.dir", case.written.backup.dir)]
    rows += [
        (f"locations[{number}].path", place.path)
        for number, place in enumerate(case.written.locations)
    ]
    for name, path in rows:
        if path is not None and not os.path.isdir(path):  # noqa: PTH112 - any str, no exception
            case.warnings.append(f"{name} {path!a} is no directory that can be seen now")
    yield from ()


RULES: tuple[Callable[[Case], Iterator[Problem]], ...] = (
    _redis_needs_url,
    _one_login,
    _tls,
    _files,
    _heartbeat,
    _local_location,
    _locations,
    _limits,
    _indispensable,
    _server_checks,
    _directories,
)
