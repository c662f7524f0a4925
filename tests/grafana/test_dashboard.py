"""The dashboard: as generated, complete, about metrics that exist, and answered by Prometheus."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.publish.families import FAMILIES, HEARTBEAT_FAILURES, WITHHELD_REASONS, Kind
from exporter.publish.metrics import Metrics
from exporter.publish.web import WebServer
from grafana import generate
from tests.publish import snapshots

DEADLINE = 60.0
FOLDER = Path(generate.__file__).parent
DASHBOARD = generate.dashboard()
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    (f"{panel['title']} {target['refId']}", target["expr"])
    for panel in PANELS
    for target in panel["targets"]
]
ANNOTATIONS = [(each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"]]
VARIABLES = {
    "$job": ".*",
    "$instance": ".*",
    "$location": ".*",
    "$__rate_interval": "10s",
    "$__interval": "10s",
}
#: Only in some states: nothing to show is the good answer.
MAY_BE_EMPTY = {"Checks that do not pass A", "Reading now A"}


def filled(expr: str) -> str:
    for name, text in VARIABLES.items():
        expr = expr.replace(name, text)
    assert "$" not in expr
    return expr


def test_the_committed_dashboard_is_the_generated_one() -> None:
    assert (FOLDER / "redis-backups.json").read_text(encoding="utf-8") == generate.rendered(), (
        "run: python -m grafana.generate"
    )


def test_every_metric_name_exists() -> None:
    known = {family.full_name for family in FAMILIES}
    known |= {
        f"{family.full_name}_{part}"
        for family in FAMILIES
        if family.kind is Kind.HISTOGRAM
        for part in ("bucket", "sum", "count")
    }
    used = set(re.findall(r"redis_backup_\w+", generate.rendered()))
    assert used <= known
    assert len(used) > 45


def test_every_label_in_a_matcher_is_one_of_its_family() -> None:
    labels = {
        family.full_name: {label.name for label in family.labels} | {"job", "instance"}
        for family in FAMILIES
    }
    for title, expr in QUERIES + ANNOTATIONS:
        for name, matchers in re.findall(r"(redis_backup_\w+)\{([^}]*)\}", expr):
            family = name.removesuffix("_bucket")
            used = set(re.findall(r"(\w+)(?:=~|=|!=)", matchers))
            assert used <= labels[family], (title, used)


def test_every_selector_has_job_and_instance() -> None:
    for title, expr in QUERIES + ANNOTATIONS:
        found = re.findall(r"(?:redis_backup_\w+|ALERTS)(\{[^}]*\})?", expr)
        assert found, title
        for matchers in found:
            assert 'job=~"$job"' in matchers, title
            assert 'instance=~"$instance"' in matchers, title


def test_counters_stand_only_under_rate_or_increase() -> None:
    counters = {f.full_name for f in FAMILIES if f.kind is not Kind.GAUGE}
    for title, expr in QUERIES:
        for match in re.finditer(r"redis_backup_\w+", expr):
            if match[0].removesuffix("_bucket") in counters:
                assert re.search(r"(rate|increase)\($", expr[: match.start()]), title
                assert "[$__rate_interval]" in expr[match.end() :], title


def test_every_panel_has_title_description_unit_and_its_own_id() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))


def test_panels_stay_on_the_grid_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_data_source_is_a_variable() -> None:
    assert "__inputs" not in DASHBOARD
    names = [each["name"] for each in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance", "location"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    assert (DASHBOARD["uid"], DASHBOARD["refresh"]) == ("redis-backups", "1m")


def test_provisioning_is_what_grafana_reads() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["type"] == "prometheus"
    boards = yaml.safe_load((FOLDER / "provisioning/dashboards/redis-backups.yml").read_text())
    assert boards["providers"][0]["options"]["path"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def busy_metrics() -> tuple[Metrics, threading.Event]:
    """Metrics of a good sidecar whose counters go on, until the event is set."""
    now = time.time()
    base = snapshots.continuous()
    shift = now - snapshots.NOW
    server = replace(snapshots.SERVER, aof_size_bytes=1)
    assert base.cycle is not None
    current = replace(
        base, cycle=replace(base.cycle, at=base.cycle.at + shift + 600), server=server
    )
    policy = replace(current.policy, interval_seconds=3600)
    current = replace(current, policy=policy)
    metrics = Metrics(lambda: current, engine="rdbtools")
    stop = threading.Event()

    def count() -> None:
        while not stop.wait(0.2):
            metrics.cycle_done()
            metrics.verification_done("local", snapshots.report())
            metrics.heartbeat_attempted("night")
            metrics.heartbeat_failed("night", HEARTBEAT_FAILURES[0])
            metrics.heartbeat_withheld("night", WITHHELD_REASONS[0])
            metrics.log_message("warning")

    threading.Thread(target=count, daemon=True).start()
    return metrics, stop


class Prometheus:
    """The real one, scraping one exporter each second."""

    def __init__(self, folder: Path, exporter_port: int) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "redis-backups",
                    "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ]
        )

    def query(self, expr: str) -> list[dict[str, Any]]:
        encoded = urllib.parse.urlencode({"query": expr})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{encoded}"
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            body = json.load(answer)
        assert body["status"] == "success"
        found: list[dict[str, Any]] = body["data"]["result"]
        return found

    def wait(self, expr: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if self.query(expr):
                    return
            except OSError:
                assert self.process.poll() is None, "prometheus ended"
            assert time.monotonic() < deadline, expr
            threading.Event().wait(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    metrics, stop = busy_metrics()
    server = WebServer(
        "127.0.0.1:0", current=metrics._current, metrics=metrics, last_tick=time.monotonic
    )
    server.start()
    scraper = Prometheus(tmp_path_factory.mktemp("prometheus"), server.port)
    try:
        scraper.wait("count_over_time(redis_backup_protected[30s]) >= 4")
        yield scraper
    finally:
        scraper.stop()
        stop.set()
        server.stop()


def test_prometheus_takes_every_series(prometheus: Prometheus) -> None:
    """It negotiates OpenMetrics, takes all of it, and keeps one series a label set."""
    assert prometheus.query("up")[0]["value"][1] == "1"
    assert prometheus.query("scrape_samples_scraped > 100")
    assert prometheus.query("redis_backup_protected")[0]["value"][1] == "1"


@pytest.mark.parametrize(("title", "expr"), QUERIES, ids=[title for title, _ in QUERIES])
def test_prometheus_answers_every_query(prometheus: Prometheus, title: str, expr: str) -> None:
    found = prometheus.query(filled(expr))
    if title not in MAY_BE_EMPTY:
        assert found
        assert not [row for row in found if row["value"][1] == "NaN"], found


@pytest.mark.parametrize(("title", "expr"), ANNOTATIONS, ids=[title for title, _ in ANNOTATIONS])
def test_prometheus_understands_every_annotation(
    prometheus: Prometheus, title: str, expr: str
) -> None:
    prometheus.query(filled(expr))
