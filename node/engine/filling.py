"""Fills a block from the pool, for the writer and for the pending block alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chain.errors import BlobFeeTooLow, FeeTooLow, NonceTooHigh
from chain.forks import LATEST_FORK
from chain.gas_schedule import SCHEDULES
from node.engine.executor import BlockBuilder
from node.engine.pool import PooledTransaction
from storage.errors import StorageError
from vm.interruption import checkpoint

GAS_MIN = SCHEDULES[LATEST_FORK].transaction
"""A block with less gas left is full."""
NOT_YET = (NonceTooHigh, FeeTooLow, BlobFeeTooLow)
"""Errors after which a transaction stays in the pool; any other is final."""


def fill(
    builder: BlockBuilder,
    entries: Iterable[PooledTransaction],
    take: Callable[[PooledTransaction], None],
    refuse: Callable[[PooledTransaction, Exception], None],
) -> None:
    """Execute the entries that fit, in their order.

    ``take`` is called for each one that is in the block, ``refuse`` for each one that can never be, with the reason: an
    `InvalidTransaction`, or the exception of a bug. Both have to remove the entry from the pool that ``entries`` comes
    from. A `StorageError` leaves the function, and so does what a reader's thread is interrupted with.
    """
    for entry in entries:
        checkpoint()
        if builder.gas_left < GAS_MIN:
            break
        if not builder.has_room(entry.transaction):
            continue
        try:
            builder.add(entry.transaction, entry.sender, entry.raw, entry.checked)
        except NOT_YET:
            continue
        except StorageError:
            raise
        except Exception as error:
            refuse(entry, error)
        else:
            take(entry)
