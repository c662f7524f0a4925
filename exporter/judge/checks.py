"""How each check comes out for given facts: one function a check.

Knows: what is good, and what was measured against which limit. Refuses to know: severities and
origins (``catalogue``), what makes a verdict (``verdict``), and where facts come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from exporter.judge.baseline import BASELINE_MIN, COLLAPSE_SHARE, baseline
from exporter.judge.facts import (
    Facts,
    LocationFacts,
    is_idle,
    report_fingerprint,
    saved_since_start,
)
from exporter.judge.words import age_text, number_text, size_text
from exporter.model import (
    FINDINGS,
    Arrival,
    Candidate,
    CheckId,
    ChecksumState,
    Listing,
    Origin,
    Outcome,
    Reason,
    ServerView,
    Status,
    Unseen,
    UnsupportedMode,
)

#: Origins whose files come from the server's own saves.
SAVED_BY_SERVER = frozenset({Origin.SERVER_FILE, Origin.COPY})
#: Key counts and sizes below this share of the median are told.
WARN_SHARE = 0.5
#: Kinds of findings that are told with their meaning; the rest are counted.
FINDINGS_TOLD = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """How a check came out, before severity and remedy are put to it."""

    outcome: Outcome
    reason: Reason | None = None
    measured: str = ""
    limit: str = ""


def passed(measured: str = "", limit: str = "") -> Finding:
    return Finding(Outcome.PASS, None, measured, limit)


def skipped(reason: Reason, measured: str = "") -> Finding:
    return Finding(Outcome.SKIP, reason, measured)


#: Status of the newest judged backup -> the check that it fails or leaves unknown, and how.
#: Total over all statuses that are not good, waiting or missing: a test holds it so.
STATUS_TO_CHECK: dict[Status, tuple[CheckId, Outcome]] = {
    Status.MISSING: (CheckId.ARTIFACT_PRESENT, Outcome.FAIL),
    Status.EMPTY: (CheckId.ARTIFACT_COMPLETE, Outcome.FAIL),
    Status.BAD_MAGIC: (CheckId.RDB_MAGIC, Outcome.FAIL),
    Status.CHECKSUM_MISMATCH: (CheckId.RDB_CHECKSUM, Outcome.FAIL),
    Status.TRUNCATED: (CheckId.RDB_CHECKSUM, Outcome.FAIL),
    Status.CORRUPT: (CheckId.STRUCTURE, Outcome.FAIL),
    Status.TRAILING_DATA: (CheckId.STRUCTURE, Outcome.FAIL),
    Status.UNSUPPORTED_VERSION: (CheckId.STRUCTURE, Outcome.UNKNOWN),
    Status.UNREADABLE: (CheckId.STRUCTURE, Outcome.UNKNOWN),
    Status.TIMEOUT: (CheckId.STRUCTURE, Outcome.UNKNOWN),
}

#: The checks that one status can fail, in the order in which a reader meets them.
_READING_ORDER = (
    CheckId.ARTIFACT_PRESENT,
    CheckId.ARTIFACT_COMPLETE,
    CheckId.RDB_MAGIC,
    CheckId.RDB_CHECKSUM,
    CheckId.STRUCTURE,
)


def _by_status(
    check: CheckId, at: LocationFacts, *, else_: Callable[[Candidate], Finding]
) -> Finding:
    """Settles ``check`` where the location or the status of its newest judged backup decides."""
    if isinstance(at.seen, Unseen):
        return Finding(Outcome.UNKNOWN, at.seen.reason, at.seen.detail)
    if at.state.newest is None:
        return skipped(Reason.NOTHING_TO_JUDGE)
    judged = at.state.newest_judged
    if judged is None or judged.report is None:
        if check is CheckId.ARTIFACT_COMPLETE:
            return Finding(Outcome.UNKNOWN, Reason.PENDING, _file(at.state.newest), "judged once")
        return skipped(Reason.NOTHING_TO_JUDGE)
    report = judged.report
    failing, outcome = STATUS_TO_CHECK.get(report.status, (None, Outcome.PASS))
    if failing is None:
        return else_(judged)
    if failing is check:
        reason = Reason(report.status.value)
        return Finding(outcome, reason, f"{_file(judged)}: {report.reason or report.status}")
    broken, asked = (
        _READING_ORDER.index(c) if c in _READING_ORDER else 9 for c in (failing, check)
    )
    unread = report.status in {Status.UNREADABLE, Status.TIMEOUT}
    if asked > broken or (unread and check is not CheckId.ARTIFACT_COMPLETE):
        return skipped(Reason.NOTHING_TO_JUDGE)
    return else_(judged)


def _file(candidate: Candidate) -> str:
    return f"{candidate.backup.name} ({size_text(candidate.backup.size_bytes)})"


def artifact_present(at: LocationFacts, facts: Facts) -> Finding:
    del facts
    if isinstance(at.seen, Listing) and at.state.newest is None:
        return Finding(
            Outcome.FAIL, Reason.MISSING, f"0 files match {at.location.pattern}", ">= 1 file"
        )
    if isinstance(at.seen, Unseen):
        return Finding(Outcome.UNKNOWN, at.seen.reason, at.seen.detail)
    files = "1 file" if at.state.files == 1 else f"{number_text(at.state.files)} files"
    return passed(files, ">= 1 file")


def artifact_complete(at: LocationFacts, facts: Facts) -> Finding:
    del facts
    return _by_status(
        CheckId.ARTIFACT_COMPLETE, at, else_=lambda c: passed(_file(c), "settled, not empty")
    )


def rdb_magic(at: LocationFacts, facts: Facts) -> Finding:
    del facts

    def known(judged: Candidate) -> Finding:
        report = judged.report
        assert report is not None
        written_by = f" by {report.dialect} {report.server_version}" if report.dialect else ""
        return passed(f"RDB version {report.rdb_version}{written_by}", "REDIS 1-15 or VALKEY 80")

    return _by_status(CheckId.RDB_MAGIC, at, else_=known)


def rdb_checksum(at: LocationFacts, facts: Facts) -> Finding:
    def stored(judged: Candidate) -> Finding:
        report = judged.report
        assert report is not None
        if report.checksum is ChecksumState.OK:
            return passed(f"CRC-64 {report.crc64 or 0:016x} matches", "match")
        if report.checksum is None:
            if report.status is Status.VALID:
                return skipped(Reason.FIELD_ABSENT, "this RDB version has no checksum")
            return skipped(Reason.NOTHING_TO_JUDGE)
        if report.checksum is ChecksumState.MISMATCH:
            return Finding(Outcome.FAIL, Reason.CHECKSUM_MISMATCH, f"{_file(judged)}", "match")
        if _checksum_expected(at, facts):
            return Finding(
                Outcome.FAIL, Reason.CHECKSUM_LOST, "8 zero bytes in place of the CRC-64", "match"
            )
        return Finding(
            Outcome.WARN, Reason.CHECKSUM_DISABLED, "saved without a checksum", "a checksum"
        )

    return _by_status(CheckId.RDB_CHECKSUM, at, else_=stored)


def _checksum_expected(at: LocationFacts, facts: Facts) -> bool:
    """Whether a zero CRC means that it was lost: a preallocated copy ends in zeros too.

    What the server itself says wins: a person who set ``rdbchecksum no`` has his reasons.
    """
    server = facts.server if isinstance(facts.server, ServerView) else facts.last_good
    setting = server.config.get("rdbchecksum") if server else None
    if isinstance(setting, str) and at.location.origin is not Origin.EXPORT:
        return setting == "yes"
    return any(a.report.checksum is ChecksumState.OK for a in at.history)


def structure(at: LocationFacts, facts: Facts) -> Finding:
    found = _by_status(
        CheckId.STRUCTURE,
        at,
        else_=lambda c: passed(f"{_file(c)}: read to its last byte", "every byte accounted for"),
    )
    judged = at.state.newest_judged
    if found.reason is Reason.UNSUPPORTED_VERSION and judged and accepted(judged, facts):
        return Finding(Outcome.WARN, found.reason, f"{found.measured} (accepted on its checksum)")
    return found


def accepted(judged: Candidate, facts: Facts) -> bool:
    """Whether a backup is good enough: valid, or of a newer version and accepted by its CRC."""
    report = judged.report
    if report is None:
        return False
    if report.status is Status.UNSUPPORTED_VERSION:
        accept = facts.policy.verify.unsupported is UnsupportedMode.ACCEPT_CHECKSUM
        return accept and report.checksum is ChecksumState.OK
    return report.status is Status.VALID


def content(
    check: CheckId,
    at: LocationFacts,
    facts: Facts,
    judge: Callable[[Candidate], Finding],
) -> Finding:
    """``judge`` where there is content to judge: a good newest backup."""

    def good(judged: Candidate) -> Finding:
        return judge(judged) if accepted(judged, facts) else skipped(Reason.NOTHING_TO_JUDGE)

    judged = at.state.newest_judged
    if judged is not None and accepted(judged, facts):
        return judge(judged)
    return _by_status(check, at, else_=good)


def snapshot_age(at: LocationFacts, facts: Facts) -> Finding:
    limit = age_text(at.location.max_age_seconds)

    def age(judged: Candidate) -> Finding:
        if judged.taken_at is None:
            return Finding(
                Outcome.UNKNOWN, Reason.CTIME_IN_FUTURE, f"{_file(judged)} is of the future", limit
            )
        seconds = max(0.0, facts.now - judged.taken_at)
        measured = f"{age_text(seconds)} old by {judged.time_source}"
        if seconds <= at.location.max_age_seconds:
            return passed(measured, limit)
        if is_idle(judged.report, facts.server):
            return passed(f"{measured}; nothing was written since", limit)
        return Finding(Outcome.FAIL, Reason.SNAPSHOT_TOO_OLD, measured, limit)

    return content(CheckId.SNAPSHOT_AGE, at, facts, age)


def snapshot_new(at: LocationFacts, facts: Facts) -> Finding:
    def new(judged: Candidate) -> Finding:
        if judged.fingerprint is None:
            return skipped(Reason.FIELD_ABSENT, "this RDB version does not say when it was taken")
        if not at.history:
            return skipped(Reason.NO_PREVIOUS_BACKUP)
        same = next(
            (
                a
                for a in reversed(at.history)
                if a.report.status is Status.VALID
                and report_fingerprint(a.report, a.size_bytes) == judged.fingerprint
            ),
            None,
        )
        if same is None:
            return passed(f"snapshot {judged.fingerprint}", "another snapshot than before")
        if is_idle(judged.report, facts.server) and not _saved_after(same, facts.server):
            return passed("same snapshot; nothing was written since", "or an idle server")
        return Finding(
            Outcome.FAIL,
            Reason.SAME_SNAPSHOT_AS_BEFORE,
            f"{_file(judged)} holds the snapshot of {same.name}",
            "another snapshot than before",
        )

    return content(CheckId.SNAPSHOT_NEW, at, facts, new)


def _saved_after(same: Arrival, server: ServerView | Unseen | None) -> bool:
    """Whether the server saved after ``same`` had arrived: then that is not its last save, however
    close the two are in time.
    """
    return (
        isinstance(server, ServerView)
        and server.last_save_at is not None
        and saved_since_start(server)
        and server.last_save_at > same.arrived_at
    )


def key_count(at: LocationFacts, facts: Facts) -> Finding:
    def count(judged: Candidate) -> Finding:
        report = judged.report
        assert report is not None
        if report.status is not Status.VALID:
            return skipped(Reason.NOTHING_TO_JUDGE)
        measured = f"{number_text(report.keys)} keys"
        if at.location.allow_empty and report.keys == 0:
            return passed(measured, "may be empty")
        if report.keys == 0:
            return Finding(Outcome.FAIL, Reason.DATASET_EMPTY, measured, ">= 1 key")
        past = baseline(at.history, judged, allow_empty=at.location.allow_empty).keys
        if len(past) < BASELINE_MIN:
            return skipped(
                Reason.BASELINE_TOO_SHORT,
                f"{measured}; {len(past)} earlier of {BASELINE_MIN}, an hour apart",
            )
        least, middle = COLLAPSE_SHARE * min(past), WARN_SHARE * median(past)
        if report.keys < least:
            return Finding(
                Outcome.FAIL, Reason.KEYS_COLLAPSED, measured, f">= {number_text(round(least))}"
            )
        if report.keys < middle:
            return Finding(
                Outcome.WARN, Reason.KEYS_COLLAPSED, measured, f">= {number_text(round(middle))}"
            )
        return passed(measured, f">= {number_text(round(least))}")

    return content(CheckId.KEY_COUNT, at, facts, count)


def size_drop(at: LocationFacts, facts: Facts) -> Finding:
    def size(judged: Candidate) -> Finding:
        past = baseline(at.history, judged, allow_empty=at.location.allow_empty).sizes
        measured = size_text(judged.backup.size_bytes)
        if len(past) < BASELINE_MIN:
            return skipped(
                Reason.BASELINE_TOO_SHORT,
                f"{measured}; {len(past)} earlier of {BASELINE_MIN}, an hour apart",
            )
        least = WARN_SHARE * median(past)
        if judged.backup.size_bytes < least:
            return Finding(
                Outcome.FAIL, Reason.SIZE_DROPPED, measured, f">= {size_text(round(least))}"
            )
        return passed(measured, f">= {size_text(round(least))}")

    return content(CheckId.SIZE_DROP, at, facts, size)


def rdb_findings(at: LocationFacts, facts: Facts) -> Finding:
    """What the engine saw that loads, and yet is odd."""

    def odd(judged: Candidate) -> Finding:
        report = judged.report
        assert report is not None
        if report.status is not Status.VALID or not report.counted:
            return skipped(Reason.NOTHING_TO_JUDGE)
        if not report.findings:
            return passed("nothing odd", "nothing odd")
        told = [
            f"{each.kind} {number_text(each.count)}x, first at byte {number_text(each.offset)}"
            + (f" ({FINDINGS[each.kind]})" if each.kind in FINDINGS else "")
            for each in report.findings[:FINDINGS_TOLD]
        ]
        more = len(report.findings) - len(told)
        told += [f"{more} more kinds"] if more > 0 else []
        return Finding(Outcome.FAIL, Reason.RDB_FINDINGS, "; ".join(told), "nothing odd")

    return content(CheckId.RDB_FINDINGS, at, facts, odd)


def second_opinion(at: LocationFacts, facts: Facts) -> Finding:
    """What another engine says of the newest judged backup, whatever its status."""
    judged = at.state.newest_judged
    if isinstance(at.seen, Unseen) or judged is None or judged.proof is None:
        return _by_status(
            CheckId.SECOND_OPINION, at, else_=lambda _: skipped(Reason.NOTHING_TO_JUDGE)
        )
    opinion, engine = judged.proof.second_opinion, judged.proof.report.engine
    if opinion is None:
        limit = facts.policy.verify.second_opinion_max_bytes
        if not limit:
            why = "no other engine is asked"
        elif judged.backup.size_bytes > limit:
            why = f"larger than {size_text(int(limit))}"
        else:
            why = "no other engine has read it so far: the sidecar asks one after the verdict"
        return skipped(Reason.NO_SECOND_OPINION, f"{_file(judged)}: {why}")
    both = f"{engine} and {opinion.engine}"
    if opinion.agrees is None:
        return skipped(Reason.NO_SECOND_OPINION, opinion.detail)
    if opinion.agrees:
        return passed(f"{both} agree", "status and counts agree")
    return Finding(
        Outcome.FAIL,
        Reason.ENGINES_DISAGREE,
        f"{both} disagree: {opinion.detail}",
        "status and counts agree",
    )


def redis_reachable(facts: Facts) -> Finding:
    if facts.server is None:
        return skipped(Reason.NO_REDIS)
    grace = facts.policy.redis_grace_seconds
    if isinstance(facts.server, Unseen):
        reason, measured = facts.server.reason, facts.server.detail
        since, held = facts.unseen_seconds, facts.last_good is not None
    elif facts.server.loading:
        reason, measured = Reason.REDIS_LOADING, "loading its dataset"
        since, held = facts.loading_stalled_seconds, True
    else:
        return passed("answers INFO", "answers INFO")
    outcome = Outcome.WARN if held and since <= grace else Outcome.FAIL
    return Finding(outcome, reason, f"{measured} (for {age_text(since)})", age_text(grace))


def bgsave_status(facts: Facts) -> Finding:
    if facts.server is None:
        return skipped(Reason.NO_REDIS)
    if all(at.location.origin not in SAVED_BY_SERVER for at in facts.locations):
        return skipped(Reason.NOT_FOR_ORIGIN)
    # A failure outlives the connection: losing sight of it must not look like its end.
    seen = facts.server if isinstance(facts.server, ServerView) else facts.last_good
    if seen is not None and seen.last_bgsave_ok is False:
        return Finding(Outcome.FAIL, Reason.BGSAVE_FAILED, "rdb_last_bgsave_status:err", "ok")
    if isinstance(facts.server, Unseen):
        return Finding(Outcome.UNKNOWN, facts.server.reason, facts.server.detail)
    if facts.server.last_bgsave_ok is None:
        return skipped(Reason.FIELD_ABSENT, "INFO has no rdb_last_bgsave_status")
    return passed("ok", "ok")
