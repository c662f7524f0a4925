"""Every key of the settings, once: name, type, default, help, where it may stand, what is secret.

Knows: the shape of the settings as pydantic models, and the table made of them (flags, environment
names, README). Refuses to know: where values come from, and rules between keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic.fields import FieldInfo

from exporter.model import (
    CheckId,
    CheckMode,
    Format,
    HeartbeatMode,
    LocationKind,
    Origin,
    UnsupportedMode,
)
from exporter.settings import units

ENV_PREFIX = "RBE_"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    LOGFMT = "logfmt"
    JSON = "json"


class Engine(StrEnum):
    AUTO = "auto"
    NATIVE = "native"
    RDBTOOLS = "rdbtools"


class Place(StrEnum):
    FLAG = "flag"
    ENV = "env"
    FILE = "file"


class Secrecy(StrEnum):
    NONE = "none"
    URL = "url"
    """Scheme and host may be shown; the rest can be a secret."""
    WHOLE = "whole"


class Kind(NamedTuple):
    """What the table says of a type."""

    name: str


class Extra(NamedTuple):
    """What pydantic does not keep of a key."""

    default: str
    secrecy: Secrecy
    places: frozenset[Place]
    flag_remedy: str


EVERYWHERE = frozenset(Place)
NOT_A_FLAG = frozenset({Place.ENV, Place.FILE})


def _key(
    default: str | None,
    help_text: str,
    *,
    shown: str = "",
    secrecy: Secrecy = Secrecy.NONE,
    places: frozenset[Place] = EVERYWHERE,
    flag_remedy: str = "",
) -> Any:
    """One key. ``default`` is written as a person would, and read by the same reader."""
    extra: Any = {"extra": Extra(shown or default or "", secrecy, places, flag_remedy)}
    return Field(
        default=default,
        validate_default=True,
        description=help_text,
        json_schema_extra=extra,
    )


def _words(words: type[StrEnum]) -> Kind:
    return Kind(" \\| ".join(words))


Text = Annotated[str, PlainValidator(units.text), Kind("text")]
Secret = Annotated[str, PlainValidator(units.secret), Kind("text")]
FilePath = Annotated[str, PlainValidator(units.absolute_path), Kind("file")]
DirPath = Annotated[str, PlainValidator(units.absolute_path), Kind("directory")]
Pattern = Annotated[str, PlainValidator(units.pattern), Kind("name or glob")]
Switch = Annotated[bool, PlainValidator(units.switch), Kind("true \\| false")]
Seconds = Annotated[float, PlainValidator(units.duration()), Kind("duration")]
SomeSeconds = Annotated[float, PlainValidator(units.duration(1.0)), Kind("duration")]
MoreSeconds = Annotated[float, PlainValidator(units.duration(0.1)), Kind("duration")]
Limit = Annotated[int, PlainValidator(units.size(128 << 20)), Kind("size")]
Budget = Annotated[int, PlainValidator(units.size(1 << 20)), Kind("size")]
Rate = Annotated[float, PlainValidator(units.rate), Kind("size per second")]
MaxRate = Annotated[int, PlainValidator(units.max_rate), Kind("size per second")]
SizeLimit = Annotated[float, PlainValidator(units.size_limit), Kind("size \\| always \\| off")]
Version = Annotated[
    units.ServerVersion, PlainValidator(units.server_version), Kind("version of a server")
]
Modules = Annotated[tuple[str, ...], PlainValidator(units.modules), Kind("names \\| none")]
Label = Annotated[str, PlainValidator(units.label), Kind("name")]
NameTime = Annotated[str, PlainValidator(units.name_time), Kind("strptime pattern")]
Zone = Annotated[str, PlainValidator(units.zone), Kind("time zone")]
RedisUrl = Annotated[str, PlainValidator(units.redis_url), Kind("URL")]
HttpUrl = Annotated[str, PlainValidator(units.http_url), Kind("URL")]
Listen = Annotated[units.ListenAddress, PlainValidator(units.listen_address), Kind("HOST:PORT")]
OriginWord = Annotated[Origin, PlainValidator(units.choice(Origin)), _words(Origin)]
KindWord = Annotated[LocationKind, PlainValidator(units.choice(LocationKind)), _words(LocationKind)]
FormatWord = Annotated[Format, PlainValidator(units.choice(Format)), _words(Format)]
ModeWord = Annotated[
    HeartbeatMode, PlainValidator(units.choice(HeartbeatMode)), _words(HeartbeatMode)
]
UnsupportedWord = Annotated[
    UnsupportedMode, PlainValidator(units.choice(UnsupportedMode)), _words(UnsupportedMode)
]
EngineWord = Annotated[Engine, PlainValidator(units.choice(Engine)), _words(Engine)]
LevelWord = Annotated[LogLevel, PlainValidator(units.choice(LogLevel)), _words(LogLevel)]
LogFormatWord = Annotated[LogFormat, PlainValidator(units.choice(LogFormat)), _words(LogFormat)]
CheckWord = Annotated[CheckMode, PlainValidator(units.choice(CheckMode)), _words(CheckMode)]
CheckWords = dict[
    Annotated[CheckId, PlainValidator(units.choice(CheckId))],
    CheckWord,
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RedisKeys(Section):
    url: RedisUrl | None = _key(
        None,
        "The server to watch: redis://, rediss:// (TLS) or unix://. Without it only files are "
        "judged. A password in it is refused in a flag.",
        secrecy=Secrecy.URL,
    )
    username: Text | None = _key(None, "ACL user.")
    password: Secret | None = _key(
        None,
        "Password. Better: redis.password_file.",
        secrecy=Secrecy.WHOLE,
        places=NOT_A_FLAG,
        flag_remedy="put it into a file and give --redis.password-file",
    )
    password_file: FilePath | None = _key(
        None, "File that holds the password; read anew at each login."
    )
    ca_file: FilePath | None = _key(None, "CA certificates (PEM) that the server's must chain to.")
    cert_file: FilePath | None = _key(None, "Client certificate (PEM).")
    key_file: FilePath | None = _key(None, "Key of the client certificate (PEM).")
    check_hostname: Switch = _key("true", "Whether the server's certificate must name the host.")
    timeout: MoreSeconds = _key("5s", "For connecting and for each answer.")
    attempts: Annotated[int, PlainValidator(units.count(1, 10)), Kind("1 to 10")] = _key(
        "3", "Tries in one look before the server counts as unreachable."
    )
    grace: Seconds = _key(
        "10m", "How long the last pass of a server check is held as warn while the server is away."
    )


class BackupKeys(Section):
    dir: DirPath | None = _key(
        None, "Directory with backups; makes the required location named local."
    )
    pattern: Pattern = _key("*.rdb", "Which names in it are backups; *.rdb takes *.rdb.gz too.")
    origin: OriginWord | None = _key(
        None,
        "How backups come there: the server's own dump file, files copied there, redis-cli --rdb, "
        "or a managed service's export.",
        shown="server_file if the pattern is one plain name, else copy",
    )
    max_age: SomeSeconds = _key("26h", "An older newest backup puts the data at risk.")
    settle_time: Seconds = _key("10s", "How long a file must lie unchanged before it is read.")
    allow_empty: Switch = _key("false", "Whether a backup without any key may be good.")
    name_time: NameTime | None = _key(
        None, "How the time stands in file names, used where the file itself tells none."
    )
    name_time_zone: Zone = _key("UTC", "Time zone of backup.name_time.")


class LocationKeys(Section):
    name: Label | None = _key(
        None, "Its label in all outputs. Must be given; local is taken by backup.dir."
    )
    kind: KindWord = _key("directory", "What the location is.")
    path: DirPath | None = _key(None, "Its directory. Must be given.")
    pattern: Pattern = _key("*.rdb", "As backup.pattern.")
    format: FormatWord = _key("rdb", "Format of its backups.")
    origin: OriginWord | None = _key(
        None, "As backup.origin.", shown="server_file if the pattern is one plain name, else copy"
    )
    required: Switch = _key("true", "false: advisory, shown but never part of the verdict.")
    max_age: SomeSeconds = _key("26h", "As backup.max_age.")
    settle_time: Seconds = _key("10s", "As backup.settle_time.")
    allow_empty: Switch = _key("false", "As backup.allow_empty.")
    name_time: NameTime | None = _key(None, "As backup.name_time.")
    name_time_zone: Zone = _key("UTC", "As backup.name_time_zone.")
    checks: Annotated[CheckWords, Kind("{CHECK: off \\| warn \\| block}")] = Field(
        default_factory=dict, description="As checks.*, for this location alone."
    )


class CheckKeys(Section):
    interval: SomeSeconds = _key("15s", "Time between two looks.")


class WebKeys(Section):
    listen_address: Listen = _key(":19121", "Where the page, /metrics and the health paths answer.")


class HeartbeatKeys(Section):
    url: HttpUrl | None = _key(
        None,
        "Address of the heartbeat monitor; whoever has it can silence the alarm.",
        secrecy=Secrecy.URL,
        places=NOT_A_FLAG,
        flag_remedy="put it into a file and give --heartbeat.url-file",
    )
    url_file: FilePath | None = _key(None, "File that holds the address; followed when it changes.")
    name: Label = _key("default", "Its label in all outputs.")
    mode: ModeWord | None = _key(
        None,
        "One ping for each new proven backup, or one at each interval while protected.",
        shown="continuous for origin server_file, else per_backup",
    )
    interval: SomeSeconds = _key(
        "5m", "Time between two pings, mode continuous; at the next look after it."
    )
    min_interval: Seconds = _key("0", "Least time between two pings, mode per_backup; 0 is none.")
    timeout: MoreSeconds = _key("10s", "For one ping.")


class VerifyKeys(Section):
    engine: EngineWord = _key("auto", "What reads the files; auto takes the best that is there.")
    timeout: SomeSeconds = _key("10m", "Least time that one reading may take.")
    min_rate: Rate = _key("5MB", "Larger files get their size divided by this as time.")
    reverify: SomeSeconds = _key(
        "7d", "When the newest valid backup is read again, against bit rot."
    )
    backlog: Annotated[int, PlainValidator(units.count(1, 10_000)), Kind("1 to 10000")] = _key(
        "8", "How many of the backups in a place are read in full, unless none of them is valid."
    )
    min_interval: Seconds = _key(
        "1m", "Least time between two full readings of a server's own dump file."
    )
    memory: Budget = _key(
        "64MiB",
        "Most that the native engine holds to find duplicate keys and members; what it can't hold "
        "is searched in shares, one a reading.",
    )
    memory_limit: Limit = _key(
        "2GiB",
        "Address space of the process in which rdbtools reads a file; for the native engine, the "
        "largest single value.",
    )
    max_rate: MaxRate = _key(
        "0", "How fast files are read at most, to spare the disk; 0 is as fast as they can be."
    )
    unsupported: UnsupportedWord = _key(
        "block", "A format newer than known: withhold, or trust its checksum alone."
    )


class SecondOpinionKeys(Section):
    max_size: SizeLimit = _key(
        "256MiB",
        "Up to which size each new backup is read by the rdbtools engine too, after the verdict.",
    )


class TargetKeys(Section):
    version: Version | None = _key(
        None,
        "Where backups are to be restored, if not on the watched server: 7.2, valkey 8.1.",
    )
    modules: Modules | None = _key(None, "Modules of that server, as MODULE LIST names them.")
    databases: (
        Annotated[int, PlainValidator(units.count(1, 999_999_999)), Kind("1 to 999999999")] | None
    ) = _key(None, "The setting databases of that server.")


class StateKeys(Section):
    dir: DirPath = _key("/var/lib/redis-backup-exporter", "What must survive a restart.")


class LogKeys(Section):
    level: LevelWord = _key("info", "Least severe messages that are written.")
    format: LogFormatWord = _key("logfmt", "How they are written, to stderr.")


#: The keys that are no model: flag and environment only.
CONFIG_FILE_HELP = "YAML file with settings."


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One row of the table."""

    name: str
    kind: str
    default: str
    help: str
    places: frozenset[Place] = EVERYWHERE
    secrecy: Secrecy = Secrecy.NONE
    flag_remedy: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        return ENV_PREFIX + self.name.replace(".", "_").upper()

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))


def _rows(section: str, model: type[Section], places: frozenset[Place] | None) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        extra = _extra(info)
        yield Key(
            name=f"{section}.{name}",
            kind=next(part.name for part in _metadata(info) if isinstance(part, Kind)),
            default=extra.default,
            help=info.description or "",
            places=extra.places if places is None else places,
            secrecy=extra.secrecy,
            flag_remedy=extra.flag_remedy,
        )


def _extra(info: FieldInfo) -> Extra:
    stored: Any = info.json_schema_extra or {}
    found: Extra = stored.get("extra", Extra("", Secrecy.NONE, EVERYWHERE, ""))
    return found


def _metadata(info: FieldInfo) -> list[Any]:
    """The metadata of the type, or of its one part that is not None."""
    nested: list[Any] = [
        part for option in getattr(info.annotation, "__args__", ()) for part in
        getattr(option, "__metadata__", ())
    ]  # fmt: skip
    return [*info.metadata, *nested]


SECTIONS: dict[str, type[Section]] = {
    "redis": RedisKeys,
    "backup": BackupKeys,
    "check": CheckKeys,
    "web": WebKeys,
    "heartbeat": HeartbeatKeys,
    "verify": VerifyKeys,
    "second_opinion": SecondOpinionKeys,
    "target": TargetKeys,
    "state": StateKeys,
    "log": LogKeys,
}

CONFIG_FILE = Key(
    name="config.file",
    kind="file",
    default="",
    help=CONFIG_FILE_HELP,
    places=frozenset({Place.FLAG, Place.ENV}),
)

#: Every key that a flag, an environment name or a section of the file can set.
KEYS: tuple[Key, ...] = (
    *(row for name, model in SECTIONS.items() for row in _rows(name, model, None)),
    *(
        Key(
            name=f"checks.{check}",
            kind=_words(CheckMode).name,
            default="by the catalogue",
            help=f"What a fail of {check} does at every location.",
        )
        for check in CheckId
    ),
    CONFIG_FILE,
)

#: Keys of one entry of the file's list ``locations``.
LOCATION_KEYS: tuple[Key, ...] = tuple(_rows("locations[]", LocationKeys, frozenset({Place.FILE})))

BY_NAME = {key.name: key for key in KEYS}


def markdown_table() -> str:
    """All keys as the table of the README."""
    lines = [
        "| key | flag | environment | type | default | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for key in (*KEYS, *LOCATION_KEYS):
        flag = f"`{key.flag}`" if Place.FLAG in key.places else "-"
        env = f"`{key.env}`" if Place.ENV in key.places else "-"
        plain = key.default and (" " not in key.default)
        default = f"`{key.default}`" if plain else key.default or "-"
        lines.append(f"| `{key.name}` | {flag} | {env} | {key.kind} | {default} | {key.help} |")
    return "\n".join(lines) + "\n"
