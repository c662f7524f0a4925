"""The measured files: written by a real redis-server, kept for the next run.

Knows: how to fill a server fast, to save about so many bytes, and whether a file from an earlier
run is the one wanted. Refuses to know: what the content is (``content``), and who reads it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from tests.bench.content import EDITION, KINDS, SEED, Kind, resp
from tests.servers import RealServer

_BATCH_BYTES = 1 << 20
#: Begins the name of the file that unpacks to a hundred times its size (``memory``).
BOMB = "bomb"
#: Filling and saving a database of some GB on a busy machine.
_PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One dump, and what is known of it."""

    kind: str
    path: str
    wanted_bytes: int
    size_bytes: int
    keys: int
    edition: int = EDITION
    seed: int = SEED

    @property
    def title(self) -> str:
        return KINDS[self.kind].title


def say(text: str) -> None:
    """What is being done, for the one who waits."""
    print(text, file=sys.stderr, flush=True)


def data_file(directory: Path, kind: Kind, wanted_bytes: int) -> DataFile:
    """The dump of about ``wanted_bytes``: that of an earlier run if it is there, else a new one."""
    path = directory / f"{kind.name}-{wanted_bytes}.rdb"
    note = path.with_suffix(".json")
    found = _kept(note, path, wanted_bytes)
    if found is not None:
        return found
    began = time.monotonic()
    say(f"making {path.name} with a redis-server ...")
    config = (
        f"dbfilename {path.name}",
        "rdbcompression yes",
        "rdbchecksum yes",
        "maxmemory 0",
        "client-output-buffer-limit normal 0 0 0",
    )
    # A directory of its own: a server would load what an interrupted run left in it.
    with tempfile.TemporaryDirectory(prefix="server-", dir=directory) as home:
        with RealServer(Path(home), config=config) as server:
            keys = _fill(server, kind, wanted_bytes)
            saved = server.rdb
        saved.rename(path)
    made = DataFile(
        kind=kind.name,
        path=str(path),
        wanted_bytes=wanted_bytes,
        size_bytes=path.stat().st_size,
        keys=keys,
    )
    note.write_text(json.dumps(asdict(made)), "utf-8")
    say(f"  {made.size_bytes:,} bytes, {keys:,} keys in {time.monotonic() - began:.0f} s")
    return made


def _kept(note: Path, path: Path, wanted_bytes: int) -> DataFile | None:
    try:
        found = DataFile(**json.loads(note.read_text("utf-8")))
        size = path.stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    wanted = (str(path), wanted_bytes, size, EDITION, SEED)
    is_it = (found.path, found.wanted_bytes, found.size_bytes, found.edition, found.seed) == wanted
    return found if is_it else None


def _fill(server: RealServer, kind: Kind, wanted_bytes: int) -> int:
    """Keys made; a save after the first few tells how many it takes."""
    client = server.client(socket_timeout=_PATIENCE_SECONDS)
    client.save()
    empty_bytes = server.rdb.stat().st_size
    commands = kind.commands()
    keys = _send(server, islice(commands, kind.probe))
    client.save()
    each_bytes = (server.rdb.stat().st_size - empty_bytes) / keys
    keys += _send(server, islice(commands, max(0, round(wanted_bytes / each_bytes) - keys)))
    there = int(client.dbsize())
    if there != keys:
        raise RuntimeError(f"{keys} keys were sent, {there} are there: {server.log[-500:]}")
    client.save()
    return keys


def _send(server: RealServer, commands: Iterable[bytes]) -> int:
    """How many commands went; the server answers none of them (CLIENT REPLY OFF), it is counted."""
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for command in commands:
            sent += 1
            yield command

    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=_PATIENCE_SECONDS) as connection:
        connection.sendall(resp(b"CLIENT", b"REPLY", b"OFF"))
        for batch in _batches(counted()):
            connection.sendall(batch)
        connection.sendall(resp(b"CLIENT", b"REPLY", b"ON"))
        answer = connection.recv(64)
    if answer != b"+OK\r\n":
        raise RuntimeError(f"the server answered {answer!r}")
    return sent


def _batches(commands: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for command in commands:
        batch.append(command)
        size += len(command)
        if size >= _BATCH_BYTES:
            yield b"".join(batch)
            batch.clear()
            size = 0
    yield b"".join(batch)


def remove_files(directory: Path) -> None:
    """What was made here by any run; the directory too, if nothing else is in it."""
    made = [path for name in (*KINDS, BOMB) for path in directory.glob(f"{name}-*.rdb")]
    for path in made:
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


def warm(path: str) -> None:
    """Into the page cache, whole."""
    with Path(path).open("rb", buffering=0) as file:
        block = bytearray(1 << 20)
        while file.readinto(block):
            pass
