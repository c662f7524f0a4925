"""The heartbeat URL and the password: in no log, metric, page, JSON, state file, command line."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import ServerFactory
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.receiver import CLOSE, ERROR, HANG, NOT_FOUND, Receiver, redirect

PASSWORD = "pa55-w0rd/with+odd=letters"


def _descendants(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text("utf-8", "replace")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            yield int(entry.name)
            yield from _descendants(int(entry.name))


class Spy(threading.Thread):
    """Collects command lines and environments of a process's descendants while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="spy", daemon=True)
        self.pid = pid
        self.children: set[int] = set()
        self.seen: set[bytes] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            for child in _descendants(self.pid):
                self.children.add(child)
                self._read(child, "cmdline", "environ")

    def _read(self, pid: int, *names: str) -> None:
        for name in names:
            try:
                self.seen.add(Path(f"/proc/{pid}/{name}").read_bytes())
            except OSError:
                continue


@pytest.mark.parametrize("source", ["files", "environment"])
def test_no_secret_is_seen_anywhere(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
    tmp_path: Path,
    source: str,
) -> None:
    """Debug logs, errors of all kinds, a refused login, the children that read files."""
    server = redis_server(f"user backupwatch reset on >{PASSWORD} -@all +ping +info")
    job = backups(server)
    job.write(30_000)
    settings: dict[str, str] = {"redis.username": "backupwatch", "redis.grace": "1s"}
    env: Mapping[str, str] = {}
    secret = tmp_path / "redis-password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    if source == "files":
        settings["redis.password-file"] = str(secret)
    else:
        env = {"RBE_HEARTBEAT_URL": receiver.url, "RBE_REDIS_PASSWORD": PASSWORD}
    receiver.then(ERROR, HANG, CLOSE, redirect("http://localhost:1/elsewhere"))
    watcher = sidecar(
        job, receiver=receiver if source == "files" else None, settings=settings, env=env
    )
    if source == "environment":
        watcher.settings["heartbeat.timeout"] = "1s"
    watcher.start()
    spy = Spy(watcher.pid)
    spy.start()
    name = job.good()
    watcher.wait_protected(name)
    receiver.wait_for(lambda pings: len(pings) >= 4, 110)
    receiver.then(NOT_FOUND)
    job.good()
    watcher.wait(
        lambda: watcher.metrics().total("heartbeat_failures_total", reason="http_4xx") >= 1,
        "a refused ping",
    )
    server.client().execute_command("ACL", "SETUSER", "backupwatch", "resetpass", ">another")
    server.client().execute_command("CLIENT", "KILL", "USER", "backupwatch")
    watcher.wait_blocked("redis_auth_failed")
    seen = {
        "page": watcher.text("/").encode(),
        "json": watcher.text("/api/v1/status").encode(),
        "metrics": watcher.text("/metrics").encode(),
        "cmdline": Path(f"/proc/{watcher.pid}/cmdline").read_bytes(),
    }
    assert watcher.stop() == 0
    spy.ended.set()
    spy.join()
    assert spy.children, "no child was caught: the spy proves nothing"
    seen["log"] = watcher.log_file.read_bytes()
    seen["children"] = b"\n".join(spy.seen)
    for path in watcher.state_dir.iterdir():
        seen[f"state {path.name}"] = path.read_bytes()
    for where, content in seen.items():
        for word in (receiver.secret, PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")):
            assert word.encode() not in content, f"a secret is in: {where}"
