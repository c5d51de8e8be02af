"""Logs as native code records them (`vm.evm.layout.LogRecord`), made into objects only when somebody looks."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from chain.receipts import Log
from chain.types import Address, Hash32
from vm.evm.layout import WORD_BYTES, LogRecord

_HEAD: Final = struct.Struct("<QQ16x20s12x")
assert _HEAD.size == LogRecord.FIRST_TOPIC


def _decoded(records: bytes) -> Iterator[Log]:
    at = 0
    while at < len(records):
        topics, size, address = _HEAD.unpack_from(records, at)
        first = at + _HEAD.size
        data = first + WORD_BYTES * topics
        listed = tuple([Hash32(records[i : i + WORD_BYTES]) for i in range(first, data, WORD_BYTES)])
        yield Log(Address(address[::-1]), listed, records[data : data + size])
        at = data + -(-size // WORD_BYTES) * WORD_BYTES


def logs_of(parts: Iterable[Log | bytes]) -> list[Log]:
    """All logs of a journal, whose parts are logs or records of several."""
    logs: list[Log] = []
    for part in parts:
        if isinstance(part, bytes):
            logs += _decoded(part)
        else:
            logs.append(part)
    return logs
