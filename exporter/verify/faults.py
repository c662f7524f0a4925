"""What can be wrong with the bytes of a file, as exceptions that never leave this room.

Knows: a status and one line for a person. Refuses to know: what becomes of it; ``reading`` applies
the precedence of statuses and turns each of these into a report.
"""

from __future__ import annotations

from exporter.model import Status


class Fault(Exception):  # noqa: N818 - a fault of the file, not of the program
    """The walk can't go on: the bytes are broken, or of a kind that this engine can't read."""

    def __init__(self, status: Status, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.offset = offset


class Corrupt(Fault):
    """No server would load this, or reads of it would contradict each other."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(Status.CORRUPT, reason, offset)


class Unsupported(Fault):
    """A version, opcode or type that is not known here: "cannot verify" is not "corrupt"."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(Status.UNSUPPORTED_VERSION, reason, offset)


class ContainerFault(Fault):
    """The compression around the RDB is broken; it explains whatever the RDB inside looks like."""


class EndedError(Exception):
    """The input is over in the middle of an item."""
