"""A watched directory with a clock of its own, and files to put there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.model import Backup, Listing, Location, Unseen
from exporter.watch.directory import DirectoryWatch

NOBODY = 65534


class Watched:
    """A watch with a clock of its own, 15 s a look."""

    def __init__(self, path: Path | str, **options: Any) -> None:
        before = options.pop("settled_before", lambda *_: False)
        location = Location(name="local", path=str(path), **options)
        self.watch = DirectoryWatch(location, settled_before=before)
        self.now = 1_900_000_000.0
        self.monotonic = 100.0

    def look(self, after: float = 15.0) -> Listing:
        seen = self.try_look(after)
        assert isinstance(seen, Listing), seen
        return seen

    def try_look(self, after: float = 15.0) -> Listing | Unseen:
        self.now += after
        self.monotonic += after
        return self.watch.look(self.now, self.monotonic)

    def backups(self, after: float = 15.0) -> dict[str, Backup]:
        return {backup.name: backup for backup in self.look(after).backups}

    def settle(self) -> dict[str, Backup]:
        self.backups()
        found = self.backups()
        assert not self.watch.settling
        return found


def write(path: Path, content: bytes = b"REDIS0011 and more", mtime: float | None = None) -> Path:
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


@contextlib.contextmanager
def unprivileged() -> Iterator[Path]:
    """A world-readable directory, and no root's rights while in here."""
    place = Path(tempfile.mkdtemp(prefix="rbe-"))
    place.chmod(0o755)
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(place, NOBODY, -1)
            os.seteuid(NOBODY)
        yield place
    finally:
        if root:
            os.seteuid(0)
        for path in place.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(place)
