"""The look at servers in trouble, and at things that only listen."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from exporter.model import Reason, ServerView, Unseen
from tests.conftest import ServerFactory
from tests.servers import until
from tests.watch.looks import NOW, Watch, seen, unseen

# -- trouble ----------------------------------------------------------------------------------------


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


# -- things that are no server ----------------------------------------------------------------------


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
