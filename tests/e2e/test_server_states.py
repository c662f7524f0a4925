"""What the watched server does to the verdict: away, back, refusing, saving in vain."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ServerFactory
from tests.e2e.conftest import BackupsFactory, SidecarFactory
from tests.e2e.test_verdicts import assert_told
from tests.receiver import Receiver

MINIMAL = "-@all +ping +info +lastsave +config|get +module|list"


def test_a_server_that_goes_away_is_a_warning_during_the_grace_and_a_failure_after_it(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    receiver: Receiver,
) -> None:
    """Killed: still protected for the grace, then red with only server_up left; back: green."""
    server = any_server()
    job = backups(server)
    name = job.good()
    watcher = sidecar(job, receiver=receiver, settings={"redis.grace": "5s"})
    watcher.start()
    watcher.wait_protected(name)
    server.kill()
    watcher.wait(lambda: watcher.check("redis_reachable")["outcome"] == "warn", "the warning")
    assert watcher.state() == "protected"
    watcher.wait_blocked("redis_unreachable")
    assert_told(watcher, "redis_unreachable")
    metrics = watcher.metrics()
    assert metrics.value("server_up") == 0
    left = {name for name in metrics.names() if name.startswith("redis_backup_server_")}
    assert left == {"redis_backup_server_up", "redis_backup_server_query_failures_total"}
    server.start()
    watcher.wait_state("protected")
    assert watcher.metrics().value("server_up") == 1
    assert len(receiver.wait_accepted(1)) == 1


def test_the_minimal_acl_is_enough_and_leaves_no_trace_in_the_acl_log(
    any_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    tmp_path: Path,
) -> None:
    """The ACL line of the README: protected, every server metric there, ACL LOG empty."""
    server = any_server(f"user backupwatch reset on >s3same {MINIMAL}")
    job = backups(server)
    name = job.good()
    secret = tmp_path / "redis-password"
    secret.write_text("s3same\n")
    watcher = sidecar(
        job, settings={"redis.username": "backupwatch", "redis.password-file": str(secret)}
    )
    watcher.start()
    watcher.wait_protected(name)
    watcher.wait_cycles(2)
    assert watcher.check("redis_reachable")["outcome"] == "pass"
    assert watcher.metrics().value("server_keys") == 50
    assert server.client().execute_command("ACL", "LOG") == []


def test_a_refused_login_and_a_denied_info_are_told_apart(
    redis_server: ServerFactory,
    backups: BackupsFactory,
    sidecar: SidecarFactory,
    tmp_path: Path,
) -> None:
    """A wrong password is redis_auth_failed; INFO denied is redis_command_denied; both end live."""
    server = redis_server("user backupwatch reset on >right -@all +ping")
    job = backups(server)
    job.good()
    secret = tmp_path / "redis-password"
    secret.write_text("wrong")
    watcher = sidecar(
        job,
        settings={
            "redis.username": "backupwatch",
            "redis.password-file": str(secret),
            "redis.grace": "1s",
        },
    )
    watcher.start()
    watcher.wait_blocked("redis_auth_failed")
    assert_told(watcher, "redis_auth_failed")
    secret.write_text("right")
    watcher.wait_blocked("redis_command_denied")
    assert_told(watcher, "redis_command_denied")
    server.client().execute_command("ACL", "SETUSER", "backupwatch", *MINIMAL.split())
    watcher.wait_state("protected")


def test_config_denied_is_no_failure(
    redis_server: ServerFactory, backups: BackupsFactory, sidecar: SidecarFactory, tmp_path: Path
) -> None:
    """Managed services hide CONFIG and LASTSAVE: what needs them is skipped, the rest is judged."""
    server = redis_server("user backupwatch reset on >pw -@all +ping +info")
    job = backups(server)
    name = job.good()
    secret = tmp_path / "redis-password"
    secret.write_text("pw")
    watcher = sidecar(
        job, settings={"redis.username": "backupwatch", "redis.password-file": str(secret)}
    )
    watcher.start()
    watcher.wait_protected(name)
    watcher.promtool()


def test_a_failed_bgsave_is_told_though_the_copy_is_good(
    redis_server: ServerFactory, backups: BackupsFactory, sidecar: SidecarFactory
) -> None:
    """The server cannot write its dump: bgsave_failed, until a save works again."""
    server = redis_server()
    job = backups(server)
    name = job.good()
    watcher = sidecar(job)
    watcher.start()
    watcher.wait_protected(name)
    dump = server.dir / "dump.rdb"
    dump.unlink()
    dump.mkdir()
    (dump / "in-the-way").touch()
    server.client().bgsave()
    watcher.wait_blocked("bgsave_failed")
    assert_told(watcher, "bgsave_failed")
    (dump / "in-the-way").unlink()
    dump.rmdir()
    name = job.good()
    watcher.wait_protected(name)
