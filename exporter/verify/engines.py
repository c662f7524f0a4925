"""The seam between those who want a file proven and the engines that can do it.

Knows: the contract of an engine, and which there are. Refuses to know: how one works.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from exporter.model import RdbReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one reading may cost; beyond it the answer is "could not be verified"."""

    timeout_seconds: float
    memory_bytes: int


class EngineUnavailable(Exception):  # noqa: N818 - part of the room's contract
    """The engine that was asked for is not here; the message says what to do."""


class Cancelled(Exception):  # noqa: N818 - likewise
    """The reading was given up because `cancelled` said so; there is no report."""


class Engine(Protocol):
    """Reads one RDB and reports on it, whatever the bytes are."""

    @property
    def name(self) -> str: ...

    def read(
        self,
        fd: int,
        *,
        limits: Limits,
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> RdbReport:
        """Reads ``fd`` from its position to its end, pipes too.

        ``progress`` gets the bytes read so far about four times a second; ``cancelled`` is asked
        at least ten times a second. Raises Cancelled, nothing else for what the file is.
        """
        ...


_RDBTOOLS_MODULES = ("rdbtools", "lzf", "anycrc")


def engine(name: str = "auto") -> Engine:
    """The engine called ``name``: "auto" is the best one there is. Raises EngineUnavailable."""
    if name == "native":
        raise EngineUnavailable("the native engine is not part of this build: use rdbtools or auto")
    if name not in ("auto", "rdbtools"):
        raise EngineUnavailable(f"there is no engine {name!r}: use auto, native or rdbtools")
    missing = [module for module in _RDBTOOLS_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise EngineUnavailable(
            f"the rdbtools engine misses {', '.join(missing)}: install the package's dependencies"
        )
    # Deferred, because the engine is written against this file.
    from exporter.verify.rdbtools_engine import RdbtoolsEngine  # noqa: PLC0415

    return RdbtoolsEngine()
