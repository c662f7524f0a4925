"""Settings: names, precedence, every error at once, secrets masked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.model import (
    CheckId,
    CheckMode,
    Dialect,
    HeartbeatMode,
    HeartbeatPolicy,
    Location,
    Origin,
    Policy,
    RedisTarget,
    RestoreTarget,
    VerifyPolicy,
)
from exporter.settings import (
    KEYS,
    LOCATION_KEYS,
    ListenAddress,
    Place,
    Problem,
    Settings,
    SettingsError,
    load,
    load_listen_address,
    markdown_table,
    rules,
)

DIR = {"backup.dir": "/data"}
Writer = Callable[..., Path]

SECRET = "geheim-4711"
URL = f"https://heartbeat.example/api/v1/heartbeat/{SECRET}"


def problems(
    flags: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    file: Path | None = None,
) -> dict[str, Problem]:
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, environ or {}, None if file is None else str(file))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    found = caught.value.problems
    assert all(problem.remedy and problem.problem for problem in found)
    return {problem.key: problem for problem in found}


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    def write(text: str, mode: int = 0o600, name: str = "rbe.yml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


# One name everywhere


def test_defaults_are_those_of_the_model() -> None:
    """Two lists of the same thing: the table's defaults and the dataclasses'."""
    settings = load(DIR, {"RBE_HEARTBEAT_URL": URL, "RBE_REDIS_URL": "redis://h"})
    assert settings.policy.verify == VerifyPolicy()
    assert settings.policy.heartbeat == HeartbeatPolicy()
    assert settings.policy.locations == (Location(name="local", path="/data"),)
    bare = Policy(locations=())
    assert settings.policy.interval_seconds == bare.interval_seconds
    assert settings.policy.redis_grace_seconds == bare.redis_grace_seconds
    assert settings.redis == RedisTarget(url="redis://h")
    assert settings.listen_address == ListenAddress(host="", port=19121)
    assert settings.state_dir == "/var/lib/redis-backup-exporter"
    assert (settings.log_level, settings.log_format, settings.engine) == ("info", "logfmt", "auto")


def test_names_follow_one_rule_and_clash_nowhere() -> None:
    for key in KEYS:
        section, word = key.name.split(".")
        assert key.flag == f"--{section}.{word}".replace("_", "-")
        assert key.env == f"RBE_{section}_{word}".upper()
    assert len({key.env for key in KEYS}) == len({key.flag for key in KEYS}) == len(KEYS)


VALUES = {
    "redis.url": "redis://cache:6379",
    "redis.username": "watch",
    "redis.timeout": "2s",
    "redis.attempts": "2",
    "redis.grace": "1m",
    "backup.dir": "/backups",
    "backup.pattern": "night-*.rdb",
    "backup.origin": "stream",
    "backup.max_age": "1d2h",
    "backup.settle_time": "1m30s",
    "backup.allow_empty": "yes",
    "backup.name_time": "night-%Y%m%d.rdb",
    "backup.name_time_zone": "Europe/Berlin",
    "check.interval": "5s",
    "web.listen_address": "[::1]:9",
    "heartbeat.name": "night",
    "heartbeat.mode": "continuous",
    "heartbeat.interval": "10m",
    "heartbeat.min_interval": "30s",
    "heartbeat.timeout": "3s",
    "verify.engine": "rdbtools",
    "verify.timeout": "20m",
    "verify.min_rate": "10MB/s",
    "verify.reverify": "2d",
    "verify.backlog": "3",
    "verify.min_interval": "2m",
    "verify.memory": "32MiB",
    "verify.memory_limit": "1GiB",
    "verify.max_rate": "50MiB/s",
    "verify.unsupported": "accept_checksum",
    "second_opinion.max_size": "1GB",
    "target.version": "Valkey 8.1.3",
    "target.modules": "search, ReJSON",
    "target.databases": "32",
    "state.dir": "/state",
    "log.level": "DEBUG",
    "log.format": "json",
    "checks.snapshot_age": "warn",
    "checks.redis_reachable": "off",
}


def as_yaml(values: dict[str, str]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in values.items():
        section, word = name.split(".")
        sections.setdefault(section, []).append(f"  {word}: {value!r}\n")
    return "".join(f"{name}:\n{''.join(rows)}" for name, rows in sections.items())


def without_sources(settings: Settings) -> list[tuple[str, str]]:
    return [(line.key, line.value) for line in settings.shown]


def test_every_source_can_say_everything(written: Writer) -> None:
    """The same values by flag, environment and file give the same settings."""
    by_flag = load(VALUES, {})
    by_env = load({}, {f"RBE_{name.replace('.', '_').upper()}": v for name, v in VALUES.items()})
    by_file = load({}, {}, str(written(as_yaml(VALUES))))
    assert by_flag.policy == by_env.policy == by_file.policy
    assert by_flag.redis == by_env.redis == by_file.redis
    assert without_sources(by_flag) == without_sources(by_env) == without_sources(by_file)
    place = by_flag.policy.locations[0]
    assert (place.max_age_seconds, place.settle_seconds) == (26 * 3600, 90)
    assert place.checks[CheckId.SNAPSHOT_AGE] is CheckMode.WARN
    assert by_flag.policy.checks[CheckId.REDIS_REACHABLE] is CheckMode.OFF
    assert by_flag.policy.verify.memory_limit_bytes == 1 << 30
    assert by_flag.policy.verify.min_rate_bytes_per_second == 10e6
    assert by_flag.policy.verify.duplicates_max_bytes == 32 << 20
    assert by_flag.policy.verify.max_rate_bytes_per_second == 50 << 20
    assert by_flag.policy.verify.second_opinion_max_bytes == 1e9
    assert by_flag.policy.restore_target == RestoreTarget(
        server=Dialect.VALKEY,
        version=(8, 1),
        modules=frozenset({"search", "ReJSON"}),
        databases=32,
    )
    others = {key.name for key in KEYS} - set(VALUES)
    assert {name.split(".")[0] for name in others} <= {"redis", "heartbeat", "config", "checks"}


def test_flags_win_over_environment_over_file_over_defaults(written: Writer) -> None:
    file = written("backup: {dir: /file, max_age: 3h, settle_time: 3s, pattern: c.rdb}\n")
    settings = load(
        {"backup.max_age": "1h", "config.file": str(file)},
        {"RBE_BACKUP_MAX_AGE": "2h", "RBE_BACKUP_SETTLE_TIME": "2s"},
    )
    place = settings.policy.locations[0]
    assert (place.max_age_seconds, place.settle_seconds) == (3600, 2)
    assert (place.path, place.pattern, place.allow_empty) == ("/file", "c.rdb", False)
    sources = {line.key: line.source for line in settings.shown}
    assert sources["backup.max_age"] == "--backup.max-age"
    assert sources["backup.settle_time"] == "RBE_BACKUP_SETTLE_TIME"
    assert sources["backup.dir"] == str(file)
    assert sources["backup.allow_empty"] == "default"


def test_the_file_is_named_by_argument_flag_or_environment(written: Writer) -> None:
    file = str(written("backup: {dir: /file}"))
    for settings in (
        load({}, {}, file),
        load({"config.file": file}, {}),
        load({}, {"RBE_CONFIG_FILE": file}),
    ):
        assert settings.policy.locations[0].path == "/file"
    assert "config.file" in problems({"config.file": ""})


# Unknown names


def test_unknown_names_are_refused_from_every_source(written: Writer) -> None:
    file = written("bakcup: {dir: /x}\nbackup: {maxage: 1h, max-age: 1h}\nchecks: {age: warn}\n")
    found = problems(
        {"backup.max_agee": "1h", **DIR}, {"RBE_BACKUP_MAXAGE": "1h", "rbe_redis_url": "x"}, file
    )
    assert set(found) == {
        "backup.max_agee", "RBE_BACKUP_MAXAGE", "rbe_redis_url",
        "bakcup", "backup.maxage", "backup.max-age", "checks.age",
    }  # fmt: skip
    assert found["backup.max_agee"].remedy == "did you mean --backup.max-age?"
    assert found["RBE_BACKUP_MAXAGE"].remedy == "did you mean RBE_BACKUP_MAX_AGE?"
    assert found["rbe_redis_url"].remedy == "did you mean RBE_REDIS_URL?"
    assert found["bakcup"].remedy == "did you mean backup?"
    assert found["backup.maxage"].remedy == "did you mean max_age?"
    assert "snapshot_age" in found["checks.age"].remedy


def test_unknown_names_never_show_their_value(written: Writer) -> None:
    """A mistyped secret is still a secret."""
    problems(DIR, {"RBE_REDIS_PASWORD": SECRET}, written(f"redis: {{pasword: {SECRET}}}"))


KUBERNETES = {
    "SERVICE_HOST": "10.96.0.7",
    "SERVICE_PORT": "19121",
    "SERVICE_PORT_METRICS": "19121",
    "PORT": "tcp://10.96.0.7:19121",
    "PORT_19121_TCP": "tcp://10.96.0.7:19121",
    "PORT_19121_TCP_PROTO": "tcp",
    "PORT_19121_TCP_PORT": "19121",
    "PORT_19121_TCP_ADDR": "10.96.0.7",
}


@pytest.mark.parametrize(
    "service", ["RBE", "RBE_REDIS", "RBE_WEB", "RBE_BACKUP_2", "REDIS_BACKUP_EXPORTER"]
)
def test_variables_that_kubernetes_injects_are_ignored(service: str) -> None:
    injected = {f"{service}_{name}": value for name, value in KUBERNETES.items()}
    injected[f"{service}_SERVICE_HOST"] = "fd00::7"
    assert load(DIR, injected).policy.locations[0].path == "/data"


def test_what_only_looks_like_kubernetes_is_refused() -> None:
    found = problems(
        DIR, {"RBE_REDIS_PORT": "6379", "RBE_PORT": "19121", "RBE_SERVICE_HOST": "my host"}
    )
    assert set(found) == {"RBE_REDIS_PORT", "RBE_PORT", "RBE_SERVICE_HOST"}


def test_no_key_has_a_name_that_kubernetes_could_inject() -> None:
    for key in KEYS:
        assert not key.env.endswith(("_SERVICE_HOST", "_SERVICE_PORT", "_PORT"))


# All errors at once


def test_all_errors_come_at_once_with_key_source_value_and_remedy(written: Writer) -> None:
    file = written(
        "web: {listen_address: nowhere}\nlocations: [{name: A, path: x, checks: {structure: maybe}}]"
    )
    found = problems(
        {"backup.dir": "data", "backup.max_age": "26", "redis.attempts": "many"},
        {"RBE_CHECK_INTERVAL": "0", "RBE_LOG_LEVEL": "loud", "RBE_REDIS_CA_FILE": "/not/there"},
        file,
    )
    assert set(found) == {
        "backup.dir", "backup.max_age", "redis.attempts", "check.interval", "log.level",
        "web.listen_address", "locations[0].name", "locations[0].path",
        "locations[0].checks.structure", "redis.ca_file",
    }  # fmt: skip
    assert found["backup.max_age"].source == "--backup.max-age"
    assert found["backup.max_age"].value == "'26'"
    assert "26h" in found["backup.max_age"].remedy
    assert found["check.interval"].source == "RBE_CHECK_INTERVAL"
    assert found["log.level"].remedy == "write debug, info, warning, error"
    assert found["web.listen_address"].source == str(file)
    assert found["locations[0].name"].value == "'A'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backup.max_age", "26x"), ("backup.max_age", "1h1h"), ("backup.max_age", "-1h"),
        ("backup.max_age", "h"), ("backup.max_age", ""), ("backup.max_age", "1000000d"),
        ("backup.max_age", "1e3s"), ("backup.max_age", "nan"), ("backup.max_age", "٣h"),
        ("backup.settle_time", "10"), ("verify.memory_limit", "2G"), ("verify.memory_limit", "1MiB"),
        ("verify.memory_limit", "2"), ("verify.min_rate", "0MB"), ("verify.backlog", "0"),
        ("verify.backlog", "1.5"), ("backup.pattern", "a/*.rdb"), ("backup.pattern", ".."),
        ("backup.dir", "./data"), ("backup.dir", "/da\nta"), ("backup.allow_empty", "maybe"),
        ("backup.name_time", "%H%M"), ("backup.name_time", "%Q"), ("backup.name_time_zone", "Mars/X"),
        ("backup.name_time_zone", "../../etc/passwd"), ("backup.origin", "tape"),
        ("web.listen_address", "1.2.3.4"), ("web.listen_address", ":99999"),
        ("web.listen_address", "[1.2.3.4]:1"), ("web.listen_address", "a b:1"),
        ("redis.url", "http://h"), ("redis.url", "redis://"), ("redis.url", "redis://h:x"),
        ("redis.url", "redis://h/zero"), ("redis.url", "redis://h?ssl_cert_reqs=none"),
        ("redis.url", "unix://"), ("redis.url", "h:6379"), ("heartbeat.name", "a b"),
        ("state.dir", "state"), ("verify.engine", "librdb"), ("redis.attempts", "0"),
        ("checks.snapshot_age", "false"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(name: str, value: str) -> None:
    assert name in problems({**DIR, name: value})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("90s", 90), ("1h30m", 5400), ("7d", 604800), ("1.5h", 5400), ("500ms", 0.5),
        ("1w", 604800), (" 2 m ", 120), ("26H", 93600),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    place = load({**DIR, "backup.settle_time": text, "backup.max_age": "30d"}, {}).policy.locations[
        0
    ]
    assert place.settle_seconds == seconds


def test_an_empty_variable_is_none_and_an_empty_flag_or_value_is_an_error(written: Writer) -> None:
    settings = load(DIR, {"RBE_REDIS_URL": "", "RBE_HEARTBEAT_URL": "", "RBE_CONFIG_FILE": ""})
    assert settings.redis is None
    assert settings.heartbeat_url is None
    assert "redis.url" in problems({**DIR, "redis.url": ""})
    assert "redis.url" in problems(DIR, {}, written("redis:\n  url:\n"))
    assert "redis" in problems(DIR, {}, written("redis:\n"))


# Locations and checks


def test_origin_and_mode_follow_from_the_pattern() -> None:
    for pattern, origin, mode in (
        ("dump.rdb", Origin.SERVER_FILE, HeartbeatMode.CONTINUOUS),
        ("dump-?.rdb", Origin.COPY, HeartbeatMode.PER_BACKUP),
        ("*.rdb", Origin.COPY, HeartbeatMode.PER_BACKUP),
        ("[ab].rdb", Origin.COPY, HeartbeatMode.PER_BACKUP),
    ):
        policy = load({**DIR, "backup.pattern": pattern}, {"RBE_HEARTBEAT_URL": URL}).policy
        assert policy.locations[0].origin is origin
        assert policy.heartbeat is not None
        assert policy.heartbeat.mode is mode
    set_by_hand = {"backup.origin": "copy", "heartbeat.mode": "continuous"}
    policy = load(
        {**DIR, "backup.pattern": "dump.rdb", **set_by_hand}, {"RBE_HEARTBEAT_URL": URL}
    ).policy
    assert policy.locations[0].origin is Origin.COPY
    assert policy.heartbeat is not None
    assert policy.heartbeat.mode is HeartbeatMode.CONTINUOUS


def test_locations_of_the_file_stand_beside_the_local_one(written: Writer) -> None:
    file = written(
        "checks: {size_drop: off, snapshot_age: warn}\n"
        "locations:\n"
        "- {name: offsite, path: /off, max_age: 8d, required: no, checks: {snapshot_age: off}}\n"
        "- {name: nightly, path: /n, pattern: dump.rdb, settle_time: 0, allow_empty: true}\n"
    )
    policy = load(DIR, {}, str(file)).policy
    local, offsite, nightly = policy.locations
    assert [place.name for place in policy.locations] == ["local", "offsite", "nightly"]
    assert (local.required, offsite.required, nightly.required) == (True, False, True)
    assert policy.trigger is local
    assert offsite.max_age_seconds == 8 * 86400
    assert nightly.origin is Origin.SERVER_FILE
    assert (nightly.settle_seconds, nightly.allow_empty) == (0, True)
    off, warn = CheckMode.OFF, CheckMode.WARN
    assert local.checks == {CheckId.SIZE_DROP: off, CheckId.SNAPSHOT_AGE: warn}
    assert offsite.checks == {CheckId.SIZE_DROP: off, CheckId.SNAPSHOT_AGE: off}


def test_locations_need_names_of_their_own(written: Writer) -> None:
    file = written(
        "locations: [{name: a, path: /1}, {name: a, path: /2}, {name: local, path: /3}, {path: /4}, five, {name: b}]"
    )
    found = problems(DIR, {}, file)
    assert set(found) == {
        "locations[0].name", "locations[1].name", "locations[2].name", "locations[3].name",
        "locations[4]", "locations[5].path",
    }  # fmt: skip


def test_a_required_location_is_needed(written: Writer) -> None:
    assert set(problems()) == {"backup.dir"}
    only_advisory = written("locations: [{name: a, path: /a, required: false}]")
    assert set(problems({}, {}, only_advisory)) == {"backup.dir"}
    required = written("locations: [{name: a, path: /a}]")
    assert load({}, {}, str(required)).policy.trigger.name == "a"


@pytest.mark.parametrize("check", rules.INDISPENSABLE)
@pytest.mark.parametrize("mode", ["off", "warn"])
def test_what_makes_green_mean_anything_cannot_be_switched_off(
    check: CheckId, mode: str, written: Writer
) -> None:
    assert f"checks.{check}" in problems({**DIR, f"checks.{check}": mode})
    text = "locations: [{{name: a, path: /a, required: {}, checks: {{{}: {}}}}}]"
    required = written(text.format("true", check, mode))
    assert f"locations[0].checks.{check}" in problems({}, {}, required)
    advisory = written(text.format("false", check, mode))
    assert load(DIR, {}, str(advisory)).policy.locations[1].checks == {check: CheckMode(mode)}


def test_checks_of_the_server_have_no_location(written: Writer) -> None:
    file = written("locations: [{name: a, path: /a, checks: {redis_reachable: warn}}]")
    assert set(problems({}, {}, file)) == {"locations[0].checks.redis_reachable"}


def test_limits_that_contradict_each_other_are_refused(written: Writer) -> None:
    file = written("locations: [{name: a, path: /a, settle_time: 2h, max_age: 1h}]")
    found = problems(
        {**DIR, "backup.max_age": "10s", "backup.settle_time": "10s", "heartbeat.interval": "1s",
         "redis.url": "redis://h", "redis.timeout": "1m", "redis.attempts": "3"}, {}, file,
    )  # fmt: skip
    assert set(found) == {
        "backup.settle_time", "backup.max_age", "locations[0].settle_time", "heartbeat.interval",
        "redis.timeout",
    }  # fmt: skip
    assert found["locations[0].settle_time"].source == str(file)


def test_keys_without_the_one_that_they_belong_to_are_refused() -> None:
    assert set(problems({"redis.username": "u", "redis.timeout": "1s", **DIR})) == {
        "redis.username", "redis.timeout",
    }  # fmt: skip
    assert set(problems({"backup.max_age": "1h"})) == {"backup.max_age", "backup.dir"}
    warnings = load({**DIR, "heartbeat.mode": "continuous"}, {}).warnings
    assert any("no heartbeat is sent" in warning for warning in warnings)


def test_tls_keys_need_tls(tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("x")
    pem.chmod(0o600)
    files = {"redis.ca_file": str(pem), "redis.key_file": str(pem)}
    found = problems({**DIR, "redis.url": "redis://h", "redis.check_hostname": "false", **files})
    assert set(found) == {"redis.ca_file", "redis.key_file", "redis.check_hostname"}
    settings = load({**DIR, "redis.url": "rediss://h", **files, "redis.cert_file": str(pem)}, {})
    assert settings.redis is not None
    assert settings.redis.ca_file == str(pem)


# The table


def test_the_table_names_every_key() -> None:
    table = markdown_table()
    rows = table.splitlines()
    assert len(rows) == 2 + len(KEYS) + len(LOCATION_KEYS)
    for key in KEYS:
        row = next(row for row in rows if row.startswith(f"| `{key.name}` "))
        assert (f"`{key.flag}`" in row) is (Place.FLAG in key.places)
        assert (f"`{key.env}`" in row) is (Place.ENV in key.places)
        assert key.help in row
        assert len(row.replace("\\|", "").split("|")) == 8
    assert all(f"`checks.{check}`" in table for check in CheckId)


def test_the_table_shows_the_defaults_in_force() -> None:
    settings = load({**DIR, "backup.pattern": "*.rdb"}, {})
    shown = {line.key: line.value for line in settings.shown}
    for key in KEYS:
        if key.default and key.name in shown and " " not in key.default and key.name != "checks":
            assert shown[key.name] == key.default, key.name


# Only the address


def test_a_probe_needs_the_listen_address_alone() -> None:
    environ = {"RBE_WEB_LISTEN_ADDRESS": "127.0.0.1:9", "RBE_BACKUP_DIR": "relative"}
    assert load_listen_address({}, environ) == ListenAddress(host="127.0.0.1", port=9)
    with pytest.raises(SettingsError):
        load_listen_address({"web.listen_address": "x"}, {})
    with pytest.raises(SettingsError):
        load_listen_address({}, {"RBE_CONFIG_FILE": "/not/there"})


def test_nothing_is_read_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBE_BACKUP_DIR", "/from/the/process")
    monkeypatch.setenv("BACKUP", "{}")
    monkeypatch.setenv("REDIS", '{"url": "redis://h"}')
    assert "RBE_BACKUP_DIR" in os.environ
    assert set(problems()) == {"backup.dir"}
