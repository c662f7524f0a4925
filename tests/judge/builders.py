"""Facts by the handful: what a test says is set, all else is healthy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exporter.judge.facts import Facts, place
from exporter.judge.verdict import Judgement, judge
from exporter.model import (
    Arrival,
    Backup,
    CheckId,
    CheckResult,
    ChecksumState,
    Dialect,
    Known,
    Listing,
    Location,
    Origin,
    Policy,
    Proof,
    RdbReport,
    Reason,
    SecondOpinion,
    ServerView,
    Status,
    Unseen,
    Verdict,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
DAY = 86400.0

AGREED = SecondOpinion(engine="other", agrees=True)


def report(status: Status = Status.VALID, *, age: float | None = 60.0, **facts: Any) -> RdbReport:
    values: dict[str, Any] = {
        "rdb_version": 11,
        "dialect": Dialect.REDIS,
        "server_version": "7.2.6",
        "checksum": ChecksumState.OK,
        "crc64": 0xABC0000000000000 + int(age or 0),
        "ctime": None if age is None else int(NOW - age),
        "keys": 1000,
        "engine": "test",
    }
    if status is not Status.VALID:
        values["reason"] = f"it is {status}"
    return RdbReport(status=status, **{**values, **facts})


def backup(name: str = "a.rdb", *, age: float = 50.0, **facts: Any) -> Backup:
    values: dict[str, Any] = {
        "location": "local",
        "name": name,
        "path": f"/backup/{name}",
        "size_bytes": 10_000,
        "mtime_ns": int((NOW - age) * 1e9),
        "ctime_ns": int((NOW - age) * 1e9),
        "inode": hash(name) % 10_000 + 1,
        "device": 1,
        "settled": True,
    }
    return Backup(**{**values, **facts})


def known(
    name: str = "day-0.rdb",
    found: RdbReport | None = None,
    *,
    arrived: float = 50.0,
    exists: bool = True,
    identity: str | None = "",
    opinion: SecondOpinion | None = AGREED,
    **facts: Any,
) -> Known:
    """A file that arrived ``arrived`` seconds ago; ``found`` is its report, if it was read."""
    its = f"id-{name}" if identity == "" else identity
    proof = None
    if found is not None:
        proof = Proof(
            identity=its or "",
            report=found,
            verified_at=NOW - 1,
            ctime_ns=0,
            second_opinion=opinion,
        )
    return Known(
        backup=backup(name, age=arrived, **facts),
        identity=its,
        arrived_at=NOW - arrived,
        proof=proof,
        exists=exists,
    )


def arrival(name: str, found: RdbReport, *, arrived: float, size_bytes: int = 10_000) -> Arrival:
    return Arrival(
        identity=f"id-{name}",
        name=name,
        arrived_at=NOW - arrived,
        mtime_ns=int((NOW - arrived) * 1e9),
        size_bytes=size_bytes,
        report=found,
    )


def daily(count: int = 5, keys: int = 1000, size_bytes: int = 10_000) -> tuple[Arrival, ...]:
    """``count`` good snapshots, a day apart, oldest first."""
    return tuple(
        arrival(
            f"day-{n}.rdb",
            report(age=n * DAY, keys=keys),
            arrived=n * DAY - 60,
            size_bytes=size_bytes,
        )
        for n in range(count, 0, -1)
    )


def server(**facts: Any) -> ServerView:
    values: dict[str, Any] = {
        "at": NOW,
        "version": "7.2.6",
        "dialect": "redis",
        "uptime_seconds": 10 * 86400,
        "last_save_at": int(NOW - 60),
        "changes_since_last_save": 5,
        "last_bgsave_ok": True,
        "last_bgsave_seconds": 0,
        "saves_started": 3,
        "mode": "standalone",
        "cluster": False,
        "modules": frozenset(),
        "config": {"databases": "16"},
    }
    return ServerView(**{**values, **facts})


def unseen(reason: Reason) -> Unseen:
    return Unseen(source="test", at=NOW, reason=reason, detail="why it was not seen")


def facts(
    *files: Known,
    seen: Unseen | None = None,
    history: tuple[Arrival, ...] = (),
    watched: ServerView | Unseen | None = None,
    policy: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    **location: Any,
) -> Facts:
    """Facts of one location called ``local`` and of the server ``watched``."""
    here = Location(name="local", path="/backup", **location)
    listing = Listing(location="local", at=NOW, backups=tuple(k.backup for k in files if k.exists))
    at = place(here, seen or listing, files, history, NOW)
    rules = Policy(locations=(here,), redis=watched is not None, **(policy or {}))
    return Facts(now=NOW, policy=rules, locations=(at,), server=watched, **(more or {}))


def judged(*files: Known, previous: Verdict | None = None, **how: Any) -> Judgement:
    return judge(facts(*files, **how), previous)


def result(check: CheckId, *files: Known, **how: Any) -> CheckResult:
    """How ``check`` came out."""
    return next(r for r in judged(*files, **how).results if r.check is check)


__all__ = [
    "AGREED", "DAY", "HOUR", "NOW", "Origin", "arrival", "backup", "daily", "facts", "judged", "known",
    "replace", "report", "result", "server", "unseen",
]  # fmt: skip
