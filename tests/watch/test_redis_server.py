"""The look at a server, against real ones and against things that only listen."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from exporter.model import Reason, RedisTarget, ServerView, Unseen
from exporter.watch.redis_server import CONFIG_NAMES, RedisServer
from tests.conftest import ServerFactory
from tests.servers import RealServer, TlsFiles, until

NOW = 1_900_000_000.0
PASSWORD = "s3cret-pässword"
MINIMAL = f"user backupwatch reset on >{PASSWORD} -@all +ping +info +lastsave +config|get"


@pytest.fixture
def watch() -> Iterator[Callable[..., RedisServer]]:
    """Watchers that are closed with the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str, **options: object) -> RedisServer:
            settings: dict[str, object] = {"timeout_seconds": 20.0} | options
            return stack.enter_context(
                contextlib.closing(RedisServer(RedisTarget(url=url, **settings)))  # type: ignore[arg-type]
            )

        yield make


Watch = Callable[..., RedisServer]


def seen(server: RedisServer) -> ServerView:
    view = server.look(NOW)
    assert isinstance(view, ServerView), view
    return view


def unseen(server: RedisServer) -> Unseen:
    view = server.look(NOW)
    assert isinstance(view, Unseen), view
    assert PASSWORD not in view.detail
    return view


def acl_log(server: RealServer) -> list[object]:
    return list(server.client().execute_command("ACL", "LOG"))


# -- what is seen ----------------------------------------------------------------------------------


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


def test_a_setting_of_another_version_is_absent(redis_server: ServerFactory, watch: Watch) -> None:
    value = dict(seen(watch(redis_server().url)).config)
    missing = {name for name, found in value.items() if isinstance(found, Unseen)}
    assert all(value[name].reason is Reason.FIELD_ABSENT for name in missing)  # type: ignore[union-attr]
    assert "enable-protected-configs" not in missing


# -- least privilege -------------------------------------------------------------------------------


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
    # No HELLO, SELECT, CLIENT, PING. (MONITOR leaves out CONFIG, which the next test counts.)
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
    assert calls == {"auth": 1, "info": 1, "lastsave": 1, "config|get": len(CONFIG_NAMES)}


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
    counts = [entry[1] for entry in acl_log(server)]  # type: ignore[index]
    assert counts == [1, 1], "a refused command is asked once, not at each look"


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


# -- logging in ------------------------------------------------------------------------------------


def test_wrong_and_missing_passwords(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(password="right")
    for options in ({"password": PASSWORD}, {"password": "x", "username": "nobody"}, {}):
        answer = unseen(watch(server.url, **options))
        assert answer.reason is Reason.REDIS_AUTH_FAILED
    failed = [entry for entry in acl_log(server) if "auth" in map(str, entry)]  # type: ignore[call-overload]
    assert sum(entry[1] for entry in failed) == 2, "a refused login is not repeated within a look"  # type: ignore[index]


def test_a_password_where_the_server_has_none(any_server: ServerFactory, watch: Watch) -> None:
    answer = unseen(watch(any_server().url, password=PASSWORD))
    assert answer.reason is Reason.REDIS_AUTH_FAILED
    assert "has none" in answer.detail


def test_renamed_auth_repeats_no_password(redis_server: ServerFactory, watch: Watch) -> None:
    server = redis_server('rename-command AUTH ""')
    answer = unseen(watch(server.url, password=PASSWORD))
    assert answer.reason is Reason.REDIS_AUTH_FAILED
    assert "AUTH" in answer.detail


def test_user_and_password_in_the_url(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(MINIMAL)
    url = f"redis://backupwatch:s3cret-p%C3%A4ssword@127.0.0.1:{server.port}/0"
    assert seen(watch(url)).dialect == server.kind
    assert PASSWORD not in repr(RedisTarget(url=url))


def test_a_rotated_password_needs_no_restart(
    any_server: ServerFactory, watch: Watch, tmp_path: Path
) -> None:
    server = any_server(password="first")
    file = tmp_path / "password"
    file.write_text("first\r\n")
    watcher = watch(server.url, password_file=str(file))
    seen(watcher)
    server.password = "second"
    server.restart()
    assert unseen(watcher).reason is Reason.REDIS_AUTH_FAILED
    file.write_text("second\n")
    seen(watcher)


def test_an_unreadable_password_file_is_named(
    redis_server: ServerFactory, watch: Watch, tmp_path: Path
) -> None:
    watcher = watch(redis_server().url, password_file=str(tmp_path / "none"))
    answer = unseen(watcher)
    assert answer.reason is Reason.REDIS_AUTH_FAILED
    assert "password_file" in answer.detail
    assert "no such file" in answer.detail
    (tmp_path / "none").write_text("")
    seen(watcher)


# -- ways in ---------------------------------------------------------------------------------------


def test_unix_socket(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(unix_socket=True, password="pw")
    assert seen(watch(server.url + "?db=3", password="pw")).dialect == server.kind
    server.stop()
    assert unseen(watch(server.url)).reason is Reason.REDIS_UNREACHABLE


def test_ipv6(redis_server: ServerFactory, watch: Watch) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.fail("this machine has no IPv6 loopback: enable it for this test")
    server = redis_server("bind 127.0.0.1 ::1")
    assert seen(watch(f"redis://[::1]:{server.port}")).dialect == "redis"


def test_tls_with_client_certificate(
    redis_server: ServerFactory, watch: Watch, tmp_path: Path
) -> None:
    files = TlsFiles(tmp_path / "tls")
    server = redis_server(MINIMAL, tls=files, client_certificates=True)
    login = {"username": "backupwatch", "password": PASSWORD, "ca_file": files.ca_file}
    both = {"cert_file": files.client_cert_file, "key_file": files.client_key_file}
    assert seen(watch(server.url, **login, **both)).keys == 0
    assert acl_log(server) == []

    for options, words in (
        (login, "TLS"),
        ({"username": "backupwatch", "password": PASSWORD, **both}, "not trusted"),
        ({**login, **both, "ca_file": "/nowhere"}, "ca_file"),
    ):
        answer = unseen(watch(server.url, **options))
        assert answer.reason is Reason.REDIS_UNREACHABLE
        assert words in answer.detail
    plain = unseen(watch(server.url.replace("rediss", "redis"), **login))
    assert plain.reason in {Reason.REDIS_UNREACHABLE, Reason.REDIS_PROTOCOL_ERROR}


def test_tls_host_name(redis_server: ServerFactory, watch: Watch, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "tls", names=["redis.example"])
    server = redis_server(tls=files)
    answer = unseen(watch(server.url, ca_file=files.ca_file))
    assert answer.reason is Reason.REDIS_UNREACHABLE
    assert "TLS" in answer.detail
    seen(watch(server.url, ca_file=files.ca_file, check_hostname=False))
    untrusted = unseen(watch(server.url, check_hostname=False))
    assert "not trusted" in untrusted.detail


def test_tls_towards_a_plain_server(redis_server: ServerFactory, watch: Watch) -> None:
    answer = unseen(watch(f"rediss://127.0.0.1:{redis_server().port}", timeout_seconds=2.0))
    assert answer.reason in {Reason.REDIS_UNREACHABLE, Reason.REDIS_TIMEOUT}


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}/x@localhost:6379",
        f"redis://:{PASSWORD}#x@localhost:6379",
        f"redis://user:12345?{PASSWORD}@localhost",
        f"http://:{PASSWORD}@localhost",
        "redis://",
        "redis://localhost:99999",
        "unix://",
        "",
        "\udcff",
    ],
)
def test_an_invalid_url_is_said_and_never_quoted(watch: Watch, url: str) -> None:
    answer = unseen(watch(url))
    assert answer.reason is Reason.REDIS_UNREACHABLE
    assert "redis.url" in answer.detail
    assert "12345" not in answer.detail


def test_an_unknown_host(watch: Watch) -> None:
    answer = unseen(watch("redis://no-such-host.invalid:6379"))
    assert answer.reason is Reason.REDIS_UNREACHABLE
    assert answer.detail.startswith("DNS")


# -- trouble ---------------------------------------------------------------------------------------


def test_a_sentinel_is_told_apart(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server(sentinel=True)
    answer = unseen(watch(server.url))
    assert answer.reason is Reason.REDIS_IS_SENTINEL
    assert "redis.url" in answer.detail


def test_a_restart_is_no_failed_look(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server()
    watcher = watch(server.url, attempts=1)
    first = seen(watcher).run_id
    server.restart()
    assert seen(watcher).run_id != first
    server.kill()
    assert unseen(watcher).reason is Reason.REDIS_UNREACHABLE
    server.start()
    seen(watcher)


def test_a_frozen_server_is_a_timeout_in_bounded_time(
    any_server: ServerFactory, watch: Watch
) -> None:
    server = any_server()
    fast = watch(server.url, timeout_seconds=0.3, attempts=3)
    until(lambda: isinstance(fast.look(NOW), ServerView), "a look within 0.3 s")
    server.freeze()
    started = time.monotonic()
    assert unseen(fast).reason is Reason.REDIS_TIMEOUT
    assert 0.8 < time.monotonic() - started < 30
    server.thaw()
    until(lambda: isinstance(fast.look(NOW), ServerView), "the thawed server to answer")


def test_a_script_that_never_ends_is_a_timeout(any_server: ServerFactory, watch: Watch) -> None:
    server = any_server("busy-reply-threshold 1")
    thread = threading.Thread(target=_run_forever, args=(server.client(),))
    thread.start()
    try:
        watcher = watch(server.url)
        until(
            lambda: isinstance(answer := watcher.look(NOW), Unseen) and "script" in answer.detail,
            "the server to be busy",
        )
        assert unseen(watcher).reason is Reason.REDIS_TIMEOUT
    finally:
        server.client().script_kill()
        thread.join(60)


def _run_forever(client: redis.Redis) -> None:
    with contextlib.suppress(redis.ResponseError):
        client.eval("while true do end", 0)


def test_maxclients(redis_server: ServerFactory, watch: Watch) -> None:
    server = redis_server("maxclients 1")
    client = server.client(single_connection_client=True)
    client.ping()
    answer = unseen(watch(server.url))
    assert answer.reason is Reason.REDIS_UNREACHABLE


# -- things that are no server ---------------------------------------------------------------------


@contextlib.contextmanager
def listener(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens, and does ``behave`` to each connection; its URL."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            behave(connection)

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                thread = threading.Thread(target=serve, args=(door.accept()[0],), daemon=True)
                thread.start()
                threads.append(thread)

    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.05)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{door.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
            for worker in threads:
                worker.join(60)


def says(answer: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)
        connection.recv(65536)

    return behave


def drips(connection: socket.socket) -> None:
    pause = threading.Event()
    connection.recv(4096)
    connection.sendall(b"$100\r\n")
    for _ in range(500):
        connection.sendall(b"x")
        pause.wait(0.05)


def floods(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"$99999999999\r\n")
    while True:
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (lambda connection: connection.recv(1 << 20) and connection.recv(1), Reason.REDIS_TIMEOUT),
        (drips, Reason.REDIS_TIMEOUT),
        (lambda connection: None, Reason.REDIS_UNREACHABLE),
        (lambda connection: connection.recv(4096), Reason.REDIS_UNREACHABLE),
        (floods, Reason.REDIS_PROTOCOL_ERROR),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"+OK\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b":1\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"$-1\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"$5\r\nhello\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"$x\r\n"), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"*1\r\n" * 5000), Reason.REDIS_PROTOCOL_ERROR),
        (says(b"\x00\xff" * 500 + b"\r\n"), Reason.REDIS_PROTOCOL_ERROR),
    ],
)  # fmt: skip
def test_what_only_listens(
    watch: Watch, behave: Callable[[socket.socket], None], reason: Reason
) -> None:
    with listener(behave) as url:
        watcher = watch(url, timeout_seconds=1.0 if reason is Reason.REDIS_TIMEOUT else 20.0)
        started = time.monotonic()
        answer = unseen(watcher)
        assert answer.reason is reason, answer
        assert time.monotonic() - started < 45
        watcher.close()


def test_nobody_listens(watch: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        url = f"redis://127.0.0.1:{door.getsockname()[1]}"
    answer = unseen(watch(url))
    assert (answer.reason, answer.source) == (Reason.REDIS_UNREACHABLE, "redis")
    assert "refused" in answer.detail


def test_config_that_breaks_midway_leaves_the_rest_of_the_view(watch: Watch) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"$20\r\nredis_version:9.9.9\n\r\n")
        connection.recv(4096)

    with listener(behave) as url:
        watcher = watch(url)
        view = seen(watcher)
        watcher.close()
    assert (view.version, view.dialect, view.keys, view.loading) == ("9.9.9", "redis", None, False)
    assert isinstance(view.lastsave_at, Unseen)
    assert view.lastsave_at.reason is Reason.REDIS_UNREACHABLE
    assert all(isinstance(found, Unseen) for found in view.config.values())
