"""Which modules can load which values: type names in files beside names in MODULE LIST.

Knows: the nine letters that well-known modules write before their values, and what the modules
call themselves, which differs. Refuses to know: whether a module of that name is new enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum


class Loads(Enum):
    """Whether a server with certain modules loads values of a type."""

    YES = "yes"
    NO = "no"
    UNTOLD = "untold"


_REDIS_JSON = frozenset({"ReJSON", "json"})
_REDIS_BLOOM = frozenset({"bf"})
_SEARCH = frozenset({"search", "ft", "searchlight"})
_AI = frozenset({"ai"})
_GRAPH = frozenset({"graph"})
_GEARS = frozenset({"redisgears_2", "rg"})

#: Type name -> the modules that have it; one of them is enough. From the modules' own sources.
#: ``ReJSON-RL`` is RedisJSON's and valkey-json's.
MODULES_OF: Mapping[str, frozenset[str]] = {
    "ReJSON-RL": _REDIS_JSON,
    "MBbloom--": _REDIS_BLOOM,
    "MBbloomCF": _REDIS_BLOOM,
    "CMSk-TYPE": _REDIS_BLOOM,
    "TopK-TYPE": _REDIS_BLOOM,
    "TDIS-TYPE": _REDIS_BLOOM,
    "bloomfltr": frozenset({"bf"}),
    "TSDB-TYPE": frozenset({"timeseries"}),
    "ft_index0": _SEARCH,
    "ft_invidx": _SEARCH,
    "ft_tagidx": _SEARCH,
    "numericdx": _SEARCH,
    "trietype0": _SEARCH,
    "SchMgr-VS": frozenset({"search"}),
    "graphdata": _GRAPH,
    "graphmeta": _GRAPH,
    "GearsType": _GEARS,
    "AI_TENSOR": _AI,
    "AI__MODEL": _AI,
    "AI_SCRIPT": _AI,
    "vectorset": frozenset({"vectorset"}),
}

#: Two modules that share a name and not a type: the one of Redis (False), the one of Valkey (True).
_OF_VALKEY = {"bloomfltr": True, "SchMgr-VS": True} | {
    name: False
    for name, modules in MODULES_OF.items()
    if modules in (_REDIS_BLOOM, _SEARCH) and name not in {"bloomfltr", "SchMgr-VS"}
}

#: Modules that come with a server and have no values: Valkey 9's engine for scripts.
_WITHOUT_TYPES = frozenset({"lua"})

#: Letters in common, from the start, that make a type name look like a module's.
_LIKENESS = 4


def loads(kind: str, modules: AbstractSet[str], dialect: str | None) -> Loads:
    """Whether a server of ``dialect`` with ``modules`` loads values of the type ``kind``.

    ``modules`` may hold type names as well, where a person has written them down.
    """
    present = modules - _WITHOUT_TYPES
    if kind in present:
        return Loads.YES
    if kind in MODULES_OF:
        if not MODULES_OF[kind] & present:
            return Loads.NO
        of_valkey = _OF_VALKEY.get(kind)
        if of_valkey is None or dialect is None:
            return Loads.YES
        return Loads.YES if of_valkey == (dialect == "valkey") else Loads.UNTOLD
    if not present:
        return Loads.NO
    return Loads.YES if any(_alike(kind, name) for name in present) else Loads.UNTOLD


def wanted(kind: str) -> str:
    """What to look for: the type, and the module that has it if we know one."""
    names = sorted(MODULES_OF.get(kind, ()), key=str.lower)
    return f"{kind} (module {' or '.join(names)})" if names else kind


def _alike(kind: str, module: str) -> bool:
    one, other = (re.sub(r"[^a-z]", "", text.lower()) for text in (kind, module))
    least = min(len(one), len(other), _LIKENESS)
    return least >= 2 and one[:least] == other[:least]
