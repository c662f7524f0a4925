"""What fuzzing found worth keeping, read by the engine as it is installed: as Python meets it.

Each input is one that takes a branch which no smaller one takes, or one that once showed a mistake.
The targets of the crate hold more to be true of them; here it is the built extension that answers.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.model import RdbReport, Status
from exporter.verify import native_engine
from exporter.verify.engines import Depth
from tests.verify.truths import comparable, read

CORPUS = Path(__file__).parents[2] / "exporter" / "native" / "fuzz" / "corpus"
FOLDERS = ("walk", "container", "blobs", "found")
PIECE_BYTES = (1, 2, 7, 61, 4096)
#: Above this an input is not read byte by byte.
BYTE_BY_BYTE = 2000
#: What the engine may map beyond the interpreter: twice the window of a decompressor, and some.
MEMORY_BYTES = 400 << 20


class Pieces:
    """A source that gives so many bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._left = memoryview(data)
        self._size = size

    def readinto(self, buffer: bytearray | memoryview) -> int:
        now = self._left[: min(self._size, len(buffer))]
        buffer[: len(now)] = now
        self._left = self._left[len(now) :]
        return len(now)


def go_on(_: int) -> bool:
    return False


def report(data: bytes, piece_bytes: int = 1 << 20, depth: Depth = "full") -> RdbReport:
    module: Any = native_engine.load()
    answer = module.read(
        Pieces(data, piece_bytes),
        depth=depth,
        tick=go_on,
        timeout_seconds=0,
        memory_bytes=1 << 30,
        duplicates_bytes=16 << 20,
        part=0,
        bytes_per_second=0,
        block_bytes=max(1, min(piece_bytes, 256 << 10)),
    )
    return RdbReport.from_dict({**answer, "seconds": 0.0})


def length(size: int) -> bytes:
    return b"\x80" + size.to_bytes(4, "big")


def rdb_around(blob: bytes) -> bytes:
    """An RDB whose only value is this input of the target `blobs`: a type's number, its bytes."""
    number, body = blob[:1], blob[1:]
    if number == b"\0":  # a packed string: its size, what it is packed as
        text = b"\xc3" + length(len(body[2:])) + length(int.from_bytes(body[:2], "big")) + body[2:]
    else:
        nodes = {14: b"\1", 18: b"\1\2"}.get(number[0], b"")
        text = nodes + length(len(body)) + body
    return b"REDIS0011\xfe\0" + number + b"\1k" + text + b"\xff" + bytes(8)


def inputs(folder: str) -> list[tuple[str, bytes]]:
    kept = [(path.name, path.read_bytes()) for path in sorted((CORPUS / folder).iterdir())]
    if folder == "blobs":
        return [(name, rdb_around(data)) for name, data in kept if data]
    return kept


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_are_inputs(folder: str) -> None:
    assert inputs(folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_input_ends_in_the_same_report_however_it_comes(folder: str) -> None:
    for name, data in inputs(folder):
        whole = report(data)
        assert (whole.reason is None) == (whole.status is Status.VALID), name
        assert "bug" not in str(whole.reason), name
        for size in PIECE_BYTES:
            if size > 1 or len(data) < BYTE_BY_BYTE:
                again = report(data, size)
                # Where nothing more can come of it, it is left in the middle of a block.
                assert replace(again, bytes=whole.bytes) == whole, (name, size)


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_valid_in_full_is_valid_at_lesser_depths(folder: str) -> None:
    depths: tuple[Depth, ...] = ("structure", "checksum")
    for name, data in inputs(folder):
        whole = report(data)
        if whole.status is Status.VALID:
            for depth in depths:
                assert report(data, depth=depth).status is Status.VALID, (name, depth)
            assert whole.keys == sum(keys for keys, _ in whole.keys_by_db.values()), name
            assert whole.keys == sum(whole.keys_by_type.values()), name


@pytest.mark.parametrize("folder", ["walk", "blobs"])
def test_both_engines_report_the_same(folder: str) -> None:
    for name, data in inputs(folder):
        native, other = read(data, "native"), read(data, "rdbtools")
        if native.compression is not None:
            continue
        assert (native.status is Status.VALID) == (other.status is Status.VALID), name
        if native.status is other.status is Status.VALID:
            assert comparable(native) == comparable(other), name


CHILD = """
import resource, sys
from pathlib import Path
from tests.verify.test_fuzz_corpus import FOLDERS, MEMORY_BYTES, inputs, report
pages = int(Path("/proc/self/statm").read_text().split()[0])
room = pages * resource.getpagesize() + MEMORY_BYTES
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for folder in FOLDERS:
    for name, data in inputs(folder):
        report(data)
print("read all")
"""


def test_memory_is_bounded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    assert done.stdout == "read all\n", done.stderr[-2000:]
