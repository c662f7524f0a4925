"""Log lines on change: a verdict, a check, a reading.

Knows: what was told last. Refuses to know: what decides, and how lines are written.
"""

from __future__ import annotations

import structlog

from exporter.model import CheckResult, Outcome, Snapshot, Status, Verdict
from exporter.verify.verifier import Done

log = structlog.get_logger()

_TOLD = frozenset({Outcome.FAIL, Outcome.WARN, Outcome.UNKNOWN})


class Journal:
    """Tells each change once."""

    def __init__(self) -> None:
        self._verdict: Verdict | None = None
        self._told: dict[tuple[str, str | None], CheckResult] = {}
        self._notices: set[str] = set()

    def tell(self, snapshot: Snapshot) -> bool:
        """Logs what changed with ``snapshot``; True where the verdict or its reasons did."""
        for notice in snapshot.notices:
            if notice.id not in self._notices:
                self._notices.add(notice.id)
                log.warning(notice.id, detail=notice.text)
        for result in snapshot.results:
            self._tell_check(result)
        verdict = snapshot.verdict
        if verdict is None or _same(verdict, self._verdict):
            return False
        self._verdict = verdict
        first = verdict.blocking[0] if verdict.blocking else None
        fields = {} if first is None else _fields(first)
        write = log.info if verdict.protected else log.warning
        write("verdict.changed", state=str(verdict.state), **fields)
        return True

    def _tell_check(self, result: CheckResult) -> None:
        key = (result.check, result.location)
        before = self._told.pop(key, None)
        if result.outcome not in _TOLD:
            if before is not None:
                log.info("check.recovered", check=str(result.check), location=result.location)
            return
        self._told[key] = result
        if before and (before.outcome, before.reason) == (result.outcome, result.reason):
            return
        write = log.warning if result.outcome is Outcome.FAIL else log.info
        write(f"check.{result.outcome}", severity=str(result.severity), **_fields(result))

    def read(self, done: Done) -> None:
        """Logs how a reading ended."""
        name, why = done.job.known.backup.name, str(done.job.why)
        location = done.job.location.name
        report, opinion = done.report, done.opinion
        if opinion is not None:
            write = log.warning if opinion.agrees is False else log.info
            write(
                "backup.second_opinion",
                location=location,
                name=name,
                engine=opinion.engine,
                agrees={True: "yes", False: "no", None: "unknown"}[opinion.agrees],
                seconds=round(opinion.seconds, 3),
                **({"detail": opinion.detail} if opinion.detail else {}),
            )
            return
        if report is None:
            log.info("backup.changed", location=location, name=name, detail=done.detail)
            return
        good = report.status is Status.VALID
        write = log.info if good else log.warning
        fields = {} if good else {"reason": report.reason, "offset": report.offset}
        write(
            "backup.verified",
            location=location,
            name=name,
            status=str(report.status),
            engine=report.engine,
            depth=report.depth,
            keys=report.keys,
            bytes=report.bytes,
            seconds=round(done.seconds, 3),
            why=why,
            **fields,
        )


def _fields(result: CheckResult) -> dict[str, object]:
    return {
        "check": str(result.check),
        "location": result.location,
        "reason": str(result.reason),
        "measured": result.measured,
        "limit": result.limit,
        "remedy": result.remedy,
    }


def _same(verdict: Verdict, before: Verdict | None) -> bool:
    if before is None or verdict.state is not before.state:
        return False
    return [(r.check, r.location, r.reason) for r in verdict.blocking] == [
        (r.check, r.location, r.reason) for r in before.blocking
    ]
