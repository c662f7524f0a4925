"""What is decided of files on which servers and their check tools differ: by kind, a status and findings.

Knows: the crafted files by the names of their kinds, and the rule that each falls under. Refuses to
know: what an engine says. A change here is a change of what "valid" means, and needs a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from exporter.model import Needs, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A status, and the kinds of all findings."""

    status: Status = Status.VALID
    findings: frozenset[str] = frozenset()


def _odd(*findings: str) -> Expected:
    return Expected(findings=frozenset(findings))


PLAIN = _odd()
CORRUPT = Expected(status=Status.CORRUPT)

#: Redis 8.8 (RDB 14) and Valkey 9 look whether a stream contradicts itself: `CORRUPT` from there on.
CONTRADICTIONS = {
    "st-deleted-length-wrong": "stream_length",
    "st-length-*": "stream_length",
    "st-ids-below-master": "stream_order",
    "st-ids-equal": "stream_order",
    "st-ids-not-growing": "stream_order",
    "st-two-nodes-overlap": "stream_order",
    "st-last-id-*": "stream_last_id",
}

#: Kinds that some server loads or some check tool passes, without being sound: the first row counts.
SUSPICIOUS: Mapping[str, Expected] = {
    # Twice in one collection: HGET contradicts HGETALL, Valkey refuses.
    "dup-*": CORRUPT,
    # A set is searched by halves: SISMEMBER denies members that are listed.
    "unsorted-intset*": CORRUPT,
    "unsorted-listpack-ttl": CORRUPT,
    # Empty collections are dropped at load, or kept empty; a blob that can't be empty is damage.
    "empty-intset": CORRUPT,
    "empty-zipmap": CORRUPT,
    "empty-*": _odd("empty_collection"),
    "quicklist2-empty-node": _odd("empty_collection"),
    "quicklist-mixed-empty-node": _odd("empty_list_node"),
    # Counts that lie, sizes, ends and encodings that are wrong: the first read-back may be fatal.
    "intset-*": CORRUPT,
    "lp-*": CORRUPT,
    "zl-*": CORRUPT,
    "zm-*": CORRUPT,
    "lzf-in-list": CORRUPT,
    "ql-node-listpack": CORRUPT,
    "single-hash-listpack": CORRUPT,
    "st-0-byte-listpack": CORRUPT,
    "st-lpcount-0": CORRUPT,
    "st-master-*": CORRUPT,
    # Servers and tools swallow these in silence.
    "magic-REDIS_012": _odd("odd_magic"),
    "magic-REDISp012": _odd("odd_magic"),
    "expire-sec-then-eof": _odd("dangling_key_attribute"),
    "equal-score-unsorted-zset-listpack": _odd("zset_order"),
    "score-ascii-*": _odd("score_text"),
    "score-*-nan": _odd("score_nan"),
    "score-*": _odd("score_text"),
    # -1 is "no expiry"; the file announces one all the same.
    "expire-ms-minus1": _odd("resizedb_mismatch"),
    # Nothing of 2.6 announces keys, and every server lets the expiry go over to the next key.
    "expire-then-selectdb": PLAIN,
    # An entry that is given back twice: the second time changes nothing.
    "st-nack-dup": PLAIN,
}

#: Kinds that load, read back and are sound, and in which something is odd.
VALID: Mapping[str, Expected] = {
    "magic-REDIS0003-nocrc": _odd("newer_than_version"),
    "expire-then-selectdb": _odd("resizedb_mismatch"),
    "resizedb-1e6": _odd("resizedb_mismatch"),
    "resizedb-2p32": _odd("resizedb_mismatch"),
    "resizedb-expires-wrong": _odd("resizedb_mismatch"),
    "selectdb-missing": _odd("no_selectdb"),
    "slotinfo-cluster-2p63": _odd("slot_out_of_range"),
    "st-maxdel-high": _odd("stream_deleted_id"),
    "*": PLAIN,
}

_OLDER = "asked of a server that is older than the file's version"
_LATER_RECORD = "a record that is newer than the file's version says"
_CODE = "function code, which only a server can try"
_MODULE = "data of a module, which only the module can read"

#: Kinds that a server refused and that are valid all the same: why, and what the report must tell.
#: Nothing else that a server refused may be valid.
REFUSED_YET_VALID: Mapping[str, tuple[str, Expected, str | None]] = {
    "fn-*": (_CODE, PLAIN, "functions"),
    "mod-*": (_MODULE, PLAIN, "modules"),
    "modaux-*": (_MODULE, PLAIN, "modules"),
    "selectdb-16": ("a 17th database: a setting", PLAIN, "databases"),
    "slot-import-twice": ("a slot import: only a cluster loads it", PLAIN, "cluster"),
    "resizedb-2p32": ("a RESIZEDB beyond memory", _odd("resizedb_mismatch"), "resizedb"),
    "magic-REDIS_012": (_OLDER, _odd("odd_magic"), None),
    "magic-REDISp012": (_OLDER, _odd("odd_magic"), None),
    "magic-REDIS001?": (_OLDER, PLAIN, None),
    "expire-ms-in-v2": (_LATER_RECORD, _odd("newer_than_version"), None),
    "op-24?-*old": (_LATER_RECORD, _odd("newer_than_version"), None),
    "type-too-new-set-listpack": (_LATER_RECORD, _odd("newer_than_version"), None),
}

#: Random mutations that some server loads, by what a strict decoder wrote of them.
SUSPICIOUS_MUTATIONS: Mapping[str, Expected] = {
    # Servers work out the first id from the entries.
    "stream first-id": PLAIN,
    "stream last-id below last entry": _odd("stream_last_id"),
    "stream ids not growing": _odd("stream_order"),
    "score text": _odd("score_text"),
    "empty zset": _odd("empty_collection"),
    "stream master counts": CORRUPT,
    "enc len*": CORRUPT,
    "intset*": CORRUPT,
    "listpack*": CORRUPT,
    "lzf*": CORRUPT,
    "ziplist*": CORRUPT,
}
#: What one changed number may bring along.
BROUGHT_ALONG = frozenset(
    {"resizedb_mismatch", "stream_order", "stream_last_id", "stream_deleted_id"}
)


Row = TypeVar("Row")


def rule(table: Mapping[str, Row], kind: str) -> tuple[str, Row] | None:
    """The first row that fits, and what it says."""
    return next((row for row in table.items() if fnmatchcase(kind, row[0])), None)


def looks_at_streams(magic: str) -> bool:
    """Whether the servers of this version refuse a stream that contradicts itself."""
    return magic.startswith("VALKEY") or int(magic[5:]) >= 14


def tells(needs: Needs, name: str) -> bool:
    """Whether a report names this need, beyond what any server has."""
    return getattr(needs, name) != getattr(Needs(), name)
