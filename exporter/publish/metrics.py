"""What a scrape gets: the table of families over one Snapshot, in the format that was asked for.

Knows: the registry, the counters of this process, the two text formats. Refuses to know: HTTP
(``web``), and what any number means (``families``). A scrape reads one Snapshot and one state of
the counters: no lock that a writer could hold, no file but ``/proc/self``, no socket.
"""

from __future__ import annotations

import bisect
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client import exposition as text_format
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_format

from exporter import __version__
from exporter.model import Policy, RdbReport, Reason, Snapshot
from exporter.publish.counts import Counts, Key
from exporter.publish.families import (
    ANY,
    DURATION_BUCKETS,
    FAILED_STATUSES,
    FAMILIES,
    HEARTBEAT_FAILURES,
    LOG_LEVELS,
    PREFIX,
    QUERY_FAILURES,
    WITHHELD_REASONS,
    Family,
    Kind,
    Scrape,
)
from exporter.publish.standing import standing

__all__ = ["ANY", "FAMILIES", "PREFIX", "Metrics", "markdown_table", "span"]

Series = tuple[str, tuple[tuple[str, str], ...]]

_DURATION = "verification_duration_seconds"
_LE = (*(str(each) for each in DURATION_BUCKETS), "+Inf")


class Metrics:
    """The registry, and the counters that the rooms report to.

    ``current`` gives the Snapshot of this moment, ``clock`` unix seconds. A heartbeat's reason that
    is in no table is a bug and raises ``ValueError``: it would be a series that nobody configured.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        *,
        engine: str,
        revision: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._current = current
        self._clock = clock
        self._counts = Counts()
        self._build = (__version__, revision, platform.python_version(), engine)
        # Counters that later come from the library itself would add `_created` series otherwise.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library's
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # What the rooms report.

    def cycle_done(self) -> None:
        self._count("cycles_total")

    def cycle_failed(self) -> None:
        self._count("cycle_failures_total")

    def verification_done(self, location: str, report: RdbReport) -> None:
        """Counts a reading that came to a final status, all its numbers in one step."""
        bucket = _LE[bisect.bisect_left(DURATION_BUCKETS, report.seconds)]
        steps: list[tuple[str, tuple[str, ...], float]] = [
            ("verifications_total", (location,), 1.0),
            ("verified_bytes_total", (), float(report.bytes)),
            (_DURATION, (bucket,), 1.0),
            (f"{_DURATION}_sum", (), report.seconds),
        ]
        if report.status in FAILED_STATUSES:
            labels = (location, report.status.value)
            steps.append(("verification_failures_total", labels, 1.0))
        self._counts.add(*steps)

    def heartbeat_attempted(self, name: str) -> None:
        self._count("heartbeat_attempts_total", name)

    def heartbeat_failed(self, name: str, reason: str) -> None:
        self._count("heartbeat_failures_total", name, _word(reason, HEARTBEAT_FAILURES))

    def heartbeat_withheld(self, name: str, reason: Reason) -> None:
        self._count("heartbeats_withheld_total", name, _word(reason, WITHHELD_REASONS))

    def query_failed(self, reason: Reason) -> None:
        """Counts a look at the server that failed; an absent field is no failure."""
        if reason in QUERY_FAILURES:
            self._count("server_query_failures_total", QUERY_FAILURES[reason])

    def log_message(self, level: str) -> None:
        # Never raises: it is called from within the log, where an error has nowhere to go.
        self._count("log_messages_total", level if level in LOG_LEVELS else "error")

    def _count(self, name: str, *labels: str) -> None:
        self._counts.add((name, labels, 1.0))

    # What a scrape gets.

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """The metrics and their content type, as OpenMetrics or text by the Accept header."""
        if _prefers_openmetrics(accept or ""):
            body: bytes = openmetrics_format.generate_latest(self.registry)  # type: ignore[no-untyped-call] # the library's
            return body, "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return text_format.generate_latest(self.registry), text_format.CONTENT_TYPE_PLAIN_0_0_4

    def describe(self) -> Iterator[Metric]:
        """Names for the registry, which so refuses a second collector of the same name."""
        return (_metric(family) for family in FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """The families of this moment; what is not known has no series, and no family."""
        snapshot = self._current()
        scrape = Scrape(
            snapshot=snapshot,
            standing=standing(snapshot, self._clock()),
            counts=self._counts.values,
            build=self._build,
        )
        for family in FAMILIES:
            if family.when(snapshot.policy):
                metric = _metric(family)
                _fill(metric, family, scrape)
                if metric.samples:
                    yield metric


def span(policy: Policy) -> frozenset[Series]:
    """Every series that may exist under ``policy``, as (name, ((label, value), ...)).

    The value :data:`ANY` stands for text that comes from the server or the build: of such a row
    at most one series exists at a time. ``process_*`` is the library's and not listed.
    """
    return frozenset(
        (name, tuple(zip(names, values, strict=True)))
        for family in FAMILIES
        if family.when(policy)
        for name, names, values in _spanned(family, policy)
    )


def markdown_table() -> str:
    """The families as the README lists them."""
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(label.name for label in family.labels)
        text = family.help.replace("|", "\\|")
        rows.append(f"| `{family.full_name}` | {family.kind} | {labels} | {text} |")
    return "\n".join(rows) + "\n"


def _spanned(
    family: Family, policy: Policy
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    if family.kind is Kind.HISTOGRAM:
        yield from ((f"{family.full_name}_bucket", ("le",), (le,)) for le in _LE)
        yield from ((f"{family.full_name}_{part}", (), ()) for part in ("sum", "count"))
        return
    names = tuple(label.name for label in family.labels)
    for values in itertools.product(*(label.values(policy) for label in family.labels)):
        yield family.full_name, names, values


def _metric(family: Family) -> Metric:
    # The formats put `_total` back on a counter's samples; the family goes without.
    return Metric(family.full_name.removesuffix("_total"), family.help, family.kind, family.unit)


def _fill(metric: Metric, family: Family, scrape: Scrape) -> None:
    if family.kind is Kind.HISTOGRAM:
        _fill_histogram(metric, family, scrape.counts)
        return
    names = tuple(label.name for label in family.labels)
    if family.points is None:
        policy = scrape.snapshot.policy
        points = {
            values: scrape.counts.get((family.name, values), 0.0)
            for _, _, values in _spanned(family, policy)
        }
    else:
        # One value a series: a second one would make the whole scrape unreadable.
        points = dict(family.points(scrape))
    for values, value in points.items():
        labels = {name: _printable(text) for name, text in zip(names, values, strict=True)}
        metric.add_sample(family.full_name, labels, value)


def _fill_histogram(metric: Metric, family: Family, counts: Mapping[Key, float]) -> None:
    total = 0.0
    for le in _LE:
        total += counts.get((family.name, (le,)), 0.0)
        metric.add_sample(f"{family.full_name}_bucket", {"le": le}, total)
    metric.add_sample(f"{family.full_name}_count", {}, total)
    seconds = counts.get((f"{family.name}_sum", ()), 0.0)
    metric.add_sample(f"{family.full_name}_sum", {}, seconds)


def _word(word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise ValueError(f"{word!r} is none of {', '.join(words)}")
    return str(word)


def _prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept header puts OpenMetrics before plain text (the default)."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(weight))
    return weights["application/openmetrics-text"] > weights["text/plain"]


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _printable(text: str) -> str:
    """Text that UTF-8 can hold: one lone surrogate would end every scrape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
