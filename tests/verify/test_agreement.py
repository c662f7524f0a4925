"""Two engines and the servers' own check tools over thousands of files: who says valid, and who not.

Files come from real servers under random commands, from a byte builder with one flaw at most, and from
that with random bytes changed under a right checksum. Where a tool says otherwise than the engines,
a row of a table says why; anything outside the table fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exporter.model import RdbReport, Status
from tests.servers import RealServer, executable
from tests.verify import generated_commands
from tests.verify.generated import Built, build, sealed
from tests.verify.truths import comparable, read

QUICK = {"redis": 60, "valkey": 60, "built": 240, "mutated": 120}
LONG = {"redis": 1500, "valkey": 1500, "built": 5000, "mutated": 2000}
SEED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, and what is known of it before anybody reads it."""

    source: str
    number: int
    data: bytes
    sound: bool | None
    """None: nobody knows, bytes of it were changed at random."""
    what: str = ""
    """Its flaw, or which bytes were changed."""
    keys_by_db: dict[int, tuple[int, int]] | None = None
    keys: int | None = None
    functions: int | None = None

    @property
    def name(self) -> str:
        return f"{self.source}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A check tool, and which versions are its own."""

    name: str
    path: str
    redis_up_to: int
    valkey: bool

    def knows(self, magic: bytes) -> bool:
        if magic.startswith(b"VALKEY"):
            return self.valkey and magic == b"VALKEY080"
        return magic[5:9].isdigit() and 1 <= int(magic[5:9]) <= self.redis_up_to

    def error(self, path: Path) -> str | None:
        """None where it finds nothing wrong."""
        done = subprocess.run(
            [self.path, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return None
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        told = [after for line, after in pairwise(lines) if "DETECTED" in line]
        return told[0] if told else f"exit {done.returncode}: {' '.join(lines[-1:])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Why a tool says otherwise than both engines."""

    tools: Sequence[str] = ("redis", "valkey")
    ours: str
    """Part of the engines' reason; where they say valid, the kind of a finding."""
    error: str = ""
    """Part of the tool's error; empty where it passes the file."""
    where: bytes = b""
    """What stands in the record that is broken."""
    why: str

    def fits(self, tool: Tool, data: bytes, report: RdbReport, error: str | None) -> bool:
        if tool.name not in self.tools:
            return False
        if self.where and not re.search(self.where, data[report.offset :], re.DOTALL):
            return False
        if error is None:
            return not self.error and bool(report.reason) and self.ours in str(report.reason)
        found = any(finding.kind == self.ours for finding in report.findings)
        return bool(self.error) and self.error in error and report.reason is None and found


DISAGREEMENTS = (
    Row(ours="the same key comes twice", why="tools keep no keys; every server aborts at load"),
    Row(ours="bytes follow the end of the RDB", why="tools and servers stop at the end"),
    Row(ours="a database that no server can have", why="tools take any number; servers refuse"),
    Row(
        ours="a number has the form of an encoded string",
        why="tools and servers take the form's own number for it; nobody writes that",
    ),
    Row(
        ours="an LZF string does not unpack to its declared length",
        where=rb"\xc3([\x00-\x3f]|[\x40-\x7f].)\x00",
        why="declared as 0 bytes: that is also what the servers' unpacker answers to say it failed",
    ),
    Row(ours="module data has an unknown opcode", why="tools go over it; the module refuses"),
    Row(
        tools=("redis",),
        ours="a listpack's entry count is wrong",
        why="in stream nodes Redis 7.0 does not count; Valkey 9 does",
    ),
    Row(
        tools=("valkey",),
        ours="SLOT_IMPORT names slots that do not exist",
        why="the tool goes over the ranges; a cluster node refuses them",
    ),
    Row(
        tools=("valkey",),
        ours="slot-info does not hold three numbers",
        why="to the tool any AUX is text; the server refuses",
    ),
    Row(
        tools=("valkey",),
        ours="a stream's last id is below that of an entry",
        why="Valkey 9 looks at the length only; XADD would then give an id that exists",
    ),
    Row(
        tools=("valkey",),
        ours="a stream's entries have ids that do not grow",
        why="Valkey 9 looks at the length only; XRANGE then misses entries",
    ),
    Row(
        ours="empty_collection",
        error="Unexpected EOF",
        why="tools take a key that servers drop for the end of the file",
    ),
    Row(
        tools=("valkey",),
        ours="score_nan",
        error="with NAN score detected",
        why="Valkey 9 refuses what the Redis that wrote the version loads",
    ),
    Row(
        tools=("valkey",),
        ours="stream_length",
        error="Stream length inconsistent",
        why="Valkey 9 looks at the length also in files of Redis, which does not until 8.8",
    ),
)

# Where files come from


def saved(server: RealServer, client: Any, number: int, random: Random) -> File:
    """The snapshot after random commands, with what the server counts in it."""
    pipe = client.pipeline(transaction=False)
    pipe.execute_command("FLUSHALL")
    pipe.execute_command("FUNCTION", "FLUSH")
    for command in (*generated_commands.settings(random), *generated_commands.commands(random)):
        pipe.execute_command(*command)
    pipe.execute(raise_on_error=False)
    client.execute_command("SELECT", 0)
    assert client.execute_command("SAVE")
    keyspace = client.info("keyspace")
    counts = {int(db[2:]): (row["keys"], row["expires"]) for db, row in keyspace.items()}
    return File(
        source=server.kind,
        number=number,
        data=(server.dir / "dump.rdb").read_bytes(),
        sound=True,
        keys_by_db=counts,
        functions=len(client.execute_command("FUNCTION", "LIST")),
    )


def from_servers(kind: str, count: int, directory: Path) -> Iterator[File]:
    """A quarter of them without a checksum, which is set at start only."""
    random = Random(f"{SEED} {kind}")
    with ExitStack() as stack:
        clients = []
        for checksum in ("yes", "no"):
            where = directory / f"{kind}-{checksum}"
            server = stack.enter_context(RealServer(where, kind, [f"rdbchecksum {checksum}"]))
            # One connection: SELECT holds for what follows.
            client = server.client(decode_responses=False, single_connection_client=True)
            clients.append((server, client))
        for number in range(count):
            server, client = clients[number % 4 == 3]
            yield saved(server, client, number, random)


def of(built: Built, number: int) -> File:
    return File(
        source="built",
        number=number,
        data=built.data,
        sound=not built.flaw,
        what=f"{built.magic}: {built.flaw}",
        keys=None if built.flaw else built.keys,
    )


def mutated(source: bytes, number: int, random: Random) -> File:
    """Some bytes behind the magic changed, moved, lost or added, under a right checksum."""
    old = source[:6] == b"REDIS0" and int(source[5:9]) < 5
    body = bytearray(source if old else source[:-8])
    at = random.randrange(9, len(body) - 1)
    some = random.randint(1, 4)
    form = random.choice(["set", "set", "bit", "delete", "insert", "double", "zero"])
    if form == "set":
        for _ in range(some):
            body[random.randrange(9, len(body))] = random.choice([0, 1, 2, 127, 128, 192, 250, 255])
    elif form == "bit":
        body[at] ^= 1 << random.randrange(8)
    elif form == "delete":
        del body[at : at + some]
    elif form == "insert":
        body[at:at] = random.randbytes(some)
    elif form == "double":
        body[at:at] = body[at : at + 20 * some]
    else:
        body[at : at + some] = bytes(len(body[at : at + some]))
    data = bytes(body) if old else sealed(bytes(body))
    return File(source="mutated", number=number, data=data, sound=None, what=f"{form} at {at}")


def generated(counts: dict[str, int], directory: Path) -> Iterator[File]:
    for kind in ("redis", "valkey"):
        yield from from_servers(kind, counts[kind], directory)
    stock = []  # of the builder, whose files are the same in each run
    for number in range(counts["built"]):
        file = of(build(Random(f"{SEED} {number}")), number)
        if file.sound:
            stock.append(file.data)
        yield file
    random = Random(f"{SEED} mutated")
    for number in range(counts["mutated"]):
        yield mutated(
            random.choice([data for data in stock[-500:] if len(data) > 30]), number, random
        )


# Who says what


def tools(directory: Path) -> list[Tool]:
    """The server of the Valkey wheel is its check tool too, called by another name."""
    link = directory / "valkey-check-rdb"
    link.symlink_to(executable("valkey"))
    redis = shutil.which("redis-check-rdb")
    assert redis is not None, "no redis-check-rdb on PATH: install the package 'redis-tools'"
    return [
        Tool(name="redis", path=redis, redis_up_to=10, valkey=False),
        Tool(name="valkey", path=str(link), redis_up_to=11, valkey=True),
    ]


def engines_agree(file: File) -> tuple[RdbReport, str | None]:
    """What the native engine says, and what is wrong between the two."""
    native, other = read(file.data, "native"), read(file.data, "rdbtools")
    if Status.UNREADABLE in (native.status, other.status):
        return native, "an engine could not read it"
    if file.sound is True and native.status is not Status.VALID:
        return native, "what is sound is called broken"
    if file.keys_by_db is not None and native.keys_by_db != file.keys_by_db:
        return native, f"the server counts {file.keys_by_db}"
    if file.functions is not None and native.functions != file.functions:
        return native, f"the server has {file.functions} function libraries"
    if file.keys is not None and native.keys != file.keys:
        return native, f"{file.keys} keys were written"
    trouble = in_pieces(file, native) or lesser_depths(file, native)
    if trouble or alike(native) == alike(other) or one_met_the_end(native, other):
        return native, trouble
    return native, f"the engines differ: {native} {other}"


def alike(report: RdbReport) -> dict[str, Any]:
    """What must be said alike: of a broken value, one engine has findings before it meets the damage,
    and the other looks at its bounds first.
    """
    facts = comparable(report)
    if report.offset is not None:
        facts["findings"] = {one.kind for one in report.findings if one.offset < report.offset}
    return facts


def in_pieces(file: File, whole: RdbReport) -> str | None:
    """The same report whatever a read gives."""
    if len(file.data) > 10_000:
        return None
    pieces = read(file.data, "native", block_bytes=1 + file.number % 9)
    if comparable(pieces) == comparable(whole) and pieces.reason == whole.reason:
        return None
    return f"read in pieces it is {pieces}, else {whole}"


def lesser_depths(file: File, full: RdbReport) -> str | None:
    """What is valid is so at every depth, with the same counts."""
    if full.status is not Status.VALID:
        return None
    structure = read(file.data, "native", depth="structure")
    if structure.status is not Status.VALID or counted(structure) != counted(full):
        return f"depth structure differs: {structure}"
    outline = read(file.data, "native", depth="checksum")
    if (outline.status, outline.crc64) != (Status.VALID, full.crc64):
        return f"depth checksum differs: {outline}"
    return None


def counted(report: RdbReport) -> tuple[Any, ...]:
    return report.keys_by_db, report.keys_by_type, report.functions, report.needs


#: What one engine sees on its way through a value, and the other at the value's end.
SEEN_SOONER_OR_LATER = (
    "a consumer's pending entry is not its group's",
    "a NACKed entry is not pending in its group",
    "holds the same member twice",
)


def one_met_the_end(native: RdbReport, other: RdbReport) -> bool:
    """Damage that shifts what follows can make it run out of the file: the engine that looks later
    meets the end before it sees what is wrong.
    """
    if {native.status, other.status} != {Status.TRUNCATED, Status.CORRUPT}:
        return False
    reason = str((native if native.status is Status.CORRUPT else other).reason)
    seen = any(words in reason for words in SEEN_SOONER_OR_LATER)
    return seen and counted(native) == counted(other)


def understood(file: File, tool: Tool, report: RdbReport, error: str | None) -> Row | None:
    return next((row for row in DISAGREEMENTS if row.fits(tool, file.data, report, error)), None)


def asked(
    files: Iterable[File], asks: list[Tool], directory: Path
) -> Iterator[tuple[File, dict[str, str | None]]]:
    """Each file with what the tools say that know its version; several at a time."""

    def ask(file: File) -> tuple[File, dict[str, str | None]]:
        path = directory / f"{file.name}.rdb"
        path.write_bytes(file.data)
        errors = {tool.name: tool.error(path) for tool in asks if tool.knows(file.data[:9])}
        path.unlink()
        return file, errors

    remaining = iter(files)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(remaining, 64)):
            yield from pool.map(ask, batch)


def agreement(counts: dict[str, int], directory: Path) -> tuple[Counter[str], Counter[str]]:
    """How many files of each source there were, and how often each row of the table was needed."""
    sources: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    wrong = []
    asks = {tool.name: tool for tool in tools(directory)}
    for file, errors in asked(generated(counts, directory), list(asks.values()), directory):
        sources[file.source] += 1
        sources["asked"] += len(errors)
        report, trouble = engines_agree(file)
        if trouble:
            wrong.append((file.name, file.what, trouble))
            keep(file)
        for name, error in errors.items():
            if (error is None) == (report.status is Status.VALID):
                continue
            row = understood(file, asks[name], report, error)
            if row is not None:
                rows[f"{name} {'passes' if error is None else 'refuses'}: {row.ours}"] += 1
                continue
            odd = [finding.kind for finding in report.findings]
            wrong.append((file.name, file.what, name, error, report.status, report.reason, odd))
            keep(file)
    assert not wrong, (len(wrong), wrong[:8])
    return sources, rows


def keep(file: File) -> None:
    """Where a directory is asked for, what nobody understands is left there."""
    where = os.environ.get("RBE_KEEP_DISAGREEMENTS")
    if where:
        (Path(where) / f"{file.name}.rdb").write_bytes(file.data)


def test_engines_and_check_tools_agree(tmp_path: Path) -> None:
    sources, _ = agreement(QUICK, tmp_path)
    assert {name: sources[name] for name in QUICK} == QUICK


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_engines_and_check_tools_agree_on_ten_thousand_files(tmp_path: Path) -> None:
    """And each row of the table is needed."""
    sources, rows = agreement(LONG, tmp_path)
    print(dict(sources), dict(sorted(rows.items())), sep="\n")
    assert sum(sources[name] for name in LONG) == 10_000
    needed = {re.sub(r"^.*?: ", "", row) for row in rows}
    assert needed == {row.ours for row in DISAGREEMENTS}
