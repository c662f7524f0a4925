"""The page and the JSON document: what they say in each state, and that nothing gets through."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace

import pytest

from exporter.model import (
    CheckId,
    Outcome,
    RdbReport,
    Reason,
    Snapshot,
    Status,
    VerdictState,
    VerifierState,
)
from exporter.publish.page import StatusPage, trouble
from exporter.publish.standing import standing
from exporter.publish.status_json import PENDING_SHOWN, status_json
from exporter.publish.wording import (
    CHECK_TITLES,
    REASON_SENTENCES,
    STATUS_WORDS,
    ago_text,
    duration_text,
    shown_text,
    size_text,
    utc_text,
)
from tests.publish.snapshots import HOSTILE, NOW, STATES, candidate, stale

PAGE = StatusPage()


class Reader(html.parser.HTMLParser):
    """Text and tags of a page; notes tags that are not closed in order."""

    VOID = frozenset({"meta", "link", "path", "rect", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(snapshot: Snapshot) -> Reader:
    reader = Reader()
    reader.feed(PAGE.render(snapshot, NOW).decode("utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def text_of(snapshot: Snapshot) -> str:
    reader = read(snapshot)
    return re.sub(r"\s+", " ", "".join(reader.text))


def document(snapshot: Snapshot) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    parsed = json.loads(status_json(snapshot, NOW), parse_constant=refuse)
    assert isinstance(parsed, dict)
    return parsed


@pytest.mark.parametrize("name", sorted(STATES))
def test_the_page_is_well_formed_and_loads_nothing(name: str) -> None:
    for tag, attributes in read(STATES[name]()).tags:
        assert tag not in {"script", "img", "iframe", "object", "form", "base"}
        assert not [key for key in attributes if key.startswith("on") or key in {"src", "style"}]
        target = attributes.get("href") or ""
        assert target in {"", "/metrics", "/api/v1/status"} or target.startswith(
            "data:image/svg+xml,"
        )


@pytest.mark.parametrize("name", sorted(STATES))
def test_page_and_document_give_the_same_state_and_reason(name: str) -> None:
    snapshot = STATES[name]()
    shown = standing(snapshot, NOW)
    words = {
        VerdictState.PROTECTED: "Protected",
        VerdictState.AT_RISK: "At risk",
        VerdictState.UNKNOWN: "Unknown",
    }
    reader = read(snapshot)
    assert words[shown.state] in "".join(reader.text)
    assert ("section", {"class": f"hero {shown.state}", "aria-live": "polite"}) in reader.tags
    verdict = document(snapshot)["verdict"]
    assert isinstance(verdict, dict)
    assert (verdict["state"], verdict["reason"]) == (shown.state, shown.reason)
    if shown.reason is not None:
        assert f"<code>{shown.reason}</code>" in PAGE.render(snapshot, NOW).decode()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("valid", ["was read to its last byte and is whole", "3 h 12 min old; the limit is 26 h", "2,000,000", "70.7 MiB", "1f2e3d4c5b6a7988", "RDB 10", "baseline_too_short"]),
        ("too_old", ["The newest backup is too old.", "measured 31.0h", "limit 26.0h", "copy job runs", "size_dropped"]),
        ("first_start", ["The first look at the backups has not ended yet.", "not looked at yet"]),
        ("pending", ["No backup has been read to its end yet.", "being read, 42 %", "not judged yet"]),
        ("pending_beside_valid", ["7 newer, not judged yet", "being read, 63 %", "and 2 more"]),
        ("broken_corrupt", ["byte 48,120,004", "Last valid: dump-2026-11-21.rdb, taken 27 h 12 min ago", "1,204"]),
        ("no_directory", ["can't be listed", "directory_missing", "is not known"]),
        ("empty_directory", ["No file here matches dump-*.rdb", "measured 0 files", "limit at least 1"]),
        ("redis_down", ["The server can't be reached.", "redis_unreachable", "connection refused"]),
        ("redis_loading", ["loading"]),
        ("stale", ["verdict_stale", "It ended 7 min ago; the limit is 1 min 45 s", "What stands below is old."]),
        ("heartbeat_failing", ["not accepted", "http_5xx", "in 1 min 30 s", "https://heartfly.example"]),
        ("no_heartbeat", ["No heartbeat is configured"]),
        ("no_redis", ["not watched", "no_redis"]),
        ("continuous", ["every 5 min while protected", "server file"]),
        ("two_places", ["offsite-nfs", "advisory", "directory_unreadable", "state_not_kept", "It does not withhold the heartbeat."]),
        ("future_ctime", ["age unknown", "ctime_in_future"]),
    ],
)  # fmt: skip
def test_each_state_says_why(name: str, parts: list[str]) -> None:
    text = text_of(STATES[name]())
    for part in parts:
        assert part in text, part


def test_failing_checks_stand_first_and_skipped_ones_say_why() -> None:
    text = text_of(STATES["broken_corrupt"]())
    assert text.index("Every key in it can be read") < text.index("There is a backup")
    assert text.index("There is a backup") < text.index("baseline_too_short")
    rows = STATES["too_old"]().results
    assert [each.outcome for each in trouble(rows)] == [Outcome.FAIL, Outcome.WARN]


def test_stale_observations_are_set_apart() -> None:
    assert ("div", {"class": "old"}) in read(stale()).tags
    assert ("div", {"class": "old"}) not in read(STATES["valid"]()).tags
    assert "withheld" in text_of(stale())


def test_text_from_outside_is_shown_and_does_nothing() -> None:
    raw = PAGE.render(STATES["hostile"](), NOW).decode("utf-8")
    assert "<script" not in raw
    assert "&lt;script&gt;alert(1)" in raw
    assert "\u202e" not in raw
    assert "\x1b" not in raw
    assert "\\u202egpj.\\udcff\\x1b[31m\\n" in raw
    found = document(STATES["hostile"]())
    place = found["locations"][0]  # type: ignore[index]
    assert place["newest_judged"]["name"] == HOSTILE.replace("\udcff", "\\udcff")


@pytest.mark.parametrize("name", sorted(STATES))
def test_secrets_of_the_server_are_nowhere(name: str) -> None:
    snapshot = STATES[name]()
    for body in (PAGE.render(snapshot, NOW), status_json(snapshot, NOW)):
        for never in (b"hunter2", b"requirepass", b"hidden-info", b"a" * 40):
            assert never not in body


def test_the_document_has_the_names_of_its_contract() -> None:
    found = document(STATES["two_places"]())
    assert list(found) == [
        "at", "version", "engine", "verdict", "server", "locations", "checks", "exposed",
        "heartbeat", "verifier", "cycle", "notices",
    ]  # fmt: skip
    place, unseen = found["locations"]  # type: ignore[misc]
    assert place["newest_judged"]["report"]["keys"] == 2_000_000
    assert place["newest_judged"]["report"]["crc64"] == "1f2e3d4c5b6a7988"
    assert (place["up"], place["status"], place["pending_count"]) == (True, "valid", 0)
    assert (unseen["up"], unseen["reason"], unseen["files"], unseen["status"]) == (
        False,
        "directory_unreadable",
        None,
        None,
    )
    assert found["server"]["config"] == {  # type: ignore[index]
        "dir": "/var/lib/redis",
        "dbfilename": "dump.rdb",
        "save": "3600 1",
        "appendonly": {"reason": "redis_command_denied"},
    }
    check = found["checks"][0]  # type: ignore[index]
    assert set(check) == {
        "check",
        "location",
        "outcome",
        "severity",
        "blocks",
        "reason",
        "measured",
        "limit",
        "remedy",
    }
    assert found["cycle"]["stale_after_seconds"] == 105  # type: ignore[index]
    assert found["heartbeat"]["target"] == "https://heartfly.example"  # type: ignore[index]


def test_a_stale_document_says_unknown() -> None:
    verdict = document(stale())["verdict"]
    assert verdict == {
        "state": "unknown", "since": NOW - 420 + 105, "reason": "verdict_stale", "stale": True, "blocking": [],
    }  # fmt: skip


def test_a_document_of_many_waiting_files_stays_small() -> None:
    snapshot = STATES["valid"]()
    many = tuple(
        candidate(Status.PENDING, name=f"n{n}.rdb", age=1.0) for n in range(PENDING_SHOWN + 50)
    )
    place = replace(snapshot.locations[0], pending=many)
    found = document(replace(snapshot, locations=(place,)))["locations"][0]  # type: ignore[index]
    assert (len(found["pending"]), found["pending_count"]) == (PENDING_SHOWN, PENDING_SHOWN + 50)


def test_a_number_that_is_none_becomes_null() -> None:
    reading = VerifierState(location="local", name="x", ratio=float("inf"))
    assert document(replace(STATES["valid"](), verifier=reading))["verifier"] == {
        "location": "local", "name": "x", "started_at": None, "ratio": None,
    }  # fmt: skip


def test_an_absurd_time_breaks_nothing() -> None:
    for at in (2.0**62, -(2.0**62), 0.0):
        odd = replace(candidate(), taken_at=at)
        snapshot = STATES["valid"]()
        place = replace(snapshot.locations[0], newest=odd, newest_judged=odd, last_valid=odd)
        assert text_of(replace(snapshot, locations=(place,)))


def test_a_report_without_anything_is_shown() -> None:
    bare = candidate(Status.UNREADABLE)
    assert bare.proof is not None
    bare = replace(bare, proof=replace(bare.proof, report=RdbReport(status=Status.UNREADABLE)))
    snapshot = STATES["broken_unreadable"]()
    place = replace(snapshot.locations[0], newest=bare, newest_judged=bare, last_valid=None)
    assert "There is no valid backup here." in text_of(replace(snapshot, locations=(place,)))


def test_words_exist_for_every_id() -> None:
    assert set(CHECK_TITLES) == set(CheckId)
    assert set(REASON_SENTENCES) == set(Reason)
    assert set(STATUS_WORDS) == set(Status)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.042, "42 ms"), (3, "3 s"), (3.25, "3.2 s"), (59.7, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (11520, "3 h 12 min"), (93600, "26 h"), (172_800, "2 d"), (200_000, "2 d 7 h"), (-5, "0 ms")],
)  # fmt: skip
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration_text(seconds).replace("\u00a0", " ") == text


def test_other_numbers_read_well() -> None:
    assert size_text(0) == "0\u00a0B"
    assert size_text(1536) == "1.5\u00a0KiB"
    assert ago_text(NOW - 0.2, NOW) == "just now"
    assert ago_text(NOW + 61, NOW) == "in 1\u00a0min\u00a01\u00a0s"
    assert utc_text(NOW) == "2026-11-22 08:00:00 UTC"
    assert utc_text(1e30).endswith("s after 1970")
    assert (
        shown_text("caf\u00e9 \u65e5\u672c \x00\u200b\ud800")
        == "caf\u00e9 \u65e5\u672c \\x00\\u200b\\ud800"
    )
