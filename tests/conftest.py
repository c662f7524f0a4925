"""Fixtures that several rooms need: factories of real servers, ended with the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.servers import RealServer

# The machine may be busy: pytest-timeout bounds a test, not each of its examples.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")

ServerFactory = Callable[..., RealServer]


def _factory(kind: str, tmp_path: Path) -> Iterator[ServerFactory]:
    with contextlib.ExitStack() as stack:
        count = 0

        def start(*config: str, directory: Path | None = None, **options: Any) -> RealServer:
            """Start a server with these configuration lines; a directory of its own by default."""
            nonlocal count
            count += 1
            where = directory if directory is not None else tmp_path / f"{kind}-{count}"
            return stack.enter_context(RealServer(where, kind, config, **options))

        yield start


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Factory of Redis servers: ``redis_server("appendonly yes", password="x")``."""
    yield from _factory("redis", tmp_path)


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Factory of Valkey servers, as ``redis_server``."""
    yield from _factory("valkey", tmp_path)


@pytest.fixture(params=["redis", "valkey"])
def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerFactory]:
    """Factory of servers; a test that asks for it runs on Redis and on Valkey."""
    yield from _factory(request.param, tmp_path)
