"""The status page: one Snapshot as a person reads it.

Knows: what is told first, and in which order. Refuses to know: HTTP, and how a verdict is reached.
Everything from outside (names, details) is text and is escaped; the page has no script and loads
nothing, so its Content-Security-Policy can forbid both.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter import __version__
from exporter.model import (
    Candidate,
    CheckResult,
    Listing,
    LocationState,
    Outcome,
    Reason,
    Snapshot,
    VerdictState,
)
from exporter.publish.standing import (
    FALLBACK_ENGINE,
    Standing,
    newest_status,
    notices,
    standing,
)
from exporter.publish.status_json import CONFIG_SHOWN
from exporter.publish.wording import (
    CHECK_TITLES,
    REASON_SENTENCES,
    STATUS_WORDS,
    ago_text,
    duration_text,
    number_text,
    shown_text,
    size_text,
    utc_text,
)

#: Seconds until a browser loads the page anew.
REFRESH_SECONDS = 15
#: Waiting backups that are named; the rest are counted.
PENDING_SHOWN = 5

STATE_WORDS = {
    VerdictState.PROTECTED: "Protected",
    VerdictState.AT_RISK: "At risk",
    VerdictState.UNKNOWN: "Unknown",
}
#: Tab icon, so that one tab among many tells.
STATE_COLOURS = {
    VerdictState.PROTECTED: "#16794a",
    VerdictState.AT_RISK: "#c2273a",
    VerdictState.UNKNOWN: "#8a6100",
}
_WORST_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.WARN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Why the verdict is what it is, in one sentence and what belongs to it."""

    sentence: str
    cause: CheckResult | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeMeter:
    """An age beside its limit."""

    age_seconds: float
    limit_seconds: float

    @property
    def percent(self) -> int:
        share = self.age_seconds / self.limit_seconds if self.limit_seconds > 0 else 1.0
        return round(100 * min(max(share, 0.0), 1.0))

    @property
    def level(self) -> str:
        """``ok``, ``near`` (last fifth), ``over``."""
        if self.age_seconds > self.limit_seconds:
            return "over"
        return "near" if self.percent >= 80 else "ok"


class StatusPage:
    """Renders the page; templates are read once, when it is made."""

    def __init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("exporter.publish"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters |= {
            "shown": shown_text,
            "duration": duration_text,
            "size": size_text,
            "number": number_text,
            "utc": utc_text,
        }
        source, _, _ = PackageLoader("exporter.publish").get_source(environment, "page.css")
        self._css = Markup(source)  # noqa: S704 - our own file, and it must not be escaped
        self._template = environment.get_template("page.html")
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        self.content_security_policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, snapshot: Snapshot, now: float) -> bytes:
        """The page as UTF-8, as it counts at ``now`` (unix seconds)."""
        shown = standing(snapshot, now)
        text = self._template.render(
            css=self._css,
            refresh_seconds=REFRESH_SECONDS,
            version=__version__,
            now=now,
            snapshot=snapshot,
            standing=shown,
            state_word=STATE_WORDS[shown.state],
            state_colour=STATE_COLOURS[shown.state],
            headline=headline(snapshot, shown, now),
            trouble=trouble(snapshot.results),
            passing=[each for each in snapshot.results if each.outcome is Outcome.PASS],
            skipped=[each for each in snapshot.results if each.outcome is Outcome.SKIP],
            notices=notices(snapshot),
            fallback_engine=FALLBACK_ENGINE,
            fallen_back=any(notice.id == "engine_fallback" for notice in snapshot.notices),
            config_shown=CONFIG_SHOWN,
            pending_shown=PENDING_SHOWN,
            listed=lambda state: isinstance(state.seen, Listing),
            newest_status=newest_status,
            meter=lambda state, candidate: _meter(state, candidate, now),
            ago=lambda at: ago_text(at, now),
            check_title=lambda check: CHECK_TITLES.get(check, check.replace("_", " ")),
            reason_sentence=_sentence,
            status_word=lambda status: STATUS_WORDS.get(status, status.replace("_", " ")),
        )
        return text.encode("utf-8", "backslashreplace")


def trouble(results: tuple[CheckResult, ...]) -> list[CheckResult]:
    """What neither passes nor is skipped, what withholds the heartbeat first."""
    return sorted(
        (each for each in results if each.outcome in _WORST_FIRST),
        key=lambda each: (not each.blocks, _WORST_FIRST.index(each.outcome)),
    )


def headline(snapshot: Snapshot, shown: Standing, now: float) -> Headline:
    """The one sentence that says why."""
    if shown.state is VerdictState.PROTECTED:
        return Headline(sentence=_green(snapshot, now))
    if shown.reason is Reason.VERDICT_STALE and snapshot.cycle is not None:
        return Headline(
            sentence=(
                f"{_sentence(Reason.VERDICT_STALE)} It ended "
                f"{ago_text(snapshot.cycle.at, now)}; the limit is "
                f"{duration_text(snapshot.policy.stale_after_seconds)}. What stands below is old."
            ),
            remedy="The sidecar's own loop hangs: see its log and restart it.",
        )
    if not shown.judged:
        return Headline(sentence="The first look at the backups has not ended yet.")
    cause = next(iter(shown.blocking), None)
    if cause is None:
        return Headline(sentence=_sentence(shown.reason or Reason.PENDING))
    return Headline(
        sentence=_sentence(cause.reason) if cause.reason else f"Check {cause.check} does not pass.",
        cause=cause,
        remedy=cause.remedy,
    )


def _green(snapshot: Snapshot, now: float) -> str:
    """What green means here: the oldest of the newest backups, and its limit."""
    required = [
        (state, state.newest_judged)
        for state in snapshot.locations
        if state.location.required and state.newest_judged
    ]
    what = (
        "The newest backup was read to its last byte and is whole"
        if len(required) == 1
        else "The newest backup of each required location was read to its last byte and is whole"
    )
    aged = [
        (now - backup.taken_at, state.location.max_age_seconds)
        for state, backup in required
        if backup.taken_at is not None
    ]
    if not aged:
        return f"{what}."
    age, limit = max(aged, key=lambda pair: pair[0] / pair[1])
    return f"{what}. It is {duration_text(max(0, age))} old; the limit is {duration_text(limit)}."


def _sentence(reason: Reason) -> str:
    return REASON_SENTENCES.get(reason, reason.replace("_", " ").capitalize() + ".")


def _meter(state: LocationState, candidate: Candidate, now: float) -> AgeMeter | None:
    if candidate.taken_at is None:
        return None
    return AgeMeter(
        age_seconds=max(0.0, now - candidate.taken_at),
        limit_seconds=state.location.max_age_seconds,
    )
