"""What was seen while an RDB was read: counts, aux facts, findings, needs.

Knows: everything of the report that is not its status; that one value's members, and one db's
keys, must differ. Refuses to know: bytes and encodings; it is called back by the parser.
"""

# ruff: noqa: ARG002 - the library calls back with more than is needed here

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from exporter.model import Dialect, Finding, Needs
from exporter.verify.encodings import Entry
from exporter.verify.faults import Corrupt
from exporter.verify.rdb import TYPES, Magic, aux_fact
from exporter.verify.rdbtools_library import RdbCallback
from exporter.verify.uniques import Uniques

#: sscanf("%i,%lu,%lu") of Valkey 8 and later: three numbers, whatever comes after them.
_SLOT_NUMBERS = re.compile(rb"\s*[+-]?(0[xX][0-9a-fA-F]+|\d+),\s*[+-]?\d+,\s*[+-]?\d+")
_DEFAULT_DATABASES = 16
#: `databases` is an int in every server, so no server can have this db.
_DATABASES_MAX = 2**31 - 1
_RESIZEDB_FOLD = 1000
_SLOTS = 16384
_MEMBERS = "a {} holds the same member twice"


@dataclass(slots=True, kw_only=True)
class _Database:
    keys: int = 0
    expires: int = 0
    resize: tuple[int, int] | None = None
    names: Uniques = field(default_factory=Uniques)


class Tally(RdbCallback):  # type: ignore[misc]  # the library is untyped
    """Called back by the parser; `close` ends it."""

    def __init__(self, magic: Magic) -> None:
        super().__init__(None)
        self.magic = magic
        self.at = 0
        """Offset of the item that is being read."""
        self.facts: dict[str, Any] = {}
        self.keys = 0
        self.functions = 0
        self.cluster = False
        self.selected = False
        self.types: Counter[int] = Counter()
        self.modules: set[str] = set()
        self._slot_info = magic.dialect is Dialect.VALKEY
        self._findings: dict[str, list[int]] = {}
        self._dbs: dict[int, _Database] = {}
        self._greatest_db = 0
        self._db = self._database(0)
        self._members = Uniques()
        self._count = 0
        if magic.odd:
            self.find("odd_magic")

    def find(self, kind: str) -> None:
        row = self._findings.setdefault(kind, [0, self.at])
        row[0] += 1

    def contradiction(self, kind: str, reason: str) -> None:
        """A stream that contradicts itself: Redis 8.8 (RDB 14) and Valkey 9 check, others load."""
        if self.magic.dialect is Dialect.VALKEY or self.magic.version >= 14:
            raise Corrupt(reason)
        self.find(kind)

    # Records

    def aux_field(self, key: bytes, value: bytes) -> None:
        fact = aux_fact(key, value)
        if fact is not None:
            self.facts[fact[0]] = fact[1]
        if key == b"valkey-ver":
            # Valkey up to 8.1 writes the magic REDIS0011. What is legal goes by the magic; whose
            # file it is, by this.
            self.facts["dialect"] = Dialect.VALKEY
            # 7.2 has no slot-info, Redis ignores it as any other text.
            self._slot_info = self._slot_info or not value.startswith(b"7.")
        elif key == b"slot-info" and self._slot_info and not _SLOT_NUMBERS.match(value):
            raise Corrupt("the AUX record slot-info does not hold three numbers")

    def start_database(self, db_number: int) -> None:
        if db_number >= _DATABASES_MAX:
            raise Corrupt("SELECTDB names a database that no server can have")
        self.selected = True
        self._db = self._database(db_number)
        self._greatest_db = max(self._greatest_db, db_number)

    def db_size(self, db_size: int, expires_size: int) -> None:
        keys, expires = self._db.resize or (0, 0)
        self._db.resize = (keys + db_size, expires + expires_size)

    def slots(self, first: int, last: int) -> None:
        """The slots of an import that was under way: only a Valkey cluster node loads that."""
        if not first <= last < _SLOTS:
            raise Corrupt("SLOT_IMPORT names slots that do not exist")

    def slot_info(self, slot: int) -> None:
        if slot >= _SLOTS:
            self.find("slot_out_of_range")

    # Keys and values

    def start_key(self, key: bytes) -> None:
        if not self.selected and self._db.keys == 0:
            self.find("no_selectdb")
        if not self._db.names.add(key):
            raise Corrupt("the same key comes twice in one database")

    def end_key(self, kind: int, *, expires: bool) -> None:
        self.keys += 1
        self.types[kind] += 1
        self._db.keys += 1
        if expires:
            self._db.expires += 1

    def start_list(self, key: bytes, expiry: object, info: object) -> None:
        self._count = 0

    def rpush(self, key: bytes, value: bytes) -> None:
        self._count += 1

    def end_list(self, key: bytes, info: object) -> None:
        if self._count == 0:
            self.find("empty_collection")

    def start_set(self, key: bytes, cardinality: int, expiry: object, info: object) -> None:
        self._start_members(cardinality)

    def sadd(self, key: bytes, member: bytes) -> None:
        if not self._members.add(member):
            raise Corrupt(_MEMBERS.format("set"))

    def end_set(self, key: bytes) -> None:
        self._end_members("set")

    def start_sorted_set(self, key: bytes, length: int, expiry: object, info: object) -> None:
        self._start_members(length)

    def zadd(self, key: bytes, score: float, member: bytes) -> None:
        if score != score:  # noqa: PLR0124 - the quickest test for NaN, once a member
            raise Corrupt("a zset holds a score that is not a number")
        if not self._members.add(member):
            raise Corrupt(_MEMBERS.format("zset"))

    def end_sorted_set(self, key: bytes) -> None:
        self._end_members("zset")

    def start_hash(self, key: bytes, length: int, expiry: object, info: object) -> None:
        self._start_members(length)

    def hset(self, key: bytes, field: bytes, value: bytes) -> None:
        if not self._members.add(field):
            raise Corrupt(_MEMBERS.format("hash"))

    def end_hash(self, key: bytes) -> None:
        self._end_members("hash")

    def small(self, kind: str, members: list[Entry]) -> None:
        """Members of a collection in one blob."""
        if not members:
            self.find("empty_collection")
        elif len({_text(member) for member in members}) != len(members):
            raise Corrupt(_MEMBERS.format(kind))

    def small_zset(self, members: list[Entry], scores: list[Entry], *, listpack: bool) -> None:
        self.small("zset", members)
        numbers = []
        for score in scores:
            number = float(score) if isinstance(score, int) else number_of(score)
            if number is None:
                self.find("score_text")
            elif math.isnan(number):
                if listpack and self.magic.dialect is Dialect.VALKEY:
                    raise Corrupt("a zset holds a score that is not a number")
                self.find("score_nan")
            else:
                numbers.append(number)
        if len(numbers) != len(members):
            return
        ranks = zip(numbers, members, strict=True)
        for (low, left), (high, right) in pairwise(ranks):
            if low > high or (low == high and _text(left) > _text(right)):
                self.find("zset_order")
                return

    # The end

    def close(self) -> None:
        """What only the whole file tells: RESIZEDB, and duplicates among very many keys."""
        self.check_names()
        # 3.2 and 4.0-rc announce keys that had expired and that they then left out.
        expired = self.magic.version == 7 or self.facts.get("server_version", "")[:3] == "3.9"
        for db in self._dbs.values():
            read = (db.keys, db.expires)
            if db.resize is None or db.resize == read:
                continue
            if not (expired and db.resize[0] >= read[0] and db.resize[1] >= read[1]):
                self.find("resizedb_mismatch")

    def check_names(self) -> None:
        if not all(db.names.distinct() for db in self._dbs.values()):
            raise Corrupt("the same key comes twice in one database")

    def keys_by_db(self) -> dict[int, tuple[int, int]]:
        return {number: (db.keys, db.expires) for number, db in self._dbs.items() if db.keys}

    def keys_by_type(self) -> dict[str, int]:
        names = TYPES[self.magic.dialect]
        counts: Counter[str] = Counter()
        for kind, count in self.types.items():
            counts[names[kind][0]] += count
        return dict(counts)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(kind=kind, count=count, offset=offset)
            for kind, (count, offset) in sorted(self._findings.items())
        )

    def needs(self) -> Needs:
        # Keys and expires have a table each.
        resizes = (
            max(db.resize)
            for db in self._dbs.values()
            if db.resize is not None and max(db.resize) >= _RESIZEDB_FOLD * max(db.keys, 1)
        )
        return Needs(
            modules=tuple(sorted(self.modules)),
            databases=max(_DEFAULT_DATABASES, self._greatest_db + 1),
            functions=self.functions,
            cluster=self.cluster,
            resizedb=max(resizes, default=None),
        )

    def _database(self, number: int) -> _Database:
        return self._dbs.setdefault(number, _Database())

    def _start_members(self, count: int) -> None:
        self._members = Uniques()
        if count == 0:
            self.find("empty_collection")

    def _end_members(self, kind: str) -> None:
        if not self._members.distinct():
            raise Corrupt(_MEMBERS.format(kind))
        self._members = Uniques()


def _text(entry: Entry) -> bytes:
    return entry if isinstance(entry, bytes) else b"%d" % entry


_NUMBER = re.compile(
    rb"\s*([+-]?(?:0[xX][0-9a-fA-F]+|inf(?:inity)?|nan|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))",
    re.IGNORECASE,
)


def number_of(text: bytes) -> float | None:
    """The number that ``text`` is; None where it is not one from end to end."""
    found = _NUMBER.fullmatch(text)
    return None if found is None else _float(found[1])


def number_at_start(text: bytes) -> float | None:
    """The number that ``text`` begins with, as C's sscanf("%lg") finds it."""
    found = _NUMBER.match(text)
    return None if found is None else _float(found[1])


def _float(text: bytes) -> float:
    plain = text.decode("ascii")
    return float.fromhex(plain) if "x" in plain.lower() else float(plain)
