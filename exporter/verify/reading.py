"""One RDB from its first byte to its last, and the report of it: what the child process runs.

Knows: the precedence of statuses (DESIGN 3), the same in every engine. Refuses to know: files,
processes, limits; it is given a function that yields bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from exporter.model import ChecksumState, RdbReport, Status
from exporter.verify import rdb
from exporter.verify.faults import ContainerFault, Corrupt, EndedError, Fault, Unsupported
from exporter.verify.rdbtools_parser import Parser
from exporter.verify.source import BLOCK_BYTES, Pull, Reader, open_blocks
from exporter.verify.tally import Tally

ENGINE = "rdbtools"
_EOF_BYTE = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How a walk ended: the part of a report that is not counted."""

    status: Status
    reason: str | None = None
    offset: int | None = None
    checksum: ChecksumState | None = None
    crc64: int | None = None


def read_rdb(
    pull: Pull,
    *,
    block_bytes: int = BLOCK_BYTES,
    progress: Callable[[int], None] = lambda _: None,
) -> RdbReport:
    """Reads until `pull` gives no more. Raises only what `pull` raises, and MemoryError."""
    stored = 0

    def counted(size: int) -> bytes:
        nonlocal stored
        block = pull(size)
        stored += len(block)
        progress(stored)
        return block

    compression = None
    tally: Tally | None = None
    facts: dict[str, Any] = {}
    try:
        blocks = open_blocks(counted, block_bytes)
        compression = blocks.compression
        reader = Reader(blocks)
        head = _head(reader)
        magic = rdb.read_magic(head)
        if magic is None:
            ending = _no_magic(head)
        else:
            facts = {"rdb_version": magic.version, "dialect": magic.dialect}
            if magic.known:
                tally = Tally(magic)
                ending = _walk(reader, tally)
            else:
                ending = _unknown_version(reader, magic)
        if ending.status is Status.VALID and blocks.trailing:
            ending = replace(
                ending, status=Status.TRAILING_DATA, reason="bytes follow the gzip data"
            )
    except Fault as fault:
        ending = _Ending(status=fault.status, reason=fault.reason, offset=fault.offset)
    except EndedError:
        ending = _Ending(status=Status.TRUNCATED, reason="the input ended early")
    if tally is not None:
        facts |= _counted(tally, ending)
    return RdbReport(
        status=ending.status,
        reason=ending.reason,
        offset=ending.offset,
        checksum=ending.checksum,
        crc64=ending.crc64,
        compression=compression,
        bytes=stored,
        engine=ENGINE,
        **facts,
    )


def _counted(tally: Tally, ending: _Ending) -> dict[str, Any]:
    return {
        **tally.facts,
        "key_index": None if ending.status is Status.VALID else tally.keys,
        "keys": tally.keys,
        "expires": sum(expires for _, expires in tally.keys_by_db().values()),
        "keys_by_db": tally.keys_by_db(),
        "keys_by_type": tally.keys_by_type(),
        "functions": tally.functions,
        "findings": tally.findings(),
        "needs": tally.needs(),
    }


def _head(reader: Reader) -> bytes:
    """The first 9 bytes, or all where there are fewer."""
    head = b""
    while len(head) < rdb.MAGIC_BYTES and not reader.at_end():
        head += bytes([reader.byte()])
    return head


def _no_magic(head: bytes) -> _Ending:
    if not head:
        return _Ending(status=Status.EMPTY, reason="no bytes at all", offset=0)
    if len(head) < rdb.MAGIC_BYTES and rdb.magic_begun(head):
        return _Ending(
            status=Status.TRUNCATED, reason="the file ends within its magic", offset=len(head)
        )
    return _Ending(status=Status.BAD_MAGIC, reason="does not begin as an RDB file does", offset=0)


def _walk(reader: Reader, tally: Tally) -> _Ending:
    try:
        try:
            Parser(tally).parse_fd(reader)
            return _after_eof(reader, tally)
        except EndedError:
            tally.check_names()
            at = reader.tell()
            return _Ending(
                status=Status.TRUNCATED, reason=f"the file ends after {at} bytes", offset=at
            )
    except ContainerFault as fault:
        return _Ending(status=fault.status, reason=fault.reason, offset=reader.tell())
    except (Corrupt, Unsupported) as fault:
        return _after_error(reader, tally, fault)
    except MemoryError:
        raise
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes must end in a report, bugs included
        bug = Fault(
            Status.UNREADABLE, f"this engine could not read it ({type(error).__name__}: a bug)"
        )
        return _after_error(reader, tally, bug)


def _after_eof(reader: Reader, tally: Tally) -> _Ending:
    """The CRC, and that nothing follows it."""
    ending = _Ending(status=Status.VALID)
    end = reader.tell()
    computed = reader.crc()
    if tally.magic.has_checksum:
        stored = int.from_bytes(reader.read(rdb.CRC_BYTES), "little")
        if stored == 0:
            ending = _Ending(status=Status.VALID, checksum=ChecksumState.DISABLED)
        elif stored != computed:
            tally.check_names()
            return _Ending(
                status=Status.CHECKSUM_MISMATCH,
                reason=f"stored checksum {stored:016x}, computed {computed:016x}",
                offset=end,
                checksum=ChecksumState.MISMATCH,
                crc64=stored,
            )
        else:
            ending = _Ending(status=Status.VALID, checksum=ChecksumState.OK, crc64=stored)
    tally.close()
    end = reader.tell()
    if reader.at_end():
        return ending
    return replace(
        ending,
        status=Status.TRAILING_DATA,
        reason="bytes follow the end of the RDB",
        offset=end,
    )


def _after_error(reader: Reader, tally: Tally, fault: Fault) -> _Ending:
    """The rest is read for the CRC: it tells damage from a file that was written so."""
    offset = tally.at if fault.offset is None else fault.offset
    try:
        computed, last = reader.drain()
    except ContainerFault as broken:
        return _Ending(status=broken.status, reason=broken.reason, offset=offset)
    stored = int.from_bytes(last[-rdb.CRC_BYTES :], "little")
    checksum: ChecksumState | None = None
    if tally.magic.has_checksum and stored:
        if stored != computed:
            return _Ending(
                status=Status.CHECKSUM_MISMATCH,
                reason=f"{fault.reason}; and the checksum does not hold",
                offset=offset,
                checksum=ChecksumState.MISMATCH,
                crc64=stored,
            )
        checksum = ChecksumState.OK
    elif tally.magic.has_checksum and fault.status is not Status.CORRUPT:
        checksum = ChecksumState.DISABLED
    return _Ending(
        status=fault.status,
        reason=fault.reason,
        offset=offset,
        checksum=checksum,
        crc64=stored if checksum is ChecksumState.OK else None,
    )


def _unknown_version(reader: Reader, magic: rdb.Magic) -> _Ending:
    """EOF and CRC have stood at the same place since RDB 5, so they are expected there still."""
    computed, last = reader.drain()
    stored = int.from_bytes(last[-rdb.CRC_BYTES :], "little")
    checksum: ChecksumState | None = None
    crc64: int | None = None
    if len(last) <= rdb.CRC_BYTES or last[0] != _EOF_BYTE:
        found = "and no end of file mark before its checksum"
    elif stored == 0:
        checksum, found = ChecksumState.DISABLED, "its checksum is off, nothing is proven"
    elif stored != computed:
        checksum, crc64, found = ChecksumState.MISMATCH, stored, "its checksum does not hold"
    else:
        checksum, crc64, found = ChecksumState.OK, stored, "checksum proven, content not"
    return _Ending(
        status=Status.UNSUPPORTED_VERSION,
        reason=f"{magic.name} is not a version that this engine knows: {found}",
        offset=0,
        checksum=checksum,
        crc64=crc64,
    )
