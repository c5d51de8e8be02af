"""The write-ahead log: the one place where zvmd's history becomes durable. Format: docs/formats/wal.md.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from storage.io.files import RealFs
>>> from storage.wal import RecordType, Wal, WalIdentity
>>> place, chain = TemporaryDirectory(), WalIdentity(genesis_hash=bytes(32), chain_id=31337)
>>> disk = RealFs(Path(place.name))
>>> log = Wal.open(disk, "wal", chain, segment_size=8192)
>>> log.append(RecordType.TRANSACTION, b"hello"), log.durable_lsn
(1, 0)
>>> log.flush()
1
>>> log.abandon()  # as the end of the process would
>>> [record.payload for record in Wal.open(disk, "wal", chain).records()]
[b'hello']
>>> place.cleanup()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from storage.errors import WalPruned
from storage.io.cooperative import Pace, at_once
from storage.io.failures import reading
from storage.io.files import FileSystem
from storage.wal.bounds import Watermark, open_marks, read_mark
from storage.wal.format import MAX_CHAIN_ID, Record, WalIdentity
from storage.wal.inspect import Finding, inspect
from storage.wal.packed import Unpacked, pack, unpacked
from storage.wal.reader import GroupBoundary
from storage.wal.records import RecordType, Seal
from storage.wal.recovery import Recovered, ScanReport, prepare_directory, recover
from storage.wal.repair import Cut
from storage.wal.segments import MIN_SEGMENT_SIZE, SEGMENT_SIZE, SegmentFile, verified_records
from storage.wal.unknown import check_type
from storage.wal.writer import LogWriter

__all__ = [
    "Cut",
    "Finding",
    "GroupBoundary",
    "Record",
    "RecordType",
    "ScanReport",
    "Seal",
    "Wal",
    "WalIdentity",
    "inspect",
]

PAGE = 4096


class Wal:
    """An open log. ``append``, ``append_all`` and ``flush`` may be called from any thread; so may ``records``."""

    def __init__(self, fs: Unpacked, writer: LogWriter, recovered: Recovered) -> None:
        self._fs = fs
        self._writer = writer
        self.scan_report: ScanReport = recovered.report
        """What opening found, and what it cut off."""
        self.append = writer.append
        self.append_all = writer.append_all
        self.flush = writer.flush
        self.close = writer.close
        self.abandon = writer.abandon
        self.check_place = writer.check_place
        self.place_before = writer.place_before
        self.max_payload = writer.max_payload
        """Bytes that one record may hold."""

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        directory: str,
        identity: WalIdentity,
        *,
        witness_lsn: int = 0,
        segment_size: int = SEGMENT_SIZE,
        random_bytes: Callable[[int], bytes] = os.urandom,
        start: GroupBoundary | None = None,
        read_from: int | None = None,
        before_change: Callable[[], None] = lambda: None,
    ) -> Wal:
        """Recover the log in ``directory``, or begin it, and open it for appending.

        ``witness_lsn`` is the highest LSN that a derived store has seen: a shorter log is refused. ``start`` is a place
        that a derived store remembers: records before it are verified when they are read, not now. ``read_from`` is the
        LSN from which the caller will read: sealed segments from there on are verified now, so that nothing is done
        with their records if one is critical and unknown. ``before_change`` is called when all was read and nothing
        refused, before the first change. A log whose last segment has an earlier format goes on in a new one.

        Raises `WalCorrupt` (exit 65), `StoreTooNew` (67), `DataDirectoryLocked` (75), `StorageUnreadable`,
        `StorageFull`, `StoragePanic`.
        """
        if segment_size < MIN_SEGMENT_SIZE or segment_size % PAGE:
            raise ValueError(f"segments are multiples of {PAGE} bytes, at least {MIN_SEGMENT_SIZE}")
        if len(identity.genesis_hash) != 32 or not 0 <= identity.chain_id <= MAX_CHAIN_ID:
            raise ValueError("a log's identity is a 32-byte genesis hash and a 64-bit chain id")
        fs = unpacked(fs)
        prepare_directory(fs, directory)
        lock = fs.lock(directory)
        marks = None
        try:
            marks = open_marks(fs, directory)
            mark = read_mark(fs, directory, identity)
            recovered = recover(
                fs,
                directory,
                identity,
                mark=mark,
                witness_lsn=witness_lsn,
                segment_size=segment_size,
                random_bytes=random_bytes,
                start=start,
                read_from=read_from,
                before_change=before_change,
            )
        except BaseException:
            if marks is not None:
                marks.close()
            lock.release()
            raise
        writer = LogWriter(
            fs,
            directory,
            identity,
            recovered.sealed,
            recovered.tail,
            Watermark(fs, directory, identity, mark, marks),
            recovered.places,
            lock,
            segment_size=segment_size,
            random_bytes=random_bytes,
        )
        return cls(fs, writer, recovered)

    @property
    def segment_paths(self) -> list[str]:
        """Paths of all segments, oldest first; on disk, a compressed one also has `storage.wal.packed.SUFFIX`."""
        return [segment.path for segment in self._writer.segments()[0]]

    def pack_one(self, pace: Pace = at_once) -> str:
        """Compress the oldest sealed segment that is not yet; its path, empty if there is none. Any one thread.

        Raises `WalCorrupt`, `StorageFull`, `StoragePanic`, `StorageUnreadable`.
        """
        plain = self._fs.fs
        for segment in self._writer.segments()[0][:-1]:  # the last may be open
            if plain.exists(segment.path):
                pack(plain, segment, pace)
                return segment.path
        return ""

    @property
    def next_lsn(self) -> int:
        """What the next append will return."""
        return self._writer.next_lsn

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for a flush."""
        return self._writer.pending_bytes

    @property
    def durable_lsn(self) -> int:
        """Every record up to here survives a power loss."""
        return self._writer.durable_lsn

    @property
    def first_lsn(self) -> int:
        """The oldest record that was not pruned; what the first append returns, if there is none."""
        return self._writer.segments()[0][0].header.first_lsn

    def records(self, from_lsn: int = 0, *, unknown: bool = False) -> Iterator[Record]:
        """Durable records from ``from_lsn`` on, or all there are; those durable when the iteration begins. Verified.

        Optional records that this version does not know are left out unless ``unknown``: who copies a log takes them
        along. Raises `WalPruned`; `StoreTooNew` for a critical one; and `WalCorrupt`, also for damage in sealed
        segments, whose bodies opening does not read.
        """
        segments, durable_lsn = self._writer.segments()
        if 0 < from_lsn < segments[0].header.first_lsn:
            raise WalPruned(f"LSN {from_lsn} was pruned: the log begins at LSN {segments[0].header.first_lsn}")
        starts = [segment.header.first_lsn for segment in segments] + [durable_lsn + 1]
        for segment, following in zip(segments, starts[1:], strict=True):
            if following > from_lsn:
                start = self.place_before(from_lsn, segment.header.salt)
                for record in self._segment_records(segment, following - 1, start):
                    if record.lsn >= from_lsn and (check_type(record, segment.path) or unknown):
                        yield record

    def _segment_records(self, segment: SegmentFile, last_lsn: int, start: GroupBoundary | None) -> Iterator[Record]:
        with reading(segment.path):
            file = self._fs.open(segment.path, writable=False)
        try:
            yield from verified_records(file, segment, last_lsn, start)
        finally:
            file.close()
