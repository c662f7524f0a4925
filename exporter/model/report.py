"""What reading one file showed, and the proof that is kept of it.

Knows: the contract of ``verify --json``. Refuses to know: how files are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from exporter.model.words import ChecksumState, Dialect, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something odd in a file that loads all the same."""

    kind: str
    count: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a server must have to load the file, beyond a plain one."""

    modules: tuple[str, ...] = ()
    databases: int = 16
    functions: int = 0
    cluster: bool = False
    resizedb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesSearched:
    """Which share of the key space was searched for duplicates: ``part`` of ``of``; 1 of 1 is all.

    The budget of the search is fixed, so that no file can take the machine's memory; the part goes
    round from one reading to the next.
    """

    part: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RdbReport:
    """What reading one RDB file showed. Counts are what was read, also of a broken file."""

    status: Status
    reason: str | None = None
    """One line for a person; set for all but ``valid``."""
    offset: int | None = None
    """Byte of the (uncompressed) RDB where it went wrong."""
    key_index: int | None = None
    rdb_version: int | None = None
    dialect: Dialect | None = None
    server_version: str | None = None
    ctime: int | None = None
    used_mem: int | None = None
    repl_id: str | None = None
    repl_offset: int | None = None
    aof_base: bool | None = None
    checksum: ChecksumState | None = None
    crc64: int | None = None
    """The stored CRC: the snapshot's fingerprint."""
    keys: int = 0
    expires: int = 0
    keys_by_db: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """db -> (keys, expires)"""
    keys_by_type: Mapping[str, int] = field(default_factory=dict)
    functions: int = 0
    findings: tuple[Finding, ...] = ()
    needs: Needs = field(default_factory=Needs)
    bytes: int = 0
    """Bytes of the file that were read, as stored."""
    seconds: float = 0.0
    engine: str = ""
    compression: str | None = None
    depth: str = "structure"
    """``checksum``: nothing was counted. ``structure``. ``full``: insides of values, duplicates."""
    duplicates_searched: DuplicatesSearched | None = None
    """None where it is not known, or nothing was searched."""

    @property
    def counted(self) -> bool:
        """Whether keys, types and functions were looked at."""
        return self.depth != "checksum"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values; the names are the contract of ``verify --json``."""
        out = asdict(self)
        out["valid"] = self.status is Status.VALID
        out["crc64"] = None if self.crc64 is None else f"{self.crc64:016x}"
        out["keys_by_db"] = {
            str(db): {"keys": keys, "expires": expires}
            for db, (keys, expires) in sorted(self.keys_by_db.items())
        }
        out["keys_by_type"] = dict(sorted(self.keys_by_type.items()))
        out["needs"]["modules"] = list(self.needs.modules)
        if not self.counted:
            out.update(dict.fromkeys(_COUNTS))
        return out

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RdbReport:
        """The inverse of :meth:`to_dict`; unknown names are left out (a newer writer)."""
        known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        for name in _COUNTS:
            if known.get(name, 0) is None:
                del known[name]
        known["status"] = Status(raw["status"])
        known["dialect"] = Dialect(raw["dialect"]) if raw.get("dialect") else None
        known["checksum"] = ChecksumState(raw["checksum"]) if raw.get("checksum") else None
        known["crc64"] = None if raw.get("crc64") is None else int(raw["crc64"], 16)
        known["keys_by_db"] = {
            int(db): (row["keys"], row["expires"])
            for db, row in known.get("keys_by_db", {}).items()
        }
        known["findings"] = tuple(Finding(**row) for row in raw.get("findings") or ())
        needs = dict(raw.get("needs") or {})
        known["needs"] = Needs(**{**needs, "modules": tuple(needs.get("modules", ()))})
        searched = raw.get("duplicates_searched")
        known["duplicates_searched"] = (
            DuplicatesSearched(part=int(searched["part"]), of=int(searched["of"]))
            if searched
            else None
        )
        return cls(**known)


#: What a report at depth checksum does not know; null in its JSON form, never 0.
_COUNTS = ("keys", "expires", "keys_by_db", "keys_by_type", "functions", "findings", "needs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RdbHeader:
    """What the first 512 and the last 8 bytes say: claims, not proof."""

    dialect: Dialect | None = None
    rdb_version: int | None = None
    server_version: str | None = None
    ctime: int | None = None
    repl_id: str | None = None
    crc64: int | None = None
    """The last 8 bytes, little endian, if this kind of file has a checksum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What another engine said of the same bytes."""

    engine: str
    agrees: bool | None
    """None where one of the two could not verify the file: that is no disagreement."""
    detail: str = ""
    """One line for a person; empty where both agree."""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> SecondOpinion:
        return cls(**{name: raw[name] for name in cls.__dataclass_fields__ if name in raw})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A report that is kept: for which bytes, and when they were read."""

    identity: str
    report: RdbReport
    verified_at: float
    """When the last full read ended."""
    ctime_ns: int
    """The inode's change time at that read: a later one means that somebody touched the file."""
    attempts: int = 1
    """Readings in a row that could not verify it."""
    second_opinion: SecondOpinion | None = None
    """None where there is none yet, or none is asked for; it never holds up the proof."""


class ProvenStore(Protocol):
    """Where proofs are kept, seen from the rooms that use it."""

    def proof(self, identity: str) -> Proof | None: ...

    def prove(self, proof: Proof) -> None:
        """Keeps ``proof``; when this returns it survives a SIGKILL."""
