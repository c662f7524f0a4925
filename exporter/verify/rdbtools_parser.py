"""rdbtools' parser, taught everything since RDB 10, and to believe nothing.

Knows: the order of records, the layout of values, where the magic decides between two meanings of
a number. Refuses to know: counts and judgements (``tally``), the inside of blobs (``encodings``).
The library gives the frame, the plain collections and the module names; it reads RDB 1-9 and
verifies nothing, so lengths, strings, LZF, blobs and the record loop are replaced here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from exporter.model import Dialect
from exporter.verify import rdb
from exporter.verify.encodings import (
    Entry,
    intset,
    listpack,
    lzf_check_lengths,
    lzf_unpack,
    lzf_walk,
    ziplist,
    zipmap,
)
from exporter.verify.faults import Corrupt, Unsupported
from exporter.verify.hashes import (
    Templates,
    read_hash2,
    read_hash_listpack_ttl,
    read_hash_ttl,
)
from exporter.verify.rdbtools_library import RdbParser
from exporter.verify.source import Reader
from exporter.verify.streams import STREAM_TYPES, read_stream
from exporter.verify.tally import Tally, number_at_start, number_of

_ENCODED = 3
_LZF = 3
_LENGTH_ERROR = 2**64 - 1
"""RDB_LENERR: servers take this length for a failed read."""
_UNPACK_MAX_BYTES = 64 << 20
"""A packed string that nobody looks into is walked, not unpacked, beyond this."""
_PLAIN_NODE, _PACKED_NODE = 1, 2
_SLOT_JOB_BYTES = 40
_MODULE_AUX_WHEN = 2
_ARRAY_STRING, _ARRAY_INTEGER, _ARRAY_DOUBLE, _ARRAY_SHORT_STRING = range(4)
_PLAIN_COLLECTIONS = (1, 2, 3, 4, 5)


class Parser(RdbParser):  # type: ignore[misc]  # the library is untyped
    """Reads the records behind the magic up to and including EOF."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._tally = tally
        self._dialect = tally.magic.dialect
        self._templates = Templates(self, tally)
        self._expires = False
        self._dangling = False
        """An expiry, idle time or frequency waits for its key."""
        self._meta = False
        self._newer = {
            number
            for number, (_, since) in rdb.TYPES[self._dialect].items()
            if since > tally.magic.version
        }
        self._values = self._value_table()
        self._records = self._record_table()

    def _value_table(self) -> dict[int, Callable[[Reader], object]]:
        table: dict[int, Callable[[Reader], object]] = {
            0: self.skip_string,
            7: self._read_module_value,
            9: self._read_zipmap,
            10: self._read_list_ziplist,
            11: self._read_intset,
            12: partial(self._read_small_zset, unpack=ziplist),
            13: partial(self._read_small_hash, unpack=ziplist),
            14: self._read_quicklist,
            16: partial(self._read_small_hash, unpack=listpack),
            17: partial(self._read_small_zset, unpack=listpack),
            18: self._read_quicklist2,
            20: self._read_set_listpack,
        }
        if self._dialect is Dialect.VALKEY:
            table[22] = partial(read_hash2, self, tally=self._tally)
        else:
            table |= {
                28: self._read_array,
                29: self._templates.read_named_listpack,
                30: self._templates.read_listpack,
                31: self._templates.read_named_strings,
                32: self._templates.read_strings,
            }
            for kind, read, released in (
                (22, read_hash_ttl, False),
                (23, read_hash_listpack_ttl, False),
                (24, read_hash_ttl, True),
                (25, read_hash_listpack_ttl, True),
            ):
                table[kind] = partial(read, self, tally=self._tally, released=released)
        table |= {kind: partial(self.read_object, enc_type=kind) for kind in _PLAIN_COLLECTIONS}
        known = rdb.TYPES[self._dialect]
        table |= {
            kind: partial(read_stream, self, kind=kind, tally=self._tally)
            for kind in STREAM_TYPES
            if kind in known
        }
        return table

    def _record_table(self) -> dict[int, Callable[[Reader], object]]:
        table: dict[int, Callable[[Reader], object]] = {
            rdb.EXPIRETIME_MS: self._read_expiry_ms,
            rdb.EXPIRETIME: self._read_expiry,
            rdb.IDLE: self._read_idle,
            rdb.FREQ: self._read_frequency,
            rdb.SLOT_INFO: self._read_slot_info,
            rdb.FUNCTION2: self._read_function,
            rdb.MODULE_AUX: self._read_module_aux,
            rdb.AUX: self._read_aux,
            rdb.RESIZEDB: self._read_resizedb,
            rdb.SELECTDB: self._read_selectdb,
        }
        if self._dialect is Dialect.VALKEY:
            table[rdb.SLOT_IMPORT] = self._read_slot_import
        else:
            table[rdb.KEY_META] = self._read_key_meta
            table[rdb.HASH_TEMPLATE] = self._templates.read
        return table

    # The record loop

    def parse_fd(self, fd: Reader) -> None:
        """From the first record to EOF; raises Fault or EndedError, with the position left there.

        An expiry and the like stay set until a key takes them, as in a server.
        """
        tally, values, newer, records = self._tally, self._values, self._newer, self._records
        since = rdb.OPCODES[self._dialect]
        while True:
            tally.at = fd.base + fd.pos
            number = fd.byte()
            read = values.get(number)
            if read is not None:
                if number in newer:
                    tally.find("newer_than_version")
                tally.start_key(self.read_string(fd))
                read(fd)
                tally.end_key(number, expires=self._expires)
                self._expires = self._dangling = self._meta = False
                continue
            if since.get(number, 0) > tally.magic.version:
                tally.find("newer_than_version")
            if number == rdb.EOF:
                return self._end()
            record = records.get(number)
            if record is None:
                raise Unsupported(_unknown(number))
            record(fd)

    def _end(self) -> None:
        if self._meta:
            raise Corrupt("metadata of a key stands before the end, with no key after it")
        if self._dangling:
            self._tally.find("dangling_key_attribute")

    def _read_expiry_ms(self, f: Reader) -> None:
        # -1 is how servers say "none"; any other negative time has passed.
        self._expires = int.from_bytes(f.read(8), "little", signed=True) != -1
        self._dangling = True

    def _read_expiry(self, f: Reader) -> None:
        f.skip(4)
        self._expires = self._dangling = True

    def _read_idle(self, f: Reader) -> None:
        self.read_length(f)
        self._dangling = True

    def _read_frequency(self, f: Reader) -> None:
        f.skip(1)
        self._dangling = True

    def _read_aux(self, f: Reader) -> None:
        self._tally.aux_field(self.read_string(f), self.read_string(f))

    def _read_selectdb(self, f: Reader) -> None:
        self._tally.start_database(self.read_length(f))

    def _read_resizedb(self, f: Reader) -> None:
        self._tally.db_size(self.read_length(f), self.read_length(f))

    def _read_function(self, f: Reader) -> None:
        self.skip_string(f)
        self._tally.functions += 1

    def _read_slot_info(self, f: Reader) -> None:
        self._tally.slot_info(self.read_number(f))
        self.read_number(f)
        self.read_number(f)

    def _read_slot_import(self, f: Reader) -> None:
        if len(self.read_string(f)) != _SLOT_JOB_BYTES:
            raise Corrupt("SLOT_IMPORT has a job name of the wrong length")
        for _ in range(self.read_length(f)):
            self._tally.slots(self.read_length(f), self.read_length(f))
        self._tally.cluster = True

    # Lengths and strings

    def read_length_with_encoding(self, f: Reader) -> tuple[int, bool]:
        first = f.byte()
        form = first >> 6
        if form == 0:
            return first, False
        if form == 1:
            return (first & 0x3F) << 8 | f.byte(), False
        if form == _ENCODED:
            return first & 0x3F, True
        if first == 0x80:
            return int.from_bytes(f.read(4), "big"), False
        if first == 0x81:
            return int.from_bytes(f.read(8), "big"), False
        raise Corrupt(f"a length has the reserved form 0x{first:02x}")

    def read_number(self, f: Reader) -> int:
        """A number in the form of a length; all 64 bits may be set."""
        value, encoded = self.read_length_with_encoding(f)
        if encoded:
            raise Corrupt("a number has the form of an encoded string")
        return value

    def read_length(self, f: Reader) -> int:
        value = self.read_number(f)
        if value == _LENGTH_ERROR:
            raise Corrupt("a length is 2^64-1")
        return value

    def read_string(self, f: Reader) -> bytes:
        """The string's bytes, also of one that is stored as an integer."""
        pos = f.pos
        if pos < f.end:  # the common case, without a call
            first = f.buf[pos]
            stop = pos + 1 + first
            if first < 64 and stop <= f.end:
                f.pos = stop
                return f.buf[pos + 1 : stop]
        size, encoded = self.read_length_with_encoding(f)
        if not encoded:
            return f.read(size)
        if size == _LZF:
            packed, size = self._packed_lengths(f)
            return lzf_unpack(f.read(packed), size)
        return b"%d" % int.from_bytes(f.read(_integer_width(size)), "little", signed=True)

    def skip_string(self, f: Reader) -> None:
        """Proves a string that nobody looks into."""
        size, encoded = self.read_length_with_encoding(f)
        if not encoded:
            f.skip(size)
        elif size == _LZF:
            packed, size = self._packed_lengths(f)
            (lzf_unpack if size <= _UNPACK_MAX_BYTES else lzf_walk)(f.read(packed), size)
        else:
            f.skip(_integer_width(size))

    def _packed_lengths(self, f: Reader) -> tuple[int, int]:
        packed, size = self.read_length(f), self.read_length(f)
        lzf_check_lengths(packed, size)
        if packed == 0 and self._tally.magic.version < 9:
            raise Corrupt("an LZF string has no packed bytes")
        return packed, size

    def read_float(self, f: Reader) -> float:
        """A score as text (type 3); NaN and what is no number at all are refused by the tally."""
        size = f.byte()
        if size >= 253:
            return {253: float("nan"), 254: float("inf"), 255: float("-inf")}[size]
        text = f.read(size)
        value = number_of(text)
        if value is None or b"x" in text.lower():
            value = number_at_start(text)
            if value is None:
                raise Corrupt("a zset's score is no number")
            self._tally.find("score_text")
        return value

    # Values that are one blob, or several

    def _read_zipmap(self, f: Reader) -> None:
        self._tally.small("hash", list(zipmap(self.read_string(f))[::2]))

    def _read_intset(self, f: Reader) -> None:
        intset(self.read_string(f))

    def _read_set_listpack(self, f: Reader) -> None:
        self._tally.small("set", listpack(self.read_string(f)))

    def _read_list_ziplist(self, f: Reader) -> None:
        if not ziplist(self.read_string(f)):
            self._tally.find("empty_collection")

    def _read_small_hash(self, f: Reader, unpack: Callable[[bytes], list[Entry]]) -> None:
        entries = unpack(self.read_string(f))
        if len(entries) % 2:
            raise Corrupt("a hash's last field has no value")
        self._tally.small("hash", entries[::2])

    def _read_small_zset(self, f: Reader, unpack: Callable[[bytes], list[Entry]]) -> None:
        entries = unpack(self.read_string(f))
        if len(entries) % 2:
            raise Corrupt("a zset's last member has no score")
        self._tally.small_zset(entries[::2], entries[1::2], listpack=unpack is listpack)

    def _read_quicklist(self, f: Reader) -> None:
        nodes = self.read_length(f)
        self._end_nodes(nodes, sum(1 for _ in range(nodes) if not ziplist(self.read_string(f))))

    def _read_quicklist2(self, f: Reader) -> None:
        nodes = self.read_length(f)
        empty = 0
        for _ in range(nodes):
            container = self.read_length(f)
            if container == _PACKED_NODE:
                empty += not listpack(self.read_string(f))
            elif container != _PLAIN_NODE:
                raise Corrupt("a list node is in an unknown container")
            elif not self.read_string(f):
                raise Corrupt("a plain list node is empty")
        self._end_nodes(nodes, empty)

    def _end_nodes(self, nodes: int, empty: int) -> None:
        if empty == nodes:
            self._tally.find("empty_collection")
        elif empty:
            self._tally.find("empty_list_node")

    # Arrays

    def _read_array(self, f: Reader) -> None:
        """Redis 8.8: {index, tag, value} by ascending index."""
        count, flag = self.read_length(f), self.read_length(f)
        if count == 0 or flag > 1:
            raise Corrupt("an array is empty, or its flag is unknown")
        if flag:
            self.read_number(f)
        last = -1
        for _ in range(count):
            index = self.read_length(f)
            if index <= last:
                raise Corrupt("an array's indexes do not ascend")
            last = index
            self._read_array_value(f, self.read_length(f))

    def _read_array_value(self, f: Reader, tag: int) -> None:
        if tag == _ARRAY_STRING:
            self.skip_string(f)
        elif tag in (_ARRAY_INTEGER, _ARRAY_DOUBLE):
            f.skip(struct.calcsize("<q"))
        elif tag != _ARRAY_SHORT_STRING:
            raise Corrupt("an array's value has an unknown tag")
        elif len(self.read_string(f)) > 7:
            raise Corrupt("an array's short string is too long")

    # Modules

    def _read_module_value(self, f: Reader) -> None:
        self._need_module(f)
        self._skip_module_data(f)

    def _read_module_aux(self, f: Reader) -> None:
        self._need_module(f)
        if self.read_length(f) != _MODULE_AUX_WHEN:
            raise Corrupt("a module's AUX record does not say when it is due")
        self.read_length(f)
        self._skip_module_data(f)

    def _read_key_meta(self, f: Reader) -> None:
        """Redis 8.6: classes that no module provides are dropped at load, so nothing is needed."""
        for _ in range(self.read_length(f)):
            f.skip(4)
            self._skip_module_data(f)
        self._meta = True

    def _need_module(self, f: Reader) -> None:
        self._tally.modules.add(self._decode_module_id(self.read_number(f)))

    def _skip_module_data(self, f: Reader) -> None:
        while True:
            opcode = self.read_length(f)
            if opcode == 0:
                return
            if opcode in (1, 2):
                self.read_number(f)
            elif opcode in (3, 4):
                f.skip(4 * (opcode - 2))
            elif opcode == 5:
                self.skip_string(f)
            else:
                raise Corrupt("module data has an unknown opcode")


def _integer_width(encoding: int) -> int:
    if encoding > 2:
        raise Corrupt(f"a string has the unknown encoding {encoding}")
    return 1 << encoding


def _unknown(number: int) -> str:
    known = rdb.UNKNOWABLE_TYPES.get(number) or rdb.UNKNOWABLE_OPCODES.get(number)
    return f"{known or f'opcode or type {number}'}: not known to this engine"
