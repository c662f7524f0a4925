"""Values of every RDB type, built byte by byte, sound or with one flaw.

Knows: what is in each type, and its flaws. Refuses to know: the records around values (`generated`),
the layout of blobs (`generated_blobs`), and who sees a flaw. Sources: rdb.c of Redis and Valkey.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.verify.generated_blobs import (
    LISTPACK_FLAWS,
    STRING_FLAWS,
    ZIPLIST_FLAWS,
    Entry,
    broken_string,
    intset,
    length,
    listpack,
    raw,
    string,
    ziplist,
    zipmap,
)


def texts(random: Random, count: int) -> list[bytes]:
    """Distinct, in no order; none of them looks like a number."""
    return [
        b"m%d-" % at + random.choice([b"", b"x" * random.randint(1, 70), b"\x00\xff\r\n"])
        for at in random.sample(range(1000), count)
    ]


def entries(random: Random, count: int) -> list[Entry]:
    """As `texts`, integers of all widths among them."""
    numbers = [
        random.choice([1, -1]) * random.getrandbits(bits) for bits in (3, 7, 12, 15, 23, 31, 63)
    ]
    distinct: list[Entry] = list(dict.fromkeys(numbers))
    return random.sample([*texts(random, count), *distinct], count)


def members(random: Random, flaw: str) -> list[Entry]:
    if flaw == "empty":
        return []
    found = entries(random, random.randint(2, 8))
    return [*found, found[0]] if flaw == "twice" else found


def pairs(random: Random, flaw: str) -> list[Entry]:
    """Fields and values in turn."""
    out: list[Entry] = []
    for field in members(random, flaw):
        out += [field, *entries(random, 1)]
    return out[:-1] if flaw == "odd" else out


def _text(entry: Entry) -> bytes:
    return entry if isinstance(entry, bytes) else b"%d" % entry


def ranks(random: Random, flaw: str) -> list[Entry]:
    """Members with their scores, by score and then member."""
    scores: list[tuple[float, Entry]] = [
        (0.0, 0), (3.0, 3), (-7.0, -7), (0.5, b"0.5"), (1e300, b"1e+300"), (float("inf"), b"inf"),
    ]  # fmt: skip
    found = [(*random.choice(scores), _text(member), member) for member in members(random, flaw)]
    found.sort(key=lambda row: (row[0], row[2]))
    if flaw == "order":
        found = [(9.0, 9, b"", b"first"), *found[:1], (-9.0, -9, b"", b"last")]
    out = [part for _, score, _, member in found for part in (member, score)]
    if flaw == "score text":
        out[-1] = b"many"
    elif flaw == "not a number":
        out[-1] = b"nan"
    return out[:-1] if flaw == "odd" else out


def value(random: Random, kind: int, flaw: str = "") -> bytes:
    """One value of type ``kind``; Valkey's 22 goes by -22, Redis' by 22."""
    if flaw in STRING_FLAWS and kind == 0:
        return broken_string(flaw)
    return TYPES[kind].build(random, flaw)


def _string(random: Random, _: str) -> bytes:
    text = random.choice([b"", b"text", b"x" * 5000, random.randbytes(40), b"json " * 60])
    forms = [b"\xc0\x85", b"\xc1\x00\x80", b"\xc2\x00\x00\x00\x80", string(random, text)]
    return random.choice(forms)


def _counted(count: int, flaw: str) -> bytes:
    return length(count + 1_000_000 if flaw == "counts too many" else count)


def _strings(random: Random, flaw: str) -> bytes:
    found = members(random, flaw)
    return _counted(len(found), flaw) + b"".join(string(random, _text(one)) for one in found)


def _zset(random: Random, flaw: str) -> bytes:
    found = members(random, flaw)
    out = _counted(len(found), flaw)
    for at, member in enumerate(found):
        out += string(random, _text(member))
        if flaw == "not a number" and at == 0:
            out += b"\xfd"
        elif flaw == "score text" and at == 0:
            out += raw(b"many")
        else:
            out += random.choice([b"\xfe", b"\xff", raw(b"3"), raw(b"-0.25"), raw(b"1e10")])
    return out


def _zset2(random: Random, flaw: str) -> bytes:
    found = members(random, flaw)
    out = _counted(len(found), flaw)
    for at, member in enumerate(found):
        score = random.choice([0.0, -0.0, 1.5, float("inf"), float("-inf"), 5e-324])
        if flaw == "not a number" and at == 0:
            score = float("nan")
        out += string(random, _text(member)) + struct.pack("<d", score)
    return out


def _hash(random: Random, flaw: str) -> bytes:
    found = pairs(random, flaw)
    texts_ = b"".join(string(random, _text(one)) for one in found)
    return _counted(len(found) // 2, flaw) + texts_


def _quicklist(random: Random, flaw: str) -> bytes:
    nodes = [ziplist(entries(random, random.randint(1, 5))) for _ in range(random.randint(1, 3))]
    if flaw in ZIPLIST_FLAWS:
        nodes[-1] = ziplist(entries(random, 3), flaw)
    elif flaw == "empty":
        nodes = []
    elif flaw == "an empty node":
        nodes.append(ziplist([]))
    return length(len(nodes)) + b"".join(string(random, node) for node in nodes)


def _quicklist2(random: Random, flaw: str) -> bytes:
    nodes = [
        (2, listpack(entries(random, random.randint(1, 5)))) for _ in range(random.randint(1, 3))
    ]
    if random.random() < 0.3:
        nodes.append((1, b"plain" * 50))
    if flaw in LISTPACK_FLAWS:
        nodes[0] = (2, listpack(entries(random, 3), flaw))
    elif flaw == "empty":
        nodes = []
    elif flaw == "an empty node":
        nodes.append((2, listpack([])))
    elif flaw == "an empty plain node":
        nodes.append((1, b""))
    elif flaw == "an unknown container":
        nodes[0] = (3, nodes[0][1])
    return length(len(nodes)) + b"".join(
        length(kind) + string(random, node) for kind, node in nodes
    )


def _intset(random: Random, flaw: str) -> bytes:
    width = random.choice([2, 4, 8])
    numbers = sorted(random.sample(range(-30000, 30000), random.randint(2, 9)))
    if flaw == "unsorted":
        numbers.reverse()
    elif flaw == "twice":
        numbers.append(numbers[-1])
    elif flaw == "empty":
        numbers = []
    return string(random, intset(numbers, width, flaw))


def _zipmap(random: Random, flaw: str) -> bytes:
    found = texts(random, 0 if flaw == "empty" else random.randint(1, 4))
    found = [part for text in found for part in (text, b"v")]
    if flaw == "twice":
        found += found[:2]
    return string(random, zipmap(found, flaw))


def _blob(
    pack: Callable[[Sequence[Entry], str], bytes],
    inside: Callable[[Random, str], list[Entry]],
) -> Callable[[Random, str], bytes]:
    return lambda random, flaw: string(random, pack(inside(random, flaw), flaw))


# Hashes whose fields expire

_LEAST = 4_000_000_000_000


def _hash_ttl(least: bytes) -> Callable[[Random, str], bytes]:
    def build(random: Random, flaw: str) -> bytes:
        found = pairs(random, flaw)
        out = least + _counted(len(found) // 2, flaw)
        for at in range(0, len(found), 2):
            ttl = random.choice([0, 1, 5000]) if least else random.choice([0, _LEAST])
            if flaw == "an impossible expiry" and at == 0:
                ttl = 1 << 60
            out += (
                length(ttl)
                + string(random, _text(found[at]))
                + string(random, _text(found[at + 1]))
            )
        return out

    return build


def _listpack_ttl(least: bytes) -> Callable[[Random, str], bytes]:
    def build(random: Random, flaw: str) -> bytes:
        found = pairs(random, flaw)
        dues: list[Entry] = sorted(_LEAST + random.randrange(5000) for _ in found[::2])
        if dues and random.random() < 0.5:
            dues[-1] = 0  # those without one come last
        if flaw == "unsorted":
            dues = [_LEAST - at for at in range(len(dues))]
        elif flaw == "an impossible expiry":
            dues[-1] = b"text"
        triples = zip(found[::2], found[1::2], dues, strict=False)
        inside: list[Entry] = [part for triple in triples for part in triple]
        return least + string(
            random, listpack(inside[:-1] if flaw == "odd triple" else inside, flaw)
        )

    return build


def _hash2(random: Random, flaw: str) -> bytes:
    found = pairs(random, flaw)
    out = _counted(len(found) // 2, flaw)
    for at in range(0, len(found), 2):
        due = random.choice([-1, _LEAST])
        if flaw == "an impossible expiry" and at == 0:
            due = -2
        out += string(random, _text(found[at])) + string(random, _text(found[at + 1]))
        out += struct.pack("<q", due)
    return out


# Arrays, hashes by template, modules


def _array(random: Random, flaw: str) -> bytes:
    forms = [
        length(0) + string(random, b"some longer text"),
        length(1) + struct.pack("<q", -5),
        length(2) + struct.pack("<d", 0.5),
        length(3) + raw(b"short"),
    ]
    indexes = [*sorted(random.sample(range(1 << 20), 5)), (1 << 64) - 2]
    if flaw == "empty":
        indexes = []
    elif flaw == "unsorted":
        indexes.reverse()
    parts = [length(index) + random.choice(forms) for index in indexes]
    if flaw == "an unknown tag":
        parts[-1] = length(indexes[-1]) + length(4) + raw(b"x")
    elif flaw == "a short string too long":
        parts[-1] = length(indexes[-1]) + length(3) + raw(b"longer than 7")
    flag = (
        length(2)
        if flaw == "an unknown flag"
        else random.choice([length(0), length(1) + length(7)])
    )
    return length(len(parts)) + flag + b"".join(parts)


def _template(random: Random, flaw: str, *, blob: bool) -> bytes:
    number, fields = random.choice([(0, 1), (1, 3)])
    if flaw == "an unknown template":
        number = 77
    elif flaw == "too few values":
        number, fields = 1, 2
    found = entries(random, fields)
    if blob:
        return string(random, listpack([number, *found], flaw))
    return length(number) + b"".join(string(random, _text(one)) for one in found)


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_id(name: str) -> int:
    """Nine letters of 6 bits, and encoding version 1."""
    number = 0
    for letter in name:
        number = number << 6 | _LETTERS.index(letter)
    return number << 10 | 1


def _module(random: Random, flaw: str) -> bytes:
    number = module_id(random.choice(["mymodule1", "TairHash-"]))
    parts = [length(2) + length(77), length(5) + raw(b"text"), length(4) + bytes(8)]
    parts.append(length(3) + bytes(4))
    if flaw == "an unknown opcode":
        parts.append(length(9))
    return length(number) + b"".join(parts) + length(0)


@dataclass(frozen=True, slots=True)
class Type:
    """``since``: the RDB version from which servers could write it; 0: they never do to a file."""

    since: int
    build: Callable[[Random, str], bytes]
    flaws: tuple[str, ...]


def _types() -> dict[int, Type]:
    from tests.verify.generated_streams import STREAM_FLAWS, stream  # noqa: PLC0415 - needs listpacks

    many = ("empty", "twice", "counts too many")
    small = ("empty", "twice", "odd")
    scores = ("order", "score text", "not a number")
    least = struct.pack("<Q", _LEAST)
    ttl = (*many, "an impossible expiry")
    small_ttl = (
        "empty",
        "twice",
        "odd triple",
        "unsorted",
        "an impossible expiry",
        *LISTPACK_FLAWS,
    )
    types = {
        0: Type(1, _string, STRING_FLAWS),
        1: Type(1, _strings, ("empty", "counts too many")),
        2: Type(1, _strings, many),
        3: Type(1, _zset, (*many, "not a number", "score text")),
        4: Type(1, _hash, many),
        5: Type(8, _zset2, (*many, "not a number")),
        7: Type(8, _module, ("an unknown opcode",)),
        9: Type(1, _zipmap, ("empty", "twice", "zipmap count", "zipmap end", "zipmap field alone")),
        10: Type(1, _blob(ziplist, members), ("empty", *ZIPLIST_FLAWS)),
        11: Type(1, _intset, ("empty", "twice", "unsorted", "intset width", "intset length")),
        12: Type(1, _blob(ziplist, ranks), (*small, *scores, *ZIPLIST_FLAWS)),
        13: Type(4, _blob(ziplist, pairs), (*small, *ZIPLIST_FLAWS)),
        14: Type(7, _quicklist, ("empty", "an empty node", *ZIPLIST_FLAWS)),
        16: Type(10, _blob(listpack, pairs), (*small, *LISTPACK_FLAWS)),
        17: Type(10, _blob(listpack, ranks), (*small, *scores, *LISTPACK_FLAWS)),
        18: Type(10, _quicklist2, ("empty", "an empty node", "an empty plain node",
                                   "an unknown container", *LISTPACK_FLAWS)),
        20: Type(11, _blob(listpack, members), ("empty", "twice", *LISTPACK_FLAWS)),
        22: Type(12, _hash_ttl(b""), ttl),
        -22: Type(80, _hash2, ttl),
        23: Type(12, _listpack_ttl(b""), small_ttl),
        24: Type(12, _hash_ttl(least), ttl),
        25: Type(12, _listpack_ttl(least), small_ttl),
        28: Type(14, _array, ("empty", "unsorted", "an unknown tag", "an unknown flag",
                              "a short string too long")),
        30: Type(15, lambda random, flaw: _template(random, flaw, blob=True),
                 ("an unknown template", "too few values", *LISTPACK_FLAWS)),
        32: Type(15, lambda random, flaw: _template(random, flaw, blob=False),
                 ("an unknown template", "too few values")),
    }  # fmt: skip
    for number, since, generation in (
        (15, 9, 1),
        (19, 10, 2),
        (21, 11, 3),
        (26, 13, 4),
        (27, 14, 5),
    ):
        types[number] = Type(since, stream(generation), STREAM_FLAWS)
    return types


TYPES = _types()
