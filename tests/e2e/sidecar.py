"""The process under test, seen as its users see it: flags, HTTP, logs, signals, exit codes.

Knows: how to start, ask, stop and kill it, and to wait until it says something. Refuses to know:
anything inside; no module of the exporter is imported here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import _DIE_WITH_PARENT, free_port

#: Generous: two cores, and others use them too.
PATIENCE_SECONDS = 60.0

Status = Mapping[str, Any]


class Metrics:
    """One scrape: ``value("protected")``, ``labels("check_reason_info")``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample that has these labels; None where there is none."""
        found = [
            sample.value
            for sample in self._samples
            if sample.name == f"redis_backup_{name}" and labels.items() <= sample.labels.items()
        ]
        assert len(found) <= 1, f"{name} {labels}: {found}"
        return found[0] if found else None

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"redis_backup_{name}" and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        return [s.labels for s in self._samples if s.name == f"redis_backup_{name}"]

    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}


class Sidecar:
    """One configured sidecar in a directory; it may be started several times."""

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, str],
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.port = free_port()
        self.state_dir = home / "state"
        self.settings = {
            "check.interval": "1s",
            "backup.settle-time": "500ms",
            "state.dir": str(self.state_dir),
            "web.listen-address": f"127.0.0.1:{self.port}",
            "log.level": "debug",
            "log.format": "json",
            **settings,
        }
        self.env = dict(env or {})
        self.log_file = home / "sidecar.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    # -- life ------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        flags = [word for key, value in self.settings.items() for word in (f"--{key}", value)]
        return [sys.executable, "-m", "exporter", "run", *flags]

    def launch(self) -> None:
        """Start without waiting for anything."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RBE_")}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _DIE_WITH_PARENT,
                    str(os.getpid()),
                    *self.command(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**kept, **self.env},
                start_new_session=True,
            )

    def start(self) -> None:
        """Start and wait until it answers over HTTP."""
        self.launch()
        self.wait(lambda: self.get("/-/healthy") is not None, "the port to open")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_exit(self, seconds: float = PATIENCE_SECONDS) -> int:
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._fail(f"it did not exit within {seconds} s")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_exit()

    def kill(self) -> float:
        """SIGKILL; when it was sent."""
        at = time.time()
        self.signal(signal.SIGKILL)
        self.wait_exit()
        return at

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- asking ----------------------------------------------------------------------------------

    def get(self, path: str) -> requests.Response | None:
        """The answer; None where nobody answers."""
        session = requests.Session()
        session.trust_env = False
        try:
            with session:
                return session.get(self.base + path, timeout=10)
        except requests.RequestException:
            return None

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer is not None, self.describe()
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def status(self) -> Status:
        """The JSON; empty while there is none."""
        answer = self.get("/api/v1/status")
        if answer is None or answer.status_code != 200:
            return {}
        found: Status = answer.json()
        return found

    def state(self) -> str | None:
        verdict = self.status().get("verdict")
        return verdict["state"] if verdict else None

    def reasons(self) -> list[str]:
        """Reason ids that block."""
        verdict = self.status().get("verdict")
        return [row["reason"] for row in verdict["blocking"]] if verdict else []

    def check(self, check: str) -> Mapping[str, Any]:
        return next(row for row in self.status()["checks"] if row["check"] == check)

    def metrics(self) -> Metrics:
        return Metrics(self.text("/metrics"))

    def promtool(self) -> None:
        """``promtool check metrics`` has nothing to say about a live scrape."""
        program = shutil.which("promtool")
        if program is None:
            pytest.fail("no promtool on PATH: install the package 'prometheus'")
        done = subprocess.run(
            [program, "check", "metrics"],
            input=self.text("/metrics").encode(),
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done
        assert not done.stdout.strip(), done.stdout
        assert not done.stderr.strip(), done.stderr

    # -- waiting ---------------------------------------------------------------------------------

    def wait(
        self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Poll until ``condition``; a process that ended meanwhile fails at once."""
        deadline = time.monotonic() + seconds
        pause = Event()
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                self._fail(f"it exited with {self.process.returncode} while waiting for {what}")
            if time.monotonic() > deadline:
                self._fail(f"not within {seconds:g} s: {what}")
            pause.wait(0.05)

    def wait_state(self, state: str, seconds: float = PATIENCE_SECONDS) -> None:
        self.wait(lambda: self.state() == state, f"verdict {state}", seconds)

    def wait_protected(self, name: str | None = None) -> None:
        """Protected; with ``name``, by that backup as the newest judged one."""

        def protected() -> bool:
            status = self.status()
            if not status or not status["verdict"] or status["verdict"]["state"] != "protected":
                return False
            judged = status["locations"][0]["newest_judged"]
            return name is None or (judged is not None and judged["name"] == name)

        self.wait(protected, f"protected by {name or 'any backup'}")

    def wait_blocked(self, reason: str) -> None:
        self.wait(
            lambda: reason in self.reasons() and self.state() != "protected", f"blocked by {reason}"
        )

    def wait_cycles(self, count: int) -> None:
        """``count`` whole cycles more."""
        first = self.metrics().total("cycles_total")
        self.wait(lambda: self.metrics().total("cycles_total") >= first + count, f"{count} cycles")

    # -- what it wrote ---------------------------------------------------------------------------

    def log_text(self) -> str:
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Log lines as objects, over all starts."""
        found = []
        for line in self.log_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line cut by a SIGKILL, or one printed before logging was set up
            if isinstance(event, dict) and (name is None or event.get("event") == name):
                found.append(event)
        return found

    def describe(self) -> str:
        tail = "\n".join(self.log_text().splitlines()[-30:])
        try:
            verdict = json.dumps(self.status().get("verdict"), indent=1)
        except (OSError, ValueError):
            verdict = "none"
        return f"verdict: {verdict}\nlog:\n{tail}"

    def _fail(self, text: str) -> NoReturn:
        pytest.fail(f"{text}\n{self.describe()}")
