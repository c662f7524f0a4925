"""Hashes whose fields expire, or share their names: types 22-25 and 29-32.

Knows: Redis 7.4's and Valkey 9's field TTLs, the pre-release form of the former, and Redis 8.10's
templates. Refuses to know: plain hashes, which are pairs. Source: rdb.c of each.
"""

from __future__ import annotations

from exporter.verify.encodings import listpack
from exporter.verify.faults import Corrupt
from exporter.verify.source import Reader
from exporter.verify.streams import Lengths
from exporter.verify.tally import Tally

_FIELD_TTL_MAX = 2**48 - 1
_NAMES_AS_LISTPACK, _NAMES_AS_STRINGS = 0, 1


def read_hash2(parser: Lengths, f: Reader, tally: Tally) -> None:
    """Valkey 9: {field, value, expiry in ms or -1}."""
    count = parser.read_length(f)
    tally.start_hash(b"", count, None, None)
    for _ in range(count):
        tally.hset(b"", parser.read_string(f), parser.read_string(f))
        if int.from_bytes(f.read(8), "little", signed=True) < -1:
            raise Corrupt("a hash field's expiry is impossible")
    tally.end_hash(b"")


def read_hash_ttl(parser: Lengths, f: Reader, tally: Tally, *, released: bool) -> None:
    """Redis 7.4: {ttl, field, value}, ttl 0 for none, else counted from the least one.

    Before the release there was no least one in front, and ttl was the time itself.
    """
    least = _least_expiry(f) if released else 0
    count = parser.read_length(f)
    tally.start_hash(b"", count, None, None)
    for _ in range(count):
        ttl = parser.read_number(f)
        if ttl and least + ttl - 1 > _FIELD_TTL_MAX:
            raise Corrupt("a hash field's expiry is impossible")
        tally.hset(b"", parser.read_string(f), parser.read_string(f))
    tally.end_hash(b"")


def read_hash_listpack_ttl(parser: Lengths, f: Reader, tally: Tally, *, released: bool) -> None:
    """Redis 7.4: a listpack of {field, value, ttl} by ascending ttl, those without one last."""
    if released:
        _least_expiry(f)
    entries = listpack(parser.read_string(f))
    if len(entries) % 3:
        raise Corrupt("a hash's last field has no value or expiry")
    last = 0
    for ttl in entries[2::3]:
        if not isinstance(ttl, int) or not 0 <= ttl <= _FIELD_TTL_MAX:
            raise Corrupt("a hash field's expiry is impossible")
        due = ttl or _FIELD_TTL_MAX + 1
        if due < last:
            raise Corrupt("a hash's fields are not ordered by expiry")
        last = due
    tally.small("hash", entries[::3])


def _least_expiry(f: Reader) -> int:
    least = int.from_bytes(f.read(8), "little")
    if least > _FIELD_TTL_MAX + 1:
        raise Corrupt("a hash's least expiry is impossible")
    return least


class Templates:
    """Redis 8.10: the field names that many hashes share, by the id that those refer to."""

    def __init__(self, parser: Lengths, tally: Tally) -> None:
        self._parser = parser
        self._tally = tally
        self._fields: dict[int, int] = {}

    def read(self, f: Reader) -> None:
        """A template record: names ascend by length, then bytes."""
        number, count = self._parser.read_length(f), self._parser.read_length(f)
        if count == 0 or number in self._fields:
            raise Corrupt("a hash template is empty, or comes twice")
        last = (-1, b"")
        for _ in range(count):
            name = self._parser.read_string(f)
            if (len(name), name) <= last:
                raise Corrupt("a hash template's fields do not ascend")
            last = (len(name), name)
        self._fields[number] = count

    def read_named_listpack(self, f: Reader) -> None:
        """Type 29, of DUMP and RESTORE: the names stand before the values."""
        fields = self._read_names(f)
        self._check(self._read_listpack(f)[1], fields)

    def read_listpack(self, f: Reader) -> None:
        """Type 30."""
        number, count = self._read_listpack(f)
        self._check(count, self._known(number))

    def read_named_strings(self, f: Reader) -> None:
        """Type 31, of DUMP and RESTORE."""
        self._skip_strings(f, self._read_names(f))

    def read_strings(self, f: Reader) -> None:
        """Type 32, which has no end of its own: only the template tells."""
        self._skip_strings(f, self._known(self._parser.read_length(f)))

    def _known(self, number: int) -> int:
        fields = self._fields.get(number)
        if fields is None:
            raise Corrupt("a hash refers to a template that was not read")
        return fields

    def _check(self, values: int, fields: int) -> None:
        if values != fields:
            raise Corrupt("a hash has not as many values as its template has fields")

    def _skip_strings(self, f: Reader, count: int) -> None:
        for _ in range(count):
            self._parser.skip_string(f)

    def _read_listpack(self, f: Reader) -> tuple[int, int]:
        """The template's id, and how many values follow it."""
        number, *values = listpack(self._parser.read_string(f)) or [b""]
        if not isinstance(number, int):
            raise Corrupt("a hash's template id is no number")
        return number, len(values)

    def _read_names(self, f: Reader) -> int:
        form = self._parser.read_length(f)
        if form == _NAMES_AS_LISTPACK:
            names = listpack(self._parser.read_string(f))
            self._tally.small("hash", names)
            return len(names)
        if form != _NAMES_AS_STRINGS:
            raise Corrupt("a hash's field names have an unknown form")
        count = self._parser.read_length(f)
        self._tally.start_hash(b"", count, None, None)
        for _ in range(count):
            self._tally.hset(b"", self._parser.read_string(f), b"")
        self._tally.end_hash(b"")
        return count
