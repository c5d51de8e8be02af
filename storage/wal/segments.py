"""Segment files: their names, how one is made and sealed, and which of them are the log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from storage.errors import WalCorrupt, WalForeign
from storage.io.atomic import create_durably
from storage.io.checksum import PREFERRED
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import File, FileSystem, write_all
from storage.wal.bounds import Beginning, read_beginning, write_beginning
from storage.wal.format import (
    FOOTER_SIZE,
    SEGMENT_HEADER_SIZE,
    Footer,
    Record,
    SegmentHeader,
    WalIdentity,
    decode_footer,
    decode_segment_header,
    encode_footer,
    encode_segment_header,
)
from storage.wal.reader import GroupBoundary, Stop, Walk

SEGMENT_SIZE = 64 * 1024 * 1024
"""Bytes preallocated for a segment unless told otherwise."""
MIN_SEGMENT_SIZE = 8192
SALT_SIZE = 8

_NAME = re.compile(r"([0-9a-f]{16})\.seg")


def segment_name(sequence: int) -> str:
    """File name of a segment.

    >>> segment_name(10)
    '000000000000000a.seg'
    """
    return f"{sequence:016x}.seg"


def sequence_of(name: str) -> int | None:
    """Number of the segment with this file name; None if it is not a segment's."""
    match = _NAME.fullmatch(name)
    return int(match[1], 16) if match else None


class SegmentFile(NamedTuple):
    """A segment on disk whose header is valid. Without a footer it is still open for writing."""

    path: str
    header: SegmentHeader
    footer: Footer | None
    size: int

    @property
    def limit(self) -> int:
        """No record reaches beyond this offset."""
        return self.footer.end if self.footer else min(self.size, self.header.size - FOOTER_SIZE)


class OpenSegment:
    """The segment that is being written, and the state of the log at its end."""

    def __init__(
        self, file: File, path: str, header: SegmentHeader, *, end: int, last_lsn: int, chain: bytes
    ) -> None:
        self.file = file
        self.path = path
        self.header = header
        self.end = end
        """The logical end: where the next group goes."""
        self.last_lsn = last_lsn
        self.chain = chain

    @property
    def room(self) -> int:
        """Bytes left for records."""
        return self.header.size - FOOTER_SIZE - self.end

    @property
    def footer(self) -> Footer:
        """What the footer says, or will say."""
        records = self.last_lsn + 1 - self.header.first_lsn
        return Footer(self.header.sequence, records, self.last_lsn, self.end, self.chain)

    def seal(self) -> SegmentFile:
        """Write the footer and make it durable. May be repeated after `StorageFull`."""
        size = self.header.size
        with writing(self.path):
            write_all(self.file, size - FOOTER_SIZE, encode_footer(self.header, self.footer))
        reach("wal.seal.written")
        with syncing(self.path):
            self.file.fdatasync()
        return SegmentFile(self.path, self.header, self.footer, size)


def create_segment(
    fs: FileSystem,
    directory: str,
    identity: WalIdentity,
    *,
    sequence: int,
    last_lsn: int,
    chain: bytes,
    size: int,
    random_bytes: Callable[[int], bytes],
) -> OpenSegment:
    """Make the segment that follows a sealed one. It gets its name only when header and space are durable."""
    header = SegmentHeader(identity, sequence, last_lsn + 1, chain, random_bytes(SALT_SIZE), size, PREFERRED)
    path = f"{directory}/{segment_name(sequence)}"

    def fill(file: File) -> None:
        with writing(path):
            file.fallocate(size)
            write_all(file, 0, encode_segment_header(header))

    file = create_durably(fs, path, fill, "wal.segment")
    return OpenSegment(file, path, header, end=SEGMENT_HEADER_SIZE, last_lsn=last_lsn, chain=chain)


LEFTOVERS = (".tmp", ".dead")
"""Endings of files that a crash left while a segment was being made or removed."""


class Survey(NamedTuple):
    """The log directory as found."""

    segments: list[SegmentFile]
    """In order; all but the last are sealed, and each follows from the one before."""
    headless: str
    """Path of a last segment whose header is invalid; empty if there is none."""
    leftovers: list[str]
    """Paths of files to remove."""
    beginning: Beginning
    """What was before the first segment."""
    pruned: list[str]
    """Paths of segments before it, which a crash kept a prune from removing."""


def read_ends(file: File, path: str) -> tuple[SegmentHeader | None, Footer | None, int]:
    """Header, footer and size of a segment file; None for what is invalid or absent."""
    with reading(path):
        size = file.size()
        header = decode_segment_header(file.pread(0, SEGMENT_HEADER_SIZE))
        if header is None or size < SEGMENT_HEADER_SIZE + FOOTER_SIZE:
            return header, None, size
        footer = decode_footer(header, file.pread(size - FOOTER_SIZE, FOOTER_SIZE))
    if footer and not plausible(header, footer, size):
        return header, None, size
    return header, footer, size


def plausible(header: SegmentHeader, footer: Footer, size: int) -> bool:
    """Whether a footer fits its segment."""
    inside = SEGMENT_HEADER_SIZE <= footer.end <= size - FOOTER_SIZE
    return inside and footer.last_lsn == header.first_lsn + footer.records - 1


def verified_records(
    file: File, segment: SegmentFile, last_lsn: int, start: GroupBoundary | None = None
) -> Iterator[Record]:
    """Records of a segment, from ``start`` on: those up to ``last_lsn``, which were durable, and no later ones.

    Raises `WalCorrupt` if one is missing or damaged, `StoreTooNew` if one has flags of a later version.
    """
    walk, footer = Walk(file, segment.header, segment.path, segment.limit, start), segment.footer
    yield from walk
    walk.refuse_later_flags()
    whole = walk.stop is Stop.END and walk.last_lsn == last_lsn
    if not whole or (footer and (walk.end, walk.chain) != (footer.end, footer.chain)):
        raise WalCorrupt(
            f"{segment.path} at offset {walk.end:#x}: records {walk.last_lsn + 1} to {last_lsn} "
            "were durable, but are damaged",
            path=segment.path,
            offset=walk.end,
            lsn=walk.last_lsn + 1,
            witness=last_lsn,
        )


def survey(fs: FileSystem, directory: str, identity: WalIdentity) -> Survey:
    """Look at every file's ends. Raises `WalCorrupt`, `WalForeign` for what no crash can leave behind."""
    with reading(directory):
        names = fs.listdir(directory)
    noted = read_beginning(fs, directory)
    beginning = noted or Beginning.whole(identity)
    pruned, sequences = split_sequences(names, beginning)
    leftovers = [f"{directory}/{name}" for name in names if name.endswith(LEFTOVERS)]
    found = Survey([], "", leftovers, beginning, [f"{directory}/{segment_name(number)}" for number in pruned])
    if noted is not None and not sequences:
        missing = f"{directory}/{segment_name(noted.sequence)}"
        raise WalCorrupt(f"{missing} is missing: the log begins with it", path=missing)
    for expected, sequence in enumerate(sequences, beginning.sequence):
        path = f"{directory}/{segment_name(sequence)}"
        if sequence != expected:
            missing = f"{directory}/{segment_name(expected)}"
            raise WalCorrupt(f"{missing} is missing: {path} follows it", path=missing)
        if found.segments and found.segments[-1].footer is None:
            previous = found.segments[-1].path
            raise WalCorrupt(f"{previous} has no valid footer, but {path} follows it", path=previous)
        with reading(path):
            file = fs.open(path, writable=False)
        try:
            header, footer, size = read_ends(file, path)
        finally:
            file.close()
        if header is None:
            if sequence != sequences[-1]:
                raise WalCorrupt(f"{path} has an invalid header", path=path)
            return found._replace(headless=path)
        check_place(path, header, sequence, identity, found.segments[-1] if found.segments else None, beginning)
        found.segments.append(SegmentFile(path, header, footer, size))
    return found


def split_sequences(names: list[str], beginning: Beginning | None) -> tuple[list[int], list[int]]:
    """Numbers of the segments among file names: those before the beginning, and the log's; ascending."""
    sequences = sorted(number for number in map(sequence_of, names) if number is not None)
    first = beginning.sequence if beginning is not None else 0
    return [number for number in sequences if number < first], [number for number in sequences if number >= first]


def check_place(
    path: str,
    header: SegmentHeader,
    sequence: int,
    identity: WalIdentity,
    previous: SegmentFile | None,
    beginning: Beginning,
) -> None:
    """Refuse a segment that is intact but does not belong where it lies. Raises `WalForeign`."""
    if header.identity != identity:
        raise WalForeign(
            f"{path} belongs to chain {header.identity.chain_id} "
            f"with genesis 0x{header.identity.genesis_hash.hex()}",
            path=path,
        )
    if header.sequence != sequence:
        raise WalForeign(f"{path} is segment {header.sequence:#x}, renamed or copied", path=path)
    last_lsn, chain = beginning.last_lsn, beginning.chain
    if previous and previous.footer:
        last_lsn, chain = previous.footer.last_lsn, previous.footer.chain
    if (header.first_lsn, header.previous_chain) != (last_lsn + 1, chain):
        raise WalForeign(
            f"{path} begins at LSN {header.first_lsn} of another history; "
            f"the log before it ends at LSN {last_lsn}",
            path=path,
            lsn=last_lsn + 1,
        )


def begin_pruned(fs: FileSystem, directory: str, identity: WalIdentity, beginning: Beginning) -> None:
    """Make a log that begins there and holds nothing, in an empty directory. Raises `StorageFull`, `StoragePanic`."""
    segment = create_segment(
        fs,
        directory,
        identity,
        sequence=beginning.sequence,
        last_lsn=beginning.last_lsn,
        chain=beginning.chain,
        size=SEGMENT_SIZE,
        random_bytes=os.urandom,
    )
    segment.file.close()
    write_beginning(fs, directory, beginning)


def remove_pruned(fs: FileSystem, directory: str, paths: Sequence[str]) -> None:
    """Remove segments that lie before the beginning. Raises `StoragePanic`."""
    with syncing(directory):  # the name of the file that says so, if who made it was killed in between
        fs.sync_directory(directory)
    for path in paths:
        with writing(path):
            fs.unlink(path)
        reach("wal.prune.unlinked")
    with syncing(directory):
        fs.sync_directory(directory)
