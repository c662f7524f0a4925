"""Secrets in the settings: where they may stand, and that no error, table or repr shows them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.settings import MASK, Problem, Settings, SettingsError, load
from exporter.settings.loading import secret_parts

DIR = {"backup.dir": "/data"}
SECRET = "geheim-4711"
URL = f"https://heartbeat.example/api/v1/heartbeat/{SECRET}"


def refused(
    flags: dict[str, str], environ: dict[str, str] | None = None, file: Path | None = None
) -> dict[str, Problem]:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ or {}, None if file is None else str(file))
    assert SECRET not in str(caught.value)
    return {problem.key: problem for problem in caught.value.problems}


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.unlink(missing_ok=True)  # an earlier one may be read-only
    path.write_text(text)
    path.chmod(mode)
    return path


def hides(settings: Settings) -> None:
    assert SECRET not in repr(settings)
    assert all(SECRET not in line.value for line in settings.shown)


def test_secrets_in_flags_are_refused_with_the_way_out() -> None:
    found = refused(
        {
            **DIR,
            "redis.url": f"redis://user:{SECRET}@cache:6379/0",
            "redis.password": SECRET,
            "heartbeat.url": URL,
        }
    )
    assert "--redis.password-file" in found["redis.url"].remedy
    assert found["redis.url"].value == f"redis://{MASK}@cache:6379/0"
    assert "--redis.password-file" in found["redis.password"].remedy
    assert found["redis.password"].value == MASK
    assert "--heartbeat.url-file" in found["heartbeat.url"].remedy
    assert found["heartbeat.url"].value == f"https://heartbeat.example/{MASK}"


def test_secrets_in_the_environment_are_taken_and_hidden() -> None:
    settings = load(DIR, {"RBE_REDIS_URL": f"redis://u:{SECRET}@h", "RBE_HEARTBEAT_URL": URL})
    assert settings.redis is not None
    assert settings.redis.url == f"redis://u:{SECRET}@h"
    assert settings.heartbeat_url is not None
    assert settings.heartbeat_url.get_secret_value() == URL
    hides(settings)
    assert {SECRET, URL} <= set(settings.secrets())


@pytest.mark.parametrize(
    "text",
    [
        f"redis: {{url: 'redis://:{SECRET}@h'}}",
        f"redis: {{url: 'redis://h?password={SECRET}'}}",
        f"redis: {{url: redis://h, password: {SECRET}}}",
        f"heartbeat: {{url: '{URL}'}}",
    ],
)
def test_secrets_in_a_file_need_a_file_that_others_cannot_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rbe.yml"
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True)):
        settings = load(DIR, {}, str(private(file, text, mode)))
        hides(settings)
        assert any("chmod 0600" in warning for warning in settings.warnings) is warned
    found = refused(DIR, {}, private(file, text, 0o644))
    (problem,) = found.values()
    assert "chmod 0600" in problem.remedy


def test_a_file_without_secrets_may_be_read_by_all(tmp_path: Path) -> None:
    file = private(tmp_path / "rbe.yml", "redis: {url: redis://h, username: u}", 0o644)
    assert not [text for text in load(DIR, {}, str(file)).warnings if "chmod" in text]


@pytest.mark.parametrize(
    "text",
    [
        f"redis: {{password: *{SECRET}}}",
        f"redis: {{password: {SECRET}, password: {SECRET}}}",
        f"redis: {{password: '{SECRET}",
        f"redis:\n  password: {SECRET}\n url: x: y",
        f"redis: !!{SECRET} x",
        f"- {SECRET}",
        f"{SECRET}",
        "redis: " + "[" * 5000,
        "redis: {password: \x01}",
    ],
)
def test_broken_yaml_is_told_without_quoting_it(text: str, tmp_path: Path) -> None:
    assert "config.file" in refused(DIR, {}, private(tmp_path / "rbe.yml", text))


def test_files_that_are_no_settings_are_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (
        fifo,
        tmp_path,
        tmp_path / "none",
        private(tmp_path / "big", "#" * (1 << 20) + "\n"),
    ):
        assert "config.file" in refused(DIR, {}, path)


def test_yaml_guesses_nothing(tmp_path: Path) -> None:
    """A numeric password stays text, and an unquoted off is no boolean."""
    text = "redis: {url: redis://h, password: 0123}\nchecks: {size_drop: off}\nstate: {dir: /1:30}"
    settings = load(DIR, {}, str(private(tmp_path / "rbe.yml", text)))
    assert settings.redis is not None
    assert settings.redis.password == "0123"
    assert settings.state_dir == "/1:30"


def test_secret_files_must_be_there_and_only_warn_of_their_mode(tmp_path: Path) -> None:
    word = private(tmp_path / "word", f"{SECRET}\n", 0o644)
    settings = load({**DIR, "redis.url": "redis://h", "redis.password_file": str(word)}, {})
    assert any("redis.password_file" in warning for warning in settings.warnings)
    assert SECRET in settings.secrets()
    empty = private(tmp_path / "empty", "")
    for path in (tmp_path / "none", tmp_path, empty):
        found = refused({**DIR, "redis.url": "redis://h", "redis.password_file": str(path)})
        assert found["redis.password_file"].value == ascii(str(path))
        assert "heartbeat.url_file" in refused({**DIR, "heartbeat.url_file": str(path)})


def test_a_secret_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    locked = private(tmp_path / "locked", SECRET, 0)
    assert stat.S_IMODE(locked.stat().st_mode) == 0
    effective = os.geteuid()
    try:
        if effective == 0:
            os.seteuid(65534)  # root reads everything
        assert "heartbeat.url_file" in refused({**DIR, "heartbeat.url_file": str(locked)})
    finally:
        os.seteuid(effective)


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    word = str(private(tmp_path / "word", URL))
    found = refused(
        {**DIR, "redis.password_file": word, "heartbeat.url_file": word, "redis.username": "u"},
        {"RBE_REDIS_URL": f"redis://u:{SECRET}@h", "RBE_REDIS_PASSWORD": SECRET,
         "RBE_HEARTBEAT_URL": URL},
    )  # fmt: skip
    assert set(found) == {
        "redis.password", "redis.password_file", "redis.username", "heartbeat.url",
    }  # fmt: skip


def test_the_url_file_is_followed(tmp_path: Path) -> None:
    file = private(tmp_path / "url", URL + "\n")
    settings = load({**DIR, "heartbeat.url_file": str(file)}, {})
    assert settings.heartbeat_url is not None
    assert settings.heartbeat_url.get_secret_value() == URL
    file.write_text("https://other.example/x")
    again = settings.reread_heartbeat_url()
    assert not isinstance(again, Problem)
    assert again is not None
    assert again.get_secret_value() == "https://other.example/x"
    for broken in (f"no url {SECRET}", "", "\x00"):
        file.write_text(broken)
        problem = settings.reread_heartbeat_url()
        assert isinstance(problem, Problem)
        assert SECRET not in str(problem)
    file.unlink()
    assert isinstance(settings.reread_heartbeat_url(), Problem)
    assert "heartbeat.url_file" in refused(
        {**DIR, "heartbeat.url_file": str(private(tmp_path / "bad", f"word {SECRET}"))}
    )


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://monitor.example/x", True), ("http://10.0.0.1/x", True), ("https://a.b/x", False),
        ("http://127.0.0.1:9/x", False), ("http://localhost/x", False), ("http://[::1]:9/x", False),
    ],
)  # fmt: skip
def test_plain_http_beyond_this_machine_warns(url: str, warned: bool, tmp_path: Path) -> None:
    by_env = load(DIR, {"RBE_HEARTBEAT_URL": url})
    file = str(private(tmp_path / "url", url))
    by_file = load({**DIR, "heartbeat.url_file": file}, {})
    for settings in (by_env, by_file):
        assert any("http://" in text for text in settings.warnings) is warned


def test_secret_parts_are_what_http_libraries_repeat() -> None:
    """urllib3 quotes the path alone, requests the whole URL."""
    parts = set(secret_parts("https://u:pass-word@h/api/v1/heartbeat/0123456789ab?token=abcdef"))
    assert {
        "/api/v1/heartbeat/0123456789ab?token=abcdef", "0123456789ab", "abcdef", "pass-word",
    } <= parts  # fmt: skip
    assert "api" not in parts


@given(password=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6))
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "", "http"])
def test_no_url_however_broken_shows_its_password(scheme: str, password: str) -> None:
    """Unquoted slashes, hashes and at-signs move the borders of a URL; what is shown stays safe."""
    password = f"X{password}X"
    for url in (f"{scheme}://user:{password}@cache:6379/0", f"{scheme}://:{password}@cache"):
        for flags, environ in (({"redis.url": url}, {}), ({}, {"RBE_REDIS_URL": url})):
            assert password not in all_that_is_said({**DIR, **flags}, environ)


def all_that_is_said(flags: dict[str, str], environ: dict[str, str]) -> str:
    try:
        settings = load(flags, environ)
    except SettingsError as error:
        return str(error)
    return "\n".join(line.value for line in settings.shown) + repr(settings)
