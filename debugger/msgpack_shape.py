"""Validates untrusted MessagePack before anything is built from it: nesting, counts, lengths, duplicate keys."""

from __future__ import annotations

from typing import Final

from debugger.errors import SessionFileMalformed, SessionFileTooLarge
from debugger.limits import CALLDATA_BYTES, FILE_DEPTH

ITEMS: Final = 600_000
"""Most values in a section; checking each takes about a microsecond."""

_TEXT_BYTES: Final = 2 * CALLDATA_BYTES + 2
"""Longest text: calldata in hex."""

_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED_SIGNED: Final = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_STRINGS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}


def _count(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise SessionFileMalformed("cut short")
    return int.from_bytes(data[at : at + size], "big")


def _head(data: bytes, at: int) -> tuple[int, int, int, bool]:
    """Of the value at an offset: where its content begins, bytes to skip, values inside, whether it is a map."""
    byte = data[at]
    at += 1
    if byte < 0x80 or byte >= 0xE0:
        return at, 0, 0, False
    if byte < 0x90:
        return at, 0, 2 * (byte & 15), True
    if byte < 0xA0:
        return at, 0, byte & 15, False
    if byte < 0xC0:
        return at, byte & 31, 0, False
    if byte in _FIXED or byte in _FIXED_SIGNED:
        return at, _FIXED.get(byte, 0) + _FIXED_SIGNED.get(byte, 0), 0, False
    for table in (_STRINGS, _ARRAYS, _MAPS):
        if byte in table:
            size = table[byte]
            count = _count(data, at, size)
            if table is _STRINGS:
                return at + size, count, 0, False
            return at + size, 0, 2 * count if table is _MAPS else count, table is _MAPS
    raise SessionFileMalformed(f"type byte {byte:#04x}")


def check_shape(data: bytes) -> None:
    """Raises `SessionFileMalformed` or `SessionFileTooLarge`; reads every value once, without recursion."""
    open_values: list[tuple[int, set[bytes] | None]] = [(1, None)]
    """For each array or map around: values still to come, and the keys of a map."""
    at = items = 0
    while open_values:
        left, keys = open_values.pop()
        if not left:
            continue
        open_values.append((left - 1, keys))
        if at >= len(data):
            raise SessionFileMalformed("cut short")
        items += 1
        if items > ITEMS:
            raise SessionFileTooLarge(f"more than {ITEMS} values")
        start = at
        at, size, inside, is_map = _head(data, at)
        if size > _TEXT_BYTES:
            raise SessionFileTooLarge(f"a string of {size} bytes")
        if size > len(data) - at or inside > len(data) - at:
            raise SessionFileMalformed("longer than the file")
        at += size
        if keys is not None and left % 2 == 0:
            if inside or data[start:at] in keys:
                raise SessionFileMalformed("a key is there twice, or is not a plain value")
            keys.add(data[start:at])
        if inside:
            if len(open_values) >= FILE_DEPTH:
                raise SessionFileTooLarge(f"nested deeper than {FILE_DEPTH}")
            open_values.append((inside, set() if is_map else None))
    if at != len(data):
        raise SessionFileMalformed("bytes after the end")
