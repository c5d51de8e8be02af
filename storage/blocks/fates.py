"""The fates of transactions that were answered with their hash and are in no block, by hash, stored in the log.

A FATE record names transactions that leave the pool other than into a block. Those of blocks that a revert takes out
need no record: replay takes the same blocks out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from chain.types import Hash32
from storage.errors import CheckpointBroken, InvalidRecord
from storage.io.kv import KeyValueStore
from storage.state.keys import FATE, after_prefix
from storage.wal.records import UNDECODABLE

FATES_MAX = 16_384
"""Most fates that are kept; the oldest are dropped first."""
FATES_AT_ONCE = 128
"""Transactions of one FATE record: it fits into the smallest segment."""
REASON_CHARACTERS_MAX = 200

DROPPED, REPLACED, REVERTED = "dropped", "replaced", "reverted"


class Fate(NamedTuple):
    """Why a transaction is neither waiting nor in a block."""

    kind: str
    """`DROPPED`, `REPLACED` or `REVERTED`."""
    reason: str
    replaced_by: bytes | None = None
    """Hash of the transaction that replaced it."""
    block: int | None = None
    """Number of the block it was in until a revert."""


def dropped(reason: object) -> Fate:
    """The fate of a transaction that no block can contain any more. The reason is cut at `REASON_CHARACTERS_MAX`."""
    return Fate(DROPPED, str(reason)[:REASON_CHARACTERS_MAX])


class _Stored(NamedTuple):
    order: int
    fate: Fate


def encode_fates(fates: Iterable[tuple[Hash32, Fate]]) -> bytes:
    """Payload of a FATE record."""
    return msgspec.msgpack.encode([[transaction_hash, *fate] for transaction_hash, fate in fates])


def decode_fates(payload: bytes) -> list[tuple[Hash32, Fate]]:
    """Decode a FATE record. Raises `InvalidRecord`."""
    try:
        rows = msgspec.msgpack.decode(payload, type=list[tuple[bytes, str, str, bytes | None, int | None]])
    except UNDECODABLE as error:
        raise InvalidRecord(f"not fates of transactions: {error}") from None
    fates = [(Hash32(row[0]), Fate(*row[1:])) for row in rows]
    if any(len(known) != 32 for known, _ in fates) or encode_fates(fates) != payload:
        raise InvalidRecord("fates of transactions: their encoding")
    return fates


class FateShelf:
    """By hash, oldest first. Changed by the writer thread only; `get` is safe on any thread."""

    def __init__(self) -> None:
        self._fates: dict[bytes, _Stored] = {}
        self._changed: set[bytes] = set()
        self._next = 0

    def __len__(self) -> int:
        return len(self._fates)

    def get(self, transaction_hash: Hash32) -> Fate | None:
        """The fate of a transaction, None if unknown."""
        stored = self._fates.get(transaction_hash)
        return stored.fate if stored is not None else None

    def put(self, fates: Iterable[tuple[Hash32, Fate]]) -> None:
        """Add fates, replacing older ones of the same transactions; the oldest above `FATES_MAX` are dropped."""
        for transaction_hash, fate in fates:
            self._fates.pop(transaction_hash, None)
            self._fates[transaction_hash] = _Stored(self._next, fate)
            self._next += 1
            self._changed.add(transaction_hash)
        while len(self._fates) > FATES_MAX:
            oldest = next(iter(self._fates))
            del self._fates[oldest]
            self._changed.add(oldest)

    def take_changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes for a checkpoint's batch."""
        changed, self._changed = sorted(self._changed), set()
        puts = {FATE + key: msgspec.msgpack.encode(self._fates[key]) for key in changed if key in self._fates}
        return puts, [FATE + key for key in changed if key not in self._fates]

    def load(self, kv: KeyValueStore) -> None:
        """Load the fates of the last checkpoint. Raises `CheckpointBroken`."""
        snapshot = kv.snapshot()
        try:
            found = [
                (key[len(FATE) :], msgspec.msgpack.decode(content, type=_Stored))
                for key, content in snapshot.iterate(FATE, after_prefix(FATE))
            ]
        except UNDECODABLE as error:
            raise CheckpointBroken(f"the fate of a transaction: {error}") from None
        finally:
            snapshot.close()
        self._fates = dict(sorted(found, key=lambda item: item[1].order))
        self._next = max((stored.order for stored in self._fates.values()), default=-1) + 1
