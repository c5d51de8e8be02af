"""Keeps the disk from running full: watches its free space, and keeps a ballast file that can be released.

Below the low mark people are warned; below the lower one the node becomes read-only while there is still room to write
down what it has, and it goes on by itself once there is more than it needed to stop. ``statvfs`` does not see
quotas; for them there is the ballast, which a failed write gives back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from storage.errors import StorageFull
from storage.io.failpoints import reach
from storage.io.failures import NO_SPACE
from storage.io.files import FileSystem

log = structlog.get_logger(__name__)

MIB = 2**20
BALLAST = "ballast"
"""Path of the file, in the data directory."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Thresholds of free space on the data directory's disk, bytes."""

    warn: int = 2048 * MIB
    read_only: int = 512 * MIB
    ballast: int = 64 * MIB

    @property
    def resume(self) -> int:
        """Writing goes on above this: enough to take the ballast back without stopping again."""
        return self.read_only + 2 * self.ballast


class Room(Enum):
    """Free space relative to the thresholds."""

    ENOUGH = "enough"
    LOW = "low"
    NONE = "none"


class SpaceWatch:
    """Watches the free space of one disk. One thread at a time."""

    def __init__(self, fs: FileSystem, marks: Marks) -> None:
        self._fs = fs
        self._marks = marks
        self.room = Room.ENOUGH
        self.free = fs.free_bytes()
        """Free bytes at the last check."""
        self.full: set[str] = set()
        """Stores whose last write failed for lack of space, whatever the file system reports as free."""

    def look(self) -> Room:
        """Measure. Without room the ballast is given back; with enough of it, it is taken again."""
        self.free = free = self._fs.free_bytes()
        marks = self._marks
        stop = marks.resume if self.room is Room.NONE else marks.read_only
        if free < stop or self.full:
            self.room = Room.NONE
            self.give_back()
        else:
            self.room = Room.LOW if free < marks.warn else Room.ENOUGH
            if free - marks.ballast >= marks.resume:
                self._take()
        return self.room

    def give_back_quietly(self) -> None:
        """Release the ballast where nothing may be raised: other disk errors show elsewhere."""
        with suppress(OSError):
            self.give_back()

    def status(self) -> dict[str, Any]:
        """For ``zvmd status``."""
        return {"room": self.room.value, "freeBytes": self.free, "full": sorted(self.full)}

    def attempt(self, store: str, work: Callable[[], str]) -> str:
        """Write into a store; one that finds no room stays `full` until a later attempt succeeds."""
        try:
            said = work()
        except StorageFull as error:
            if store not in self.full:
                log.error("no room on disk: read-only until there is", store=store, error=str(error))
            self.full.add(store)
            return f"no room: {error}"
        if store in self.full:
            self.full.discard(store)
            log.info("there was room again", store=store)
        return said

    def give_back(self) -> bool:
        """Release the ballast; returns whether there was any."""
        if not self._fs.exists(BALLAST):
            return False
        self._fs.unlink(BALLAST)
        return True

    def _take(self) -> None:
        if not self._marks.ballast or self._fs.exists(BALLAST):
            return
        try:
            file = self._fs.open(BALLAST, create=True)
            try:
                file.fallocate(self._marks.ballast)
                reach("ballast.taken")
            finally:
                file.close()
        except OSError as error:
            self.give_back_quietly()
            if error.errno not in NO_SPACE:  # the next look tries again
                raise
