"""Logs as native code records them (`vm.evm.layout.LogRecord`), made into objects only when somebody looks."""

from __future__ import annotations

import struct
from typing import Final

from chain.receipts import Log
from chain.types import Address, Hash32
from vm.evm.layout import WORD_BYTES, LogRecord

_HEAD: Final = struct.Struct("<QQ16x20s12x")
assert _HEAD.size == LogRecord.FIRST_TOPIC


class NativeLogs:
    """Implements `vm.journal.RecordedLogs` over the bytes of log records."""

    __slots__ = ("_records",)

    def __init__(self, records: bytes) -> None:
        self._records = records

    @property
    def held_bytes(self) -> int:
        return len(self._records)

    def logs(self) -> list[Log]:
        records, at, found = self._records, 0, []
        while at < len(records):
            topics, size, address = _HEAD.unpack_from(records, at)
            first = at + _HEAD.size
            data = first + WORD_BYTES * topics
            listed = tuple([Hash32(records[i : i + WORD_BYTES]) for i in range(first, data, WORD_BYTES)])
            found.append(Log(Address(address[::-1]), listed, records[data : data + size]))
            at = data + -(-size // WORD_BYTES) * WORD_BYTES
        return found
