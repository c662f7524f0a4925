"""A process of its own that reads a file with the native engine and imports nothing else of ours.

Run as a script: ``DEPTH FILE``. Says what the reading alone took, all threads counted, and the
report.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from exporter import _native

LIMITS: dict[str, Any] = {
    "timeout_seconds": 0.0,
    "memory_bytes": 2 << 30,
    "duplicates_bytes": 16 << 20,  # what `verify` gives a file of up to 1 GiB
    "part": 0,
    "bytes_per_second": 0,
    "block_bytes": 256 << 10,
}


def timed(fd: int, depth: str) -> dict[str, Any]:
    tick: Callable[[int], bool] = lambda _: False  # noqa: E731
    wall, cpu = time.monotonic(), time.process_time()
    report = _native.read(fd, depth=depth, tick=tick, **LIMITS)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return {"cpu_seconds": cpu, "wall_seconds": wall, "report": report}


def main(depth: str, path: str) -> None:
    print(json.dumps(timed(os.open(path, os.O_RDONLY), depth)))


if __name__ == "__main__":
    main(*sys.argv[1:])
