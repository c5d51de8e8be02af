"""The key-value store as its users see it, and what an engine has to offer to be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.io.cooperative import Pace, at_once

BLOCK_CACHE_BYTES = 16 * 2**20
WRITE_BUFFER_BYTES = 4 * 2**20
OPEN_FILES_MAX = 256
BLOOM_BITS_PER_KEY = 10

LAST_KEY = b"\xff" * 32
"""Sorts behind every other key. An iterator that ends without having met it has met damage: LevelDB's iterators skip
a damaged block, and plyvel asks for the reason only while there are more keys."""

Pair = tuple[bytes, bytes]


class KeyValueSnapshot(Protocol):
    """The store as it was at one moment. Any thread may read."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None if absent. Raises `StateStoreCorrupt`."""

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[Pair]:
        """Pairs with start <= key < stop in key order. Raises `StateStoreCorrupt`.

        ``reverse`` reads all of them into memory and gives the last first.
        """

    def close(self) -> None:
        """Release what the snapshot pins; it must not be used afterwards."""


class KeyValueStore(Protocol):
    """An ordered map of bytes on disk."""

    @property
    def engine_name(self) -> str:
        """What keeps it, for people."""

    def get(self, key: bytes) -> bytes | None:
        """Latest value of a key, None if absent. Raises `StateStoreCorrupt`."""

    def snapshot(self) -> KeyValueSnapshot:
        """The store as it is now, unmoved by later writes."""

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """Apply one batch, deletes first; it is durable on return. `StateStoreWriteFailed`: panic."""

    def close(self) -> None:
        """Close the store; snapshots die with it."""


class EngineView(Protocol):
    """What an engine gives for a snapshot. Every read verifies checksums, and raises the engine's errors."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None if absent."""

    def pairs(self, start: bytes) -> AbstractContextManager[Iterator[Pair]]:
        """All pairs from a key on, in key order; damage raises, or ends them before `LAST_KEY`."""

    def close(self) -> None:
        """Release what it pins."""


class Database(Protocol):
    """A database of an engine, open. Any thread may read; every read verifies checksums."""

    def get(self, key: bytes) -> bytes | None:
        """Latest value of a key, None if absent."""

    def view(self) -> EngineView:
        """The database as it is now."""

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace) -> None:
        """Write one batch, deletes first, and sync its log."""

    def tables(self) -> set[str]:
        """Names of the table files of the current version."""

    def close(self) -> None:
        """Close it and free its lock. Views must be closed before."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A library that keeps a `Database` in a directory."""

    name: str
    open: Callable[[Path], Database]
    """Open or create the database in a directory, with every check on."""
    errors: tuple[type[Exception], ...]
    """What its calls raise, `OSError` among it; the text is all that tells one error from another."""
    in_use: str
    """What it says beside the path of LOCK when this process has the database open already."""
