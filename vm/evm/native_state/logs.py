"""Logs as native code records them (`vm.evm.layout.LogRecord`), made into objects only when somebody looks."""

from __future__ import annotations

import struct
from typing import Final

from chain.receipts import Log, LogRow
from chain.types import Address, Hash32
from vm.evm.layout import WORD_BYTES, LogRecord

_HEAD: Final = struct.Struct("<QQ16x20s12x")
assert _HEAD.size == LogRecord.FIRST_TOPIC


class NativeLogs:
    """Implements `chain.receipts.RecordedLogs` over the bytes of log records."""

    __slots__ = ("_records", "_rows")

    def __init__(self, records: bytes) -> None:
        self._records = records
        self._rows: list[LogRow] | None = None

    @property
    def held_bytes(self) -> int:
        return len(self._records)

    def rows(self) -> list[LogRow]:
        if self._rows is None:
            self._rows = _rows_of(self._records)
        return self._rows

    def logs(self) -> list[Log]:
        return [Log(Address(address), tuple(map(Hash32, topics)), data) for address, topics, data in self.rows()]


def _rows_of(records: bytes) -> list[LogRow]:
    at = 0
    found: list[LogRow] = []
    while at < len(records):
        count, size, address = _HEAD.unpack_from(records, at)
        first = at + _HEAD.size
        data = first + WORD_BYTES * count
        topics = [records[i : i + WORD_BYTES] for i in range(first, data, WORD_BYTES)]
        found.append((address[::-1], topics, records[data : data + size]))
        at = data + -(-size // WORD_BYTES) * WORD_BYTES
    return found
