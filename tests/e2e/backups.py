"""A backup job as people write them, and what goes wrong with one.

Knows: BGSAVE and ``cp`` into a directory, and how to damage a copy. Refuses to know: who watches.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import redis

from tests.servers import RealServer


class Backups:
    """The watched directory, and the server whose dumps are copied there."""

    def __init__(self, directory: Path, server: RealServer | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.server = server
        self._numbers = itertools.count(1)
        self._writes = itertools.count(1)

    @property
    def client(self) -> redis.Redis:
        assert self.server is not None
        return self.server.client()

    def write(self, keys: int = 50) -> None:
        """New keys: no two snapshots are alike."""
        with self.client as client, client.pipeline(transaction=False) as pipe:
            for _ in range(keys):
                number = next(self._writes)
                pipe.set(f"key:{number}", f"value {number}")
            pipe.execute()

    def dump(self) -> bytes:
        """The bytes of a fresh snapshot."""
        assert self.server is not None
        return self.server.save().read_bytes()

    def next_name(self) -> str:
        return f"backup-{next(self._numbers):04}.rdb"

    def put(self, content: bytes, name: str | None = None) -> str:
        """``content`` under a final name at once: temporary name, then rename."""
        name = name or self.next_name()
        unfinished = self.directory / f".{name}.part"
        unfinished.write_bytes(content)
        unfinished.rename(self.directory / name)
        return name

    def good(self) -> str:
        """Some writes, BGSAVE, and ``cp`` straight to the final name."""
        assert self.server is not None
        self.write()
        name = self.next_name()
        shutil.copyfile(self.server.save(), self.directory / name)
        return name

    def newest(self) -> Path:
        return max(self.directory.glob("*.rdb"))


def flip_bit(content: bytes, at: int | None = None) -> bytes:
    """One bit in the middle, or at ``at``."""
    position = len(content) // 2 if at is None else at
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


def truncate(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]
