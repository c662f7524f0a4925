"""Settings of how files are read, of second opinions, and of where backups are to be restored."""

from __future__ import annotations

import math

import pytest

from exporter.model import Dialect, RestoreTarget
from exporter.settings import Settings, SettingsError, load

DIR = {"backup.dir": "/data"}


def shown(settings: Settings, key: str) -> str:
    return next(line.value for line in settings.shown if line.key == key)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify.max_rate", "1KB"), ("verify.max_rate", "50"), ("verify.max_rate", "fast"),
        ("verify.memory", "1KiB"), ("verify.memory", "0"), ("second_opinion.max_size", "never"),
        ("second_opinion.max_size", "0"), ("second_opinion.max_size", "256"),
        ("target.version", "8"), ("target.version", "keydb 6.3"), ("target.version", "7.2 redis"),
        ("target.version", "latest"), ("target.modules", "search ReJSON"), ("target.modules", ","),
        ("target.modules", "search,"), ("target.databases", "0"), ("target.databases", "many"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_what_would_be_right(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**DIR, name: value}, {})
    (problem,) = caught.value.problems
    assert problem.key == name
    assert problem.remedy


@pytest.mark.parametrize(
    ("text", "limit", "again"),
    [
        ("256MiB", 256 << 20, "256MiB"), ("ALWAYS", math.inf, "always"), ("off", 0.0, "off"),
        ("1 GB", 1e9, "1GB"),
    ],
)  # fmt: skip
def test_a_second_opinion_is_for_some_for_all_or_for_none(
    text: str, limit: float, again: str
) -> None:
    settings = load({**DIR, "second_opinion.max_size": text}, {})
    assert settings.policy.verify.second_opinion_max_bytes == limit
    assert shown(settings, "second_opinion.max_size") == again
    assert load({**DIR, "second_opinion.max_size": again}, {}).policy == settings.policy


@pytest.mark.parametrize(
    ("text", "rate", "again"), [("0", 0, "0"), ("50MiB", 50 << 20, "50MiB"), ("5MB/s", 5_000_000, "5MB")]
)  # fmt: skip
def test_a_greatest_rate_is_a_size_a_second(text: str, rate: int, again: str) -> None:
    settings = load({**DIR, "verify.max_rate": text}, {})
    assert settings.policy.verify.max_rate_bytes_per_second == rate
    assert shown(settings, "verify.max_rate") == again


@pytest.mark.parametrize(
    ("text", "server", "version", "again"),
    [
        ("7.2", None, (7, 2), "7.2"),
        ("redis 7.2.4", Dialect.REDIS, (7, 2), "redis 7.2"),
        ("Valkey 8.1", Dialect.VALKEY, (8, 1), "valkey 8.1"),
        ("valkey-9.0.1", Dialect.VALKEY, (9, 0), "valkey 9.0"),
        ("v8.10", None, (8, 10), "8.10"),
    ],
)
def test_a_server_is_a_version_and_perhaps_a_name(
    text: str, server: Dialect | None, version: tuple[int, int], again: str
) -> None:
    settings = load({**DIR, "target.version": text}, {})
    assert settings.policy.restore_target == RestoreTarget(server=server, version=version)
    assert shown(settings, "target.version") == again


@pytest.mark.parametrize(
    ("text", "names", "again"),
    [
        ("search,ReJSON, search", {"search", "ReJSON"}, "ReJSON, search"),
        ("timeseries", {"timeseries"}, "timeseries"),
        ("none", set(), "none"),
    ],
)
def test_modules_are_names_or_none(text: str, names: set[str], again: str) -> None:
    settings = load({**DIR, "target.modules": text}, {})
    assert settings.policy.restore_target == RestoreTarget(modules=frozenset(names))
    assert shown(settings, "target.modules") == again


def test_without_any_word_about_it_there_is_no_target_but_the_watched_server() -> None:
    settings = load(DIR, {})
    assert settings.policy.restore_target is None
    assert shown(settings, "target.version") == "-"
    only = load({}, {"RBE_TARGET_DATABASES": "64", "RBE_BACKUP_DIR": "/data"})
    assert only.policy.restore_target == RestoreTarget(databases=64)
