"""Whether something came twice: keys of a db, members of a set, fields of a hash.

Knows: exactly, as long as there are few; by a 64-bit hash once there are many, for 8 bytes each.
Refuses to know: what a duplicate means. No check tool looks for duplicate keys, and every server
aborts on them.
"""

from __future__ import annotations

from array import array

EXACT_MAX = 200_000
_PARTS = 1024


class Uniques:
    """Python's hash of bytes is keyed anew in each process, so no file can aim at a collision;
    by chance it comes once in some thousand files of 100 million keys.
    """

    __slots__ = ("_exact_max", "_parts", "_seen")

    def __init__(self, exact_max: int = EXACT_MAX) -> None:
        self._seen: set[bytes] = set()
        self._parts: list[array[int]] | None = None
        self._exact_max = exact_max

    def add(self, thing: bytes) -> bool:
        """False where ``thing`` is known to have come before; the rest shows in `distinct`."""
        seen = self._seen
        if thing in seen:
            return False
        if self._parts is not None:
            value = hash(thing)
            self._parts[value % _PARTS].append(value)
            return True
        seen.add(thing)
        if len(seen) > self._exact_max:
            self._parts = [array("q") for _ in range(_PARTS)]
            for earlier in seen:
                value = hash(earlier)
                self._parts[value % _PARTS].append(value)
            self._seen = set()
        return True

    def distinct(self) -> bool:
        """True where nothing came twice, also among the many."""
        return self._parts is None or all(len(set(part)) == len(part) for part in self._parts)
