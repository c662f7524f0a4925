"""The Snapshot as ``/api/v1/status`` gives it.

Knows: the names of that document, which are a contract. Refuses to know: HTTP, and any secret
(of the server only facts that are listed here are shown, never its whole INFO or CONFIG).

Times are unix seconds, sizes bytes, unknown is ``null``::

    at, version, engine
    verdict     {state, since, reason, stale, blocking: [check...]}
    server      null without one, else {up, at, reason, detail} or {up, at, version, ..., modules,
                config}; what the server will not tell is {reason}
    locations   [{name, path, kind, pattern, format, origin, required, max_age_seconds, up, at,
                  reason, detail, status, newest, newest_judged, last_valid, pending: [backup...],
                  pending_count, files, files_size_bytes, distinct_snapshots, free_bytes, ...}]
    backup      {name, size_bytes, mtime, arrived_at, taken_at, time_source, fingerprint, status,
                 exists, settled, verified_at, second_opinion, report}; `report` as in
                 `verify --json`, second_opinion null or {engine, agrees, detail, seconds}
    checks      [{check, location, outcome, severity, blocks, reason, measured, limit, remedy}]
    exposed     {changes, seconds}
    heartbeat   null, or {name, mode, target, last_success_at, due, held, last_failure, ...}
    verifier    {location, name, started_at, ratio}
    cycle       null, or {number, at, seconds, interval_seconds, stale_after_seconds}
    notices     [{id, text}]

A verdict that grew stale is ``unknown`` with reason ``verdict_stale``; the observations behind it
stay, each with its time. Text from outside that UTF-8 can't hold comes with backslashes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from exporter import __version__
from exporter.model import (
    Candidate,
    CheckResult,
    HeartbeatState,
    LocationState,
    ServerView,
    Snapshot,
    Unseen,
)
from exporter.publish.standing import Standing, newest_status, notices, standing

#: More would make the document grow with a directory of a hundred thousand files.
PENDING_SHOWN = 100

#: Facts of CONFIG that say where and how the server saves. Nothing else is ever shown.
CONFIG_SHOWN = (
    "dir",
    "dbfilename",
    "save",
    "appendonly",
    "appenddirname",
    "rdbchecksum",
    "databases",
)

_SERVER_FACTS = (
    "version", "dialect", "mode", "role", "cluster", "started_at", "uptime_seconds", "loading",
    "loading_progress", "last_save_at", "changes_since_last_save", "bgsave_in_progress",
    "last_bgsave_ok", "last_bgsave_seconds", "current_bgsave_seconds", "saves_started",
    "last_cow_bytes", "latest_fork_seconds", "aof_enabled", "aof_last_write_ok",
    "aof_last_rewrite_ok", "aof_size_bytes", "keys", "used_memory_bytes",
)  # fmt: skip


def status_json(snapshot: Snapshot, now: float) -> bytes:
    """The document as it counts at ``now`` (unix seconds)."""
    return json.dumps(_clean(status(snapshot, now)), indent=1, allow_nan=False).encode() + b"\n"


def status(snapshot: Snapshot, now: float) -> dict[str, Any]:
    """The document as JSON-ready values, text from outside still as it came."""
    policy, cycle = snapshot.policy, snapshot.cycle
    return {
        "at": snapshot.at,
        "version": __version__,
        "engine": snapshot.engine,
        "verdict": _verdict(standing(snapshot, now)),
        "server": _server(snapshot.server),
        "locations": [_location(state) for state in snapshot.locations],
        "checks": [_check(result) for result in snapshot.results],
        "exposed": {"changes": snapshot.exposed_changes, "seconds": snapshot.exposed_seconds},
        "heartbeat": _heartbeat(snapshot.heartbeat),
        "verifier": asdict(snapshot.verifier),
        "cycle": None
        if cycle is None
        else {
            **asdict(cycle),
            "interval_seconds": policy.interval_seconds,
            "stale_after_seconds": policy.stale_after_seconds,
        },
        "notices": [asdict(notice) for notice in notices(snapshot)],
    }


def _verdict(now: Standing) -> dict[str, Any]:
    return {
        "state": now.state,
        "since": now.since,
        "reason": now.reason,
        "stale": now.judged and not now.fresh,
        "blocking": [_check(result) for result in now.blocking],
    }


def _check(result: CheckResult) -> dict[str, Any]:
    return {**asdict(result), "blocks": result.blocks}


def _unseen(seen: Unseen) -> dict[str, Any]:
    return {"up": False, "at": seen.at, "reason": seen.reason, "detail": seen.detail}


def _server(server: ServerView | Unseen | None) -> dict[str, Any] | None:
    if server is None:
        return None
    if isinstance(server, Unseen):
        return _unseen(server)
    lastsave, config = server.lastsave_at, server.config
    return {
        "up": True,
        "at": server.at,
        **{name: getattr(server, name) for name in _SERVER_FACTS},
        "lastsave_at": None if isinstance(lastsave, Unseen) else lastsave,
        "modules": _modules(server.modules),
        "config": {
            name: value if isinstance(value, str) else {"reason": value.reason}
            for name, value in ((name, config[name]) for name in CONFIG_SHOWN if name in config)
        },
    }


def _modules(modules: frozenset[str] | Unseen | None) -> list[str] | dict[str, Any] | None:
    if isinstance(modules, Unseen):
        return {"reason": modules.reason}
    return None if modules is None else sorted(modules)


def _location(state: LocationState) -> dict[str, Any]:
    place, seen = state.location, state.seen
    if isinstance(seen, Unseen):
        look: dict[str, Any] = {**_unseen(seen), "free_bytes": None, "total_bytes": None}
        look |= dict.fromkeys(("files", "files_size_bytes", "distinct_snapshots"))
    else:
        look = {
            "up": True,
            "at": seen.at,
            "reason": None,
            "detail": "",
            "free_bytes": seen.free_bytes,
            "total_bytes": seen.total_bytes,
            "ignored": seen.ignored,
            "mount_changed": seen.mount_changed,
            "files": state.files,
            "files_size_bytes": state.files_size_bytes,
            "distinct_snapshots": state.distinct_snapshots,
        }
    return {
        "name": place.name,
        "path": place.path,
        "kind": place.kind,
        "pattern": place.pattern,
        "format": place.format,
        "origin": place.origin,
        "required": place.required,
        "max_age_seconds": place.max_age_seconds,
        **look,
        "status": newest_status(state),
        "newest": _backup(state.newest),
        "newest_judged": _backup(state.newest_judged),
        "last_valid": _backup(state.last_valid),
        "pending": [_backup(each) for each in state.pending[:PENDING_SHOWN]],
        "pending_count": len(state.pending),
    }


def _backup(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    backup, proof = candidate.backup, candidate.proof
    return {
        "name": backup.name,
        "size_bytes": backup.size_bytes,
        "mtime": backup.mtime_ns / 1e9,
        "arrived_at": candidate.arrived_at,
        "taken_at": candidate.taken_at,
        "time_source": candidate.time_source,
        "fingerprint": candidate.fingerprint,
        "status": candidate.status,
        "exists": candidate.exists,
        "settled": backup.settled,
        "verified_at": proof.verified_at if proof else None,
        "second_opinion": proof.second_opinion.to_dict()
        if proof and proof.second_opinion
        else None,
        "report": proof.report.to_dict() if proof else None,
    }


def _heartbeat(state: HeartbeatState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "name": state.policy.name,
        "mode": state.policy.mode,
        "interval_seconds": state.policy.interval_seconds,
        "target": state.target,
        "last_success_at": state.last_success_at,
        "due": state.due,
        "held": state.held,
        "last_failure": state.last_failure,
        "last_failure_at": state.last_failure_at,
        "next_attempt_at": state.next_attempt_at,
    }


def _clean(value: Any) -> Any:
    """The same value as strict JSON can hold it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
