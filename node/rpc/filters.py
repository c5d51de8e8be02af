"""Polling filters (``eth_newFilter`` and kin): a position in the chain per filter, no queue.

A filter remembers what was answered last, and each poll reads the chain from there, so it costs nothing
between polls and cannot overflow. Filters not polled for a while are dropped.

When there is no room for a new one, the caller with the most filters makes room: a token, an address of another
machine, or what this machine's programs or its pages have together. There the connection with the most does, of those
that stay; HTTP has none that lasts, so all requests over HTTP count as one. Of its filters the oldest that was never
polled goes, or else the one not polled for the longest time: clients that poll keep theirs beside one that installs
filters without end. Whoever knows a filter's id may poll it, by any way.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chain.types import Hash32
from node.rpc.caller import Caller
from node.rpc.errors import UnknownFilter
from storage.blocks.logs import LogQuery

FilterKind = Literal["logs", "blocks", "pending"]


class Owner(NamedTuple):
    """Who has installed a filter."""

    group: str
    """The caller."""
    connection: int | None
    """Its connection, if that stays."""


def owner_of(caller: Caller) -> Owner:
    """As whose a caller's filters are counted."""
    return Owner(caller.shared_by or caller.name, caller.connection)


@dataclass(slots=True)
class Filter:
    """One installed filter."""

    kind: FilterKind
    next_block: int
    """First block not yet reported."""
    owner: Owner
    query: LogQuery | None = None
    to_block: int | None = None
    """Last block of interest; None follows the head."""
    seen: frozenset[Hash32] = frozenset()
    """Pending transactions already reported."""
    rewinds: int = 0
    """Number of rewinds of the chain up to the last poll."""
    polled_at: float = 0.0
    is_polled: bool = False
    """Whether it has been polled or its logs requested."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def unreported(self, mined: list[Hash32], waiting: list[Hash32]) -> list[Hash32]:
        """The transactions to report in this poll, of those mined since the last one and those waiting now."""
        fresh = [digest for digest in mined + waiting if digest not in self.seen]
        self.seen = frozenset(waiting)
        return fresh

    def polled(self, next_block: int, rewinds: int) -> None:
        """Blocks below ``next_block`` of the chain after ``rewinds`` rewinds have been reported."""
        self.next_block, self.rewinds = next_block, rewinds


class FilterStore:
    """All filters of the node, with a limit on their number and on the seconds between polls."""

    def __init__(self, size_max: int, idle_max_s: float) -> None:
        self._size_max = size_max
        self._idle_max_s = idle_max_s
        self._filters: dict[int, Filter] = {}
        self._lock = threading.Lock()

    def add(self, new: Filter, now: float) -> int:
        """Install a filter and return its id; an older one may be dropped for it."""
        with self._lock:
            for key in [k for k, f in self._filters.items() if now - f.polled_at > self._idle_max_s]:
                del self._filters[key]
            if len(self._filters) >= self._size_max:
                del self._filters[self._least_useful()]
            new.polled_at = now
            key = secrets.randbits(63)
            self._filters[key] = new
            return key

    def __len__(self) -> int:
        return len(self._filters)

    def _least_useful(self) -> int:
        """The one that makes room."""
        groups = Counter(found.owner.group for found in self._filters.values())
        largest = max(groups, key=groups.__getitem__)
        owners = Counter(found.owner for found in self._filters.values() if found.owner.group == largest)
        owner = max(owners, key=owners.__getitem__)
        return min((key for key, found in self._filters.items() if found.owner == owner), key=self._usefulness)

    def _usefulness(self, key: int) -> tuple[bool, float]:
        found = self._filters[key]
        return found.is_polled, found.polled_at

    def get(self, key: int, now: float) -> Filter:
        """The filter, marked as used. Raises `UnknownFilter`."""
        with self._lock:
            found = self._filters.get(key)
            if found is None or now - found.polled_at > self._idle_max_s:
                self._filters.pop(key, None)
                raise UnknownFilter(f"no filter {key:#x}")
            found.polled_at, found.is_polled = now, True
            return found

    def remove(self, key: int) -> bool:
        """Remove the filter; returns whether it existed."""
        with self._lock:
            return self._filters.pop(key, None) is not None
