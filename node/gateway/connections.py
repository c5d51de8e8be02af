"""Which connections there are: how many in all and of one address, whose time is up, and who makes room for others."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from ipaddress import ip_address
from typing import Protocol

from node.doors.rule import loopback
from node.gateway.limits import HttpLimits


class Member(Protocol):
    """A connection, as far as the table knows it."""

    @property
    def address(self) -> str | None:
        """The peer's IP address."""

    @property
    def standing(self) -> float:
        """What speaks for its place: the connection with the least makes room. Infinity while work is under way."""

    def look(self, now: float) -> None:
        """Act if its time is up."""

    def make_room(self) -> None:
        """Close; another connection needs the place."""

    def stop(self) -> None:
        """Close when what is under way is answered."""

    def end(self) -> None:
        """Tell what is under way that the node stops, and close."""

    def abort(self) -> None:
        """Close at once."""


class Place(Enum):
    """What a new connection gets."""

    SERVED = auto()
    SURPLUS = auto()
    """A connection that is only answered that all are in use."""
    NONE = auto()


class ConnectionTable:
    """The connections of one listener. Event loop only."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._members: dict[Member, Place] = {}
        self._count: Counter[Place | str | None] = Counter()
        """Members with a place of each kind, and served ones of each address."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._emptied = asyncio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as are served."""
        return self._count[Place.SERVED] >= self._limits.connections_max

    def enter(self, member: Member) -> Place:
        """Give a new connection a place, for which the one with the least standing may have to leave."""
        place = Place.SERVED if self._find_room(member.address) else Place.SURPLUS
        if self._is_stopping or (place is Place.SURPLUS and self._count[place] >= self._limits.surplus_max):
            return Place.NONE
        self._members[member] = place
        self._count.update(_counted(member, place))
        self._emptied.clear()
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.look_every_s, self._look)
        return place

    def leave(self, member: Member) -> None:
        """It is closed. May be called again."""
        place = self._members.pop(member, None)
        if place is None:
            return
        for counted in _counted(member, place):
            self._count[counted] -= 1
            if not self._count[counted]:
                del self._count[counted]
        if not self._members:
            self._emptied.set()

    async def close(self) -> None:
        """Let requests be answered for `stop_s`, tell the others that the node stops, then close all."""
        self._is_stopping = True
        for action, seconds in (
            (_stop, self._limits.stop_s),
            (_end, self._limits.linger_s),
            (_abort, self._limits.linger_s),
        ):
            for member in tuple(self._members):
                action(member)
            try:
                await asyncio.wait_for(self._emptied.wait(), seconds)
            except TimeoutError:
                continue
            break
        if self._timer is not None:
            self._timer.cancel()

    def _find_room(self, address: str | None) -> bool:
        """Whether one more can be served, perhaps in another's place."""
        limits = self._limits
        if not _is_near(address) and self._count[address] >= limits.connections_per_address_max:
            return self._evict(lambda member: member.address == address)
        return not self.is_full or self._evict(lambda _: True)

    def _evict(self, candidate: Callable[[Member], bool]) -> bool:
        """Close the connection with the least standing, if one may be closed; whether it was."""
        served = (member for member, place in self._members.items() if place is Place.SERVED and candidate(member))
        least = min(served, key=lambda member: member.standing, default=None)
        if least is None or least.standing == math.inf:
            return False
        least.make_room()
        self.leave(least)
        return True

    def _look(self) -> None:
        now = self._loop.time()
        for member in tuple(self._members):
            member.look(now)
        self._timer = self._loop.call_later(self._limits.look_every_s, self._look) if self._members else None


def _stop(member: Member) -> None:
    member.stop()


def _end(member: Member) -> None:
    member.end()


def _abort(member: Member) -> None:
    member.abort()


def _counted(member: Member, place: Place) -> tuple[Place | str | None, ...]:
    return (place, member.address) if place is Place.SERVED else (place,)


def _is_near(address: str | None) -> bool:
    """Whether all clients of this machine have the address: they share the places."""
    return address is None or loopback(ip_address(address.partition("%")[0]))
