"""The look at a real server: ways in, and passwords."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from exporter.model import Reason, RedisTarget
from tests.conftest import ServerFactory
from tests.servers import TlsFiles
from tests.watch.looks import MINIMAL, PASSWORD, Watch, acl_log, seen, unseen

# -- logging in -------------------------------------------------------------------------------------


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


# -- ways in ----------------------------------------------------------------------------------------


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
