"""Places in the newest part of the log where reading may begin, so that nobody reads a segment to find its end."""

from __future__ import annotations

from collections import deque

from storage.wal.reader import Place

SPACING = 64 * 1024
"""Bytes between two places of a segment, at least."""
PLACES_MAX = 4_096
"""Places remembered: 256 MiB of log, or more."""


class Places:
    """Known ends of groups, oldest first. One thread at a time."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque(maxlen=PLACES_MAX)

    def note(self, place: Place) -> None:
        """A group ended here; remembered if the last place is far enough before."""
        last = self._places[-1] if self._places else None
        if last is None or place.salt != last.salt or place.offset - last.offset >= SPACING:
            self._places.append(place)

    def before(self, lsn: int, salt: bytes | None = None) -> Place | None:
        """The last place from which reading meets record ``lsn``, of the segment with this salt if one is given."""
        for place in reversed(self._places):
            if place.last_lsn < lsn and salt in (None, place.salt):
                return place
        return None
