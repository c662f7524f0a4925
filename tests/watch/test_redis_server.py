"""The look at a real server: what is seen, and with which rights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Reason, ServerView, Unseen
from exporter.watch.redis_server import CONFIG_NAMES, _module_names
from tests.conftest import ServerFactory
from tests.servers import RealServer, until
from tests.watch.looks import MINIMAL, NOW, PASSWORD, Watch, acl_log, seen, unseen

# -- what is seen -----------------------------------------------------------------------------------


def test_every_field_of_a_server_that_saved(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server("save 3600 1")
    client = server.client()
    client.mset({"a": 1, "b": 2, "c": 3})
    server.save()
    client.set("d", 4)
    view = seen(watch(server.url))
    assert view.at == NOW
    assert view.dialect == server.kind
    info = client.info("everything")
    assert view.version == info["valkey_version" if server.kind == "valkey" else "redis_version"]
    assert (view.mode, view.role) == ("standalone", "master")
    assert view.run_id == info["run_id"]
    assert view.uptime_seconds is not None
    assert view.started_at == NOW - view.uptime_seconds
    assert view.loading is False
    assert view.loading_progress is None
    assert view.last_save_at == info["rdb_last_save_time"] == view.lastsave_at
    assert view.changes_since_last_save == 1
    assert view.bgsave_in_progress is False
    assert view.last_bgsave_ok is True
    assert view.last_bgsave_seconds is not None
    assert view.current_bgsave_seconds is None
    assert view.saves_started == 1
    assert view.last_cow_bytes is not None
    assert view.latest_fork_seconds is not None
    assert 0 < view.latest_fork_seconds < 10
    assert (view.load_keys_loaded, view.load_keys_expired) == (0, 0)
    assert (view.aof_enabled, view.aof_size_bytes) == (False, None)
    assert (view.aof_last_write_ok, view.aof_last_rewrite_ok) == (True, True)
    assert view.keys == 4
    assert view.used_memory_bytes is not None
    assert (view.replid, view.replid2) == (info["master_replid"], None)
    assert view.config["dir"] == str(server.dir)
    assert view.config["dbfilename"] == "dump.rdb"
    assert view.config["save"] == "3600 1"
    assert view.config["appendonly"] == "no"
    assert set(view.config) == set(CONFIG_NAMES)
    assert view.info["db0"].startswith("keys=4,")
    assert "connected_clients" not in view.info


def test_a_server_that_never_saved_has_no_duration(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server("appendonly yes")
    view = seen(watch(server.url))
    assert (view.last_bgsave_seconds, view.saves_started, view.keys) == (None, 0, 0)
    assert view.info["rdb_last_bgsave_time_sec"] == "-1"
    assert view.aof_enabled is True
    assert view.aof_size_bytes is not None


def test_a_failed_save_is_seen(redis_server: ServerFactory, watch: Watch) -> None:
    server = redis_server("rdb-key-save-delay 10000000")
    client = server.client()
    client.set("a", 1)
    client.bgsave()
    watcher = watch(server.url)
    assert seen(watcher).bgsave_in_progress is True
    assert seen(watcher).current_bgsave_seconds is not None
    (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(child), 9)
    until(lambda: seen(watcher).last_bgsave_ok is False, "the failed save to show")


def test_keys_of_all_databases(redis_server: ServerFactory, watch: Watch) -> None:
    server = redis_server()
    for db in (0, 3, 11):
        server.client(db=db).set("a", 1, ex=3600)
    assert seen(watch(server.url + "/9")).keys == 3


def test_a_replica_says_so(redis_server: ServerFactory, watch: Watch) -> None:
    master = redis_server()
    replica = redis_server(f"replicaof 127.0.0.1 {master.port}")
    watcher = watch(replica.url)
    until(lambda: seen(watcher).info["master_link_status"] == "up", "the replica to sync")
    assert seen(watcher).role == "slave"
    assert seen(watcher).replid == seen(watch(master.url)).replid


def test_a_loading_server_is_seen_as_loading(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server()
    client = server.client()
    client.execute_command("DEBUG", "POPULATE", "20000", "key", "1000")
    server.save()
    server.restart(
        wait_loaded=False,
        extra=["key-load-delay 1000", "loading-process-events-interval-bytes 1024"],
    )
    view = seen(watch(server.url))
    assert view.loading is True
    assert view.loading_progress is not None
    assert "loading_total_bytes" in view.info
    assert isinstance(view.lastsave_at, int)
    assert view.config["dbfilename"] == "dump.rdb"
    assert isinstance(view.modules, Unseen)
    assert view.modules.reason is Reason.REDIS_LOADING


def test_a_setting_of_another_version_is_absent(redis_server: ServerFactory, watch: Watch) -> None:
    value = dict(seen(watch(redis_server().url)).config)
    missing = {name for name, found in value.items() if isinstance(found, Unseen)}
    assert all(value[name].reason is Reason.FIELD_ABSENT for name in missing)  # type: ignore[union-attr]
    assert "enable-protected-configs" not in missing


# -- what a restore needs ----------------------------------------------------------------------------


def test_the_facts_of_a_target(any_server: ServerFactory, watch: Watch) -> None:
    """Valkey 9 says that its engine for scripts is a module; neither server has any other."""
    server = any_server("databases 4")
    view = seen(watch(server.url))
    assert view.modules == (frozenset({"lua"}) if server.kind == "valkey" else frozenset())
    assert view.config["databases"] == "4"
    assert view.cluster is False


def test_a_cluster_node_says_so_and_counts_its_databases(
    any_server: ServerFactory, watch: Watch
) -> None:
    server = any_server("cluster-enabled yes", "databases 9")
    view = seen(watch(server.url))
    assert view.cluster is True
    own = view.config["cluster-databases"]
    if server.kind == "valkey":
        assert own == "1"
    else:
        assert isinstance(own, Unseen)
        assert own.reason is Reason.FIELD_ABSENT


def test_modules_that_may_not_be_listed_spoil_nothing_else(
    any_server: ServerFactory, watch: Watch
) -> None:
    """As with the rights that an earlier release asked for."""
    server = any_server(f"user w reset on >{PASSWORD} -@all +ping +info +lastsave +config|get")
    watcher = watch(server.url, username="w", password=PASSWORD)
    for _ in range(3):
        view = seen(watcher)
        assert isinstance(view.modules, Unseen)
        assert view.modules.reason is Reason.REDIS_COMMAND_DENIED
        assert isinstance(view.lastsave_at, int)
        assert view.config["dir"] == str(server.dir)
    assert [entry[1] for entry in acl_log(server)] == [1]  # type: ignore[index]
    server.client().acl_setuser("w", enabled=True, commands=["+module|list"])
    later = watcher.look(NOW + 3600)
    assert isinstance(later, ServerView)
    assert isinstance(later.modules, frozenset)


def test_a_renamed_module_command_is_a_value(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server('rename-command MODULE ""')
    view = seen(watch(server.url))
    assert isinstance(view.modules, Unseen)
    assert view.modules.reason is Reason.REDIS_COMMAND_DENIED
    assert view.config["dbfilename"] == "dump.rdb"


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ([], frozenset()),
        ([[b"name", b"bf", b"ver", 20612]], {"bf"}),
        ([[b"name", b"ReJSON", b"ver", 1, b"path", b"/x", b"args", []]], {"ReJSON"}),
        ([[b"ver", 1, b"name", b"vectorset"], [b"name", b"lua"]], {"vectorset", "lua"}),
        ([[b"name", b"evil\x1b[31m\n"]], {"evil [31m"}),
        (None, None),
        (b"text", None),
        (7, None),
        ([7], None),
        ([[]], None),
        ([[b"name"]], None),
        ([[b"name", 7]], None),
    ],
)
def test_what_module_list_may_answer(answer: Any, names: frozenset[str] | None) -> None:
    found = _module_names(answer, NOW)
    if names is None:
        assert isinstance(found, Unseen)
        assert found.reason is Reason.REDIS_PROTOCOL_ERROR
    else:
        assert found == names


# -- least privilege --------------------------------------------------------------------------------


def test_the_minimal_user_sees_all_and_leaves_no_trace(
    any_server: ServerFactory, watch: Watch, tmp_path: Path
) -> None:
    server = any_server(MINIMAL)
    (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    watcher = watch(
        server.url + "/5", username="backupwatch", password_file=str(tmp_path / "password")
    )
    with monitored(server) as commands:
        view = seen(watcher)
        seen(watcher)
        watcher.close()
        seen(watcher)
    assert isinstance(view.lastsave_at, int)
    assert not [name for name, found in view.config.items() if unwanted(found)]
    assert acl_log(server) == []
    # No HELLO, SELECT, CLIENT, PING. (MONITOR leaves out CONFIG and MODULE: the next test counts.)
    login, look = ["AUTH (redacted) (redacted)"], ["INFO all", "LASTSAVE"]
    assert commands == login + look + look + login + look


def test_a_look_sends_what_it_needs_and_nothing_else(
    any_server: ServerFactory, watch: Watch
) -> None:
    server = any_server(MINIMAL)
    client = server.client()
    client.config_resetstat()
    seen(watch(server.url, username="backupwatch", password=PASSWORD))
    calls = {name[8:]: row["calls"] for name, row in client.info("commandstats").items()}
    calls.pop("config|resetstat")
    assert calls == {
        "auth": 1,
        "info": 1,
        "lastsave": 1,
        "config|get": len(CONFIG_NAMES),
        "module|list": 1,
    }


def unwanted(found: str | Unseen) -> bool:
    return isinstance(found, Unseen) and found.reason is not Reason.FIELD_ABSENT


@contextlib.contextmanager
def monitored(server: RealServer) -> Iterator[list[str]]:
    """The commands that the server gets meanwhile."""
    commands: list[str] = []
    client = server.client(single_connection_client=True)
    client.ping()  # what a client says when it connects is not to be seen
    with server.client().monitor() as monitor:
        yield commands
        client.echo("the end")
        for event in monitor.listen():
            if event["command"] == "ECHO the end":
                return
            commands.append(event["command"])


def test_denied_config_and_lastsave_are_values(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(f"user w reset on >{PASSWORD} -@all +info")
    watcher = watch(server.url, username="w", password=PASSWORD)
    for _ in range(3):
        view = seen(watcher)
        assert isinstance(view.lastsave_at, Unseen)
        assert view.lastsave_at.reason is Reason.REDIS_COMMAND_DENIED
        assert "+lastsave" in view.lastsave_at.detail
        for name in CONFIG_NAMES:
            found = view.config[name]
            assert isinstance(found, Unseen)
            assert found.reason is Reason.REDIS_COMMAND_DENIED
            assert "+config|get" in found.detail
        assert isinstance(view.modules, Unseen)
        assert view.modules.reason is Reason.REDIS_COMMAND_DENIED
        assert "+module|list" in view.modules.detail
    counts = [entry[1] for entry in acl_log(server)]  # type: ignore[index]
    assert counts == [1, 1, 1], "a refused command is asked once, not at each look"


def test_a_right_given_later_is_used(redis_server: ServerFactory, watch: Watch) -> None:
    server = redis_server(f"user w reset on >{PASSWORD} -@all +info +lastsave")
    watcher = watch(server.url, username="w", password=PASSWORD)
    assert isinstance(seen(watcher).config["dir"], Unseen)
    server.client().acl_setuser("w", enabled=True, commands=["+config|get"])
    later = watcher.look(NOW + 3600)
    assert isinstance(later, ServerView)
    assert later.config["dir"] == str(server.dir)


def test_renamed_config_is_a_value(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server('rename-command CONFIG ""', "rename-command LASTSAVE hidden")
    view = seen(watch(server.url))
    assert isinstance(view.lastsave_at, Unseen)
    assert view.lastsave_at.reason is Reason.REDIS_COMMAND_DENIED
    assert isinstance(view.config["dir"], Unseen)
    assert view.config["dir"].reason is Reason.REDIS_COMMAND_DENIED
    assert "renamed" in view.config["dir"].detail


def test_denied_info_says_which_right_is_missing(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(f"user w reset on >{PASSWORD} +@all -@dangerous")
    answer = unseen(watch(server.url, username="w", password=PASSWORD))
    assert answer.reason is Reason.REDIS_COMMAND_DENIED
    assert "+info" in answer.detail
    assert [entry[1] for entry in acl_log(server)] == [1]  # type: ignore[index]
