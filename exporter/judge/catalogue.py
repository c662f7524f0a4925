"""The catalogue of checks: one table, a row a check.

Knows: what each check proves, its severity, where it applies. Refuses to know: how it comes out
(``checks``), and what makes a verdict (``verdict``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.judge import checks, restore_target
from exporter.judge.checks import SAVED_BY_SERVER, Finding
from exporter.judge.facts import Facts, LocationFacts
from exporter.judge.remedies import REMEDIES
from exporter.model import (
    CheckId,
    CheckMode,
    CheckResult,
    Origin,
    Outcome,
    Reason,
    Severity,
)

ALL_ORIGINS = frozenset(Origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A row of the catalogue. Exactly one of ``at_location`` and ``of_server`` is set."""

    id: CheckId
    severity: Severity
    proves: str
    default: str
    at_location: Callable[[LocationFacts, Facts], Finding] | None = None
    of_server: Callable[[Facts], Finding] | None = None
    origins: frozenset[Origin] = ALL_ORIGINS


CATALOGUE: tuple[Check, ...] = (
    Check(
        id=CheckId.REDIS_REACHABLE,
        severity=Severity.BLOCK,
        proves="the server answers INFO; loading is its own state",
        default="`redis.grace` 10m",
        of_server=checks.redis_reachable,
    ),
    Check(
        id=CheckId.BGSAVE_STATUS,
        severity=Severity.BLOCK,
        proves="the server's last BGSAVE did not fail",
        default="ok",
        of_server=checks.bgsave_status,
        origins=SAVED_BY_SERVER,
    ),
    Check(
        id=CheckId.ARTIFACT_PRESENT,
        severity=Severity.BLOCK,
        proves="there is a backup file",
        default=">= 1 file",
        at_location=checks.artifact_present,
    ),
    Check(
        id=CheckId.ARTIFACT_COMPLETE,
        severity=Severity.BLOCK,
        proves="its writing has ended, and it is not empty",
        default="`backup.settle_time` 10s",
        at_location=checks.artifact_complete,
    ),
    Check(
        id=CheckId.RDB_MAGIC,
        severity=Severity.BLOCK,
        proves="it is a Redis or Valkey dump",
        default="REDIS 1-15, VALKEY 80",
        at_location=checks.rdb_magic,
    ),
    Check(
        id=CheckId.RDB_CHECKSUM,
        severity=Severity.BLOCK,
        proves="it is whole and unaltered: the end marker and the CRC-64 over every byte",
        default="match; warns where the checksum was switched off",
        at_location=checks.rdb_checksum,
    ),
    Check(
        id=CheckId.STRUCTURE,
        severity=Severity.BLOCK,
        proves="every key and value in it can be read, and nothing follows its end",
        default="valid",
        at_location=checks.structure,
    ),
    Check(
        id=CheckId.SNAPSHOT_AGE,
        severity=Severity.BLOCK,
        proves="the data in it is recent, by the time that the server wrote into it",
        default="`backup.max_age` 26h; older is fine while nothing was written since",
        at_location=checks.snapshot_age,
    ),
    Check(
        id=CheckId.SNAPSHOT_NEW,
        severity=Severity.BLOCK,
        proves="it is not an earlier snapshot under a new name",
        default="differs from every earlier one, or nothing was written since",
        at_location=checks.snapshot_new,
        origins=ALL_ORIGINS - {Origin.SERVER_FILE},
    ),
    Check(
        id=CheckId.KEY_COUNT,
        severity=Severity.BLOCK,
        proves="it is neither empty nor collapsed: the only witness of a FLUSHALL",
        default=">= 1 key; >= half of the least of 7 days (3 or more snapshots, an hour apart); "
        "warns below half of their median",
        at_location=checks.key_count,
    ),
    Check(
        id=CheckId.SIZE_DROP,
        severity=Severity.WARN,
        proves="it is not much smaller than the ones before",
        default=">= half of the median of 7 days",
        at_location=checks.size_drop,
    ),
    Check(
        id=CheckId.RDB_FINDINGS,
        severity=Severity.WARN,
        proves="nothing in it is odd that servers load all the same",
        default="no finding",
        at_location=checks.rdb_findings,
    ),
    Check(
        id=CheckId.RESTORE_TARGET,
        severity=Severity.WARN,
        proves="the watched server, or the one of `target.*`, could load it: version, "
        "modules, databases, cluster mode",
        default="all that the file needs is there",
        at_location=restore_target.restore_target,
    ),
    Check(
        id=CheckId.SECOND_OPINION,
        severity=Severity.WARN,
        proves="another engine, written by others, reads the same in it",
        default="status and counts agree; up to `second_opinion.max_size`",
        at_location=checks.second_opinion,
    ),
)


def run(facts: Facts) -> tuple[CheckResult, ...]:
    """Every check of the catalogue, the server's first, then location by location."""
    results = [_result(row, None, facts) for row in CATALOGUE if row.of_server]
    results += [
        _result(row, at, facts) for at in facts.locations for row in CATALOGUE if row.at_location
    ]
    return tuple(results)


def _result(row: Check, at: LocationFacts | None, facts: Facts) -> CheckResult:
    modes = facts.policy.checks if at is None else at.location.checks
    mode = modes.get(row.id)
    severity = row.severity if mode in {None, CheckMode.OFF} else Severity(str(mode))
    if at is not None and not at.location.required:
        severity = Severity.WARN
    if mode is CheckMode.OFF:
        found = checks.skipped(Reason.SWITCHED_OFF)
    elif at is None:
        assert row.of_server is not None
        found = row.of_server(facts)
    elif at.location.origin not in row.origins:
        found = checks.skipped(Reason.NOT_FOR_ORIGIN)
    else:
        assert row.at_location is not None
        found = row.at_location(at, facts)
    told = found.outcome in {Outcome.WARN, Outcome.FAIL, Outcome.UNKNOWN}
    return CheckResult(
        check=row.id,
        location=None if at is None else at.location.name,
        outcome=found.outcome,
        severity=severity,
        reason=found.reason,
        measured=found.measured,
        limit=found.limit,
        remedy=REMEDIES[found.reason] if told and found.reason else "",
    )


def markdown_table() -> str:
    """The catalogue as a table for the README."""
    lines = ["| check | proves | default | severity | origins |", "|---|---|---|---|---|"]
    for row in CATALOGUE:
        origins = "all" if row.origins == ALL_ORIGINS else ", ".join(sorted(row.origins))
        lines.append(f"| `{row.id}` | {row.proves} | {row.default} | {row.severity} | {origins} |")
    return "\n".join(lines) + "\n"


def reasons_table() -> str:
    """Every reason that asks for something, and what to do, as a table for the README."""
    lines = ["| reason | what to do |", "|---|---|"]
    lines += [f"| `{reason}` | {remedy} |" for reason, remedy in REMEDIES.items()]
    return "\n".join(lines) + "\n"
