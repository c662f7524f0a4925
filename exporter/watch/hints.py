"""Hints that something happened in a watched directory, so that a look may come sooner.

Knows: inotify through watchfiles, and how to be quiet in a storm of events. Refuses to know: what
happened. A hint is never the truth: without any (no inotify, NFS, another node), polling alone
finds the same, one interval later.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

import structlog
import watchfiles

_log = structlog.get_logger(__name__)

#: At most one hint in this time; doubled while events don't cease (a large copy: one a second
#: would make a hundred looks at a directory where nothing can be settled yet).
_QUIET_SECONDS = 1.0
_QUIET_LIMIT_SECONDS = 8.0
#: How often to see whether a directory came, went or was replaced.
_RECHECK_MS = 5_000


class Hints:
    """Calls ``wake`` from a thread of its own. ``start`` and ``stop`` never raise."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]], wake: Callable[[], None]) -> None:
        self._paths = tuple(dict.fromkeys(os.fspath(path) for path in paths))
        self._wake = wake
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def start(self) -> None:
        if self._thread is None and self._paths:
            self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; returns within a second."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _run(self) -> None:
        while not self._ended.is_set():
            places = self._places()
            try:
                if places:
                    self._watch(places)
                    continue
            except (OSError, RuntimeError) as error:
                # Out of inotify instances or watches; a directory that went in this moment.
                self._say("hints.unavailable", reason=type(error).__name__)
            self._ended.wait(_RECHECK_MS / 1000)

    def _watch(self, places: dict[str, tuple[int, int]]) -> None:
        """Pass events on until the set of directories is another one."""
        quiet = _QUIET_SECONDS
        for changes in watchfiles.watch(
            *places,
            watch_filter=None,
            debounce=1_000,
            rust_timeout=_RECHECK_MS,
            yield_on_timeout=True,
            stop_event=self._ended,
            force_polling=False,  # polling is the schedule's, whatever the environment says
            recursive=False,
            raise_interrupt=False,
        ):
            if changes:
                self._wake()
                self._ended.wait(quiet)  # events of this time are kept, and make one hint
                quiet = min(2 * quiet, _QUIET_LIMIT_SECONDS)
            else:
                quiet = _QUIET_SECONDS
            if self._ended.is_set() or self._places() != places:
                return

    def _places(self) -> dict[str, tuple[int, int]]:
        """The directories that are there, and which ones they are."""
        found = {}
        for path in self._paths:
            try:
                status = os.stat(path)  # noqa: PTH116 - paths are strings here
            except (OSError, ValueError):
                self._say("hints.directory_missing", path=path)
                continue
            self._said.discard(f"hints.directory_missing{path}")
            found[path] = (status.st_dev, status.st_ino)
        return found

    def _say(self, event: str, **fields: str) -> None:
        """Log a state once, not at each try."""
        key = event + fields.get("path", "")
        if key not in self._said:
            self._said.add(key)
            _log.warning(event, effect="polling only", **fields)
