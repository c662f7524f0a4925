"""The seam between those who want a file proven and the engines that can do it.

Knows: the contract of an engine, and which there are. Refuses to know: how one works.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from exporter.model import RdbReport, VerifyPolicy

Depth = Literal["checksum", "structure", "full"]
"""How much is proven at least: the bytes; every value's bounds; the insides of values too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one reading may cost; beyond it the answer is "could not be verified"."""

    timeout_seconds: float
    memory_bytes: int
    """Of the process that reads; where that is this one, of the largest single value."""
    duplicates_bytes: int = 16 << 20
    """What the search for duplicates may hold; beyond it a share of the keys is searched."""
    bytes_per_second: int = 0
    """How fast stored bytes are read; 0 is no limit."""


def limits(policy: VerifyPolicy, size_bytes: int) -> Limits:
    """The limits of one reading of a file of ``size_bytes``."""
    return Limits(
        timeout_seconds=policy.timeout_seconds(size_bytes),
        memory_bytes=policy.memory_limit_bytes,
        duplicates_bytes=policy.duplicates_bytes(size_bytes),
        bytes_per_second=policy.max_rate_bytes_per_second,
    )


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
        depth: Depth = "full",
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> RdbReport:
        """Reads ``fd`` from its position to its end, pipes too.

        ``depth`` is what is asked for; the report's says what was done, which may be less.
        ``progress`` gets the bytes read so far about four times a second; ``cancelled`` is asked
        at least ten times a second. Raises Cancelled, nothing else for what the file is.
        """
        ...


_RDBTOOLS_MODULES = ("rdbtools", "lzf", "anycrc")


def engine(name: str = "auto") -> Engine:
    """The engine called ``name``: "auto" is the best one there is. Raises EngineUnavailable.

    Where "auto" gives less than the native engine, `fallback` says why: whoever reads the reports
    must be told.
    """
    if name not in ("auto", "native", "rdbtools"):
        raise EngineUnavailable(f"there is no engine {name!r}: use auto, native or rdbtools")
    # Deferred, because the engines are written against this file.
    if name != "rdbtools":
        from exporter.verify.native_engine import NativeEngine, load  # noqa: PLC0415

        found = load()
        if not isinstance(found, str):
            return NativeEngine(found)
        if name == "native":
            raise EngineUnavailable(f"{found}: {_REMEDY}; or use rdbtools or auto")
    missing = [module for module in _RDBTOOLS_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise EngineUnavailable(
            f"the rdbtools engine misses {', '.join(missing)}: install the package's dependencies"
        )
    from exporter.verify.rdbtools_engine import RdbtoolsEngine  # noqa: PLC0415

    return RdbtoolsEngine()


_REMEDY = "install the package where Rust is (cargo --version), which builds it"


def fallback(asked: str, given: Engine) -> str | None:
    """Why "auto" gave a lesser engine than the native one, for a person; None where it did not."""
    from exporter.verify.native_engine import load  # noqa: PLC0415

    if asked != "auto" or given.name == "native":
        return None
    why = load()
    reason = why if isinstance(why, str) else "the native engine came too late"
    return (
        f"{reason}: {_REMEDY}. The {given.name} engine reads instead, far more slowly, and looks "
        "less deep into values"
    )
