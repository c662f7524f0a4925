"""The check ``restore_target``: could the server that is there load the newest backup?

Knows: what a file needs beyond a plain server, and how to say what is missing. Refuses to know:
where the facts of that server come from (``target``), and whether function code runs: nothing but
a restore drill proves that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.judge.checks import Finding, content, passed, skipped
from exporter.judge.facts import Facts, LocationFacts
from exporter.judge.modules import Loads, loads, wanted
from exporter.judge.target import Target, for_now, greatest, loads_dump, target
from exporter.judge.words import number_text, size_text
from exporter.model import Candidate, CheckId, Dialect, Outcome, RdbReport, Reason, Unseen

#: What every server has unless somebody changed it.
_DATABASES = 16
#: A slot of the table that RESIZEDB asks for before the first key is read.
_SLOT_BYTES = 8
#: From these versions on a RESIZEDB beyond reason does no harm.
_RESIZE_SAFE = {Dialect.REDIS.value: (7, 4), Dialect.VALKEY.value: (8, 0)}
#: Names of missing modules that are told; a file may name any number.
_TOLD = 6


@dataclass(frozen=True, slots=True)
class _Answer:
    """How one need fares. A need that is met has nothing to say."""

    outcome: Outcome
    reason: Reason | None = None
    text: str = ""


_MET = _Answer(Outcome.PASS)


def restore_target(at: LocationFacts, facts: Facts) -> Finding:
    def compare(judged: Candidate) -> Finding:
        report = judged.report
        assert report is not None
        server = target(facts, report.dialect)
        if server is None:
            return skipped(Reason.NO_REDIS, "no server is watched, and none is configured")
        found = _compare(report, server)
        if isinstance(facts.server, Unseen) and found.outcome is Outcome.PASS and _leans(facts):
            # Losing sight of the server must not look like its having changed nothing.
            return Finding(Outcome.UNKNOWN, facts.server.reason, facts.server.detail, server.name)
        return found

    return content(CheckId.RESTORE_TARGET, at, facts, compare)


def _leans(facts: Facts) -> bool:
    """Whether any fact is the watched server's."""
    said = facts.policy.restore_target
    view = facts.last_good
    if said is None:
        return True
    if said.server is not None and view is not None and view.dialect != said.server:
        return False
    return None in {said.version, said.modules, said.databases, said.cluster}


def _compare(report: RdbReport, server: Target) -> Finding:
    answers = [need(report, server) for need in _NEEDS]
    for outcome in (Outcome.FAIL, Outcome.WARN, Outcome.UNKNOWN, Outcome.SKIP):
        told = [answer for answer in answers if answer.outcome is outcome]
        if told:
            text = "; ".join(answer.text for answer in told if answer.text)
            return Finding(outcome, told[0].reason, text, server.name)
    measured = [f"RDB version {report.rdb_version}"]
    measured += [f"type {kind}" for kind in report.needs.modules[:_TOLD]]
    if _databases_used(report) > 1:
        measured.append(f"{number_text(_databases_used(report))} databases")
    if report.needs.functions:
        measured.append(
            f"{number_text(report.needs.functions)} function libraries, "
            "whose code only a restore drill proves"
        )
    return passed(", ".join(measured), server.name)


def _version(report: RdbReport, server: Target) -> _Answer:
    if isinstance(server.version, Unseen):
        return _unseen(server.version)
    number = report.rdb_version
    able = None if number is None else loads_dump(server, number)
    if able:
        return _MET
    text = f"RDB version {number}"
    if report.server_version:
        text += f" of {report.dialect} {report.server_version}"
    if able is None:
        why = "whether it loads that is not known"
        if server.version is None:
            why = "the target's version is not known: set target.version"
        return _Answer(Outcome.SKIP, Reason.TARGET_UNKNOWN, f"{text}: {why}")
    return _Answer(
        Outcome.FAIL,
        Reason.TARGET_VERSION_TOO_OLD,
        f"{text}, and it loads REDIS up to {greatest(server)}"
        + (" and its own" if server.dialect == Dialect.VALKEY and _own_magic(server) else ""),
    )


def _own_magic(server: Target) -> bool:
    return isinstance(server.version, tuple) and server.version >= (9, 0)


def _modules(report: RdbReport, server: Target) -> _Answer:
    own = _has_vector_sets(server)
    kinds = [kind for kind in report.needs.modules if not (kind == "vectorset" and own)]
    if not kinds:
        return _MET
    names = _listed([wanted(kind) for kind in kinds])
    if server.modules is None:
        if "vectorset" in kinds and own is False:
            return _missing(["vectorset"])
        return _Answer(
            Outcome.SKIP, Reason.TARGET_UNKNOWN, f"needs {names}; its modules are not known"
        )
    if isinstance(server.modules, Unseen):
        return _unseen(server.modules, f"needs {names}; ")
    found = {kind: loads(kind, server.modules, server.dialect) for kind in kinds}
    missing = [kind for kind, able in found.items() if able is Loads.NO]
    if missing:
        return _missing(missing)
    untold = [kind for kind, able in found.items() if able is Loads.UNTOLD]
    if untold:
        return _Answer(
            Outcome.UNKNOWN,
            Reason.MODULE_UNKNOWN,
            f"needs {_listed(untold)}; modules there: {_listed(sorted(server.modules))}",
        )
    return _MET


def _missing(kinds: list[str]) -> _Answer:
    names = _listed([wanted(kind) for kind in kinds])
    return _Answer(Outcome.FAIL, Reason.MODULE_REQUIRED, f"nothing there loads {names}")


def _has_vector_sets(server: Target) -> bool | None:
    """Redis has them in itself since 8.0, and before it cannot; elsewhere its modules tell."""
    if server.dialect != Dialect.REDIS or not isinstance(server.version, tuple):
        return None
    if server.version >= (8, 0):
        return True
    return None if server.candidate else False


def _databases(report: RdbReport, server: Target) -> _Answer:
    used, have = _databases_used(report), server.databases
    if isinstance(have, int):
        if used <= have:
            return _MET
        return _Answer(
            Outcome.FAIL,
            Reason.DATABASES_TOO_FEW,
            f"needs {number_text(used)} databases, and it has {number_text(have)}",
        )
    if used <= _DATABASES:
        return _MET
    text = f"needs {number_text(used)} databases"
    if isinstance(have, Unseen):
        return _unseen(have, f"{text}; ")
    return _Answer(Outcome.SKIP, Reason.TARGET_UNKNOWN, f"{text}; how many it has is not known")


def _databases_used(report: RdbReport) -> int:
    """``needs.databases`` begins at the usual 16; a target may have fewer."""
    if report.needs.databases > _DATABASES:
        return report.needs.databases
    return 1 + max(report.keys_by_db, default=0)


def _cluster(report: RdbReport, server: Target) -> _Answer:
    if not report.needs.cluster or server.cluster is True:
        return _MET
    text = "holds a slot migration that was under way, which only a cluster node loads"
    if isinstance(server.cluster, Unseen):
        return _unseen(server.cluster, f"{text}; ")
    if server.cluster is None:
        return _Answer(Outcome.SKIP, Reason.TARGET_UNKNOWN, text)
    return _Answer(Outcome.FAIL, Reason.CLUSTER_REQUIRED, text)


def _memory(report: RdbReport, server: Target) -> _Answer:
    announced = report.needs.resizedb
    if announced is None:
        return _MET
    safe = _RESIZE_SAFE.get(server.dialect or "")
    if safe and isinstance(server.version, tuple) and server.version >= safe:
        return _MET
    table_bytes = _SLOT_BYTES << max(0, announced - 1).bit_length()
    text = (
        f"RESIZEDB announces {number_text(announced)} keys: {size_text(table_bytes)} of memory "
        "before the first of them"
    )
    if server.memory_bytes is None:
        return _Answer(Outcome.WARN, Reason.MEMORY_REQUIRED, text)
    if table_bytes <= server.memory_bytes // 2:
        return _MET
    return _Answer(
        Outcome.FAIL,
        Reason.MEMORY_REQUIRED,
        f"{text}; the machine has {size_text(server.memory_bytes)}",
    )


#: In the order in which a person would want to hear of them.
_NEEDS: tuple[Callable[[RdbReport, Target], _Answer], ...] = (
    _version,
    _modules,
    _databases,
    _cluster,
    _memory,
)


def _unseen(why: Unseen, text: str = "") -> _Answer:
    """Unknown for the moment, or skipped where the server will not tell at all."""
    outcome = Outcome.UNKNOWN if for_now(why.reason) else Outcome.SKIP
    return _Answer(outcome, why.reason, f"{text}{why.detail}")


def _listed(names: list[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {number_text(more)} more" if more > 0 else "")
