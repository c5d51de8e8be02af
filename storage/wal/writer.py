"""Appends records in memory and makes them durable in groups: one write and one sync each.

Two locks: ``_memory`` guards the queue, for nanoseconds; ``_disk`` is held by the one flush that is running,
while appends go on. Encoding happens in the flush, since only there is known what was durable before the
group and which segment, hence which salt, it gets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from storage.errors import FileGone, RecordTooLarge, StorageFull, StoragePanic, WalClosed
from storage.io.failpoints import reach
from storage.io.failures import syncing, writing
from storage.io.files import FileSystem, Lock, write_all
from storage.wal.bounds import WATERMARK_NAME, Watermark
from storage.wal.format import (
    FOOTER_SIZE,
    MAX_PAYLOAD,
    OPTIONAL,
    SEGMENT_HEADER_SIZE,
    Record,
    WalIdentity,
    encode_group,
    record_size,
)
from storage.wal.reader import GroupBoundaries, GroupBoundary
from storage.wal.records import SCHEMA
from storage.wal.segments import OpenSegment, SegmentFile, create_segment

GROUP_SIZE = 1024 * 1024
"""Bytes one sync covers at most, unless a single record is larger."""
MAX_PENDING = 64 * 1024 * 1024
"""Bytes that may wait for a flush before appends are refused."""


class _Group(NamedTuple):
    """Records encoded for a place in the log. Written again byte for byte if the disk was full."""

    data: bytes
    last_lsn: int
    chain: bytes


def largest_payload(segment_size: int) -> int:
    """Bytes of the largest record that a segment of this size can hold."""
    return min(MAX_PAYLOAD, segment_size - SEGMENT_HEADER_SIZE - FOOTER_SIZE - record_size(0))


class LogWriter:
    """The writing end of the log. Thread safe."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        identity: WalIdentity,
        sealed: list[SegmentFile],
        tail: OpenSegment,
        watermark: Watermark,
        places: GroupBoundaries,
        lock: Lock,
        *,
        segment_size: int,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._identity = identity
        self._sealed = sealed
        self._tail = tail
        self._watermark = watermark
        self._places = places
        self._lock = lock
        self._segment_size = segment_size
        self._random_bytes = random_bytes
        self._memory = threading.Lock()
        self._disk = threading.Lock()
        self._queue: deque[Record] = deque()
        self._queued = 0
        """Bytes the queued records will take."""
        self._group: _Group | None = None
        """Encoded, but not durable yet."""
        self._next_lsn = tail.last_lsn + 1
        self._durable_lsn = tail.last_lsn
        self._durable_end = tail.end
        self._failure: Exception | None = None
        self.max_payload = largest_payload(segment_size)
        watermark.write(tail.last_lsn, tail.header.sequence, tail.end, tail.chain)
        watermark.sync()

    @property
    def next_lsn(self) -> int:
        """What the next append will return."""
        return self._next_lsn

    @property
    def durable_lsn(self) -> int:
        """Every record up to here survives a power loss."""
        return self._durable_lsn

    @property
    def pending_bytes(self) -> int:
        """Bytes of records that wait for a flush."""
        return self._queued

    def append(self, type: int, payload: bytes, *, optional: bool = False, schema: int = SCHEMA) -> int:  # noqa: A002
        """Queue a record and return its LSN. Not durable before `flush`.

        ``schema`` is the payload's; another than the default only of a record copied from another log.
        """
        return self.append_all([(type, payload, optional)], schema)

    def append_all(self, records: Sequence[tuple[int, bytes, bool]], schema: int = SCHEMA) -> int:
        """Queue records (type, payload, whether optional), all or none; the LSN of the first, others follow."""
        size = 0
        for _, payload, _ in records:
            if len(payload) > self.max_payload:
                raise RecordTooLarge(f"a record of {len(payload)} bytes; at most {self.max_payload} fit")
            size += record_size(len(payload))
        with self._memory:
            if self._failure is not None:
                raise WalClosed("the log takes no more records") from self._failure
            if self._queued + size > MAX_PENDING:
                raise StorageFull(f"{self._queued} bytes wait for the disk already")
            self._queued += size
            first = self._next_lsn
            self._next_lsn = first + len(records)
            self._queue.extend(
                Record(lsn, kind, payload, OPTIONAL if optional else 0, schema)
                for lsn, (kind, payload, optional) in enumerate(records, first)
            )
        return first

    def flush(self, lsn: int | None = None) -> int:
        """Make everything appended before this call durable, or nothing if the record ``lsn`` is already.

        Returns the highest durable LSN.

        Raises `StorageFull` if there is no space: the records stay queued and the next flush tries again.
        Raises `StoragePanic` if the disk fails: nothing more can be appended, and the process should end. From then
        on, and after `close`, raises `WalClosed`, so that nobody is answered after a panic.
        """
        with self._memory:
            wanted = self._next_lsn - 1
        with self._disk:
            if self._failure is not None:
                raise WalClosed("the log cannot be written any more") from self._failure
            if lsn is not None and self._durable_lsn >= lsn:
                return self._durable_lsn
            while self._durable_lsn < wanted:
                try:
                    self._flush_group()
                except StoragePanic as failure:
                    self._failure = failure
                    raise
            return self._durable_lsn

    def segments(self) -> tuple[list[SegmentFile], int]:
        """Every segment, the last one with its durable records only, and the durable LSN they end at."""
        with self._memory:
            tail = self._tail
            # The open segment looks, to a reader, like one that was cut at the durable end.
            last = SegmentFile(tail.path, tail.header, None, self._durable_end)
            return [*self._sealed, *([] if self._is_tail_sealed else [last])], self._durable_lsn

    def place_before(self, lsn: int, salt: bytes | None = None) -> GroupBoundary | None:
        """See `GroupBoundaries.before`."""
        with self._memory:
            return self._places.before(lsn, salt)

    def close(self) -> None:
        """Flush, unless the log has failed, and give the files back. Raises `FileGone` if they are not in place."""
        try:
            if self._failure is None:
                self.flush()
                self._watermark.sync()
                self.check_place()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Give the files back as the end of the process would: what waits for a flush is dropped."""
        with self._memory:
            self._failure = self._failure or WalClosed("closed")
        self._tail.file.close()
        self._watermark.close()
        self._lock.release()

    def check_place(self) -> None:
        """Raise `FileGone` unless directory, segment and watermark are still the ones that are written."""
        with self._disk:  # or the segment might be sealed and closed meanwhile
            self._check_directory()
            self._check_tail(self._tail)
        if reason := self._watermark.moved():
            raise FileGone(f"{self._directory}/{WATERMARK_NAME}: {reason}")

    def _check_directory(self) -> None:
        if reason := self._fs.moved(self._directory, self._lock):
            raise FileGone(f"{self._directory}: {reason}")

    def _check_tail(self, tail: OpenSegment) -> None:
        """Before a group counts as durable: a file without its name is lost with the process, synced or not."""
        if reason := self._fs.moved(tail.path, tail.file, tail.header.size):
            raise FileGone(f"{tail.path}: {reason}")

    def _flush_group(self) -> None:
        if self._group is None:
            self._group = self._next_group()
        group, tail = self._group, self._tail
        reach("wal.write.before")
        try:
            with writing(tail.path):
                write_all(tail.file, tail.end, group.data)
        except StorageFull:
            # Unwritten space shall look unwritten. If this fails too, a part of the same bytes stays, which a
            # scan takes for a torn group, and the next attempt overwrites with itself.
            with suppress(OSError):
                write_all(tail.file, tail.end, bytes(len(group.data)))
            raise
        reach("wal.sync.before")
        with syncing(tail.path):
            tail.file.fdatasync()
        self._check_tail(tail)
        reach("wal.sync.after")
        with self._memory:
            tail.end += len(group.data)
            tail.last_lsn, tail.chain = group.last_lsn, group.chain
            self._durable_end, self._durable_lsn = tail.end, group.last_lsn
            self._places.note(GroupBoundary(tail.header.salt, tail.end, tail.last_lsn, tail.chain))
            self._group = None
        self._watermark.write(tail.last_lsn, tail.header.sequence, tail.end, tail.chain)
        reach("wal.mark.after")

    def _next_group(self) -> _Group:
        """Take records off the queue that fit in the segment and in one group; at least one."""
        if self._is_tail_sealed or record_size(len(self._queue[0].payload)) > self._tail.room:
            self._rotate()
        tail = self._tail
        room = min(tail.room, GROUP_SIZE)
        taken: list[Record] = []
        size = 0
        with self._memory:
            for record in self._queue:
                size += record_size(len(record.payload))
                if taken and size > room:
                    break
                taken.append(record)
        data, chain = encode_group(tail.header, taken, self._durable_lsn, tail.chain)
        with self._memory:  # only now: had encoding failed, the queue would still hold them
            for _ in taken:
                self._queue.popleft()
            self._queued -= len(data)
        return _Group(data, taken[-1].lsn, chain)

    @property
    def _is_tail_sealed(self) -> bool:
        """Whether the footer of the last segment is durable, so that the next record needs a new segment."""
        return bool(self._sealed) and self._sealed[-1].path == self._tail.path

    def _rotate(self) -> None:
        """Seal the segment and go on in a new one. If space runs out, the next flush goes on here."""
        tail = self._tail
        if not self._is_tail_sealed:
            reach("wal.rotate.before")
            sealed = tail.seal()
            reach("wal.rotate.sealed")
            with self._memory:
                self._sealed.append(sealed)
        new = create_segment(
            self._fs,
            self._directory,
            self._identity,
            sequence=tail.header.sequence + 1,
            last_lsn=tail.last_lsn,
            chain=tail.chain,
            size=self._segment_size,
            random_bytes=self._random_bytes,
        )
        reach("wal.rotate.created")
        with self._memory:
            self._tail = new
            self._durable_end = new.end
        tail.file.close()
        self._check_directory()
