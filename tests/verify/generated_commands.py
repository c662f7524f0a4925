"""Random commands of all types, for a real server that then saves: files as they come in life.

Knows: commands that Redis 7.0 and Valkey 9 have, and which settings choose encodings. Refuses to know:
RDB. Some commands fail (wrong type, no such group), which is as good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

Command = tuple[bytes | str | int | float, ...]

#: Settings that decide how values are laid out; a server that lacks one says so, and keeps its own.
SETTINGS: dict[str, tuple[str, ...]] = {
    "list-max-listpack-size": ("-2", "-1", "1", "3", "16"),
    "list-compress-depth": ("0", "1", "2"),
    "hash-max-listpack-entries": ("0", "4", "128", "512"),
    "hash-max-listpack-value": ("8", "64", "4096"),
    "zset-max-listpack-entries": ("0", "4", "128"),
    "zset-max-listpack-value": ("8", "64"),
    "set-max-intset-entries": ("0", "3", "512"),
    "set-max-listpack-entries": ("0", "4", "128"),
    "stream-node-max-entries": ("1", "3", "100"),
    "stream-node-max-bytes": ("0", "100", "4096"),
    "rdbcompression": ("yes", "no"),
}
KEYS = 12
DATABASES = (0, 0, 0, 1, 5, 15)
_FAR_MS = 4_000_000_000_000


def settings(random: Random) -> Iterator[Command]:
    for name, choices in SETTINGS.items():
        yield "CONFIG", "SET", name, random.choice(choices)


def text(random: Random) -> bytes:
    choices: list[Callable[[], bytes]] = [
        lambda: (
            b"%d" % (random.choice([1, -1]) * random.getrandbits(random.choice([3, 7, 13, 31, 62])))
        ),
        lambda: b"word%d" % random.randrange(30),
        lambda: b"long and much the same " * random.randint(2, 40),
        lambda: random.randbytes(random.randint(0, 90)),
        lambda: b"x" * random.choice([0, 1, 63, 64, 127, 128, 255, 256, 4095, 4096, 16383, 20000]),
    ]
    return random.choices(choices, [4, 6, 2, 2, 1])[0]()


def commands(random: Random) -> Iterator[Command]:
    """A few dozen, in several databases."""
    for _ in range(random.randint(1, 4)):
        yield "SELECT", random.choice(DATABASES)
        for _ in range(random.randint(3, 20)):
            yield from random.choice(_KINDS)(random)
            if random.random() < 0.25:
                yield from _expiry(random)
    if random.random() < 0.2:
        yield from _function(random)


def _key(random: Random, kind: str) -> str:
    return (
        f"{kind}:{random.randrange(KEYS)}" if random.random() < 0.9 else f"{random.randrange(99)}"
    )


def _texts(random: Random, most: int = 8) -> list[bytes]:
    return [text(random) for _ in range(random.randint(1, most))]


def _string(random: Random) -> Iterator[Command]:
    key = _key(random, "string")
    yield "SET", key, text(random)
    if random.random() < 0.3:
        yield random.choice([("INCRBY", key, 7), ("APPEND", key, b"more"), ("SETBIT", key, 99, 1)])
    if random.random() < 0.1:
        yield "PFADD", _key(random, "sketch"), *_texts(random)


def _list(random: Random) -> Iterator[Command]:
    key = _key(random, "list")
    yield random.choice(["RPUSH", "LPUSH"]), key, *_texts(random, 30)
    if random.random() < 0.3:
        yield "LTRIM", key, 1, -2


def _set(random: Random) -> Iterator[Command]:
    key = _key(random, "set")
    if random.random() < 0.5:
        bits = random.choice([3, 15, 31, 62])
        yield "SADD", key, *[random.getrandbits(bits) for _ in range(random.randint(1, 9))]
    else:
        yield "SADD", key, *_texts(random, 12)
    if random.random() < 0.2:
        yield "SPOP", key


def _zset(random: Random) -> Iterator[Command]:
    key = _key(random, "zset")
    scores = [
        "-inf",
        "+inf",
        "0",
        "-0",
        "1",
        "-3",
        "0.1",
        "1e300",
        "5e-324",
        "3.0000000001",
        "12345678901",
    ]
    row: list[bytes | str] = []
    for member in _texts(random, 10):
        row += [random.choice(scores), member]
    yield "ZADD", key, *row
    if random.random() < 0.2:
        yield "ZPOPMIN", key


def _hash(random: Random) -> Iterator[Command]:
    key = _key(random, "hash")
    fields = _texts(random, 10)
    yield "HSET", key, *[part for field in fields for part in (field, text(random))]
    if random.random() < 0.3:  # Valkey 9
        yield "HPEXPIREAT", key, _FAR_MS + random.randrange(999), "FIELDS", 1, fields[0]
    if random.random() < 0.2:
        yield "HDEL", key, fields[-1]


def _stream(random: Random) -> Iterator[Command]:
    key = _key(random, "stream")
    first = random.randrange(1, 50)
    for at in range(random.randint(1, 9)):
        pairs = [text(random) for _ in range(random.choice([2, 2, 4]))]
        yield "XADD", key, f"{first * 100 + at}-{random.randrange(3)}", *pairs
    if random.random() < 0.7:
        yield "XGROUP", "CREATE", key, "readers", random.choice(["0", "$"]), "MKSTREAM"
        for consumer in ("alice", "bob"):
            yield "XREADGROUP", "GROUP", "readers", consumer, "COUNT", 2, "STREAMS", key, ">"
        yield "XGROUP", "CREATECONSUMER", key, "readers", "carol"
        if random.random() < 0.5:
            yield "XACK", key, "readers", f"{first * 100}-0", f"{first * 100 + 1}-1"
    if random.random() < 0.3:
        yield "XDEL", key, f"{first * 100}-0", f"{first * 100 + 1}-1", f"{first * 100 + 2}-2"
    if random.random() < 0.2:
        yield "XTRIM", key, "MAXLEN", random.randrange(4)
    if random.random() < 0.1:
        yield "XSETID", key, "999999-0"


def _other(random: Random) -> Iterator[Command]:
    kinds = ["string", "list", "set", "zset", "hash", "stream"]
    key = _key(random, random.choice(kinds))
    yield random.choice(
        [("DEL", key), ("COPY", key, "copy"), ("MOVE", key, 2), ("RENAME", key, "new")]
    )


_KINDS = (_string, _list, _set, _zset, _hash, _stream, _other)


def _expiry(random: Random) -> Iterator[Command]:
    key = _key(random, random.choice(["string", "list", "set", "zset", "hash", "stream"]))
    yield "PEXPIREAT", key, _FAR_MS + random.randrange(10**6)
    if random.random() < 0.2:
        yield "PERSIST", key


def _function(random: Random) -> Iterator[Command]:
    number = random.randrange(3)
    code = f"#!lua name=lib{number}\nredis.register_function('f{number}', function() return 1 end)"
    yield "FUNCTION", "LOAD", "REPLACE", code
