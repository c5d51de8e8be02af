"""Segment files: their names, how one comes into being whole, and how it is sealed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from storage.io.atomic import create_durably
from storage.io.checksum import PREFERRED
from storage.io.failpoints import reach
from storage.io.failures import syncing, writing
from storage.io.files import File, FileSystem, write_all
from storage.wal.format import (
    FOOTER_SIZE,
    SEGMENT_HEADER_SIZE,
    Footer,
    SegmentHeader,
    WalIdentity,
    encode_footer,
    encode_segment_header,
)

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
        self.sealed = False
        """Whether the footer is durable, so that the next record needs a new segment."""

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
