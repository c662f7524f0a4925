"""Streams of all generations (types 15, 19, 21, 26, 27), built byte by byte, sound or with one flaw.

Knows: nodes, entries, groups, their pending entries and consumers, idempotence records. Refuses to
know: who sees a flaw. Sources: rdb.c and t_stream.c of Redis 5.0-8.10.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from tests.verify import generated_values as values
from tests.verify.generated_blobs import Entry, length, listpack, raw, string

Id = tuple[int, int]

STREAM_FLAWS = (
    "stream length", "stream last id", "stream order", "a node twice", "a short node key",
    "a group twice", "a consumer twice", "a pending entry twice", "a pending entry of nobody",
    "a consumer's entry of no group", "an entry's length", "no end of the master entry",
    "a negative count", "listpack size", "listpack count", "listpack end", "back length",
)  # fmt: skip


def stream(generation: int) -> Callable[[Random, str], bytes]:
    def build(random: Random, flaw: str) -> bytes:
        return _stream(random, flaw, generation)

    return build


def _stream(random: Random, flaw: str, generation: int) -> bytes:
    ids = [(1000 + at // 3, at % 3 + 1) for at in range(random.randint(2, 9))]
    cut = random.randint(1, len(ids) - 1)
    nodes = [ids[:cut], ids[cut:]] if random.random() < 0.5 else [ids]
    if flaw == "a node twice":
        nodes = [ids, ids]
    elif flaw == "stream order":
        nodes = [ids]
    out = length(len(nodes))
    live = 0
    for at, node in enumerate(nodes):
        key, blob, alive = _node(random, node, flaw if at == 0 else "")
        out += raw(key) + string(random, blob)
        live += alive
    out += length(live + (flaw == "stream length"))
    last = (1, 0) if flaw == "stream last id" else (ids[-1][0] + random.choice([0, 5]), 9)
    out += _id(last)
    if generation >= 2:
        out += _id(ids[0]) + _id((0, 0)) + length(len(ids) + 2)
    out += _groups(random, flaw, generation, ids)
    if generation >= 4:
        out += length(100) + length(100) + length(1) + raw(b"producer")
        out += length(1) + raw(b"iid") + _id(ids[0]) + length(5) + length(0)
    return out


def _id(number: Id) -> bytes:
    return length(number[0]) + length(number[1])


def _raw_id(number: Id) -> bytes:
    return struct.pack(">QQ", *number)


def _node(random: Random, ids: list[Id], flaw: str) -> tuple[bytes, bytes, int]:
    """Its key, its listpack, and how many of its entries live."""
    base = ids[0]
    deleted = {at for at in range(len(ids)) if random.random() < 0.15}
    shared: list[Entry] = [b"field", b"other"]
    inside: list[Entry] = [len(ids) - len(deleted), len(deleted), 2, *shared]
    inside.append(7 if flaw == "no end of the master entry" else 0)
    if flaw == "a negative count":
        inside[0] = -5
    if flaw == "stream order":
        ids = [*ids[:-2], ids[-1], ids[-2]]
    for at, (milliseconds, sequence) in enumerate(ids):
        same = random.random() < 0.6
        flags = (2 if same else 0) | (1 if at in deleted else 0)
        inside += [flags, milliseconds - base[0], sequence - base[1]]
        if same:
            inside += values.entries(random, 2)
            size = 5
        else:
            inside += [1, b"own", *values.entries(random, 1)]
            size = 6
        inside.append(size + (flaw == "an entry's length" and at == 0))
    key = _raw_id(base)
    if flaw == "a short node key":
        key = key[:-1]
    return key, listpack(inside, flaw), len(ids) - len(deleted)


def _groups(random: Random, flaw: str, generation: int, ids: list[Id]) -> bytes:
    names = [b"group%d" % at for at in range(random.randint(0, 2))]
    if flaw in ("a group twice", "a consumer twice") or "entry" in flaw:
        names = names or [b"group0"]
    if flaw == "a group twice":
        names.append(names[0])
    return length(len(names)) + b"".join(
        raw(name) + _group(random, flaw if at == 0 else "", generation, ids)
        for at, name in enumerate(names)
    )


def _group(random: Random, flaw: str, generation: int, ids: list[Id]) -> bytes:
    pending = random.sample(ids, random.randint(1, len(ids)))
    nacked = pending[:1] if generation >= 5 and len(pending) > 1 and random.random() < 0.5 else []
    owned = pending[len(nacked) :]
    listed = [*pending]
    if flaw == "a pending entry twice":
        listed.append(listed[0])
    elif flaw == "a pending entry of nobody":
        listed.append((5, 5))
    out = _id(ids[-1])
    if generation >= 2:
        out += length(random.randint(0, len(ids)))
    out += length(len(listed))
    for number in listed:
        out += _raw_id(number) + struct.pack("<q", 1_700_000_000_000) + length(1)
    cut = random.randint(0, len(owned))
    consumers = [(b"alice", owned[:cut]), (b"bob", owned[cut:])]
    if flaw == "a consumer twice":
        consumers.append((b"alice", []))
    elif flaw == "a consumer's entry of no group":
        consumers.append((b"mallory", [(5, 5)]))
    out += length(len(consumers))
    for name, mine in consumers:
        out += raw(name) + bytes(16 if generation >= 3 else 8)
        out += length(len(mine)) + b"".join(map(_raw_id, mine))
    if generation >= 5:
        out += length(len(nacked)) + b"".join(map(_raw_id, nacked))
    return out
