"""Streams: types 15, 19, 21, 26 and 27, their listpack nodes, consumer groups, idempotence records.

Knows: the layout of each generation, and what Redis' deep check and Valkey's loader refuse.
Refuses to know: what the entries say. Sources: t_stream.c (``streamValidateListpackIntegrity``),
rdb.c of Redis 5.0-8.10.
"""

from __future__ import annotations

import re
from typing import Protocol

from exporter.model import Dialect
from exporter.verify.encodings import Entry, listpack
from exporter.verify.faults import Corrupt
from exporter.verify.source import Reader
from exporter.verify.tally import Tally

STREAM_TYPES = {15: 1, 19: 2, 21: 3, 26: 4, 27: 5}
_ID_BYTES = 16
_ENTRY_DELETED = 1
_ENTRY_SAME_FIELDS = 2
_U64 = 2**64
_NO_ENTRIES_READ = _U64 - 1


class Lengths(Protocol):
    """What a stream needs of the parser."""

    def read_length(self, f: Reader) -> int: ...
    def read_number(self, f: Reader) -> int: ...
    def read_string(self, f: Reader) -> bytes: ...
    def skip_string(self, f: Reader) -> None: ...


def read_stream(parser: Lengths, f: Reader, kind: int, tally: Tally) -> None:
    generation = STREAM_TYPES[kind]
    entries, greatest = _read_nodes(parser, f, tally)
    length = parser.read_number(f)
    last_id = _read_id(parser, f)
    if length != entries:
        tally.contradiction("stream_length", "a stream's length is not the number of its entries")
    if greatest is not None and greatest > last_id:
        tally.contradiction("stream_last_id", "a stream's last id is below that of an entry")
    added = _U64
    strict = tally.magic.dialect is Dialect.REDIS and tally.magic.version >= 14
    if generation >= 2:
        _read_id(parser, f)
        if _read_id(parser, f) > last_id:
            tally.find("stream_deleted_id")
        added = parser.read_number(f)
        if strict and not length <= added < 2**63:
            raise Corrupt("a stream counts fewer entries ever added than it holds")
    _read_groups(parser, f, generation, added if strict else _U64)
    if generation >= 4:
        _read_idempotence(parser, f)


def _read_id(parser: Lengths, f: Reader) -> int:
    milliseconds = parser.read_number(f)
    return milliseconds << 64 | parser.read_number(f)


def _read_nodes(parser: Lengths, f: Reader, tally: Tally) -> tuple[int, int | None]:
    """The number of live entries, and the greatest id of any."""
    live = 0
    greatest: int | None = None
    masters: set[bytes] = set()
    ordered = True
    for _ in range(parser.read_length(f)):
        master = parser.read_string(f)
        if len(master) != _ID_BYTES or master in masters:
            raise Corrupt("a stream node's key is no id, or comes twice")
        masters.add(master)
        count, ids = _read_node(listpack(parser.read_string(f)), master, tally)
        live += count
        for number in ids:
            ordered = ordered and (greatest is None or number > greatest)
            greatest = number if greatest is None else max(greatest, number)
    if not ordered:
        tally.contradiction("stream_order", "a stream's entries have ids that do not grow")
    return live, greatest


class _Node:
    """One node's listpack: a master entry with counts and field names, then the entries."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._at = 0

    def number(self) -> int:
        value = self._entries[self._at] if self._at < len(self._entries) else None
        if isinstance(
            value, bytes
        ):  # a number in a string's encoding: servers read it all the same
            value = int(value) if re.fullmatch(rb"-?[0-9]{1,19}", value) else None
        if value is None:
            raise Corrupt("a stream node misses a number")
        self._at += 1
        return value

    def count(self) -> int:
        value = self.number()
        if not 0 <= value <= len(self._entries):
            raise Corrupt("a stream node's counts are impossible")
        return value

    def skip(self, count: int) -> None:
        self._at += count

    def over(self) -> bool:
        return self._at == len(self._entries)


def _read_node(entries: list[Entry], master: bytes, tally: Tally) -> tuple[int, list[int]]:
    """Number and ids of the live entries of one node."""
    node = _Node(entries)
    live, deleted, fields = node.count(), node.count(), node.count()
    node.skip(fields)
    if node.number() != 0:
        raise Corrupt("a stream node's master entry has no end")
    base = int.from_bytes(master[:8], "big"), int.from_bytes(master[8:], "big")
    ids: list[int] = []
    alive = 0
    for _ in range(live + deleted):
        flags = node.number()
        milliseconds, sequence = node.number(), node.number()
        if not flags & _ENTRY_DELETED:
            # XSETID may go below a deleted one, and new ones follow: servers write and load that.
            ids.append((base[0] + milliseconds) % _U64 << 64 | (base[1] + sequence) % _U64)
        own, extra = (fields, 3) if flags & _ENTRY_SAME_FIELDS else (2 * node.count(), 4)
        node.skip(own)
        if node.number() != own + extra:
            raise Corrupt("a stream entry's length is wrong")
        alive += not flags & _ENTRY_DELETED
    if not node.over():
        raise Corrupt("a stream node holds more than its entries")
    if alive != live:
        tally.contradiction("stream_length", "a stream node's counts are not those of its entries")
    return live, ids


def _read_groups(parser: Lengths, f: Reader, generation: int, added: int) -> None:
    names: set[bytes] = set()
    for _ in range(parser.read_length(f)):
        name = parser.read_string(f)
        if name in names:
            raise Corrupt("a stream has the same consumer group twice")
        names.add(name)
        _read_id(parser, f)
        if generation >= 2:
            read = parser.read_number(f)
            if read != _NO_ENTRIES_READ and read > added:
                raise Corrupt("a consumer group has read more entries than were added")
        _read_pending(parser, f, generation)


def _read_pending(parser: Lengths, f: Reader, generation: int) -> None:
    """The group's pending entries, each of which must belong to one consumer (or be NACKed)."""
    ownerless: set[bytes] = set()
    for _ in range(parser.read_length(f)):
        entry = f.read(_ID_BYTES)
        if entry in ownerless:
            raise Corrupt("a consumer group has the same pending entry twice")
        ownerless.add(entry)
        f.skip(8)  # delivery time
        parser.read_number(f)  # delivery count
    pending = frozenset(ownerless) if generation >= 5 else frozenset()
    _read_consumers(parser, f, generation, ownerless)
    if generation >= 5:
        for _ in range(parser.read_length(f)):
            entry = f.read(_ID_BYTES)
            if entry not in pending:
                raise Corrupt("a NACKed entry is not pending in its group")
            ownerless.discard(entry)
    if ownerless:
        raise Corrupt("a consumer group's pending entry has no consumer")


def _read_consumers(parser: Lengths, f: Reader, generation: int, ownerless: set[bytes]) -> None:
    """Takes each consumer's pending entries out of ``ownerless``."""
    names: set[bytes] = set()
    for _ in range(parser.read_length(f)):
        name = parser.read_string(f)
        if name in names:
            raise Corrupt("a consumer group has the same consumer twice")
        names.add(name)
        f.skip(16 if generation >= 3 else 8)  # seen and active time
        for _ in range(parser.read_length(f)):
            entry = f.read(_ID_BYTES)
            if entry not in ownerless:
                raise Corrupt("a consumer's pending entry is not its group's, or comes twice")
            ownerless.remove(entry)


def _read_idempotence(parser: Lengths, f: Reader) -> None:
    duration, greatest = parser.read_number(f), parser.read_number(f)
    if not (0 < duration < 2**63 and 0 < greatest < 2**63):
        raise Corrupt("a stream's idempotence limits are impossible")
    for _ in range(parser.read_length(f)):
        parser.skip_string(f)  # producer
        for _ in range(parser.read_length(f)):
            parser.skip_string(f)
            _read_id(parser, f)
    parser.read_number(f)
    parser.read_number(f)
