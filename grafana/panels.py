"""Panels as values, and as Grafana's JSON.

Knows: kinds of panels, colours, selectors, the grid. Refuses to know: which panels there are
(``rows``). Ids are counted from the place, so that a change of one panel does not change all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SELECTED = 'job=~"$job",instance=~"$instance"'
PLACED = SELECTED + ',location=~"$location"'
#: Checks of the server have no location.
CHECKED = SELECTED + ',location=~"$location|"'

GREEN, AMBER, RED = "green", "orange", "red"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

OUTCOMES = {
    0: ("pass", GREEN),
    1: ("warn", AMBER),
    2: ("fail", RED),
    3: ("unknown", "purple"),
}
VERDICTS = {0: ("PROTECTED", GREEN), 1: ("UNKNOWN", AMBER), 2: ("AT RISK", RED)}
YES_NO = {0: ("no", RED), 1: ("yes", GREEN)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    expr: str
    legend: str = ""
    table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    words: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Numbers that are shown as a word in a colour."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further field defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def metric(name: str, selector: str = SELECTED) -> str:
    return f"redis_backup_{name}{{{selector}}}"


def stat(title: str, description: str, unit: str, expr: str, **more: Any) -> Panel:
    size = {"width": 4, "height": 5}
    queries = (Query(expr=expr, legend=more.pop("legend", "")),)
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        kind="stat",
        **(size | more),
    )


#: How each kind of panel shows itself.
OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "table": {"cellHeight": "sm", "showHeader": True},
}
HIDDEN_COLUMNS = ("Time", "Value", "__name__", "job")


def panels(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """All panels of ``rows``, row by row on a grid of 24 columns."""
    placed: list[dict[str, Any]] = []
    top = 0
    for number, row in enumerate(rows, start=1):
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        placed.append(
            {
                "id": number * 100,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top += 1
        left = height = 0
        for index, panel in enumerate(row.panels, start=1):
            if left + panel.width > 24:
                top, left, height = top + height, 0, 0
            position = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            placed.append(_panel(panel, number * 100 + index, position))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return placed


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": position,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": query.table,
                "range": not query.table,
                "format": "table" if query.table else "time_series",
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": color, "value": value} for value, color in panel.steps],
                },
                "mappings": _mappings(panel),
                **panel.extra,
            },
            "overrides": [],
        },
        "options": OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        hidden = dict.fromkeys(HIDDEN_COLUMNS, True)
        shown["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return shown


def _mappings(panel: Panel) -> list[dict[str, Any]]:
    if not panel.words:
        return []
    options = {
        str(number): {"text": text, "color": color, "index": number}
        for number, (text, color) in panel.words.items()
    }
    return [{"type": "value", "options": options}]
