"""What was counted since the start: one immutable mapping, replaced at each count.

Knows: numbers under a name and label values. Refuses to know: what they mean, and who asks.
Only writers take the lock. A reader takes one reference and sees a whole state: a scrape neither
waits for a writer nor sees half of what belongs together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType

Key = tuple[str, tuple[str, ...]]


class Counts:
    """Counters by (name, label values)."""

    __slots__ = ("_lock", "_values")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Mapping[Key, float] = MappingProxyType({})

    def add(self, *increments: tuple[str, tuple[str, ...], float]) -> None:
        """Adds all of ``(name, label values, amount)`` as one step."""
        self.add_all(increments)

    def add_all(self, increments: Iterable[tuple[str, tuple[str, ...], float]]) -> None:
        with self._lock:
            values = dict(self._values)
            for name, labels, amount in increments:
                values[name, labels] = values.get((name, labels), 0.0) + amount
            self._values = MappingProxyType(values)

    @property
    def values(self) -> Mapping[Key, float]:
        """All counts at one moment; it never changes afterwards."""
        return self._values
