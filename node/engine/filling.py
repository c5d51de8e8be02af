"""Fills a block from the pool: what is taken, what goes on waiting, and what is refused for good."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from chain.errors import BlobFeeTooLow, FeeTooLow, InvalidTransaction, NonceTooHigh
from node.engine.executor import BlockBuilder, Candidate
from node.engine.pool import Pool, PoolEntry
from node.errors import ExecutionFault
from storage.errors import StorageError

log = structlog.get_logger(__name__)

GAS_MIN = 21_000
"""A block with less gas left takes nothing more."""
NOT_YET = (NonceTooHigh, FeeTooLow, BlobFeeTooLow)
"""Reasons for which a transaction goes on waiting, as one behind a dropped one does; the others are for ever."""


def fill(
    builder: BlockBuilder, pool: Pool, entries: Iterable[PoolEntry]
) -> tuple[list[PoolEntry], list[tuple[PoolEntry, InvalidTransaction]]]:
    """Execute what the pool offers, best first; what the block took, and what no block can take. Both left the pool.

    Raises `StorageError`.
    """
    taken: list[PoolEntry] = []
    refused: list[tuple[PoolEntry, InvalidTransaction]] = []
    faults = 0
    for entry in entries:
        if builder.gas_left < GAS_MIN:
            break
        if not builder.has_room(entry.transaction):
            continue
        try:
            builder.add(Candidate(entry.transaction, entry.sender, entry.raw))
            pool.take(entry)
            taken.append(entry)
        except NOT_YET:
            continue
        except InvalidTransaction as error:
            refused.append((entry, error))
            pool.remove(entry)
        except StorageError:
            raise
        except Exception as error:  # a bug in executing this one; it changed nothing, the block goes on
            faults += 1
            if faults == 1:  # one traceback a block
                log.exception("execution fault", transaction=entry.transaction.hash.hex())
            refused.append((entry, ExecutionFault(f"{type(error).__name__} while executing")))
            pool.remove(entry)
    if faults > 1:
        log.error("execution faults while sealing a block", transactions=faults)
    return taken, refused
