"""What is in the log directory: every segment's header and footer, checked against each other."""

from __future__ import annotations

from typing import NamedTuple

from storage.errors import WalCorrupt, WalForeign
from storage.io.failures import reading
from storage.io.files import File, FileSystem
from storage.wal.beginning import Beginning, read_beginning
from storage.wal.format import (
    FOOTER_SIZE,
    SEGMENT_HEADER_SIZE,
    Footer,
    SegmentHeader,
    WalIdentity,
    decode_footer,
    decode_segment_header,
)
from storage.wal.segment import SegmentFile, segment_name, sequence_of

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
