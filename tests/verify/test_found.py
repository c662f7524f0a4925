"""Files on which an engine once said something else than real servers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.model import RdbReport, Status
from exporter.verify.engines import engine
from exporter.verify.file import prove
from tests.verify.test_native_engine import PLENTY
from tests.verify.truths import ENGINES, FIXTURES, read

FOUND = FIXTURES / "found"


def report(name: str, which: str) -> RdbReport:
    return read((FOUND / f"{name}.rdb").read_bytes(), which)


@pytest.mark.parametrize("which", ENGINES)
@pytest.mark.parametrize("name", ["xsetid-82", "xsetid-v81", "xsetid-v91"])
def test_ids_below_a_deleted_entry_are_healthy(which: str, name: str) -> None:
    """XDEL, XSETID below it, XADD: Redis 8.2 and Valkey 8.1 and 9.1 save, load and read it right."""
    found = report(name, which)
    assert (found.status, found.findings) == (Status.VALID, ())


@pytest.mark.parametrize("which", ENGINES)
def test_a_zipmap_that_counts_255_stops_every_server(which: str) -> None:
    assert report("zipmap-count-255", which).status is Status.CORRUPT


@pytest.mark.parametrize("which", ENGINES)
def test_a_zipmap_without_its_last_byte_is_cut(which: str) -> None:
    """Its last value has no bytes, and no byte that says how many unused ones follow."""
    assert report("zipmap-without-its-last-byte", which).status is Status.CORRUPT


@pytest.mark.parametrize("which", ENGINES)
def test_a_table_of_expires_beyond_reason_is_a_need(which: str) -> None:
    """Redis up to 7.2 and Valkey do not come up within reason: they make room for 2^44 expires."""
    assert report("resizedb-expires", which).needs.resizedb == 1 << 44


def test_depth_checksum_proves_nothing_without_a_checksum(tmp_path: Path) -> None:
    """Eight zeros behind an 0xFF are no proof: the file is walked instead."""
    junk = tmp_path / "junk.rdb"
    junk.write_bytes(b"REDIS0010" + b"\x99" * 500 + b"\xff" + bytes(8))
    found = prove(str(junk), engine("native"), limits=PLENTY, depth="checksum")
    assert isinstance(found, RdbReport)
    assert (found.status, found.depth) == (Status.UNSUPPORTED_VERSION, "structure")
