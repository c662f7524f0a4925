"""Where the numbers were measured: what stands above a table, so that they can be compared.

Knows: the processor, the kernel, the versions, and how fast the checksum runs on memory here.
Refuses to know: names of hosts and paths.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.launch import measured

#: What the CRC library reaches on memory in the cache where the processor has VPCLMULQDQ.
REFERENCE_CRC_GB_PER_SECOND = 74.0
_CRC_BYTES = 8 << 30
_HERE = Path(__file__).parent
_PYTHON = sys.executable
#: Processor features that the CRC and the copying depend on.
_FEATURES = ("pclmulqdq", "avx2", "avx512f", "vpclmulqdq", "pmull")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Conditions of a run."""

    processor: str
    cores: int
    features: Mapping[str, bool]
    memory_gib: float
    kernel: str
    python: str
    server: str
    engine: str
    load: float
    """Processes that wanted to run in the minute before."""
    crc_gb_per_second: float
    """The engine at depth checksum on memory that stays in the cache: no read() in it."""

    @property
    def wide_crc(self) -> bool:
        return self.features["vpclmulqdq"]

    def scaled_share(self, share: float, read_gb_per_second: float) -> float:
        """The share of read() that a reference machine's ``share`` comes to here.

        Reading and summing take turns on one thread; where the sum is slower, the share shrinks.
        """
        if self.wide_crc:
            return share
        read = 1 / read_gb_per_second
        there = read + 1 / REFERENCE_CRC_GB_PER_SECOND
        here = read + 1 / self.crc_gb_per_second
        return share * there / here


def _cpu(words: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.+)$", words, re.MULTILINE)
    return found[1].strip() if found else ""


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip().splitlines()[0]


def crc_speed(rounds: int) -> float:
    """GB per CPU second of the checksum alone.

    Of a file without blocks in memory, as reading that costs next to nothing, and its cost is
    measured and taken off. What the report says of the zeros does not matter.
    """
    read = [_PYTHON, "-I", "-S", str(_HERE / "plain_read.py")]
    engine = [_PYTHON, "-P", str(_HERE / "native_read.py"), "checksum"]
    shared = Path("/dev/shm")
    where = str(shared) if os.access(shared, os.W_OK) else None
    with tempfile.NamedTemporaryFile(dir=where) as holes:
        holes.write(b"REDIS0010")
        holes.truncate(_CRC_BYTES)
        holes.flush()
        found = []
        for _ in range(rounds):
            base, both = (
                float(json.loads(measured([*command, holes.name]).output)["cpu_seconds"])
                for command in (read, engine)
            )
            found.append(_CRC_BYTES / max(both - base, 1e-3) / 1e9)
    return median(found)


def this_machine(rounds: int, load: float) -> Machine:
    """``load`` is that before the run, which makes its own."""
    words = Path("/proc/cpuinfo").read_text("utf-8")
    flags = set((_cpu(words, "flags") or _cpu(words, "Features")).split())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=_cpu(words, "model name") or platform.machine(),
        cores=os.cpu_count() or 1,
        features={name: name in flags for name in _FEATURES},
        memory_gib=pages / 2**30,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        server=_first_line("redis-check-rdb", "--version"),
        engine=_first_line(
            _PYTHON, "-P", "-c", "from exporter import _native; print(_native.VERSION)"
        ),
        load=load,
        crc_gb_per_second=crc_speed(rounds),
    )
