"""What a look showed: files, a server, or why nothing could be seen.

Knows: what was there, and when. Refuses to know: whether that is good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.model.words import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A look that failed: a value like any other."""

    source: str
    at: float
    reason: Reason
    detail: str = ""
    """One line for a person; never a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One candidate file as it was seen."""

    location: str
    name: str
    """Relative to the location."""
    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    inode_stable: bool = True
    """False where inode numbers change by themselves (FUSE and the like)."""
    settled: bool = False
    head: bytes = b""
    """First 512 bytes; empty until settled."""
    tail: bytes = b""
    """Last 8 bytes; empty until settled."""
    failure: Unseen | None = None
    """Why its bytes could not be read."""

    @property
    def mark(self) -> str:
        """A digest of its first and last bytes; empty until settled."""
        return hashlib.sha256(self.head + self.tail).hexdigest()[:16] if self.head else ""

    @property
    def identity(self) -> str:
        """Its name in the ledger: 32 hex digits over what DESIGN calls a backup's identity."""
        parts = (
            self.location, self.name, str(self.size_bytes), str(self.mtime_ns),
            str(self.inode) if self.inode_stable else "-", self.head.hex(), self.tail.hex(),
        )  # fmt: skip
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lay in a location at one moment: every candidate, and the room left."""

    location: str
    at: float
    backups: tuple[Backup, ...]
    free_bytes: int | None = None
    total_bytes: int | None = None
    ignored: int = 0
    """Matching names that are no candidates: temporary, directories, dangling or second links."""
    mount_changed: bool = False
    """The directory is another one than at the last look: replaced, or mounted over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """What the server said in one look. Absent fields are None: not in this version, not asked."""

    at: float
    version: str | None = None
    dialect: str | None = None
    """``redis``, ``valkey`` or the ``server_name`` that it gives itself."""
    mode: str | None = None
    role: str | None = None
    cluster: bool | None = None
    """Whether it is a node of a cluster."""
    run_id: str | None = None
    uptime_seconds: int | None = None
    loading: bool = False
    loading_progress: int | None = None
    """Bytes loaded so far, while loading."""
    last_save_at: int | None = None
    changes_since_last_save: int | None = None
    bgsave_in_progress: bool | None = None
    last_bgsave_ok: bool | None = None
    last_bgsave_seconds: int | None = None
    """None before the first BGSAVE (the server says -1)."""
    current_bgsave_seconds: int | None = None
    saves_started: int | None = None
    last_cow_bytes: int | None = None
    latest_fork_seconds: float | None = None
    load_keys_loaded: int | None = None
    load_keys_expired: int | None = None
    aof_enabled: bool | None = None
    aof_last_write_ok: bool | None = None
    aof_last_rewrite_ok: bool | None = None
    aof_size_bytes: int | None = None
    keys: int | None = None
    used_memory_bytes: int | None = None
    replid: str | None = None
    replid2: str | None = None
    lastsave_at: int | Unseen | None = None
    """The answer of LASTSAVE."""
    config: Mapping[str, str | Unseen] = field(default_factory=dict)
    """CONFIG GET of exact names: value, or why there is none."""
    modules: frozenset[str] | Unseen | None = None
    """Names of the modules that are loaded, as MODULE LIST gives them."""
    info: Mapping[str, str] = field(default_factory=dict)
    """The INFO fields of the catalogue as they came, for the page and for later checks."""

    @property
    def started_at(self) -> float | None:
        return None if self.uptime_seconds is None else self.at - self.uptime_seconds
