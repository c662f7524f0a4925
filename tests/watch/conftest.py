"""Watchers for tests, closed with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from exporter.model import RedisTarget
from exporter.watch.redis_server import RedisServer


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
