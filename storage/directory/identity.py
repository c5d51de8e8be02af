"""The genesis.json of a data directory, with a checksum, because the genesis hash does not cover fork times."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chain.errors import InvalidGenesis
from chain.genesis import Genesis
from storage.directory.layout import GENESIS, WAL
from storage.errors import DataDirectoryDamaged
from storage.io.atomic import write_atomically
from storage.io.checksum import CRC32
from storage.io.failpoints import reach
from storage.io.failures import reading
from storage.io.files import FileSystem

CHECKSUM = "crc32"
"""Key of the checksum over all other members as they are written. Older files have none."""


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii")


def _checksum(document: dict[str, Any]) -> str:
    return f"0x{CRC32.run(_encode(document), 0):08x}"


def read_genesis(fs: FileSystem) -> Genesis | None:
    """The genesis that a data directory began with, None if it is new.

    Raises `DataDirectoryDamaged` if the file is damaged, or missing beside a log; `StorageUnreadable`.
    """
    with reading(GENESIS):
        data = fs.read_file(GENESIS) if fs.exists(GENESIS) else None
        begun = data is None and fs.exists(WAL)
    if data is None:
        if begun:
            raise DataDirectoryDamaged(f"{GENESIS} is missing, but {WAL} is there")
        return None
    try:
        document = json.loads(data)
        checksum = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
        genesis = Genesis.from_json(document)
    except (ValueError, RecursionError, InvalidGenesis) as error:
        raise DataDirectoryDamaged(f"{GENESIS}: {error}") from None
    if checksum is not None and checksum != _checksum(document):
        raise DataDirectoryDamaged(f"{GENESIS} has a wrong checksum")
    return genesis


def open_genesis(fs: FileSystem, decide: Callable[[Genesis | None], Genesis]) -> Genesis:
    """The genesis that ``decide`` returns for the stored one, None in a new directory, where the result is stored.

    Raises what ``decide`` raises to refuse the directory, and as `read_genesis` and `write_genesis`.
    """
    stored = read_genesis(fs)
    genesis = decide(stored)
    if stored is None:
        reach("open.genesis.file")
        write_genesis(fs, genesis)
    return genesis


def write_genesis(fs: FileSystem, genesis: Genesis) -> None:
    """Store the genesis of a new chain in one durable step. Raises `StorageFull`, `StoragePanic`."""
    document = genesis.to_json()
    write_atomically(fs, GENESIS, [_encode({**document, CHECKSUM: _checksum(document)})])
