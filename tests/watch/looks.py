"""Looks at a server, seen or unseen, and what its user may do."""

from __future__ import annotations

from collections.abc import Callable

from exporter.model import ServerView, Unseen
from exporter.watch.redis_server import RedisServer
from tests.servers import RealServer

NOW = 1_900_000_000.0
PASSWORD = "s3cret-pässword"
MINIMAL = (
    f"user backupwatch reset on >{PASSWORD} -@all +ping +info +lastsave +config|get +module|list"
)


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
