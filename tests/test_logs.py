"""Log lines: form, levels, and that no secret and no control character gets into one."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.publish import logs

SECRET = 'ge/heim "4711" &ü\\n'


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging belongs to the process: each test gives it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hook, thread_hook, show = sys.excepthook, threading.excepthook, warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    root.handlers, warnings.showwarning = handlers, show
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hook, thread_hook
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_logfmt_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt")
    structlog.get_logger().info(
        "backup.verified", location="local", keys=12, ok=True, none=None, text='a "b" c', empty=""
    )
    (line,) = lines(capsys)
    stamp, rest = line.split(" ", 1)
    assert rest == (
        "level=info event=backup.verified location=local keys=12 ok=true none=null "
        r'text="a \"b\" c" empty=""'
    )
    at = datetime.fromisoformat(stamp.removeprefix("ts="))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger().warning("a.b", n=1.5, many=[1, {"k": (2,)}], odd=float("nan"), b=b"\xff")
    (line,) = lines(capsys)
    event = json.loads(line)
    assert list(event)[:3] == ["ts", "level", "event"]
    assert event["level"] == "warning"
    assert event["many"] == [1, {"k": [2]}]
    assert (event["odd"], event["b"]) == ("nan", "\\xff")


def test_levels_filter_and_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    logs.configure("warning", "logfmt", (), seen.append)
    log = structlog.get_logger()
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.error("yes")
    logging.getLogger("urllib3").warning("yes")
    logging.getLogger("urllib3").info("no")
    assert seen == ["warning", "error", "warning"]
    assert len(lines(capsys)) == 3


def test_debug_shows_ours_but_only_warnings_of_libraries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Libraries log whole URLs and commands at debug."""
    logs.configure("debug", "logfmt")
    structlog.get_logger().debug("ours")
    logging.getLogger("urllib3.connectionpool").debug("GET /secret")
    logging.getLogger("redis").warning("lost %s", "it")
    out = lines(capsys)
    assert len(out) == 2
    assert 'logger=redis text="lost it"' in out[1]


@pytest.mark.parametrize("form", logs.FORMATS)
def test_secrets_are_masked_wherever_they_stand(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("debug", form, [SECRET])
    log = structlog.get_logger()
    spellings = [
        SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), repr(SECRET),
        json.dumps(SECRET), quote(SECRET).lower(), base64.b64encode(SECRET.encode()).decode(),
    ]  # fmt: skip
    for text in spellings:
        event = f"in {text} event"
        log.info(event, value=f"x{text}y", deep={text: [text, (text,)]}, raw=text.encode())
        logging.getLogger("x").error("library %s", text)
    out = "\n".join(lines(capsys))
    for text in (*spellings, "heim", "4711"):
        assert text not in out
    assert "ge/" not in out
    assert out.count(logs.MASK) >= 6 * len(spellings)


@pytest.mark.parametrize("form", logs.FORMATS)
def test_tracebacks_are_masked_and_show_no_locals(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", form, ["geheim-4711"])

    def fails() -> None:
        local = "value-of-a-local".upper()
        try:
            int("https://h/geheim" + "-4711")
        except ValueError as error:
            raise RuntimeError(len(local)) from error

    try:
        fails()
    except RuntimeError:
        structlog.get_logger().exception("went.wrong")
    (line,) = lines(capsys)
    assert "RuntimeError" in line
    assert "ValueError" in line
    assert "geheim-4711" not in line
    assert "VALUE-OF-A-LOCAL" not in line


def test_uncaught_exceptions_become_masked_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt", ["geheim-4711"])

    def fails() -> None:
        raise ValueError("geheim" + "-4711")

    thread = threading.Thread(target=fails, name="verifier")
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    first, second = lines(capsys)
    assert "event=thread.crashed" in first
    assert "thread=verifier" in first
    assert "event=process.crashed" in second
    assert "geheim-4711" not in first + second


def test_warnings_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt", ["geheim-4711"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings puts the process' own way of showing back; ours is what is under test.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old: geheim-4711", stacklevel=1)
    (line,) = lines(capsys)
    assert "logger=py.warnings" in line
    assert "geheim-4711" not in line


def test_secrets_that_come_later_are_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    redactor = logs.configure("info", "logfmt", ["first-secret"])
    redactor.add(["second-secret", ""])
    structlog.get_logger().info("x", a="first-secret second-secret")
    (line,) = lines(capsys)
    assert line.endswith(f'a="{logs.MASK} {logs.MASK}"')


@given(text=st.text(st.characters(exclude_categories=[])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_a_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """File names are hostile: one event is one line, and nothing in it moves a terminal."""
    for form in logs.FORMATS:
        logs.configure("info", form)
        structlog.get_logger().info("x", path=text)
        out = capsys.readouterr().err
        assert out.endswith("\n")
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", out[:-1])
        out.encode("utf-8")
        if form == "json":
            assert isinstance(json.loads(out)["path"], str)


def test_a_forged_field_stays_in_its_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt")
    structlog.get_logger().info("x", path='a" level=error event=forged\nts=1 \\" b=2')
    (line,) = lines(capsys)
    fields = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)
    assert [name for name, _ in fields] == ["ts", "level", "event", "path"]


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.configure("info", "logfmt")
    monkeypatch.setattr(sys, "stderr", Closed())
    structlog.get_logger().info("x")


def test_lines_of_threads_never_mix(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")

    def talk() -> None:
        log = structlog.get_logger()
        for number in range(200):
            log.info("x", number=number, text="y" * 500)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out = capfd.readouterr().err.splitlines()
    assert len(out) == 800
    assert all(len(json.loads(line)["text"]) == 500 for line in out)
