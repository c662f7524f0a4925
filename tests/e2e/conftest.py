"""Fixtures of the end-to-end tests: sidecars, receivers, backup jobs; all gone with the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.backups import Backups
from tests.e2e.sidecar import Sidecar
from tests.receiver import Receiver
from tests.servers import RealServer

SidecarFactory = Callable[..., Sidecar]
BackupsFactory = Callable[..., Backups]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def backups(tmp_path: Path) -> BackupsFactory:
    """``backups(server)``: a backup job that copies into ``tmp_path/backups``."""

    def make(server: RealServer | None = None) -> Backups:
        return Backups(tmp_path / "backups", server)

    return make


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[SidecarFactory]:
    """``sidecar(backups, receiver=..., settings={...})``: configured, not started."""
    with contextlib.ExitStack() as stack:

        def make(
            job: Backups | None = None,
            *,
            receiver: Receiver | None = None,
            settings: Mapping[str, str] | None = None,
            env: Mapping[str, str] | None = None,
        ) -> Sidecar:
            home = tmp_path / "sidecar"
            home.mkdir(exist_ok=True)
            all_settings: dict[str, str] = {}
            if job is not None:
                all_settings["backup.dir"] = str(job.directory)
                if job.server is not None:
                    all_settings["redis.url"] = job.server.url
            if receiver is not None:
                url_file = home / "heartbeat-url"
                url_file.touch(mode=0o600)
                url_file.write_text(receiver.url + "\n")
                all_settings["heartbeat.url-file"] = str(url_file)
                all_settings["heartbeat.timeout"] = "1s"
            all_settings.update(settings or {})
            made = Sidecar(home, all_settings, env=env)
            stack.callback(made.close)
            return made

        yield make
