"""The process itself: exit codes, signals, a second one, bad settings, a state that can't be kept."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.conftest import ServerFactory
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.receiver import HANG, Receiver


def test_sigterm_exits_0_at_once_also_with_a_receiver_that_hangs(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """A ping under way is bounded; the row is kept, and the next run sends it."""
    receiver.default = HANG
    job = backups(redis_server())
    job.good()
    watcher = sidecar(job, receiver=receiver, settings={"heartbeat.timeout": "30s"})
    watcher.start()
    receiver.wait_for(lambda pings: len(pings) == 1)
    asked = time.monotonic()
    assert watcher.stop() == 0
    assert time.monotonic() - asked < 8
    receiver.down()
    receiver.up()
    receiver.default = receiver.default.__class__()
    watcher.start()
    receiver.wait_accepted(1, 110)


def test_sigint_exits_like_sigterm(backups: BackupsFactory, sidecar: SidecarFactory) -> None:
    """Ctrl-C in a terminal is an orderly end."""
    watcher = sidecar(backups())
    watcher.start()
    watcher.wait_blocked("missing")
    watcher.signal(signal.SIGINT)
    assert watcher.wait_exit() == 0


def test_a_second_run_on_the_same_state_exits_2_and_leaves_the_first_alone(
    backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """The state directory is locked; the message names it."""
    job = backups()
    first = sidecar(job)
    first.start()
    first.wait_blocked("missing")
    second = sidecar(job)
    assert second.port != first.port
    second.log_file = first.home / "second.log"
    second.launch()
    assert second.wait_exit() == 2
    assert str(first.state_dir) in second.log_text()
    first.wait_cycles(1)


def test_a_taken_port_is_said_and_exits_2(
    backups: BackupsFactory, sidecar: SidecarFactory, tmp_path: Path
) -> None:
    """Which address, and what to do; no traceback."""
    first = sidecar(backups())
    first.start()
    second = sidecar(backups(), settings={"state.dir": str(tmp_path / "other")})
    second.settings["web.listen-address"] = f"127.0.0.1:{first.port}"
    second.log_file = first.home / "second.log"
    second.launch()
    assert second.wait_exit() == 2
    assert str(first.port) in second.log_text()
    assert "Traceback" not in second.log_text()


def test_all_errors_of_the_settings_are_told_at_once_and_exit_2(
    backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """Four mistakes from two sources, four lines, no secret among them."""
    watcher = sidecar(
        backups(),
        settings={"backup.max-age": "soon", "check.interval": "-1", "log.level": "loud"},
        env={"RBE_BACKUP_MAXAGE": "26h", "RBE_REDIS_PASSWORD": "s3same-in-env"},
    )
    watcher.launch()
    assert watcher.wait_exit() == 2
    text = watcher.log_text()
    for key in ("backup.max", "check.interval", "log.level", "RBE_BACKUP_MAXAGE"):
        assert key in text, text
    assert "s3same-in-env" not in text


def test_without_a_location_run_is_a_settings_error(sidecar: SidecarFactory) -> None:
    watcher = sidecar()
    watcher.launch()
    assert watcher.wait_exit() == 2
    assert "backup.dir" in watcher.log_text()


def test_variables_that_kubernetes_injects_for_a_service_are_ignored(
    backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """A Service named ``rbe`` must not stop the sidecar."""
    watcher = sidecar(
        backups(),
        env={
            "RBE_SERVICE_HOST": "10.0.0.1",
            "RBE_SERVICE_PORT": "19121",
            "RBE_SERVICE_PORT_METRICS": "19121",
            "RBE_PORT": "tcp://10.0.0.1:19121",
            "RBE_PORT_19121_TCP": "tcp://10.0.0.1:19121",
            "RBE_PORT_19121_TCP_PROTO": "tcp",
            "RBE_PORT_19121_TCP_PORT": "19121",
            "RBE_PORT_19121_TCP_ADDR": "10.0.0.1",
        },
    )
    watcher.start()
    watcher.wait_blocked("missing")


def test_a_state_directory_that_cannot_be_written_means_memory_and_a_notice(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Protected and pinged all the same; ``state_not_kept`` is in JSON, on the page and in the log."""
    job = backups(redis_server())
    name = job.good()
    # A place where even root can create nothing.
    watcher = sidecar(job, receiver=receiver, settings={"state.dir": "/proc/sys/rbe-state"})
    watcher.start()
    watcher.wait_protected(name)
    receiver.wait_accepted(1)
    assert "state_not_kept" in [notice["id"] for notice in watcher.status()["notices"]]
    assert "state_not_kept" in watcher.text("/")
    assert any("state_not_kept" in str(event) for event in watcher.events())
    assert watcher.stop() == 0


def test_a_corrupt_ledger_is_set_aside_and_said(
    redis_server: ServerFactory, backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """Losing the state costs one more reading, nothing else."""
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(job)
    watcher.start()
    watcher.wait_protected(name)
    assert watcher.stop() == 0
    databases = [
        p for p in watcher.state_dir.iterdir() if p.suffix in {".db", ".sqlite", ".sqlite3"}
    ]
    assert databases
    for path in databases:
        path.write_bytes(b"not a database" * 1000)
    watcher.start()
    watcher.wait_protected(name)
    assert watcher.metrics().total("verifications_total") == 1
    assert any(b"not a database" in p.read_bytes() for p in watcher.state_dir.iterdir())
    assert any(e.get("level") in {"warning", "error"} for e in watcher.events())


def test_health_does_not_depend_on_the_verdict(
    backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """Nothing to protect, and yet alive and ready: a probe must not restart the messenger."""
    watcher = sidecar(backups())
    watcher.start()
    watcher.wait_blocked("missing")
    for path in ("/-/healthy", "/-/ready"):
        answer = watcher.get(path)
        assert answer is not None
        assert answer.status_code == 200, path


def test_a_frozen_sidecar_that_thaws_judges_anew(
    redis_server: ServerFactory, backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """SIGSTOP and SIGCONT: cycles go on, the verdict is of now."""
    job = backups(redis_server())
    name = job.good()
    watcher = sidecar(job)
    watcher.start()
    watcher.wait_protected(name)
    os.kill(watcher.pid, signal.SIGSTOP)
    job.put(b"")
    os.kill(watcher.pid, signal.SIGCONT)
    watcher.wait_blocked("empty")
