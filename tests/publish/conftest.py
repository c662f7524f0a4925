"""A receiver and relays for the tests of heartbeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publish.relay_bench import Bench
from tests.receiver import (
    Receiver,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as served:
        yield served


@pytest.fixture
def make(tmp_path: Path, receiver: Receiver) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def build(**policy: Any) -> Bench:
        for bench in benches:
            bench.close()
        benches[:] = [Bench(tmp_path / "state", lambda: receiver.url, **policy)]
        return benches[0]

    yield build
    for bench in benches:
        bench.close()
