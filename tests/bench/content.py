"""What the measured databases hold, as the commands that fill a server.

Knows: three kinds of content, random by a seed and the same for the same seed. Refuses to know:
servers, files, sizes of dumps. Nothing is shaped for any parser: values are what sessions, counters,
profiles, feeds, blobs and API documents look like.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

#: Bump when the content changes, so that files made before are made anew.
EDITION = 3
SEED = 20240229

_TEXT = """
account active address alpha amount archive autumn balance basket blue bottle branch bridge
camera canvas carbon castle center change chapter choice city cloud coffee color copper
cotton country credit custom daily delivery desert design dinner direct discount doctor
double dragon early east editor effort electric engine evening export fabric family farmer
feature field finance flower forest format fortune freight garden general gentle glass
global golden green ground guitar harbor health heavy history holiday honest horizon hotel
iron island jacket journal journey kitchen ladder language leather letter liberty light
limited little local lumber machine manual marble market master meadow member metal middle
minute mirror mobile modern moment morning mountain native nature network normal north
object ocean office olive online orange order organic outdoor oxide palace paper parcel
partner pattern pepper person picture planet plastic pocket portable powder premium print
private product project public quality quarter quiet record region remote repair return
river rubber salmon sample school season second select senior series service shadow shelter
signal silver simple single smart socket spring square standard station steel stone storage
street studio summer supply survey system table target temple thread timber ticket toward
travel tunnel union update urban valley value velvet vendor village vintage violet vision
voice volume walnut water weather weekly western window winter wonder wooden yellow zinc
"""
_NAMES = """
Ada Bela Chen Dora Emil Fatima Goran Hana Igor Jana Kofi Lena Miro Nora Omar Petra Quinn Rosa
Sven Tara Umar Vera Wei Yara Zoe
"""
_WORDS = _TEXT.split()
_GIVEN = _NAMES.split()
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of database."""

    name: str
    title: str
    commands: Callable[[], Iterator[bytes]]
    """As they go over the wire; each makes one key, and no key is made twice."""
    probe: int
    """So many commands tell how large a dump they make."""


def resp(*words: bytes) -> bytes:
    """A command as it goes over the wire."""
    told = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
    return b"*%d\r\n%b" % (len(words), told)


def _small(rng: random.Random, id_: bytes) -> bytes:
    """One key of a web application's database, weighted as such databases are."""
    pick = rng.random()
    if pick < 0.50:
        key = b"user:%b:session" % id_
        token = b"%032x" % rng.getrandbits(128)
        if rng.random() < 0.5:
            return resp(b"SET", key, token)
        return resp(b"SET", key, token, b"EX", b"%d" % (_DAY_SECONDS * rng.randint(30, 90)))
    if pick < 0.65:
        return resp(b"SET", b"page:%b:views" % id_, b"%d" % int(rng.expovariate(1 / 5_000)))
    if pick < 0.80:
        given, word = rng.choice(_GIVEN), rng.choice(_WORDS)
        mail = f"{given}.{word}{rng.randint(1, 999)}@example.com".lower()
        created = 1_500_000_000 + rng.getrandbits(27)
        return resp(
            b"HSET", b"user:%b" % id_, b"name", f"{given} {word.title()}".encode(), b"email",
            mail.encode(), b"plan", rng.choice((b"free", b"pro", b"team")), b"created",
            b"%d" % created, b"logins", b"%d" % rng.randint(0, 5_000),
        )  # fmt: skip
    if pick < 0.88:
        seen = (b"%d" % rng.getrandbits(24) for _ in range(rng.randint(3, 10)))
        return resp(b"RPUSH", b"user:%b:recent" % id_, *seen)
    if pick < 0.92:
        tags = (word.encode() for word in rng.sample(_WORDS, rng.randint(3, 8)))
        return resp(b"SADD", b"post:%b:tags" % id_, *tags)
    if pick < 0.95:
        friends = (b"%d" % rng.getrandbits(24) for _ in range(rng.randint(3, 12)))
        return resp(b"SADD", b"user:%b:friends" % id_, *friends)
    pairs = (
        (b"%d" % rng.randint(0, 100_000), b"player:%d" % rng.getrandbits(20))
        for _ in range(rng.randint(5, 20))
    )
    return resp(b"ZADD", b"board:%b" % id_, *itertools.chain.from_iterable(pairs))


def small_keys() -> Iterator[bytes]:
    """Sessions, counters, profiles, lists, sets and boards, each under an id of eight digits.

    The values come from a pool of 100,000 in random order, so that ten million keys are made in
    seconds; no parser looks back at an earlier value.
    """
    rng = random.Random(SEED)
    # As wide as the id that takes its place, as the key's length stands before it.
    blank = b"########"
    pool = [_small(rng, blank).replace(blank, b"%d") for _ in range(100_000)]
    ids = range(10_000_000, 100_000_000)
    for start in range(0, len(ids), 100_000):
        many = ids[start : start + 100_000]
        for id_, template in zip(many, rng.choices(pool, k=len(many)), strict=True):
            yield template % id_


def large_values() -> Iterator[bytes]:
    """Images, archives, models: 1 MiB that no compression gets smaller."""
    rng = random.Random(SEED)
    return (resp(b"SET", b"blob:%d" % n, rng.randbytes(1 << 20)) for n in itertools.count(1))


def _item(rng: random.Random) -> str:
    words = rng.sample(_WORDS, 4)
    return json.dumps({
        "sku": f"{rng.getrandbits(40):010X}", "title": " ".join(words[:3]).title(),
        "quantity": rng.randint(1, 9), "unit_price": rng.randint(99, 99_999) / 100,
        "currency": "EUR", "category": words[3], "in_stock": rng.random() < 0.8,
        "attributes": {"color": rng.choice(_WORDS), "weight_grams": rng.randint(10, 9_000)},
    })  # fmt: skip


def _event(rng: random.Random) -> str:
    address = f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    month, day, second = rng.randint(1, 12), rng.randint(1, 28), rng.randint(10, 59)
    return json.dumps({
        "at": f"2024-{month:02}-{day:02}T{rng.randint(0, 23):02}:{second}:{rng.randint(10, 59)}Z",
        "type": f"{rng.choice(_WORDS)}.{rng.choice(('created', 'updated', 'viewed', 'removed'))}",
        "actor": f"user:{rng.randint(1, 9_999_999)}", "ip": address,
        "trace": f"{rng.getrandbits(64):016x}",
    })  # fmt: skip


def _note(rng: random.Random) -> str:
    return json.dumps(" ".join(rng.choices(_WORDS, k=rng.randint(8, 60))).capitalize() + ".")


def json_documents() -> Iterator[bytes]:
    """Orders with items, a history and notes, 2 to 20 KB each.

    The parts come out of pools far larger than the 8 KiB in which LZF finds repetitions: a document
    compresses as one written afresh would, and three gigabytes of them take seconds to make.
    """
    rng = random.Random(SEED)
    items = [_item(rng) for _ in range(20_000)]
    events = [_event(rng) for _ in range(20_000)]
    notes = [_note(rng) for _ in range(5_000)]
    for number in itertools.count(1):
        given, word = rng.choice(_GIVEN), rng.choice(_WORDS)
        size = rng.randint(2_000, 20_000)
        count = max(1, size // 380)
        document = (
            f'{{"id": "{rng.getrandbits(128):032x}", "number": {number}, "status": "paid", '
            f'"customer": {{"id": {rng.getrandbits(24)}, "name": "{given} {word.title()}", '
            f'"email": "{given.lower()}.{word}@example.com", "country": "DE"}}, '
            f'"items": [{", ".join(rng.choices(items, k=count))}], '
            f'"history": [{", ".join(rng.choices(events, k=count // 2 + 1))}], '
            f'"notes": [{", ".join(rng.choices(notes, k=count // 6 + 1))}]}}'
        )
        yield resp(b"SET", b"order:%d" % number, document.encode())


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="small-keys", title="small keys", commands=small_keys, probe=30_000),
        Kind(name="large-values", title="1 MB values", commands=large_values, probe=3),
        Kind(name="lzf-json", title="LZF-compressed JSON", commands=json_documents, probe=500),
    )
}
