"""Small files of two lines, canonical JSON and its CRC-32 in hex: readable for people, and damage is detected."""

from __future__ import annotations

import json
import zlib
from typing import Any

MAX_BYTES = 64 * 1024


def encode_checked(document: object) -> bytes:
    """Both lines.

    >>> encode_checked({"a": 1})
    b'{"a":1}\\n561bacaf\\n'
    """
    line = json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
    return line + f"\n{zlib.crc32(line):08x}\n".encode("ascii")


def decode_checked(data: bytes) -> Any:
    """Decode such a file. Raises `ValueError`."""
    line, _, check = data.partition(b"\n")
    if len(data) > MAX_BYTES or check != f"{zlib.crc32(line):08x}\n".encode("ascii"):
        raise ValueError("wrong checksum")
    return json.loads(line)
