"""The checksums a log file may carry, by the number its header names.

CRC-32C is preferred: a binding computes it in hardware. Where that is missing, new files use zlib's CRC-32,
and old ones are read with the table below, slowly but rightly.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

_binding: Callable[[bytes, int], int] | None
try:
    import crc32c

    _binding = crc32c.crc32c
except ImportError:  # pragma: no cover - the wheel is a dependency; see the test of `crc32c_by_table`
    _binding = None

CASTAGNOLI = 0x82F63B78
"""The reversed polynomial of CRC-32C (RFC 3720 appendix B.4)."""


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (CASTAGNOLI if byte & 1 else 0)
        rows.append(byte)
    return tuple(rows)


_ROWS = _table()


def crc32c_by_table(data: bytes, start: int = 0) -> int:
    """CRC-32C of ``data``, continuing from ``start``, without the binding.

    >>> hex(crc32c_by_table(b"123456789"))
    '0xe3069283'
    """
    crc = start ^ 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _ROWS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Checksum(NamedTuple):
    """A 32-bit checksum: ``run(data, start)`` continues one."""

    number: int
    """What file headers call it."""
    name: str
    run: Callable[[bytes, int], int]


CRC32C = Checksum(1, "crc32c", _binding or crc32c_by_table)
CRC32 = Checksum(2, "crc32", zlib.crc32)
CHECKSUMS = {checksum.number: checksum for checksum in (CRC32C, CRC32)}
PREFERRED = CRC32C if _binding else CRC32
