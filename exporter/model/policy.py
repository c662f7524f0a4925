"""What is expected: the settings as the judge and the schedule need them.

Knows: locations, limits, modes. Refuses to know: where settings come from (``exporter.settings``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.model.words import (
    CheckId,
    CheckMode,
    Dialect,
    Format,
    HeartbeatMode,
    LocationKind,
    Origin,
    UnsupportedMode,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A named place where backups lie, and what is expected of it."""

    name: str
    path: str
    kind: LocationKind = LocationKind.DIRECTORY
    pattern: str = "*.rdb"
    format: Format = Format.RDB
    origin: Origin = Origin.COPY
    required: bool = True
    max_age_seconds: float = 26 * 3600.0
    settle_seconds: float = 10.0
    allow_empty: bool = False
    name_time: str | None = None
    """A strptime pattern that finds the time in a file's name."""
    name_time_zone: str = "UTC"
    checks: Mapping[CheckId, CheckMode] = field(default_factory=dict)


#: What the search for duplicates may always hold (but for a smaller limit), and which part of a
#: file's size beyond that: 1 GB of small keys then takes no more than an idle process' own memory.
DUPLICATES_LEAST_BYTES = 16 << 20
DUPLICATES_SHARE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """Limits of one reading, and how much of a backlog is read in full."""

    timeout_min_seconds: float = 600.0
    min_rate_bytes_per_second: float = 5e6
    reverify_seconds: float = 7 * 86400.0
    backlog: int = 8
    min_interval_seconds: float = 60.0
    memory_limit_bytes: int = 2 << 30
    unsupported: UnsupportedMode = UnsupportedMode.BLOCK
    duplicates_max_bytes: int = 64 << 20
    """The most that the search for duplicates may hold."""
    max_rate_bytes_per_second: int = 0
    """How fast files are read; 0 is as fast as they can be."""
    second_opinion_max_bytes: float = 256 << 20
    """The largest new file that a second engine reads too: infinity for all, 0 for none."""

    def timeout_seconds(self, size_bytes: int) -> float:
        """Wall seconds that reading ``size_bytes`` may take."""
        rate = self.min_rate_bytes_per_second
        if self.max_rate_bytes_per_second:
            # A reading that is slowed down must not run out of time by that alone.
            rate = min(rate, self.max_rate_bytes_per_second / 2)
        return max(self.timeout_min_seconds, size_bytes / rate)

    def duplicates_bytes(self, size_bytes: int | None) -> int:
        """What the search for duplicates may hold for a file of so many bytes (None: unknown)."""
        wanted = max(DUPLICATES_LEAST_BYTES, (size_bytes or 0) // DUPLICATES_SHARE)
        return min(wanted, self.duplicates_max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPolicy:
    """When the heartbeat named ``name`` is relayed. The URL, a secret, is not here."""

    name: str = "default"
    mode: HeartbeatMode = HeartbeatMode.PER_BACKUP
    interval_seconds: float = 300.0
    min_interval_seconds: float = 0.0
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTarget:
    """The server that backups are to be restored on, as far as a person described it.

    None is "not said", for every field: then the watched server is asked, if there is one.
    """

    server: Dialect | None = None
    version: tuple[int, int] | None = None
    modules: frozenset[str] | None = None
    databases: int | None = None
    cluster: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All that the judge and the schedule need of the settings; no secret."""

    locations: tuple[Location, ...]
    interval_seconds: float = 15.0
    redis: bool = False
    """Whether a server is watched; False is the artifact-only mode."""
    redis_grace_seconds: float = 600.0
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    heartbeat: HeartbeatPolicy | None = None
    checks: Mapping[CheckId, CheckMode] = field(default_factory=dict)
    """Modes of the checks of the server; those of a location stand in it."""
    restore_target: RestoreTarget | None = None
    """Where backups are to be restored, if not on the watched server."""

    @property
    def stale_after_seconds(self) -> float:
        """A verdict older than this is no verdict."""
        return 3 * self.interval_seconds + 60.0

    @property
    def trigger(self) -> Location:
        """The location whose backups the heartbeat follows: the first required one."""
        return next(place for place in self.locations if place.required)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTarget:
    """Where the watched server is, and how to log in. Secrets stay out of ``repr``."""

    url: str = field(repr=False)
    """A ``redis``, ``rediss`` or ``unix`` URL; a password in it only from env or a private file."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    """Read anew at each login, so that a rotated password needs no restart."""
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True
    timeout_seconds: float = 5.0
    attempts: int = 3
