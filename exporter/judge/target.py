"""The server that a backup is to be restored on: described by a person, else the one watched.

Knows: which facts may come from where, and which dump versions each server loads (seen on real
ones, 2.4 to 8.10 and Valkey 7.2 to 9.1). Refuses to know: what a given file needs
(``restore_target``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from exporter.judge.facts import Facts
from exporter.model import Dialect, Reason, ServerView, Unseen

Version = tuple[int, int]

#: Server version -> the greatest REDIS dump that it loads; it holds until the next row.
REDIS_LOADS = (
    ((2, 4), 2),
    ((2, 6), 6),
    ((3, 2), 7),
    ((4, 0), 8),
    ((5, 0), 9),
    ((7, 0), 10),
    ((7, 2), 11),
    ((7, 4), 12),
    ((8, 6), 13),
    ((8, 8), 14),
    ((8, 10), 15),
)
#: The same for Valkey. Valkey 9 takes dumps of its own and those of Redis up to 7.2: 12 to 79 are
#: foreign to it.
VALKEY_LOADS = (((7, 2), 11), ((9, 0), 11))
#: The first dump with the magic VALKEY; only Valkey from 9.0 on loads one.
VALKEY_MAGIC = 80
_OWN_MAGIC_SINCE = (9, 0)
_LOADS: Mapping[Dialect, Sequence[tuple[Version, int]]] = {
    Dialect.REDIS: REDIS_LOADS,
    Dialect.VALKEY: VALKEY_LOADS,
}
#: The newest servers whose loading we have seen: what a later one takes beyond is not known.
_NEWEST = {Dialect.REDIS: (8, 10), Dialect.VALKEY: (9, 1)}
#: A version that we have not seen between two that differ.
_GAPS = {((8, 4), 13)}
#: Patch numbers from here on are release candidates of the next version (7.3.240 is 7.4-rc1).
_CANDIDATE = 100

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is known of it. None: nobody says; Unseen: why it can't be told (for now, or at all)."""

    name: str
    """For a person: which server, and how we know."""
    dialect: str | None = None
    version: Version | Unseen | None = None
    candidate: bool = False
    """The version is one before a release: what it loads may be more."""
    relaxed: bool = False
    """It tries foreign dumps too (``rdb-version-check relaxed``)."""
    modules: frozenset[str] | Unseen | None = None
    databases: int | Unseen | None = None
    """How many it loads data into."""
    cluster: bool | Unseen | None = None
    memory_bytes: int | None = None


def target(facts: Facts, own: Dialect | None) -> Target | None:
    """The target for a file of the dialect ``own``; None where nobody says anything about one.

    A configured fact wins. The others are those of the watched server, unless a server of another
    kind was configured: that is not the one which is watched.
    """
    said = facts.policy.restore_target
    view = facts.server if isinstance(facts.server, ServerView) else facts.last_good
    lost = facts.server if isinstance(facts.server, Unseen) else None
    if said is None:
        return _watched(view, lost)
    another = said.server is not None and (view is None or view.dialect != said.server)
    seen = None if another else _watched(view, lost)
    # A version alone means the kind of server that wrote the file, where none is watched.
    known = said.server or (seen.dialect if seen else None) or own
    version: Version | Unseen | None = said.version or (seen.version if seen else None)
    shown = f" {version[0]}.{version[1]}" if isinstance(version, tuple) else ""
    return Target(
        name=f"{known or 'a server'}{shown}, as configured",
        dialect=known,
        version=version,
        candidate=seen.candidate if seen and said.version is None else False,
        relaxed=seen.relaxed if seen else False,
        modules=_first(said.modules, seen, lambda t: t.modules),
        databases=_first(said.databases, seen, lambda t: t.databases),
        cluster=_first(said.cluster, seen, lambda t: t.cluster),
        memory_bytes=seen.memory_bytes if seen else None,
    )


_T = TypeVar("_T")


def _first(
    said: _T | None, seen: Target | None, get: Callable[[Target], _T | Unseen | None]
) -> _T | Unseen | None:
    if said is not None:
        return said
    return None if seen is None else get(seen)


def _watched(view: ServerView | None, lost: Unseen | None) -> Target | None:
    """The watched server, as it was last seen; ``lost`` says that it can't be seen now."""
    if view is None:
        if lost is None:
            return None
        return Target(
            name="the watched server", version=lost, modules=lost, databases=lost, cluster=lost
        )
    found = _VERSION.match(view.version or "")
    major, minor, patch = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    setting = view.config.get("rdb-version-check")
    return Target(
        name=f"{view.dialect or 'a server'} {view.version or ''}".strip() + ", the watched one",
        dialect=view.dialect,
        version=(major, minor) if found else None,
        candidate=patch >= _CANDIDATE,
        relaxed=setting == "relaxed",
        modules=view.modules,
        databases=_databases(view),
        cluster=view.mode == "cluster" if view.cluster is None and view.mode else view.cluster,
        memory_bytes=_number(view.info.get("total_system_memory")),
    )


def _databases(view: ServerView) -> int | Unseen | None:
    """A cluster node has one, whatever ``databases`` says, and dies of a file with more; in Valkey
    9 a setting of its own says how many.
    """
    if not view.cluster:
        setting = view.config.get("databases")
        return setting if isinstance(setting, Unseen) else _number(setting)
    own = view.config.get("cluster-databases")
    if isinstance(own, Unseen) and own.reason is not Reason.FIELD_ABSENT:
        return own
    return (_number(own) if isinstance(own, str) else None) or 1


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def greatest(server: Target) -> int | None:
    """The greatest REDIS dump that it surely loads; None where that is not known."""
    dialect = _dialect(server)
    if dialect is None or not isinstance(server.version, tuple):
        return None
    return _row(_LOADS[dialect], server.version)


def loads_dump(server: Target, version: int) -> bool | None:
    """Whether it loads a dump whose header says ``version``; None where that is not known."""
    dialect, sure = _dialect(server), greatest(server)
    if dialect is None or sure is None or not isinstance(server.version, tuple):
        return None
    if version >= VALKEY_MAGIC:
        if dialect is Dialect.REDIS or server.version < _OWN_MAGIC_SINCE:
            return None if server.candidate else False
        return True if version == VALKEY_MAGIC else None
    if version <= sure:
        return True
    later = server.version > _NEWEST[dialect] or (server.version, version) in _GAPS
    return None if server.candidate or server.relaxed or later else False


def _dialect(server: Target) -> Dialect | None:
    return Dialect(server.dialect) if server.dialect in set(Dialect) else None


def _row(table: Sequence[tuple[Version, int]], version: Version) -> int | None:
    return next((loads for since, loads in reversed(table) if version >= since), None)


def for_now(reason: Reason) -> bool:
    """Whether what was unseen for ``reason`` may be seen later by itself."""
    return reason not in {Reason.REDIS_COMMAND_DENIED, Reason.FIELD_ABSENT, Reason.NO_REDIS}
