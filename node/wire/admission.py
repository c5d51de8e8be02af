"""Admission of QUIC connections: a limited number of places.

All sources are spoofable until a Retry token or a handshake came back from them (`node.doors.rates` limits them).
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from node.wire.limits import WireLimits


class Holder(Protocol):
    """A connection that holds a place."""

    @property
    def address(self) -> str: ...


H = TypeVar("H", bound=Holder)


class Places(Generic[H]):
    """The limits on connections, in total and per address.

    When all places are taken, a newcomer gets that of the oldest peer that has not shown to be a client (said Hello),
    so neither half-open handshakes nor silent peers keep others out; then that of the one idle for the longest, of
    those that say so (`set_busy`).
    """

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._held: dict[H, None] = {}
        self._greeting: dict[H, None] = {}
        """Holders that have not said Hello, oldest first."""
        self._idle: dict[H, None] = {}
        """Others that have nothing to do, the one idle for the longest first."""
        self._half_open: set[H] = set()
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Any:
        return iter(tuple(self._held))

    @property
    def half_open(self) -> int:
        """Number of unfinished handshakes."""
        return len(self._half_open)

    def has_room(self, address: str) -> bool:
        """Whether a newcomer gets a place, free or taken from another."""
        return not self._is_full(address) or self._to_leave(address) is not None

    def to_leave(self, address: str) -> H | None:
        """The holder to evict for a newcomer from ``address``; None if there is room, or if none can be evicted."""
        return self._to_leave(address) if self._is_full(address) else None

    def take(self, holder: H) -> None:
        """Give the newcomer its place."""
        self._held[holder] = self._greeting[holder] = None
        self._half_open.add(holder)
        self._of_address[holder.address] += 1

    def proved(self, holder: H) -> None:
        """Its handshake is finished."""
        self._half_open.discard(holder)

    def greeted(self, holder: H) -> None:
        """It said Hello: it keeps its place until it ends or is idle."""
        self._greeting.pop(holder, None)

    def set_busy(self, holder: H, is_busy: bool) -> None:
        """Whether it has work under way. Only for one that has said Hello; who never calls this is never idle."""
        self._idle.pop(holder, None)
        if not is_busy and holder in self._held:
            self._idle[holder] = None

    def release(self, holder: H) -> None:
        """It ended. Idempotent."""
        if holder not in self._held:
            return
        del self._held[holder]
        self._greeting.pop(holder, None)
        self._idle.pop(holder, None)
        self._half_open.discard(holder)
        self._of_address[holder.address] -= 1
        if not self._of_address[holder.address]:
            del self._of_address[holder.address]

    def _is_full(self, address: str) -> bool:
        return len(self._held) >= self._limits.connections_max or self._address_is_full(address)

    def _address_is_full(self, address: str) -> bool:
        return self._of_address[address] >= self._limits.connections_per_address_max

    def _to_leave(self, address: str) -> H | None:
        only_its_own = self._address_is_full(address)
        candidates = chain(self._greeting, self._idle)
        return next((held for held in candidates if not only_its_own or held.address == address), None)
