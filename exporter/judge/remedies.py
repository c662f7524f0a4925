"""What a person does about each reason: one line each, the same in page, JSON and log.

Knows: words. Refuses to know: facts.
"""

from __future__ import annotations

from exporter.model import Reason

REMEDIES: dict[Reason, str] = {
    Reason.MISSING: "Check that the backup job runs and writes here, and that backup.pattern matches its names.",
    Reason.EMPTY: "Look for a full disk or a job that was killed, then take a new backup.",
    Reason.TRUNCATED: "The copy is incomplete: look for a full disk or a broken transfer, then copy again.",
    Reason.BAD_MAGIC: "This is no RDB file: check what the backup job writes, and that backup.pattern matches dumps only.",
    Reason.UNSUPPORTED_VERSION: "Cannot be verified (which is not: broken): update this tool, or set verify.unsupported to accept_checksum; where it is packed other than by gzip, install the native engine.",
    Reason.CHECKSUM_MISMATCH: "Bytes changed after the server wrote them: take a new backup, then check disk, memory and transfer.",
    Reason.CORRUPT: "No server would load this safely: take a new backup, and check it with the server's own check tool.",
    Reason.TRAILING_DATA: "Bytes follow the end of the dump: a copy was written over a longer file. Remove the old file before copying.",
    Reason.UNREADABLE: "Let the sidecar's user read the file (group, fsGroup, mode), and check the disk for I/O errors.",
    Reason.TIMEOUT: "Reading took too long: raise verify.timeout, or see whether the disk or the network mount hangs.",
    Reason.PENDING: "Wait: the first backup is being read.",
    Reason.CHECKSUM_DISABLED: "Set rdbchecksum yes: without it nobody can tell whether bytes changed.",
    Reason.CHECKSUM_LOST: "The end of the file was zeroed, as by a preallocated copy that was not finished: copy again.",
    Reason.SNAPSHOT_TOO_OLD: "Check that the server saves and that the copy job runs; backup.max_age is the limit.",
    Reason.CTIME_IN_FUTURE: "Set the clocks right (NTP) on the Redis host and on this one.",
    Reason.SAME_SNAPSHOT_AS_BEFORE: "The job copied an old dump again: let it wait for BGSAVE to succeed before it copies.",
    Reason.DATASET_EMPTY: "Was the data flushed? Keep the older backups safe now. If empty is right, set backup.allow_empty.",
    Reason.KEYS_COLLAPSED: "Find out who deleted keys (INFO commandstats: flushall, flushdb) and keep the older backups safe. If it was wanted, set checks.key_count to warn for a while.",
    Reason.SIZE_DROPPED: "Compare with the last backups: has data been deleted, or the job changed?",
    Reason.RDB_FINDINGS: "Servers load it, but not all read the same in it: load it in a server of the version that you restore to and compare counts, rewrite the keys concerned, and look at what wrote them.",
    Reason.ENGINES_DISAGREE: "One of the two engines is wrong: keep the file, run the server's own check tool on it (redis-check-rdb, valkey-check-rdb), and report it. Trust a backup on which both agree.",
    Reason.TARGET_VERSION_TOO_OLD: "Plan the restore on a server that is new enough, or correct target.version.",
    Reason.MODULE_REQUIRED: "Load the module at the server that you restore to (loadmodule) before the file, or add it to target.modules if it is there.",
    Reason.MODULE_UNKNOWN: "Find out which module has values of this type; if the target loads it, write the type's name into target.modules.",
    Reason.DATABASES_TOO_FEW: "Raise databases in the configuration of the server that you restore to, or correct target.databases.",
    Reason.CLUSTER_REQUIRED: "Take the backup again once the slot migration has ended, or restore to a cluster node (a server without cluster mode may crash on this file).",
    Reason.MEMORY_REQUIRED: "Restore to Redis 7.4, Valkey 8 or newer, which do not ask for it, or take the backup again from a healthy server.",
    Reason.DIRECTORY_MISSING: "Create or mount the directory, or correct backup.dir.",
    Reason.DIRECTORY_UNREADABLE: "Let the sidecar's user list the directory (group, fsGroup, mode r-x).",
    Reason.LISTING_FAILED: "Check the mount: the directory could not be listed.",
    Reason.REDIS_UNREACHABLE: "Start the server, or correct redis.url, TLS files and firewall.",
    Reason.REDIS_TIMEOUT: "The server accepts but does not answer: look for a blocked server, raise redis.timeout; a plain port does not answer rediss://.",
    Reason.REDIS_AUTH_FAILED: "Correct redis.username and redis.password_file, or the ACL user on the server.",
    Reason.REDIS_LOADING: "Wait until the server has loaded its dataset; if it makes no progress, see its log.",
    Reason.REDIS_COMMAND_DENIED: "Grant it: ACL SETUSER <user> +ping +info +lastsave +config|get +module|list",
    Reason.REDIS_IS_SENTINEL: "This is a Sentinel: set redis.url to a data node.",
    Reason.REDIS_PROTOCOL_ERROR: "What answers is no Redis, or wants TLS: check redis.url (redis:// or rediss://).",
    Reason.BGSAVE_FAILED: "See the server's log (disk full, permission, fork: Cannot allocate memory), mend it, then BGSAVE.",
    Reason.VERDICT_STALE: "The sidecar's own loop hangs: see its log and restart it.",
}  # fmt: skip
