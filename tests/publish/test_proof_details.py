"""What page and document say of how a backup was proven: engine, depth, share, second opinion."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from exporter.model import (
    CheckId,
    DuplicatesSearched,
    Notice,
    Outcome,
    Reason,
    SecondOpinion,
    Snapshot,
    Unseen,
)
from exporter.publish.metrics import Metrics
from exporter.publish.page import StatusPage
from exporter.publish.status_json import status_json
from tests.publish.snapshot_parts import NOW, SERVER, result, results
from tests.publish.snapshots import STATES

PAGE = StatusPage()


def native(*, opinion: SecondOpinion | None = None, **facts: Any) -> Snapshot:
    """A sound Snapshot of the native engine, whose newest backup's report has ``facts``."""
    base = STATES["valid"]()
    best = base.locations[0].newest_judged
    assert best is not None
    assert best.proof is not None
    read = replace(best.proof.report, **{"engine": "native", "depth": "full", **facts})
    best = replace(best, proof=replace(best.proof, report=read, second_opinion=opinion))
    place = replace(base.locations[0], newest=best, newest_judged=best, last_valid=best)
    return replace(base, engine="native", locations=(place,))


def page(snapshot: Snapshot) -> str:
    return PAGE.render(snapshot, NOW).decode()


def document(snapshot: Snapshot) -> Any:
    return json.loads(status_json(snapshot, NOW))


def newest(snapshot: Snapshot) -> Any:
    return document(snapshot)["locations"][0]["newest_judged"]


def test_a_share_of_the_search_for_duplicates_is_told() -> None:
    shared = native(duplicates_searched=DuplicatesSearched(part=3, of=8))
    assert "searched in share 3 of 8" in page(shared)
    assert newest(shared)["report"]["duplicates_searched"] == {"part": 3, "of": 8}


@pytest.mark.parametrize("searched", [None, DuplicatesSearched(part=1, of=1)])
def test_a_whole_search_is_no_news(searched: DuplicatesSearched | None) -> None:
    assert "searched in share" not in page(native(duplicates_searched=searched))


def test_less_than_the_full_depth_is_told() -> None:
    assert "<dt>Depth</dt>" not in page(native())
    assert "<dt>Depth</dt><dd>structure" in page(native(depth="structure"))
    assert newest(native())["report"]["depth"] == "full"


@pytest.mark.parametrize(
    ("agrees", "word"), [(True, "agrees"), (False, "disagrees"), (None, "none")]
)
def test_the_second_opinion_is_told(agrees: bool | None, word: str) -> None:
    snapshot = native(opinion=SecondOpinion(engine="rdbtools", agrees=agrees, seconds=12.0))
    assert f"<dt>Second opinion</dt><dd>{word} " in page(snapshot)
    assert newest(snapshot)["second_opinion"] == {
        "engine": "rdbtools", "agrees": agrees, "detail": "", "seconds": 12.0,
    }  # fmt: skip
    assert newest(native())["second_opinion"] is None


# -- the engine -------------------------------------------------------------------------------------


def test_the_engine_of_last_resort_is_told_everywhere() -> None:
    """A silent fall back to a weaker engine would be a green that means less than it says."""
    fallen = STATES["valid"]()
    assert fallen.engine == "rdbtools"
    text = page(fallen)
    assert text.count('class="notice"><code>engine_fallback</code>') == 1
    assert "not the native one" in text
    assert "rdbtools (the fallback)" not in text  # it may have been chosen
    told = replace(fallen, notices=(Notice(id="engine_fallback", text="not built"),))
    assert "rdbtools (the fallback)" in page(told)
    assert [each["id"] for each in document(fallen)["notices"]] == ["engine_fallback"]
    assert document(fallen)["engine"] == "rdbtools"
    exposed, _ = Metrics(lambda: fallen, engine=fallen.engine, clock=lambda: NOW).exposition(None)
    assert b'engine="rdbtools"' in exposed


def test_the_reason_for_the_engine_of_last_resort_is_told_once() -> None:
    why = Notice(id="engine_fallback", text="the native engine is not built: no Rust")
    told = replace(STATES["valid"](), notices=(why,))
    assert page(told).count("engine_fallback") == 1
    assert "no Rust" in page(told)
    assert len(document(told)["notices"]) == 1


def test_the_native_engine_needs_no_notice() -> None:
    assert "engine_fallback" not in page(native())
    assert "fallback" not in page(native())
    assert document(native())["notices"] == []


# -- the target -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "shown", "listed"),
    [
        (frozenset({"search", "ReJSON"}), "ReJSON, search", ["ReJSON", "search"]),
        (frozenset(), "<dt>Modules</dt><dd>none</dd>", []),
        (
            Unseen(source="redis", at=NOW, reason=Reason.REDIS_COMMAND_DENIED),
            "<dt>Modules</dt><dd><code>redis_command_denied</code></dd>",
            {"reason": "redis_command_denied"},
        ),
        (frozenset({"<b>"}), "&lt;b&gt;", ["<b>"]),
    ],
)
def test_modules_of_the_server_are_shown(modules: Any, shown: str, listed: Any) -> None:
    snapshot = replace(native(), server=replace(SERVER, modules=modules))
    assert shown in page(snapshot)
    assert document(snapshot)["server"]["modules"] == listed


def test_a_skipped_check_says_what_it_could_not_compare() -> None:
    row = result(
        CheckId.RESTORE_TARGET,
        Outcome.SKIP,
        Reason.REDIS_COMMAND_DENIED,
        measured="needs TSDB-TYPE",
    )
    assert "needs TSDB-TYPE" in page(replace(native(), results=results(row)))


def test_progress_of_a_reading_is_in_metrics_and_page() -> None:
    reading = STATES["pending"]()
    exposed, _ = Metrics(lambda: reading, engine="native", clock=lambda: NOW).exposition(None)
    assert b"redis_backup_verification_in_progress 1.0" in exposed
    assert b"redis_backup_verification_progress_ratio 0.42" in exposed
    assert "being read, 42 %" in page(reading)
