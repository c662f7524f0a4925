"""The SQLite file: who may write it, and what happens where it can't be written.

Knows: the lock, the schema, transactions. Refuses to know: what the rows mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.model import Notice

#: An SQL text and its parameters.
Statement = tuple[str, Sequence[object]]

_FILE = "ledger.sqlite"
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files (
    location TEXT NOT NULL, identity TEXT NOT NULL, name BLOB NOT NULL, inode TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    mark TEXT NOT NULL, arrived_at REAL NOT NULL, departed_at REAL,
    same_as TEXT,
    accepted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (location, identity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proofs (
    identity TEXT PRIMARY KEY, report TEXT NOT NULL, verified_at REAL NOT NULL,
    ctime_ns INTEGER NOT NULL, attempts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS writer (version TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS verdicts (at REAL NOT NULL, state TEXT NOT NULL, reasons TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, heartbeat TEXT NOT NULL, key TEXT NOT NULL, created_at REAL NOT NULL,
    arrived_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at REAL NOT NULL,
    failure TEXT,    UNIQUE (heartbeat, key)
);
CREATE TABLE IF NOT EXISTS delivered (
    heartbeat TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, arrived_at REAL NOT NULL,
    PRIMARY KEY (heartbeat, key)
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class LedgerBusyError(Exception):
    """Another process holds the state directory."""


class Database:
    """One connection for all threads, under one lock; each ``write`` is one transaction."""

    def __init__(
        self, state_dir: Path, *, now: float, network: bool = False, read_only: bool = False
    ) -> None:
        """Opens ``state_dir``; in memory, with a notice, where state can't be kept there.

        ``read_only`` is a copy in memory of what is there, for a look beside the owner.

        Raises :class:`LedgerBusyError` where another process holds it.
        """
        self._mutex = threading.Lock()
        self._state_dir = state_dir
        self._lock_fd: int | None = None
        self.notices: tuple[Notice, ...] = ()
        if read_only:
            self._db = _connect(":memory:")
            _copy_into(self._db, state_dir / _FILE)
            return
        if network:
            self._open_in_memory(state_dir, "a network filesystem: its locks can't be trusted")
            return
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(
                state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerBusyError(
                f"another redis-backup-exporter runs with state.dir {state_dir}: "
                "stop it, or give this one a state.dir of its own"
            ) from None
        except OSError as error:
            self._open_in_memory(state_dir, error.strerror or str(error))
            return
        self._open_file(state_dir, now)

    def _open_file(self, state_dir: Path, now: float) -> None:
        try:
            self._db = _connect(str(state_dir / _FILE))
        except sqlite3.OperationalError as error:
            # Not writable, no room, or not to be locked; a damaged file is another DatabaseError.
            self._open_in_memory(state_dir, str(error))
        except sqlite3.DatabaseError:
            self._set_aside(state_dir, now)

    def set_aside(self, now: float) -> None:
        """Starts anew where the rows turned out to be nonsense."""
        self._db.close()
        self._set_aside(self._state_dir, now)

    def _set_aside(self, state_dir: Path, now: float) -> None:
        path = state_dir / _FILE
        aside = path.with_name(f"{_FILE}.broken-{now:.0f}")
        try:
            path.rename(aside)
            for tail in ("-wal", "-shm"):
                path.with_name(path.name + tail).unlink(missing_ok=True)
            self._db = _connect(str(path))
        except (OSError, sqlite3.DatabaseError) as error:
            self._open_in_memory(state_dir, str(error))
            return
        self._notice("state_set_aside", f"the ledger was damaged and set aside as {aside}")

    def _open_in_memory(self, state_dir: Path, why: str) -> None:
        self._db = _connect(":memory:")
        self._not_kept(state_dir, why)

    def _not_kept(self, state_dir: Path, why: str) -> None:
        self._notice(
            "state_not_kept",
            f"{state_dir} can't keep state ({why}): a restart will read the backups again and send "
            "one heartbeat; make state.dir a writable local directory",
        )

    def _notice(self, name: str, text: str) -> None:
        if all(n.id != name for n in self.notices):
            self.notices = (*self.notices, Notice(id=name, text=text))

    def write(self, *statements: Statement) -> None:
        """All ``statements`` in one transaction: committed, and safe from a SIGKILL, on return.

        Where the disk is full or broken, state moves to memory, with a notice, and the watch goes
        on: a repeated heartbeat after a restart is the lesser evil.
        """
        with self._mutex:
            try:
                self._check_there()
                self._transact(statements)
            except sqlite3.OperationalError as error:
                memory = _connect(":memory:")
                self._db.backup(memory)
                self._db.close()
                self._db = memory
                self._not_kept(self._state_dir, str(error))
                self._transact(statements)

    def _check_there(self) -> None:
        """SQLite goes on writing into a file that somebody deleted; nobody will find it again."""
        if self._lock_fd is not None and os.fstat(self._lock_fd).st_nlink == 0:
            os.close(self._lock_fd)
            self._lock_fd = None
            raise sqlite3.OperationalError("it was deleted")

    def _transact(self, statements: tuple[Statement, ...]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, parameters in statements:
                self._db.execute(sql, parameters)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._mutex:
            return self._db.execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self._mutex:
            self._db.close()
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"schema version {version} is not {_VERSION}")
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _copy_into(memory: sqlite3.Connection, path: Path) -> None:
    """What ``path`` holds, if it can be read; else nothing: all is unproven then."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == _VERSION:
                db.backup(memory)
    except (sqlite3.Error, ValueError):
        return
