"""The RDB format by numbers: the header, and which opcode and type exists since when.

Knows: both dialects (``REDIS0001``-``REDIS0015``, ``VALKEY080``) and their two number clashes: 243
and 22 mean different things by the magic. Refuses to know: how values are laid out (``encodings``,
``streams``, ``rdbtools_parser``). Sources: rdb.h of Redis 2.4-8.10 and Valkey 9.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.model import Dialect, RdbHeader

MAGIC_BYTES = 9
CRC_BYTES = 8
NEWEST = {Dialect.REDIS: 15, Dialect.VALKEY: 80}
#: Valkey counts from 80 to stay clear of Redis' numbers; nothing ever wrote a lower one.
OLDEST = {Dialect.REDIS: 1, Dialect.VALKEY: 80}
FIRST_WITH_CRC = 5

HASH_TEMPLATE = 242
KEY_META = 243
SLOT_IMPORT = 243
SLOT_INFO = 244
FUNCTION2 = 245
FUNCTION_PRE_GA = 246
MODULE_AUX = 247
IDLE = 248
FREQ = 249
AUX = 250
RESIZEDB = 251
EXPIRETIME_MS = 252
EXPIRETIME = 253
SELECTDB = 254
EOF = 255

#: Number -> the first RDB version of its dialect that has it.
OPCODES: Mapping[Dialect, Mapping[int, int]] = {
    Dialect.REDIS: {
        HASH_TEMPLATE: 15, KEY_META: 13, SLOT_INFO: 12, FUNCTION2: 10, FUNCTION_PRE_GA: 10,
        MODULE_AUX: 9, IDLE: 9, FREQ: 9, AUX: 7, RESIZEDB: 7, EXPIRETIME_MS: 3, EXPIRETIME: 1,
        SELECTDB: 1, EOF: 1,
    },
    Dialect.VALKEY: dict.fromkeys(range(SLOT_IMPORT, EOF + 1), 80),
}  # fmt: skip

#: Type -> (what a person calls it, first version).
REDIS_TYPES: Mapping[int, tuple[str, int]] = {
    0: ("string", 1), 1: ("list", 1), 2: ("set", 1), 3: ("zset", 1), 4: ("hash", 1),
    5: ("zset", 8), 6: ("module", 8), 7: ("module", 8), 9: ("hash", 1), 10: ("list", 1),
    11: ("set", 1), 12: ("zset", 1), 13: ("hash", 4), 14: ("list", 7), 15: ("stream", 9),
    16: ("hash", 10), 17: ("zset", 10), 18: ("list", 10), 19: ("stream", 10), 20: ("set", 11),
    21: ("stream", 11), 22: ("hash", 12), 23: ("hash", 12), 24: ("hash", 12), 25: ("hash", 12),
    26: ("stream", 13), 27: ("stream", 14), 28: ("array", 14), 29: ("hash", 15), 30: ("hash", 15),
    31: ("hash", 15), 32: ("hash", 15),
}  # fmt: skip
VALKEY_TYPES: Mapping[int, tuple[str, int]] = {
    number: (name, 80) for number, (name, _) in REDIS_TYPES.items() if number <= 22
}
TYPES = {Dialect.REDIS: REDIS_TYPES, Dialect.VALKEY: VALKEY_TYPES}

#: What can't be known without the module, or without the pre-release server that wrote it.
UNKNOWABLE_TYPES = {6: "a module value of 4.0-rc (type 6), which only its module can read"}
UNKNOWABLE_OPCODES = {
    FUNCTION_PRE_GA: "a function of 7.0-rc (opcode 246), which every released server refuses"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Magic:
    """The first nine bytes, understood as a server does."""

    dialect: Dialect
    version: int
    odd: bool
    """The digits are not plain digits (``REDIS 012``): servers read them with atoi()."""

    @property
    def known(self) -> bool:
        return OLDEST[self.dialect] <= self.version <= NEWEST[self.dialect]

    @property
    def has_checksum(self) -> bool:
        return self.version >= FIRST_WITH_CRC

    @property
    def name(self) -> str:
        return f"{self.dialect.value.upper()} {self.version}"


_ATOI = re.compile(rb"[ \t-\r]*([+-]?[0-9]+)")


def read_magic(head: bytes) -> Magic | None:
    """None where no server would take this for an RDB file: wrong letters, or a version below 1."""
    if len(head) < MAGIC_BYTES:
        return None
    if head.startswith(b"REDIS"):
        dialect, digits = Dialect.REDIS, head[5:9]
    elif head.startswith(b"VALKEY"):
        dialect, digits = Dialect.VALKEY, head[6:9]
    else:
        return None
    number = _ATOI.match(digits)
    version = int(number[1]) if number else 0
    if version < 1:
        return None
    return Magic(dialect=dialect, version=version, odd=not digits.isdigit())


def magic_begun(head: bytes) -> bool:
    """True where fewer bytes than a magic might have become one."""
    return b"REDIS".startswith(head[:5]) or b"VALKEY".startswith(head[:6])


def _integer(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"-?[0-9]{1,18}", text) else None


def _version(text: bytes) -> str | None:
    plain = re.fullmatch(rb"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,31}", text)
    return text.decode("ascii") if plain else None


def _replication_id(text: bytes) -> str | None:
    return text.decode("ascii") if re.fullmatch(rb"[0-9a-f]{40}", text) else None


def _flag(text: bytes) -> bool | None:
    return {b"0": False, b"1": True}.get(text)


_AUX: Mapping[bytes, tuple[str, Callable[[bytes], Any]]] = {
    b"redis-ver": ("server_version", _version),
    b"valkey-ver": ("server_version", _version),
    b"ctime": ("ctime", _integer),
    b"used-mem": ("used_mem", _integer),
    b"repl-id": ("repl_id", _replication_id),
    b"repl-offset": ("repl_offset", _integer),
    b"aof-base": ("aof_base", _flag),
    b"aof-preamble": ("aof_base", _flag),  # its name in 4.0-6.2
}


def aux_fact(name: bytes, value: bytes) -> tuple[str, Any] | None:
    """The report's field that an AUX record fills, and its value; None where it fills none.

    Any text loads on any server, so a value that makes no sense is left out, never an error.
    """
    known = _AUX.get(name)
    if known is None:
        return None
    field, read = known
    fact = read(value)
    return None if fact is None else (field, fact)


def read_header(head: bytes, tail: bytes) -> RdbHeader | None:
    """What the first bytes (512 are enough) and the last 8 claim; None where that is no RDB."""
    magic = read_magic(head)
    if magic is None:
        return None
    facts: dict[str, Any] = {"dialect": magic.dialect}
    at = MAGIC_BYTES
    while at < len(head) and head[at] == AUX:
        name, at = _short_string(head, at + 1)
        value, at = _short_string(head, at)
        if name is None or value is None:
            break
        fact = aux_fact(name, value)
        if fact is not None and fact[0] in ("server_version", "ctime", "repl_id"):
            facts[fact[0]] = fact[1]
        if name == b"valkey-ver":
            facts["dialect"] = Dialect.VALKEY
    stored = int.from_bytes(tail, "little") if len(tail) == CRC_BYTES else 0
    return RdbHeader(
        rdb_version=magic.version,
        crc64=stored or None if magic.has_checksum else None,
        **facts,
    )


def _short_string(head: bytes, at: int) -> tuple[bytes | None, int]:
    """The string at ``at`` and the offset behind it; None where it is cut, packed or long."""
    if at >= len(head):
        return None, at
    form, low = head[at] >> 6, head[at] & 0x3F
    at += 1
    if form == 3 and low <= 2:
        width = 1 << low
        raw = head[at : at + width]
        text: bytes | None = b"%d" % int.from_bytes(raw, "little", signed=True)
        return (text if len(raw) == width else None), at + width
    if form == 1 and at < len(head):
        low, at = low << 8 | head[at], at + 1
    elif form != 0:
        return None, at
    text = head[at : at + low]
    return (text if len(text) == low else None), at + low
