"""Datasets at the edges of the encodings, saved by real servers, read with exact counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from exporter.model import RdbReport, Status
from exporter.verify.engines import Limits, engine
from exporter.verify.file import Changed, prove
from tests.servers import RealServer

#: Around the sizes at which a length takes a byte more, in one encoding or another.
EDGES = (0, 1, 12, 13, 62, 63, 64, 65, 127, 128, 253, 254, 255, 4094, 4095, 4096, 16377, 16378,
         16379, 16383, 16384, 65535, 65536, 2097145, 2097146, 2097147)  # fmt: skip

NUMBERS = sorted(
    {sign * (1 << bits) + step for bits in (0, 7, 12, 15, 23, 31, 62) for sign in (1, -1)
     for step in (-1, 0, 1)}
)  # fmt: skip


def fill(client: redis.Redis, chance: random.Random) -> None:
    """Every type, with values at the edges, in small and in large encodings."""
    for size in EDGES:
        value = chance.randbytes(size)
        client.set(f"string:{size}", value)
        client.rpush(f"list:{size}", value, b"tail")
        client.hset(f"hash:{size}", mapping={"field": value, "other": "x"})
        client.sadd(f"set:{size}", value or b"empty", b"member")
        client.zadd(f"zset:{size}", {value or b"empty": size / 3, b"member": -1})
        client.xadd(f"stream:{size}", {"field": value})
        client.set(f"text:{size}", b"abcd" * (size // 4))
    for number in NUMBERS:
        client.set(f"number:{number}", number)
        client.rpush("numbers:list", number)
        client.sadd("numbers:set", number)
        client.sadd(f"numbers:set:{abs(number).bit_length()}", number)
        client.zadd("numbers:zset", {str(number): number})
        client.hset("numbers:hash", str(number), number)
    for count in (1, 127, 128, 129, 512, 513, 3000):
        client.rpush(f"many:list:{count}", *range(count))
        client.sadd(f"many:set:{count}", *(f"m{n}" for n in range(count)))
        client.zadd(f"many:zset:{count}", {f"m{n}": n * 0.1 for n in range(count)})
        client.hset(f"many:hash:{count}", mapping={f"f{n}": n for n in range(count)})
    client.expire("numbers:list", 10_000)


def read(path: Path) -> RdbReport:
    report = prove(str(path), engine(), limits=Limits(timeout_seconds=120, memory_bytes=2 << 30))
    assert not isinstance(report, Changed)
    return report


@pytest.mark.parametrize(
    "config",
    [
        (),
        ("hash-max-listpack-value 3000000", "zset-max-listpack-value 3000000",
         "set-max-intset-entries 0"),
        ("rdbcompression no", "list-max-listpack-size -5", "list-compress-depth 1"),
    ],
    ids=["default", "listpacks", "plain"],
)  # fmt: skip
def test_what_a_server_saves_is_valid_with_exact_counts(
    any_server: Callable[..., RealServer], config: tuple[str, ...]
) -> None:
    server = any_server(*config)
    with server.client() as client:
        fill(client, random.Random(4711))
        keys = client.dbsize()
    report = read(server.save())
    assert (report.status, report.reason) == (Status.VALID, None)
    assert report.keys_by_db == {0: (keys, 1)}
    assert report.findings == ()
