"""From sources to what the program needs: ``load`` and the ``Settings`` that it gives.

Knows: how keys become Policy, RedisTarget and the rest; which words are secret. Refuses to know:
how keys are read (``units``), named (``fields``), found (``sources``), judged (``rules``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from exporter.model import (
    CheckId,
    CheckMode,
    HeartbeatMode,
    HeartbeatPolicy,
    Location,
    Origin,
    Policy,
    RedisTarget,
    RestoreTarget,
    VerifyPolicy,
)
from exporter.settings import rules, units
from exporter.settings.effective import Shown, effective
from exporter.settings.errors import Problem, SettingsError
from exporter.settings.fields import (
    CONFIG_FILE,
    BackupKeys,
    Engine,
    LocationKeys,
    LogFormat,
    LogLevel,
)
from exporter.settings.layers import Written, lay
from exporter.settings.sources import Layer, from_environment, from_file, from_flags
from exporter.settings.units import ListenAddress

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force."""

    policy: Policy
    redis: RedisTarget | None
    heartbeat_url: SecretStr | None
    """As it was when loaded; :meth:`reread_heartbeat_url` follows the file."""
    heartbeat_url_file: str | None
    listen_address: ListenAddress
    state_dir: str
    log_level: LogLevel
    log_format: LogFormat
    engine: Engine
    warnings: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = field(default=(), repr=False)

    def reread_heartbeat_url(self) -> SecretStr | Problem | None:
        """The URL as its file has it now; None where no heartbeat is configured."""
        if self.heartbeat_url_file is None:
            return self.heartbeat_url
        return _url_from_file(self.heartbeat_url_file)

    def secrets(self) -> tuple[str, ...]:
        """All that must never be written anywhere, for the redaction of logs."""
        return tuple(dict.fromkeys(self._secrets()))

    def _secrets(self) -> Iterator[str]:
        if self.heartbeat_url is not None:
            yield from secret_parts(self.heartbeat_url.get_secret_value())
        if self.redis is None:
            return
        if self.redis.password:
            yield self.redis.password
        password = units.url_password(self.redis.url)
        if password:
            yield from (password, unquote(password))
        if self.redis.password_file:
            try:
                yield read_secret(self.redis.password_file)
            except (OSError, ValueError):
                return  # it was there when loaded; the login will tell


def secret_parts(url: str) -> Iterator[str]:
    """A secret URL, and the pieces of it that errors of HTTP libraries repeat alone."""
    parts = urlsplit(url)
    yield url
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    yield from (piece for piece in (path, parts.path.strip("/")) if len(piece) > 3)
    yield from (piece for piece in parts.path.split("/") if len(piece) >= 12)
    yield from (value for _, value in parse_qsl(parts.query) if len(value) >= 6)
    if parts.password:
        yield from (parts.password, unquote(parts.password))


def read_secret(path: str) -> str:
    """The first line's worth of a secret file: its text without the line end."""
    with Path(path).open("rb") as stream:
        raw = stream.read(rules.SECRET_FILE_LIMIT_BYTES)
    return raw.decode("utf-8").rstrip("\r\n")


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | None = None
) -> Settings:
    """The settings in force, or :class:`SettingsError` with everything that is wrong.

    ``flags`` by key name (``{"redis.url": ...}``). ``config_file`` is the flag's value; without
    it ``RBE_CONFIG_FILE`` names the file.
    """
    layers = _layers(flags, environ, config_file)
    written, value_problems = lay(layers)
    problems = [*(problem for layer in layers for problem in layer.problems), *value_problems]
    case = rules.Case(
        written=written, layers=layers, broken=frozenset(problem.key for problem in problems)
    )
    problems.extend(rules.judge(case))
    url, url_problem = _heartbeat_url(written, case)
    if url_problem:
        problems.append(url_problem)
    if problems:
        raise SettingsError(dict.fromkeys(problems))
    return _settings(written, layers, url, case.warnings)


def load_listen_address(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | None = None
) -> ListenAddress:
    """Only where the port opens, for a probe that is started without the sidecar's other flags."""
    layers = _layers(flags, environ, config_file)
    written, value_problems = lay(layers)
    wanted = {"web.listen_address", CONFIG_FILE.name}
    of_layers = (problem for layer in layers for problem in layer.problems)
    problems = [problem for problem in (*of_layers, *value_problems) if problem.key in wanted]
    if problems:
        raise SettingsError(problems)
    return written.web.listen_address


def _layers(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | None
) -> list[Layer]:
    flag = config_file if config_file is not None else flags.get(CONFIG_FILE.name)
    path = flag if flag is not None else environ.get(CONFIG_FILE.env) or None
    return [from_flags(flags), from_environment(environ), from_file(path)]


def _heartbeat_url(written: Written, case: rules.Case) -> tuple[SecretStr | None, Problem | None]:
    keys = written.heartbeat
    if keys.url_file is None or "heartbeat.url_file" in case.broken:
        return (None if keys.url is None else SecretStr(keys.url)), None
    found = _url_from_file(keys.url_file, case.source("heartbeat.url_file"))
    if isinstance(found, Problem):
        return None, None if rules.file_trouble(keys.url_file) else found
    if rules.plain_http_abroad(found.get_secret_value()):
        case.warnings.append(rules.PLAIN_HTTP)
    return found, None


def _url_from_file(path: str, source: str = "") -> SecretStr | Problem:
    try:
        return SecretStr(units.http_url(read_secret(path)))
    except units.WrongValue as error:
        problem, remedy = f"holds a text that {error.problem}", error.remedy
    except OSError as error:
        problem, remedy = f"can't be read ({error.strerror})", "let this user read it"
    except ValueError:
        problem, remedy = "is not UTF-8 text", "write one URL into it"
    return Problem(
        key="heartbeat.url_file",
        source=source,
        value=ascii(path),
        problem=problem,
        remedy=remedy,
    )


def _settings(
    written: Written, layers: Sequence[Layer], url: SecretStr | None, warnings: Sequence[str]
) -> Settings:
    places = tuple(_locations(written))
    policy = Policy(
        locations=places,
        interval_seconds=written.check.interval,
        redis=written.redis.url is not None,
        redis_grace_seconds=written.redis.grace,
        checks=dict(written.checks),
        verify=VerifyPolicy(
            timeout_min_seconds=written.verify.timeout,
            min_rate_bytes_per_second=written.verify.min_rate,
            reverify_seconds=written.verify.reverify,
            backlog=written.verify.backlog,
            min_interval_seconds=written.verify.min_interval,
            memory_limit_bytes=written.verify.memory_limit,
            unsupported=written.verify.unsupported,
            duplicates_max_bytes=written.verify.memory,
            max_rate_bytes_per_second=written.verify.max_rate,
            second_opinion_max_bytes=written.second_opinion.max_size,
        ),
        restore_target=_restore_target(written),
    )
    mode = written.heartbeat.mode or _default_mode(policy.trigger.origin)
    heartbeat = HeartbeatPolicy(
        name=written.heartbeat.name,
        mode=mode,
        interval_seconds=written.heartbeat.interval,
        min_interval_seconds=written.heartbeat.min_interval,
        timeout_seconds=written.heartbeat.timeout,
    )
    file_warnings = (warning for layer in layers for warning in layer.warnings)
    return Settings(
        policy=policy if url is None else replace(policy, heartbeat=heartbeat),
        redis=_redis(written),
        heartbeat_url=url,
        heartbeat_url_file=written.heartbeat.url_file,
        listen_address=written.web.listen_address,
        state_dir=written.state.dir,
        log_level=written.log.level,
        log_format=written.log.format,
        engine=written.verify.engine,
        warnings=(*file_warnings, *warnings),
        shown=tuple(effective(written, layers, places, mode)),
    )


def _default_mode(origin: Origin) -> HeartbeatMode:
    """A quiet night writes no new dump.rdb: pings per backup would page for nothing."""
    if origin is Origin.SERVER_FILE:
        return HeartbeatMode.CONTINUOUS
    return HeartbeatMode.PER_BACKUP


def _default_origin(pattern: str) -> Origin:
    """One plain name is most likely the server's own dump. Whether it is dbfilename, only the
    server can say, later; a rotating copy job writes more than one name.
    """
    return Origin.COPY if _WILDCARDS & set(pattern) else Origin.SERVER_FILE


def _locations(written: Written) -> Iterator[Location]:
    if written.backup.dir is not None:
        yield _location(rules.LOCAL, written.backup.dir, written.backup, written.checks)
    for place in written.locations:
        if place.name is not None and place.path is not None:
            checks = {**written.checks, **place.checks}
            yield _location(place.name, place.path, place, checks)


def _location(
    name: str, path: str, keys: BackupKeys | LocationKeys, checks: Mapping[CheckId, CheckMode]
) -> Location:
    extra = (
        {"kind": keys.kind, "format": keys.format, "required": keys.required}
        if isinstance(keys, LocationKeys)
        else {}
    )
    return Location(
        name=name,
        path=path,
        pattern=keys.pattern,
        origin=keys.origin or _default_origin(keys.pattern),
        max_age_seconds=keys.max_age,
        settle_seconds=keys.settle_time,
        allow_empty=keys.allow_empty,
        name_time=keys.name_time,
        name_time_zone=keys.name_time_zone,
        checks=dict(checks),
        **extra,  # type: ignore[arg-type]  # three fields of three types
    )


def _restore_target(written: Written) -> RestoreTarget | None:
    keys = written.target
    if keys.version is None and keys.modules is None and keys.databases is None:
        return None
    return RestoreTarget(
        server=None if keys.version is None else keys.version.server,
        version=None if keys.version is None else keys.version.version,
        modules=None if keys.modules is None else frozenset(keys.modules),
        databases=keys.databases,
    )


def _redis(written: Written) -> RedisTarget | None:
    keys = written.redis
    if keys.url is None:
        return None
    return RedisTarget(
        url=keys.url,
        username=keys.username,
        password=keys.password,
        password_file=keys.password_file,
        ca_file=keys.ca_file,
        cert_file=keys.cert_file,
        key_file=keys.key_file,
        check_hostname=keys.check_hostname,
        timeout_seconds=keys.timeout,
        attempts=keys.attempts,
    )
