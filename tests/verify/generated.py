"""RDB files built byte by byte from a seed: every version, opcode and type, sound or with one flaw.

Knows: the format, independently of both engines. Refuses to know: which flaws anybody sees. Files end
with the right checksum, but for the flaws that are about it. Sources: ``rdb.c`` of Redis and Valkey;
`generated_values` has the types.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from anycrc import Model

from tests.verify.generated_blobs import length, raw, string
from tests.verify.generated_values import TYPES, module_id, value

_CRC = Model("CRC64-REDIS")
FIRST_WITH_CRC = 5
MAGICS = (*(f"REDIS{version:04}" for version in range(1, 16)), "VALKEY080")
#: Versions that a check tool knows and that have the most types.
_MORE_OF = ("REDIS0010", "REDIS0011", "VALKEY080", "VALKEY080", "VALKEY080")
_MODULE = module_id("mymodule1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One file: what wrote it would have called itself, and what is wrong with it."""

    data: bytes
    magic: str
    flaw: str
    """Empty: it is sound."""
    keys: int


@dataclass(slots=True, kw_only=True)
class _File:
    """What is written so far, and who asks."""

    random: Random
    magic: str
    flaw: str
    keys: int = 0

    @property
    def version(self) -> int:
        return _version(self.magic)

    @property
    def valkey(self) -> bool:
        return self.magic.startswith("VALKEY")


def _version(magic: str) -> int:
    return int(magic[6:])


def sealed(body: bytes) -> bytes:
    """``body`` up to its end mark, with its checksum."""
    return body + _CRC.calc(body).to_bytes(8, "little")


#: What can be wrong with a file, whatever its values: flaw -> the first version that has it.
FILE_FLAWS = {
    "the same key twice": 1,
    "the same key twice far apart": 1,
    "bytes after the end": 1,
    "an end in the middle": 1,
    "no end": 1,
    "an expiry before the end": 1,
    "keys before any database": 1,
    "database 16": 1,
    "database 2^31": 1,
    "an unknown record": 1,
    "an unknown type": 1,
    "a wrong checksum": FIRST_WITH_CRC,
    "a checksum of 0": FIRST_WITH_CRC,
    "half a checksum": FIRST_WITH_CRC,
    "other numbers announced": 7,
    "an AUX without its value": 7,
    "a module's AUX without its when": 9,
    "an idle time before the end": 9,
    "metadata before the end": 13,
    "a template twice": 15,
    "a template's fields unsorted": 15,
    "an import of no slots": 80,
    "an import with a short name": 80,
    "slot-info of words": 80,
}


def flaws_of(magic: str) -> list[tuple[int | None, str]]:
    """(type or None, flaw) that files of this version can have."""
    version = _version(magic)
    valkey = magic.startswith("VALKEY")
    out: list[tuple[int | None, str]] = [
        (None, flaw)
        for flaw, since in FILE_FLAWS.items()
        if (since <= version and since < 80 and not (valkey and since > 11))
        or (valkey and since == 80)
    ]
    for number in types_of(magic):
        out += [(number, flaw) for flaw in TYPES[number].flaws]
    return out


def types_of(magic: str) -> list[int]:
    """Types that servers of this version write, or could have."""
    version = _version(magic)
    if magic.startswith("VALKEY"):
        return [*(number for number, row in TYPES.items() if row.since <= 11), -22]
    return [number for number, row in TYPES.items() if 0 < row.since <= version]


def build(random: Random, magic: str | None = None, *, flawed: bool | None = None) -> Built:
    """Any file; with a flaw, or sound."""
    magic = magic or random.choice((*MAGICS, *_MORE_OF))
    flawed = random.random() < 0.6 if flawed is None else flawed
    number, flaw = None, ""
    if flawed:
        of_file = random.random() < 0.35
        possible = [row for row in flaws_of(magic) if (row[0] is None) == of_file]
        number, flaw = random.choice(possible)
    file = _File(random=random, magic=magic, flaw=flaw if number is None else "")
    body = magic.encode() + _before_keys(file) + _databases(file, number, flaw)
    flaw = flaw if number is None else f"type {abs(number)}: {flaw}"
    return Built(data=_ended(file, body), magic=magic, flaw=flaw, keys=file.keys)


def _ended(file: _File, body: bytes) -> bytes:
    flaw = file.flaw
    if flaw == "an expiry before the end":
        body += b"\xfd\x00\x00\x00\x70"
    elif flaw == "an idle time before the end":
        body += b"\xf8\x05"
    elif flaw == "metadata before the end":
        body += b"\xf3" + length(0)
    if flaw == "no end":
        return body
    end = body + b"\xff"
    if file.version < FIRST_WITH_CRC:
        data = end
    elif flaw == "a wrong checksum":
        data = end + bytes(byte ^ 0x55 for byte in sealed(end)[-8:])
    elif flaw == "a checksum of 0":
        data = end + bytes(8)
    elif flaw == "half a checksum":
        data = sealed(end)[:-4]
    else:
        data = sealed(end)
    if flaw == "bytes after the end":
        data += file.random.choice([b"\x00", b"\n", bytes(100), data])
    elif flaw == "an end in the middle":
        data += b"\x00" + raw(b"behind") + raw(b"lost") + b"\xff" + bytes(8)
    return data


# Records before the first database


def _before_keys(file: _File) -> bytes:
    random, version = file.random, file.version
    out = b""
    if version >= 7:
        name = b"valkey-ver" if file.valkey else b"redis-ver"
        server = b"9.1.2" if file.valkey else b"7.0.15"
        records = [(name, server), (b"redis-bits", b"64"), (b"ctime", b"1700000000"), (b"x", b"")]
        for field, text in records[: random.randint(0, 4)]:
            out += b"\xfa" + raw(field) + string(random, text)
    if file.flaw == "an AUX without its value":
        out += b"\xfa" + raw(b"lonely")
    if version >= 9 and random.random() < 0.15:
        out += _module_aux(random)
    if file.flaw == "a module's AUX without its when":
        out += b"\xf7" + length(_MODULE) + length(7) + length(2) + length(0)
    if version >= 10 and random.random() < 0.3:
        out += b"\xf5" + string(random, b"#!lua name=lib%d\n-- code" % random.randrange(9))
    if version == 15:
        out += _templates(file)
    if file.valkey:
        out += _slot_import(file)
    return out


def _module_aux(random: Random) -> bytes:
    return b"\xf7" + length(_MODULE) + length(2) + length(random.randint(1, 2)) + length(0)


def _templates(file: _File) -> bytes:
    """Templates 0 and 1, of one and of three fields, to which types 30 and 32 refer."""
    long = [b"a", b"c", b"bb"]
    if file.flaw == "a template's fields unsorted":
        long = [b"c", b"a", b"bb"]
    records = [(0, [b"one"]), (1, long)]
    if file.flaw == "a template twice":
        records.append((1, long))
    return b"".join(
        b"\xf2"
        + length(number)
        + length(len(names))
        + b"".join(string(file.random, n) for n in names)
        for number, names in records
    )


def _slot_import(file: _File) -> bytes:
    if file.flaw == "an import of no slots":
        return b"\xf3" + raw(b"j" * 40) + length(1) + length(9) + length(3)
    if file.flaw == "an import with a short name":
        return b"\xf3" + raw(b"j" * 39) + length(1) + length(3) + length(9)
    if file.random.random() < 0.1:
        return b"\xf3" + raw(b"j" * 40) + length(1) + length(3) + length(9)
    return b""


# Databases and their keys


def _databases(file: _File, number: int | None, flaw: str) -> bytes:
    random = file.random
    numbers = sorted(random.sample(range(16), random.randint(1, 3)))
    if file.flaw == "database 16":
        numbers.append(16)
    elif file.flaw == "database 2^31":
        numbers.append((1 << 31) - 1)
    # Keys before any database go to database 0, where no others may be.
    first = file.flaw == "keys before any database"
    flawed_in = 0 if first else random.randrange(len(numbers))
    numbers = [0, *numbers[1:]] if first else numbers
    return b"".join(
        _database(
            file, db, (number, flaw) if at == flawed_in else (None, ""), first=at == flawed_in
        )
        for at, db in enumerate(numbers)
    )


def _database(file: _File, db: int, flaw: tuple[int | None, str], *, first: bool) -> bytes:
    """``flaw``: the type and flaw of one value; ``first``: a flaw of the file goes here."""
    random = file.random
    wrong = file.flaw if first else ""
    kinds = [random.choice(types_of(file.magic)) for _ in range(random.randint(1, 4))]
    flaws = [""] * len(kinds)
    if flaw[0] is not None:
        at = random.randint(0, len(kinds))
        kinds.insert(at, flaw[0])
        flaws.insert(at, flaw[1])
    keys: list[bytes] = []
    expires = 0
    for at, (kind, of_value) in enumerate(zip(kinds, flaws, strict=True)):
        due, record = _before_key(file)
        expires += due
        name = _name(file, at)
        keys.append(record + bytes([abs(kind)]) + name + value(random, kind, of_value))
    if wrong == "the same key twice":
        keys += [b"\x00" + raw(b"again") + raw(b"1"), b"\x00" + raw(b"again") + raw(b"2")]
    elif wrong == "the same key twice far apart":
        keys = [b"\x00" + raw(b"again") + raw(b"1"), *keys, b"\x00" + raw(b"again") + raw(b"2")]
    if wrong == "an unknown record":
        keys.append(b"\xc8" + length(1) + length(1))
    elif wrong == "an unknown type":
        keys.append(b"\x21" + raw(b"name") + raw(b"value"))
    elif wrong == "slot-info of words":
        keys.append(b"\xfa" + raw(b"slot-info") + raw(b"one,two,three"))
    file.keys += len(keys)
    announced = b""
    if file.version >= 7 and (random.random() < 0.9 or wrong == "other numbers announced"):
        more = 5 if wrong == "other numbers announced" else 0
        announced = b"\xfb" + length(len(keys) + more) + length(expires)
    select = b"" if wrong == "keys before any database" and db < 16 else b"\xfe" + length(db)
    return select + announced + b"".join(keys)


def _name(file: _File, at: int) -> bytes:
    """A key that comes once in its database: as text, as an integer, packed."""
    random = file.random
    forms: list[Callable[[], bytes]] = [
        lambda: raw(b"key:%d:%d" % (at, random.randrange(1000))),
        lambda: b"\xc0" + struct.pack("<b", at),
        lambda: b"\xc2" + struct.pack("<i", 100_000 + at),
        lambda: string(random, b"long:%d:" % at + b"x" * random.randint(20, 90)),
    ]
    return random.choice(forms)()


def _before_key(file: _File) -> tuple[bool, bytes]:
    """Whether it expires, and the records that stand before a key."""
    random, version = file.random, file.version
    due, out = False, b""
    if random.random() < 0.3:
        due = True
        if version >= 3 and random.random() < 0.8:
            out += b"\xfc" + struct.pack("<q", 4_000_000_000_000 + random.randrange(10**6))
        else:
            out += b"\xfd" + struct.pack("<i", 2_000_000_000 + random.randrange(10**6))
    if version >= 9 and random.random() < 0.1:
        out += random.choice([b"\xf8" + length(random.randrange(1000)), b"\xf9\x07"])
    if not file.valkey and version >= 13 and random.random() < 0.1:
        out += b"\xf3" + length(1) + b"cls1" + length(2) + length(5) + length(0)
    return due, out
