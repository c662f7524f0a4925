"""Words for people: what a check asks, what a reason id means, numbers and times as they are read.

Knows: English. Refuses to know: facts, and what to do about them (remedies come with each result).
The ids themselves are always shown beside these words: they are what metrics and logs say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from exporter.model import CheckId, Reason, Status

CHECK_TITLES: Mapping[CheckId, str] = {
    CheckId.ARTIFACT_PRESENT: "There is a backup",
    CheckId.ARTIFACT_COMPLETE: "It is completely written",
    CheckId.RDB_MAGIC: "It is an RDB file",
    CheckId.RDB_CHECKSUM: "Its checksum is right",
    CheckId.STRUCTURE: "Every key in it can be read",
    CheckId.SNAPSHOT_AGE: "It is recent",
    CheckId.SNAPSHOT_NEW: "It is not the one before again",
    CheckId.KEY_COUNT: "It holds the keys that it should",
    CheckId.SIZE_DROP: "It is about as large as before",
    CheckId.RDB_FINDINGS: "Nothing in it is odd",
    CheckId.RESTORE_TARGET: "The server that is there could load it",
    CheckId.SECOND_OPINION: "Another engine reads the same in it",
    CheckId.REDIS_REACHABLE: "The server answers",
    CheckId.BGSAVE_STATUS: "The server's last save succeeded",
}

REASON_SENTENCES: Mapping[Reason, str] = {
    Reason.MISSING: "There is no backup here.",
    Reason.EMPTY: "The newest backup is a file of 0 bytes.",
    Reason.TRUNCATED: "The newest backup was cut short: it stops before its end mark.",
    Reason.BAD_MAGIC: "The newest backup is not an RDB file.",
    Reason.UNSUPPORTED_VERSION: "The newest backup is of a version that can't be verified here.",
    Reason.CHECKSUM_MISMATCH: "Bytes of the newest backup changed after they were written.",
    Reason.CORRUPT: "The newest backup has content that no server would load safely.",
    Reason.TRAILING_DATA: "The newest backup has bytes after its end.",
    Reason.UNREADABLE: "The newest backup could not be read.",
    Reason.TIMEOUT: "Reading the newest backup took longer than allowed.",
    Reason.PENDING: "No backup has been read to its end yet.",
    Reason.CHECKSUM_DISABLED: "The newest backup has no checksum: nothing proves its bytes.",
    Reason.CHECKSUM_LOST: "The newest backup has no checksum, and those before it had one.",
    Reason.SNAPSHOT_TOO_OLD: "The newest backup is too old.",
    Reason.CTIME_IN_FUTURE: "The newest backup says that it was taken in the future.",
    Reason.SAME_SNAPSHOT_AS_BEFORE: "The newest backup is the same snapshot as the one before.",
    Reason.DATASET_EMPTY: "The newest backup holds no keys.",
    Reason.KEYS_COLLAPSED: "The newest backup holds far fewer keys than those before it.",
    Reason.SIZE_DROPPED: "The newest backup is far smaller than those before it.",
    Reason.RDB_FINDINGS: "The newest backup loads, but something in it is odd.",
    Reason.ENGINES_DISAGREE: "Two engines read different things in the newest backup.",
    Reason.TARGET_VERSION_TOO_OLD: "The newest backup is too new for the server to restore it to.",
    Reason.MODULE_REQUIRED: "The newest backup needs a module that the server does not have.",
    Reason.MODULE_UNKNOWN: "The newest backup needs a module, and it is not known which.",
    Reason.DATABASES_TOO_FEW: "The newest backup has more databases than the server.",
    Reason.CLUSTER_REQUIRED: "The newest backup can only be loaded by a node of a cluster.",
    Reason.MEMORY_REQUIRED: "The newest backup asks for more memory than is reasonable.",
    Reason.DIRECTORY_MISSING: "The backup directory is not there.",
    Reason.DIRECTORY_UNREADABLE: "The backup directory may not be read.",
    Reason.LISTING_FAILED: "The backup directory could not be listed.",
    Reason.REDIS_UNREACHABLE: "The server can't be reached.",
    Reason.REDIS_TIMEOUT: "The server did not answer in time.",
    Reason.REDIS_AUTH_FAILED: "The server refused the login.",
    Reason.REDIS_LOADING: "The server is loading its data.",
    Reason.REDIS_COMMAND_DENIED: "The server denies a command that this needs.",
    Reason.REDIS_IS_SENTINEL: "What answers is a Sentinel: it holds no data.",
    Reason.REDIS_PROTOCOL_ERROR: "What answers does not speak the Redis protocol.",
    Reason.BGSAVE_FAILED: "The server's last background save failed.",
    Reason.NO_REDIS: "No server is watched.",
    Reason.NOT_FOR_ORIGIN: "It does not apply to backups that come this way.",
    Reason.FIELD_ABSENT: "This server version does not tell.",
    Reason.BASELINE_TOO_SHORT: "Too few good backups so far to compare with.",
    Reason.NO_PREVIOUS_BACKUP: "There is no backup before it to compare with.",
    Reason.NOTHING_TO_JUDGE: "There is no judged backup to ask this of.",
    Reason.NO_SECOND_OPINION: "Only one engine has an opinion of it.",
    Reason.TARGET_UNKNOWN: "Too little is known of the server to restore it to.",
    Reason.SWITCHED_OFF: "It is switched off in the settings.",
    Reason.VERDICT_STALE: "The last whole look at the backups is too long ago to count.",
}

STATUS_WORDS: Mapping[Status, str] = {
    Status.VALID: "valid",
    Status.PENDING: "not judged yet",
    Status.MISSING: "nothing here",
    Status.EMPTY: "empty",
    Status.TRUNCATED: "truncated",
    Status.BAD_MAGIC: "not an RDB",
    Status.UNSUPPORTED_VERSION: "version not known",
    Status.CHECKSUM_MISMATCH: "checksum mismatch",
    Status.CORRUPT: "corrupt",
    Status.TRAILING_DATA: "trailing data",
    Status.UNREADABLE: "unreadable",
    Status.TIMEOUT: "timed out",
}

#: A space that no line ends at.
_JOINED = "\u00a0"
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def duration_text(seconds: float) -> str:
    """``11520`` -> ``3 h 12 min``; hours up to two days, as limits are written; never two lines."""
    if seconds < 1:
        return f"{max(seconds, 0.0) * 1000:.0f}{_JOINED}ms"
    if seconds < 10:
        return f"{seconds:.1f}{_JOINED}s".replace(".0", "")
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for span, unit in _SPANS:
        if not parts and rest < (2 * span if unit == "d" else span):
            continue
        count, rest = divmod(rest, span)
        parts.append((count, unit))
        if len(parts) == 2:
            break
    return _JOINED.join(f"{count}{_JOINED}{unit}" for count, unit in parts if count)


def ago_text(at: float, now: float) -> str:
    """``3 h 12 min ago``, ``just now``, ``in 4 min``."""
    whole = round(abs(now - at))
    if not whole:
        return "just now"
    return f"in {duration_text(whole)}" if at > now else f"{duration_text(whole)} ago"


def size_text(size_bytes: int) -> str:
    """``1536`` -> ``1.5 KiB``."""
    for span, unit in _SIZES:
        if size_bytes >= span:
            return f"{size_bytes / span:.1f}{_JOINED}{unit}"
    return f"{size_bytes}{_JOINED}B"


def number_text(number: float) -> str:
    """``1234567`` -> ``1,234,567``."""
    return f"{number:,}"


def utc_text(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC; the bare number where no calendar has such a day."""
    try:
        return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s after 1970"


def shown_text(text: str) -> str:
    """Text from outside with every character visible: no control, no bidi trick, no surrogate."""
    return "".join(
        each
        if each.isprintable() or each == _JOINED
        else each.encode("unicode_escape", "backslashreplace").decode("ascii")
        for each in text
    )
