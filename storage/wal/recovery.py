"""Opens the log: survey, scan of the last segment, verdict, repair. Every start comes through here.

| first invalid record n is in | a witness says n was durable | then |
|---|---|---|
| a segment that is not the last, or a sealed one | (its successor or footer is one) | refuse |
| the last | yes | refuse |
| the last | no | cut at n: torn tail or torn group |
| the last, but its checksums are right | - | refuse: misdirected or foreign write |
| a last segment without a valid header and without content | no | put it aside: it was being made |

Witnesses: the stamps in later valid records, the watermark, and what the caller's derived stores have
reached. Nothing is acknowledged, or given to readers, before what was read is durable for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chain.types import UINT64_MAX
from storage.errors import WalCorrupt, WalForeign, WalShort
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import File, FileSystem, parent_of
from storage.wal.format import GROUP_END, SEGMENT_HEADER_SIZE, VERSION, Mark, WalIdentity
from storage.wal.reader import Beyond, GroupBoundaries, GroupBoundary, Stop, Walk, look_beyond, written_end
from storage.wal.repair import Cut, cut, move_to_quarantine, rewrite_unwitnessed
from storage.wal.segments import (
    OpenSegment,
    SegmentFile,
    Survey,
    create_segment,
    remove_pruned,
    survey,
    verified_records,
)
from storage.wal.unknown import check_type


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What opening the log found and did."""

    last_lsn: int
    """The log's durable end."""
    witness_lsn: int
    """The highest LSN that some witness knew to be durable."""
    segments: int
    """Segment files, the one now open included."""
    scanned: int
    """Records read and verified; those of sealed segments before the last are verified when they are read."""
    rewritten: int
    """Bytes at the end written and synced again, since nothing proved that they were."""
    cut: Cut | None
    """What was taken away, if anything."""
    dropped: str
    """Where a segment that was being made when the process ended is now; empty if there was none."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A log that may be written again."""

    sealed: list[SegmentFile]
    tail: OpenSegment
    places: GroupBoundaries
    report: ScanReport


def recover(
    fs: FileSystem,
    directory: str,
    identity: WalIdentity,
    *,
    mark: Mark | None,
    witness_lsn: int,
    segment_size: int,
    random_bytes: Callable[[int], bytes],
    start: GroupBoundary | None = None,
    read_from: int | None = None,
    before_change: Callable[[], None] = lambda: None,
) -> Recovered:
    """Bring the log in ``directory`` into a state that is valid and durable, or refuse and change nothing.

    What is before ``start`` in its segment is not read: a checkpoint holds what it did. For
    ``read_from`` and ``before_change`` see `storage.wal.Wal.open`.
    """
    found = survey(fs, directory, identity)
    witness_lsn = max(witness_lsn, mark.durable_lsn if mark else 0)
    if found.headless:
        _judge_headless(fs, found, witness_lsn)
    places = GroupBoundaries()
    if start is not None and any(_holds(segment, start) for segment in found.segments):
        places.note(start)
    if read_from is not None:
        _verify_sealed(fs, found.segments[:-1], read_from, places)
    scan = _Scan(fs, found.segments[-1], mark, witness_lsn, places) if found.segments else None
    if scan is None and witness_lsn > found.beginning.last_lsn:
        raise WalShort(
            f"the log is gone: records 1 to {witness_lsn} were durable", witness=witness_lsn, lsn=1
        )
    reach("wal.recovery.surveyed")
    # Nothing was refused: from here on the directory is changed.
    try:
        before_change()
        new = partial(create_segment, fs, directory, identity, size=segment_size, random_bytes=random_bytes)
        return _settled(fs, directory, found, scan, new, places, witness_lsn)
    except BaseException:
        if scan is not None:
            scan.file.close()
        raise


def _settled(
    fs: FileSystem,
    directory: str,
    found: Survey,
    scan: _Scan | None,
    new_segment: Callable[..., OpenSegment],
    places: GroupBoundaries,
    witness_lsn: int,
) -> Recovered:
    """Remove what a crash left, put the end right, and open or make the segment that is written from now on."""
    dropped = move_to_quarantine(fs, directory, found.headless) if found.headless else ""
    if found.pruned:
        remove_pruned(fs, directory, found.pruned)
    with writing(directory):
        for path in found.leftovers:
            fs.unlink(path)
    with syncing(directory):  # names that a killed process made but did not sync
        fs.sync_directory(directory)
    reach("wal.recovery.cleaned")
    tail: OpenSegment | None = None
    taken: Cut | None = None
    scanned = rewritten = 0
    if scan is not None:
        witness_lsn = scan.witness_lsn
        taken = scan.settle(fs, directory)
        tail, scanned, rewritten = scan.tail, scan.walk.records, scan.rewritten
        found.segments[-1:] = [] if tail else [scan.segment]
    if tail is None:
        beginning = found.beginning
        footer = found.segments[-1].footer if found.segments else None
        tail = new_segment(
            sequence=beginning.sequence + len(found.segments),
            last_lsn=footer.last_lsn if footer else beginning.last_lsn,
            chain=footer.chain if footer else beginning.chain,
        )
    reach("wal.recovery.settled")
    count = len(found.segments) + 1
    report = ScanReport(tail.last_lsn, witness_lsn, count, scanned, rewritten, taken, dropped)
    return Recovered(found.segments, tail, places, report)


def prepare_directory(fs: FileSystem, directory: str) -> None:
    """Make the log's directory and its name durable."""
    with writing(directory):
        fs.makedirs(directory)
    with syncing(directory):
        fs.sync_directory(parent_of(directory))


def forget_cached(fs: FileSystem, directory: str) -> None:
    """Read the log from the disk, not from memory: after a failed sync, pages that look clean may never get there."""
    with reading(directory):
        for name in fs.listdir(directory):
            file = fs.open(f"{directory}/{name}", writable=False)
            file.forget_cached()
            file.close()


def _holds(segment: SegmentFile, place: GroupBoundary) -> bool:
    return segment.header.salt == place.salt and place.offset <= segment.limit


def _verify_sealed(fs: FileSystem, sealed: Sequence[SegmentFile], from_lsn: int, places: GroupBoundaries) -> None:
    """Read sealed segments from a record on. Raises `WalCorrupt`, `StoreTooNew`."""
    for segment in sealed:
        footer = segment.footer
        if footer is None or footer.last_lsn < from_lsn:
            continue
        with reading(segment.path):
            file = fs.open(segment.path, writable=False)
        try:
            start = places.before(from_lsn, segment.header.salt)
            for record in verified_records(file, segment, footer.last_lsn, start):
                check_type(record, segment.path)
        finally:
            file.close()


def _judge_headless(fs: FileSystem, found: Survey, witness_lsn: int) -> None:
    """Refuse a last segment without a valid header if it may hold records. Raises `WalCorrupt`."""
    path = found.headless
    last = found.segments[-1] if found.segments else None
    with reading(path):
        file = fs.open(path, writable=False)
        empty = written_end(file, path, SEGMENT_HEADER_SIZE, file.data_ranges()) == SEGMENT_HEADER_SIZE
        file.close()
    if last is not None and last.footer is None:
        raise WalCorrupt(f"{last.path} has no valid footer, but {path} follows it", path=last.path)
    last_lsn = last.footer.last_lsn if last and last.footer else found.beginning.last_lsn
    if not empty or witness_lsn > last_lsn:
        raise WalCorrupt(
            f"{path} has an invalid header and is not empty", path=path, lsn=last_lsn + 1, witness=witness_lsn
        )


class _Scan:
    """The last segment: read it, judge what is wrong, put it right."""

    def __init__(
        self, fs: FileSystem, segment: SegmentFile, mark: Mark | None, witness_lsn: int, places: GroupBoundaries
    ) -> None:
        """``places``: reading begins at the last one that is in the segment; those on the way are added."""
        self.segment = segment
        self.tail: OpenSegment | None = None
        """Set by `settle` if the segment may be written further."""
        self.rewritten = 0
        self.places = places
        self.beyond = Beyond()
        with reading(segment.path):
            self.file: File = fs.open(segment.path)
        begin = places.before(UINT64_MAX, segment.header.salt)
        self.walk = Walk(self.file, segment.header, segment.path, segment.limit, begin)
        try:
            self._examine(mark, witness_lsn)
        except BaseException:
            self.file.close()
            raise

    def _examine(self, mark: Mark | None, witness_lsn: int) -> None:
        segment = self.segment
        with reading(segment.path):
            ranges = self.file.data_ranges()
        self._read(mark)
        size, end = segment.size, self.walk.end
        self.damage_end = end if segment.footer else written_end(self.file, segment.path, end, ranges)
        if self.damage_end > end:
            self.beyond = look_beyond(
                self.file, segment.header, segment.path, end, size, self.walk.last_lsn + 1
            )
        self.witness_lsn = max(witness_lsn, self.walk.durable_lsn, self.beyond.durable_lsn)
        self._judge()

    def _read(self, mark: Mark | None) -> None:
        walk, path = self.walk, self.segment.path
        chains = {walk.last_lsn: walk.chain}
        marked = mark.durable_lsn if mark else -1
        for record in walk:
            check_type(record, path)
            if record.lsn == marked:
                chains[marked] = walk.chain
            if record.flags & GROUP_END:
                self.places.note(GroupBoundary(self.segment.header.salt, walk.end, walk.last_lsn, walk.chain))
        if mark and chains.get(marked, mark.chain) != mark.chain:
            raise WalForeign(
                f"{path} holds another history than the watermark remembers at LSN {marked}",
                path=path,
                lsn=marked,
                witness=marked,
            )

    def _judge(self) -> None:
        """Refuse what no crash can leave behind."""
        walk, segment = self.walk, self.segment
        if walk.stop is Stop.MISPLACED:
            raise self._refusal(WalForeign, f"an intact record that does not follow LSN {walk.last_lsn}")
        walk.refuse_later_flags()
        footer = segment.footer
        if footer and (walk.end, walk.last_lsn, walk.chain) != (footer.end, footer.last_lsn, footer.chain):
            raise self._refusal(WalCorrupt, f"records up to {footer.last_lsn} were sealed, but are damaged")
        if self.witness_lsn > walk.last_lsn:
            at_risk = f"records {walk.last_lsn + 1} to {max(self.witness_lsn, self.beyond.last_lsn)}"
            if self.damage_end > walk.end:
                raise self._refusal(WalCorrupt, f"{at_risk} were durable, but are damaged")
            raise self._refusal(WalShort, f"the log ends, but {at_risk} were durable")

    def _refusal(self, kind: type[WalCorrupt], what: str) -> WalCorrupt:
        path, offset = self.segment.path, self.walk.end
        return kind(
            f"{path} at offset {offset:#x}: {what}",
            path=path,
            offset=offset,
            lsn=self.walk.last_lsn + 1,
            witness=self.witness_lsn,
        )

    def settle(self, fs: FileSystem, directory: str) -> Cut | None:
        """Make what was read durable, cut off what is damaged, and seal a segment of an earlier format."""
        segment, walk = self.segment, self.walk
        whole = segment.footer is not None or segment.size == segment.header.size
        if whole and self.damage_end == walk.end:
            self.rewritten = rewrite_unwitnessed(self.file, segment, walk)
            if segment.footer is None:
                tail = OpenSegment(
                    self.file,
                    segment.path,
                    segment.header,
                    end=walk.end,
                    last_lsn=walk.last_lsn,
                    chain=walk.chain,
                )
                if segment.header.version == VERSION:
                    self.tail = tail
                    return None
                self.segment = tail.seal()
            self.file.close()
            return None
        self.segment, taken = cut(
            fs,
            directory,
            self.file,
            segment,
            walk,
            damage_end=self.damage_end,
            last_lsn_seen=self.beyond.last_lsn,
        )
        self.file.close()
        return taken
