"""Names in the data directory, and the FORMAT stamp that tells which versions may open it."""

from __future__ import annotations

import json
import zlib
from typing import Any

from storage.errors import DataDirectoryDamaged, StoreTooNew
from storage.fs import FileSystem, write_atomically

LOCK = "LOCK"
FORMAT = "FORMAT"
GENESIS = "genesis.json"
WAL = "wal"
STATE = "state"
INDEX = "index.sqlite"
CACHE = "cache"
QUARANTINE = "quarantine"

VERSION = 1
"""Version of the directory's layout that this program writes."""
READER_MINIMUM = 1
"""Oldest program (by the layout version it writes) that can read what this one writes."""


def write_format(fs: FileSystem) -> None:
    """Stamp a new data directory, durably."""
    stamp = {
        "version": VERSION,
        "readerMinimum": READER_MINIMUM,
        "stores": {"wal": 1, "state": 1, "index": 1},
    }
    write_atomically(fs, FORMAT, json.dumps({**stamp, "crc32": _checksum(stamp)}, indent=1).encode() + b"\n")


def check_format(fs: FileSystem) -> None:
    """Refuse a directory this program cannot read. Raises `StoreTooNew` and `DataDirectoryDamaged`."""
    if not fs.exists(FORMAT):
        if fs.exists(WAL) or fs.exists(STATE):
            raise DataDirectoryDamaged(f"{FORMAT} is missing beside existing data")
        return
    try:
        stamp: dict[str, Any] = json.loads(fs.read_file(FORMAT))
        given = stamp.pop("crc32")
        minimum = int(stamp["readerMinimum"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryDamaged(f"{FORMAT} cannot be read: {error!r}") from None
    if given != _checksum(stamp):
        raise DataDirectoryDamaged(f"{FORMAT} has a wrong checksum")
    if minimum > VERSION:
        raise StoreTooNew(f"the data directory needs layout version {minimum}; this program has {VERSION}")


def _checksum(stamp: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(stamp, sort_keys=True).encode()):08x}"
