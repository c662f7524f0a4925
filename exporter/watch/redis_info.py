"""The answer of INFO as fields: tolerant, since it differs in every version and fork.

Knows: the names of the catalogue, and how each is written. What is absent, malformed or -1 is
None. Refuses to know: how the answer came, and whether what it says is good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

#: The fields that are kept as they came, for the page and for checks: server, persistence,
#: Dragonfly's own words for the same, replication, cluster, memory and stats, commandstats.
#: Nothing else is kept: other fields may name hosts and clients.
_KEPT_NAMES = """
    redis_version server_name valkey_version valkey_release_stage dragonfly_version redis_mode
    server_mode run_id process_id uptime_in_seconds config_file executable
    loading async_loading current_cow_peak current_cow_size current_cow_size_age
    current_fork_perc current_save_keys_processed current_save_keys_total
    rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status
    rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves rdb_saves_consecutive_failures
    rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded
    aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec
    aof_current_rewrite_time_sec aof_last_bgrewrite_status aof_last_write_status
    aof_last_cow_size aof_rewrites aof_rewrites_consecutive_failures aof_current_size
    aof_base_size aof_pending_rewrite aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync
    module_fork_in_progress module_fork_last_cow_size slot_migration_fork_in_progress
    backup_in_progress loading_start_time loading_total_bytes loading_rdb_used_mem
    loading_loaded_bytes loading_loaded_perc loading_eta_seconds
    last_success_save last_saved_file last_success_save_duration_sec saving last_failed_save
    last_error rdb_changes_since_last_success_save
    role master_link_status master_last_io_seconds_ago master_link_down_since_seconds
    master_sync_in_progress slave_repl_offset master_replid master_replid2 master_repl_offset
    cluster_enabled
    used_memory used_memory_rss maxmemory total_system_memory latest_fork_usec total_forks
    acl_access_denied_auth acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel
    cmdstat_flushall cmdstat_flushdb cmdstat_config|set cmdstat_bgsave cmdstat_save
"""
KEPT = frozenset(_KEPT_NAMES.split())

_DATABASE = re.compile(r"db[0-9]{1,9}", re.ASCII)
_DATABASE_KEYS = re.compile(r"keys=([0-9]{1,18})(?:,|$)", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_VALUE_LIMIT = 512
_KEYSPACE = "# keyspace"


def parse(answer: bytes) -> Mapping[str, str]:
    """The kept fields of INFO's answer, and ``dbN`` of its keyspace; values as they came.

    ``# keyspace`` is there, with an empty value, if the answer had that section: with no key in
    any database it has no line, and 0 keys is not the same as an unknown number.
    """
    fields: dict[str, str] = {}
    for raw in answer.split(b"\n"):
        line = raw.decode("utf-8", "backslashreplace").strip()
        if line.lower() == _KEYSPACE:
            fields[_KEYSPACE] = ""
            continue
        name, colon, value = line.partition(":")
        if colon and (name in KEPT or _DATABASE.fullmatch(name)):
            fields[name] = _printable(value)
    return MappingProxyType(fields)


def view_fields(info: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a ``ServerView`` that INFO gives, by name."""
    fields = {
        name: read(info[source]) for name, (source, read) in _FIELDS.items() if source in info
    }
    fork_usec = _count(info.get("latest_fork_usec", ""))
    return fields | {
        "dialect": _dialect(info),
        "version": info.get("valkey_version") or info.get("redis_version"),
        "mode": info.get("redis_mode") or info.get("server_mode"),
        "loading": info.get("loading") == "1",
        "keys": _keys(info),
        "latest_fork_seconds": None if fork_usec is None else fork_usec / 1e6,
        "info": MappingProxyType({k: v for k, v in info.items() if k != _KEYSPACE}),
    }


def is_sentinel(info: Mapping[str, str]) -> bool:
    return "sentinel" in {info.get("redis_mode"), info.get("server_mode")}


def _count(text: str) -> int | None:
    """A count, a time or a duration; None for -1, which says "none so far", and for no number."""
    return int(text) if _INTEGER.fullmatch(text) else None


def _flag(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def _ok(text: str) -> bool | None:
    return {"ok": True, "err": False}.get(text)


def _text(text: str) -> str | None:
    return text or None


def _second_id(text: str) -> str | None:
    """The replication id before the last failover; forty zeros say that there was none."""
    return text if text.strip("0") else None


_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "role": ("role", _text),
    "cluster": ("cluster_enabled", _flag),
    "run_id": ("run_id", _text),
    "uptime_seconds": ("uptime_in_seconds", _count),
    "loading_progress": ("loading_loaded_bytes", _count),
    "last_save_at": ("rdb_last_save_time", _count),
    "changes_since_last_save": ("rdb_changes_since_last_save", _count),
    "bgsave_in_progress": ("rdb_bgsave_in_progress", _flag),
    "last_bgsave_ok": ("rdb_last_bgsave_status", _ok),
    "last_bgsave_seconds": ("rdb_last_bgsave_time_sec", _count),
    "current_bgsave_seconds": ("rdb_current_bgsave_time_sec", _count),
    "saves_started": ("rdb_saves", _count),
    "last_cow_bytes": ("rdb_last_cow_size", _count),
    "load_keys_loaded": ("rdb_last_load_keys_loaded", _count),
    "load_keys_expired": ("rdb_last_load_keys_expired", _count),
    "aof_enabled": ("aof_enabled", _flag),
    "aof_last_write_ok": ("aof_last_write_status", _ok),
    "aof_last_rewrite_ok": ("aof_last_bgrewrite_status", _ok),
    "aof_size_bytes": ("aof_current_size", _count),
    "used_memory_bytes": ("used_memory", _count),
    "replid": ("master_replid", _text),
    "replid2": ("master_replid2", _second_id),
}


def _dialect(info: Mapping[str, str]) -> str | None:
    """Valkey says redis_version 7.2.4 for old clients; its own words come first."""
    if "valkey_version" in info:
        return "valkey"
    if "dragonfly_version" in info:
        return "dragonfly"
    return info.get("server_name") or ("redis" if "redis_version" in info else None)


def _keys(info: Mapping[str, str]) -> int | None:
    databases = [value for name, value in info.items() if _DATABASE.fullmatch(name)]
    counts = [_DATABASE_KEYS.match(value) for value in databases]
    if not all(counts) or (not counts and _KEYSPACE not in info):
        return None
    return sum(int(count.group(1)) for count in counts if count is not None)


def _printable(text: str) -> str:
    return "".join(char for char in text[:_VALUE_LIMIT] if char.isprintable())
