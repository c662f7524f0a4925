"""The fixed vocabularies: statuses, outcomes, checks, reasons.

Knows: every word that outputs may use. Refuses to know: what decides between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    """What a file turned out to be. All but ``pending`` are final."""

    VALID = "valid"
    PENDING = "pending"
    MISSING = "missing"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    BAD_MAGIC = "bad_magic"
    UNSUPPORTED_VERSION = "unsupported_version"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    CORRUPT = "corrupt"
    TRAILING_DATA = "trailing_data"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"


#: Statuses that say "could not be verified", which is not "is broken"; they are tried again.
UNVERIFIED = frozenset({Status.UNREADABLE, Status.TIMEOUT})


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIP = "skip"


class Severity(StrEnum):
    """Whether a fail of a check withholds the heartbeat."""

    WARN = "warn"
    BLOCK = "block"


class CheckMode(StrEnum):
    """What a person set for a check at a location."""

    OFF = "off"
    WARN = "warn"
    BLOCK = "block"


class CheckId(StrEnum):
    ARTIFACT_PRESENT = "artifact_present"
    ARTIFACT_COMPLETE = "artifact_complete"
    RDB_MAGIC = "rdb_magic"
    RDB_CHECKSUM = "rdb_checksum"
    STRUCTURE = "structure"
    SNAPSHOT_AGE = "snapshot_age"
    SNAPSHOT_NEW = "snapshot_new"
    KEY_COUNT = "key_count"
    SIZE_DROP = "size_drop"
    RDB_FINDINGS = "rdb_findings"
    RESTORE_TARGET = "restore_target"
    SECOND_OPINION = "second_opinion"
    REDIS_REACHABLE = "redis_reachable"
    BGSAVE_STATUS = "bgsave_status"


class Reason(StrEnum):
    """Why a check does not pass: stable ids, the same in metric, JSON, page and log."""

    # What a file is: the status words.
    MISSING = "missing"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    BAD_MAGIC = "bad_magic"
    UNSUPPORTED_VERSION = "unsupported_version"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    CORRUPT = "corrupt"
    TRAILING_DATA = "trailing_data"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"
    PENDING = "pending"
    # What its content says.
    CHECKSUM_DISABLED = "checksum_disabled"
    CHECKSUM_LOST = "checksum_lost"
    SNAPSHOT_TOO_OLD = "snapshot_too_old"
    CTIME_IN_FUTURE = "ctime_in_future"
    SAME_SNAPSHOT_AS_BEFORE = "same_snapshot_as_before"
    DATASET_EMPTY = "dataset_empty"
    KEYS_COLLAPSED = "keys_collapsed"
    SIZE_DROPPED = "size_dropped"
    RDB_FINDINGS = "rdb_findings"
    ENGINES_DISAGREE = "engines_disagree"
    # What the server that it is to be restored to lacks, or does not tell.
    TARGET_VERSION_TOO_OLD = "target_version_too_old"
    MODULE_REQUIRED = "module_required"
    MODULE_UNKNOWN = "module_unknown"
    DATABASES_TOO_FEW = "databases_too_few"
    CLUSTER_REQUIRED = "cluster_required"
    MEMORY_REQUIRED = "memory_required"
    # Why a place could not be listed.
    DIRECTORY_MISSING = "directory_missing"
    DIRECTORY_UNREADABLE = "directory_unreadable"
    LISTING_FAILED = "listing_failed"
    # What the server says, or why it does not.
    REDIS_UNREACHABLE = "redis_unreachable"
    REDIS_TIMEOUT = "redis_timeout"
    REDIS_AUTH_FAILED = "redis_auth_failed"
    REDIS_LOADING = "redis_loading"
    REDIS_COMMAND_DENIED = "redis_command_denied"
    REDIS_IS_SENTINEL = "redis_is_sentinel"
    REDIS_PROTOCOL_ERROR = "redis_protocol_error"
    BGSAVE_FAILED = "bgsave_failed"
    # Why a check does not apply.
    NO_REDIS = "no_redis"
    NOT_FOR_ORIGIN = "not_for_origin"
    FIELD_ABSENT = "field_absent"
    BASELINE_TOO_SHORT = "baseline_too_short"
    NO_PREVIOUS_BACKUP = "no_previous_backup"
    NOTHING_TO_JUDGE = "nothing_to_judge"
    NO_SECOND_OPINION = "no_second_opinion"
    TARGET_UNKNOWN = "target_unknown"
    SWITCHED_OFF = "switched_off"
    # The watcher itself.
    VERDICT_STALE = "verdict_stale"


class Origin(StrEnum):
    """How backups come to a location; decides which checks apply there."""

    SERVER_FILE = "server_file"
    COPY = "copy"
    STREAM = "stream"
    EXPORT = "export"


class LocationKind(StrEnum):
    DIRECTORY = "directory"


class Format(StrEnum):
    RDB = "rdb"


class Dialect(StrEnum):
    REDIS = "redis"
    VALKEY = "valkey"


class ChecksumState(StrEnum):
    OK = "ok"
    DISABLED = "disabled"
    MISMATCH = "mismatch"


class TimeSource(StrEnum):
    """Where the age of a backup comes from."""

    CTIME = "ctime"
    NAME = "name"
    MTIME = "mtime"


class UnsupportedMode(StrEnum):
    BLOCK = "block"
    ACCEPT_CHECKSUM = "accept_checksum"


class HeartbeatMode(StrEnum):
    PER_BACKUP = "per_backup"
    CONTINUOUS = "continuous"


class VerdictState(StrEnum):
    PROTECTED = "protected"
    AT_RISK = "at_risk"
    UNKNOWN = "unknown"


#: Endings of names of compressed dumps.
PACKED = frozenset({"gz", "zst", "lz4", "xz", "bz2"})

#: Kinds of findings: a file with these loads, and yet something in it is odd. Engines find them,
#: the judge tells what they mean.
FINDINGS: Mapping[str, str] = MappingProxyType(
    {
        "odd_magic": "version digits that only atoi() understands",
        "newer_than_version": "an opcode or type that came later than the header's version",
        "empty_collection": "a list, set, zset or hash without elements; servers drop or keep it",
        "empty_list_node": "an empty node among the nodes of a list",
        "no_selectdb": "keys before any SELECTDB; they go to db 0",
        "resizedb_mismatch": "RESIZEDB announces other numbers than there are keys",
        "dangling_key_attribute": "an expiry, idle time or frequency with no key after it",
        "score_text": "a score in a small zset that is no number; servers take it for 0",
        "score_nan": "a score in a small zset that is not a number",
        "zset_order": "a small zset whose members are out of order",
        "stream_length": "a stream's length is not the number of its entries",
        "stream_order": "stream entries whose ids do not grow",
        "stream_last_id": "a stream's last id is below that of an entry",
        "stream_deleted_id": "a stream's greatest deleted id is above its last id",
        "slot_out_of_range": "a slot number above 16383",
    }
)
