"""Writes the dashboard: ``python -m grafana.generate`` makes ``redis-backups.json`` beside it.

Knows: the dashboard around its panels: variables, annotations, time. Refuses to know: the panels
(``rows``). The result is committed, and a test holds it to be what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana.panels import AMBER, GREEN, PLACED, RED, SELECTED, SOURCE, metric, panels
from grafana.rows import ROWS

TARGET = Path(__file__).with_name("redis-backups.json")


def dashboard() -> dict[str, Any]:
    """The whole dashboard as JSON-ready values."""
    return {
        "uid": "redis-backups",
        "title": "Redis backups",
        "description": "Are the backups proven, fresh and whole?",
        "tags": ["redis", "backup"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": _annotations()},
        "templating": {"list": _variables()},
        "links": [],
        "panels": panels(ROWS),
    }


def _annotations() -> list[dict[str, Any]]:
    rows = (
        (
            "Firing alerts",
            f'ALERTS{{{SELECTED},alertname=~"RedisBackup.*",alertstate="firing"}}',
            RED,
            "{{alertname}}",
        ),
        (
            "New valid backup",
            f"changes({metric('last_valid_timestamp_seconds', PLACED)}[$__interval]) > 0",
            GREEN,
            "{{location}}",
        ),
        (
            "Redis restart",
            f"delta({metric('server_start_time_seconds')}[$__interval]) > 30",
            AMBER,
            "{{instance}}",
        ),
    )
    return [
        {
            "name": name,
            "datasource": SOURCE,
            "enable": True,
            "expr": expr,
            "iconColor": color,
            "step": "60s",
            "titleFormat": name,
            "textFormat": text,
        }
        for name, expr, color, text in rows
    ]


def _variables() -> list[dict[str, Any]]:
    known = "redis_backup_max_age_seconds"
    rows = (
        ("job", f"label_values({known}, job)"),
        ("instance", f'label_values({known}{{job=~"$job"}}, instance)'),
        ("location", f"label_values({metric('max_age_seconds')}, location)"),
    )
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }
    return [source] + [
        {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": f"variable-{name}"},
            "definition": query,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
            "sort": 1,
            "hide": 0,
        }
        for name, query in rows
    ]


def rendered() -> str:
    """The committed form: stable order, one value a line."""
    return json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(rendered(), encoding="utf-8")
