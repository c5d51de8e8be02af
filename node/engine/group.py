"""What the writer hands to the committer at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain.types import Address, Hash32
from node.engine.pool import PoolEntry
from node.engine.requests import Request, Submit


@dataclass(slots=True)
class Group:
    """What one sync will make durable, and who waits for it."""

    lsn: int = 0
    head: int = 0
    position: int = 0
    """Of the newest state (`storage.state.positions`)."""
    senders: set[Address] = field(default_factory=set)
    """Of submissions that no block was sealed for yet."""
    answers: list[tuple[Request, object]] = field(default_factory=list)
    durable: dict[Hash32, list[Submit]] = field(default_factory=dict)
    """Submissions of this group that are answered with the hash, unless the block refuses the transaction."""
    admitted: list[PoolEntry] = field(default_factory=list)
    """What came into the pool."""
    accepted: dict[Hash32, list[Submit]] = field(default_factory=dict)
    """Those that do not even wait for the disk."""
