"""Reads segments: records in order, where and why reading stopped, and what lies beyond.

Torn or corrupt is decided in two steps. Here: the first invalid bytes, and whether valid records of this
segment follow them. In recovery.py: whether some witness says that what is missing was durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from storage.errors import StoreTooNew
from storage.io.failures import reading
from storage.io.files import File
from storage.wal.format import (
    ALIGNMENT,
    KNOWN_FLAGS,
    MAX_PAYLOAD,
    PADDING,
    RECORD,
    RECORD_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    ZERO_RECORD_HEADER,
    Record,
    SegmentHeader,
    next_chain,
    record_size,
)

CHUNK = 256 * 1024
"""Bytes read at a time."""
ZEROS = bytes(CHUNK)
SPACING = 64 * 1024
"""Bytes between two places of a segment, at least."""
PLACES_MAX = 4_096
"""Places remembered: 256 MiB of log, or more."""
LSN_WORD = 2
"""The LSN is the third 8-byte word of a record header."""


class Stop(Enum):
    """Why reading a segment ended."""

    END = "end"
    """Unwritten space, or the limit: everything before was valid."""
    DAMAGED = "damaged"
    """A checksum, length or padding is wrong."""
    MISPLACED = "misplaced"
    """The checksums are right but the LSN or chain is not: bytes written for another place."""
    TOO_NEW = "too new"
    """Intact, but with flags of a later version."""


class GroupBoundary(NamedTuple):
    """Between two groups of a segment: reading may begin there, if all before it was durable."""

    salt: bytes
    """Salt of the segment: offsets are meaningless in another file or an older life of it."""
    offset: int
    last_lsn: int
    """LSN of the previous record."""
    chain: bytes
    """Chain value after that record."""


class GroupBoundaries:
    """Known ends of groups, oldest first. One thread at a time."""

    def __init__(self) -> None:
        self._places: deque[GroupBoundary] = deque(maxlen=PLACES_MAX)

    def note(self, place: GroupBoundary) -> None:
        """A group ended here; remembered if the last place is far enough before."""
        last = self._places[-1] if self._places else None
        if last is None or place.salt != last.salt or place.offset - last.offset >= SPACING:
            self._places.append(place)

    def before(self, lsn: int, salt: bytes | None = None) -> GroupBoundary | None:
        """The last place from which reading meets record ``lsn``, of the segment with this salt if one is given."""
        for place in reversed(self._places):
            if place.last_lsn < lsn and salt in (None, place.salt):
                return place
        return None


class Walk:
    """The records of one segment, in order. Iterate it once; then its fields say how it went.

    ``start`` leaves out what is before it.
    """

    def __init__(
        self, file: File, header: SegmentHeader, path: str, limit: int, start: GroupBoundary | None = None
    ) -> None:
        assert start is None or start.salt == header.salt, "a place in another segment"
        self._file = file
        self._run = header.checksum.run
        self._salted = header.start
        self._path = path
        self._limit = limit
        """No record reaches beyond this offset."""
        begin = start or GroupBoundary(header.salt, SEGMENT_HEADER_SIZE, header.first_lsn - 1, header.previous_chain)
        self.position = begin.offset
        """Where the record just given begins."""
        self.end = begin.offset
        """Where the last valid record ends."""
        self.last_lsn = begin.last_lsn
        self.chain = begin.chain
        self.durable_lsn = begin.last_lsn
        """The highest LSN that some record read, or the segment's existence, witnesses to be durable."""
        self.group_start = begin.offset
        """Where the last group begins: nothing in the log itself witnesses what follows."""
        self.records = 0
        self.stop = Stop.END

    def __iter__(self) -> Iterator[Record]:
        unpack, run, salted = RECORD.unpack_from, self._run, self._salted
        buffer, base = b"", self.end
        while True:
            at = self.end - base
            if len(buffer) - at < RECORD_HEADER_SIZE:
                base, at = self.end, 0
                buffer = self._read(base, CHUNK)
            start = at + RECORD_HEADER_SIZE
            if self._limit - self.end < RECORD_HEADER_SIZE:
                return
            if len(buffer) < start:
                self.stop = Stop.DAMAGED
                return
            body_crc, header_crc, length, kind, flags, schema, lsn, durable, link = unpack(buffer, at)
            if not lsn and buffer[at:start] == ZERO_RECORD_HEADER:
                return
            size = RECORD_HEADER_SIZE + length + -length % ALIGNMENT
            fits = length <= MAX_PAYLOAD and self.end + size <= self._limit
            if not fits or header_crc != run(buffer[at + 8 : start], salted):
                self.stop = Stop.DAMAGED
                return
            if len(buffer) - at < size:
                base, at, start = self.end, 0, RECORD_HEADER_SIZE
                buffer = self._read(base, max(CHUNK, size))
            end = start + length
            if body_crc != run(buffer[at + 4 : end], salted) or buffer[end : at + size] != PADDING[length % ALIGNMENT]:
                self.stop = Stop.DAMAGED
                return
            payload = buffer[start:end]
            chain = next_chain(self.chain, buffer[at + 8 : start - 8], payload)
            if lsn != self.last_lsn + 1 or link != chain[:8] or not self.durable_lsn <= durable < lsn:
                self.stop = Stop.MISPLACED
                return
            if flags & ~KNOWN_FLAGS:
                self.stop = Stop.TOO_NEW
                return
            if durable != self.durable_lsn:
                self.durable_lsn = durable
                self.group_start = self.end
            self.position = self.end
            self.end += size
            self.last_lsn = lsn
            self.chain = chain
            self.records += 1
            yield Record(lsn, kind, payload, flags, schema, durable)

    def to_the_end(self) -> Walk:
        """Read all records and keep none: for what the fields say then."""
        for _ in self:
            pass
        return self

    def refuse_later_flags(self) -> None:
        """Raise `StoreTooNew` if reading stopped at a record that is intact, but of a later version."""
        if self.stop is Stop.TOO_NEW:
            raise StoreTooNew(f"{self._path} at offset {self.end:#x}: a record with flags of a later version of zvmd")

    def _read(self, offset: int, count: int) -> bytes:
        with reading(self._path):
            return self._file.pread(offset, max(0, min(count, self._limit - offset)))


def records_beyond(
    file: File, header: SegmentHeader, path: str, offset: int, limit: int, lowest_lsn: int = 1
) -> Iterator[tuple[int, Record]]:
    """Valid records of this segment anywhere in ``offset:limit``, with their offsets. Chains are not checked.

    Looks at every aligned position, but computes checksums only where the LSN word may be one.
    """
    highest_lsn = max(lowest_lsn, header.first_lsn) + limit // RECORD_HEADER_SIZE
    while offset < limit:
        with reading(path):
            chunk = file.pread(offset, min(CHUNK, limit - offset))
        if not chunk:
            return
        found = offset
        if chunk.strip(b"\0"):
            words = memoryview(chunk[: len(chunk) // ALIGNMENT * ALIGNMENT]).cast("Q")
            for index, word in enumerate(words):
                if lowest_lsn <= word <= highest_lsn:
                    position = offset + (index - LSN_WORD) * ALIGNMENT
                    record = record_at(file, header, path, position, limit) if position >= found else None
                    if record is not None:
                        yield position, record
                        found = position + record_size(len(record.payload))
        # A header may straddle two chunks: the next one begins before it.
        step = max(found - offset, len(chunk) - LSN_WORD * ALIGNMENT)
        offset += step if len(chunk) == CHUNK else len(chunk)


def record_at(file: File, header: SegmentHeader, path: str, offset: int, limit: int) -> Record | None:
    """The record at an offset if its checksums are right, wherever it belongs."""
    with reading(path):
        head = file.pread(offset, RECORD_HEADER_SIZE)
        if len(head) < RECORD_HEADER_SIZE:
            return None
        body_crc, header_crc, length, kind, flags, schema, lsn, durable, _ = RECORD.unpack(head)
        run, start = header.checksum.run, header.start
        if header_crc != run(head[8:], start) or offset + record_size(length) > limit:
            return None
        payload = file.pread(offset + RECORD_HEADER_SIZE, length)
    if body_crc != run(payload, run(head[4:], start)):
        return None
    return Record(lsn, kind, payload, flags, schema, durable)


class Beyond(NamedTuple):
    """What follows the first invalid bytes of a segment."""

    records: int = 0
    """Valid records that follow it."""
    last_lsn: int = 0
    """The highest LSN among them."""
    durable_lsn: int = 0
    """The highest LSN they witness to be durable."""


def look_beyond(
    file: File, header: SegmentHeader, path: str, offset: int, limit: int, lowest_lsn: int
) -> Beyond:
    """Sum up the valid records after the first invalid bytes, from ``lowest_lsn`` on."""
    count = last = durable = 0
    for _, record in records_beyond(file, header, path, offset, limit, lowest_lsn):
        count += 1
        last = max(last, record.lsn)
        durable = max(durable, record.durable_lsn)
    return Beyond(count, last, durable)


def written_end(file: File, path: str, offset: int, ranges: list[tuple[int, int]]) -> int:
    """Where the last byte that is not zero ends, from ``offset`` on; ``offset`` if all are zero.

    ``ranges`` are the file's data ranges: nothing else is read.
    """
    end = offset
    for start, stop in ranges:
        place = max(start, offset)
        while place < stop:
            with reading(path):
                chunk = file.pread(place, min(CHUNK, stop - place))
            if not chunk:
                break
            if chunk != ZEROS:
                trimmed = chunk.rstrip(b"\0")
                end = place + len(trimmed) if trimmed else end
            place += len(chunk)
    return end
