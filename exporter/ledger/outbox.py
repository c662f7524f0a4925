"""Heartbeats that are owed, and those that were delivered.

Knows: rows and their keys. Refuses to know: when a heartbeat is due, how it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.ledger.database import Database
from exporter.model import OwedHeartbeat

_DELIVERED_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Outbox:
    """The durable outbox of one heartbeat. At least once: see DESIGN 7."""

    database: Database
    heartbeat: str

    def owed(self) -> OwedHeartbeat | None:
        """The row that is owed now; there is never more than one."""
        rows = self.database.read(
            "SELECT key, created_at, arrived_at, attempts, next_attempt_at, failure FROM outbox"
            " WHERE heartbeat = ? ORDER BY id DESC LIMIT 1",
            (self.heartbeat,),
        )
        for key, created_at, arrived_at, attempts, next_attempt_at, failure in rows:
            return OwedHeartbeat(
                key=key,
                created_at=created_at,
                arrived_at=arrived_at,
                attempts=attempts,
                next_attempt_at=next_attempt_at,
                failure=failure,
            )
        return None

    def owe(self, key: str, now: float, arrived_at: float) -> None:
        """Owes ``key``, whose backup arrived at ``arrived_at``, in place of whatever was owed."""
        self.database.write(
            ("DELETE FROM outbox WHERE heartbeat = ?", (self.heartbeat,)),
            (
                "INSERT INTO outbox (heartbeat, key, created_at, arrived_at, next_attempt_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (self.heartbeat, key, now, arrived_at, now),
            ),
        )

    def drop(self, key: str) -> None:
        """Owes ``key`` no more."""
        self.database.write(
            ("DELETE FROM outbox WHERE heartbeat = ? AND key = ?", (self.heartbeat, key))
        )

    def failed(self, key: str, failure: str, next_attempt_at: float) -> None:
        self.database.write(
            (
                "UPDATE outbox SET attempts = attempts + 1, failure = ?, next_attempt_at = ?"
                " WHERE heartbeat = ? AND key = ?",
                (failure, next_attempt_at, self.heartbeat, key),
            )
        )

    def delivered(self, owed: OwedHeartbeat, now: float) -> None:
        """Books ``owed`` as sent, also where the row was replaced while it was on its way."""
        name, key = self.heartbeat, owed.key
        self.database.write(
            ("DELETE FROM outbox WHERE heartbeat = ? AND key = ?", (name, key)),
            ("INSERT OR REPLACE INTO delivered (heartbeat, key, at, arrived_at)"
             " VALUES (?, ?, ?, ?)", (name, key, now, owed.arrived_at)),
            ("DELETE FROM delivered WHERE heartbeat = ?1 AND key NOT IN"
             " (SELECT key FROM delivered WHERE heartbeat = ?1 ORDER BY at DESC LIMIT ?2)",
             (name, _DELIVERED_KEPT)),
        )  # fmt: skip

    def was_delivered(self, key: str) -> bool:
        return bool(
            self.database.read(
                "SELECT 1 FROM delivered WHERE heartbeat = ? AND key = ?", (self.heartbeat, key)
            )
        )

    def last_arrived_at(self) -> float | None:
        """When the latest backup that was told of had arrived."""
        ((at,),) = self.database.read(
            "SELECT max(arrived_at) FROM delivered WHERE heartbeat = ?", (self.heartbeat,)
        )
        return None if at is None else float(at)

    def last_success_at(self) -> float | None:
        ((at,),) = self.database.read(
            "SELECT max(at) FROM delivered WHERE heartbeat = ?", (self.heartbeat,)
        )
        return None if at is None else float(at)
