"""Takes away what no witness knows to have been durable: keeps a copy, cuts, and never writes there again.

A segment that was cut is sealed at the cut, and history goes on in a new one with a new salt: whatever a
lying disk may bring back from behind the cut is outside every limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import File, FileSystem, parent_of, write_all
from storage.wal.format import FOOTER_SIZE, Footer, encode_footer
from storage.wal.reader import CHUNK, Walk
from storage.wal.segment import SegmentFile

BLOCK = 4096
MAX_COPIES = 10_000
"""Quarantined pieces of one place before recovery refuses to add more."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What recovery took away from the end of the log."""

    path: str
    """The segment that was cut."""
    offset: int
    """Where, in bytes."""
    length: int
    """Bytes taken away, up to the last one that was not zero; 0 if only the file's size was wrong."""
    first_lsn: int
    """The first record that is gone, had it been written."""
    last_lsn: int
    """The highest LSN that could still be read behind the cut; 0 if none."""
    quarantine: str
    """Path of the copy; empty if there was nothing to copy."""


def quarantine_of(directory: str) -> str:
    """Where pieces of the log in ``directory`` are kept: beside it.

    >>> quarantine_of("wal")
    'quarantine'
    """
    return f"{parent_of(directory)}/quarantine".lstrip("/")


def free_name(fs: FileSystem, directory: str, stem: str) -> str:
    """A path in the quarantine that is not taken, making the quarantine durable if it is new."""
    place = quarantine_of(directory)
    with writing(place):
        fs.makedirs(place)
    with syncing(place):
        fs.sync_directory(parent_of(place))
    names = frozenset(fs.listdir(place))
    for number in range(MAX_COPIES):
        name = f"{stem}.{number}"
        if name not in names:
            return f"{place}/{name}"
    raise AssertionError(f"{MAX_COPIES} copies of {stem} in {place}")


def copy_to_quarantine(
    fs: FileSystem, directory: str, source: File, segment: SegmentFile, start: int, end: int
) -> str:
    """Keep a durable copy of ``start:end`` of a segment. Returns its path."""
    path = free_name(fs, directory, f"wal-{segment.header.sequence:016x}-{start:x}")
    with writing(path):
        target = fs.open(path, create=True)
    try:
        offset = start
        while offset < end:
            with reading(segment.path):
                chunk = source.pread(offset, min(CHUNK, end - offset))
            with writing(path):
                write_all(target, offset - start, chunk)
            offset += len(chunk)
        with syncing(path):
            target.fsync()
    finally:
        target.close()
    with syncing(path):
        fs.sync_directory(parent_of(path))
    return path


def move_to_quarantine(fs: FileSystem, directory: str, path: str) -> str:
    """Take a whole segment file out of the log. Returns where it is now."""
    name = path.rpartition("/")[2]
    target = free_name(fs, directory, f"wal-{name}")
    with writing(target):
        fs.rename(path, target)
    with syncing(target):
        fs.sync_directory(parent_of(target))
        fs.sync_directory(directory)
    return target


def rewrite_unwitnessed(file: File, segment: SegmentFile, walk: Walk) -> int:
    """Write the last group (and footer) again and sync, before it counts as durable. Returns its bytes.

    The process before may have been killed between write and sync, or its sync may have failed and left pages
    that look clean but are not on disk. The bytes are the same, so a crash here changes nothing.
    """
    with reading(segment.path):
        group = file.pread(walk.group_start, walk.end - walk.group_start)
    with writing(segment.path):
        write_all(file, walk.group_start, group)
        if segment.footer:
            footer = encode_footer(segment.header, segment.footer)
            write_all(file, segment.size - FOOTER_SIZE, footer)
    with syncing(segment.path):
        file.fdatasync()
    return len(group)


def cut(
    fs: FileSystem,
    directory: str,
    file: File,
    segment: SegmentFile,
    walk: Walk,
    *,
    damage_end: int,
    last_lsn_seen: int,
) -> tuple[SegmentFile, Cut]:
    """End a segment after its last valid record and seal it there.

    Order matters: first the copy is durable, then the tail is gone, then the footer says so. A crash in
    between leaves either the damage, or a clean short segment; both come back here.
    """
    assert segment.footer is None, "what was sealed is never cut"
    copy = ""
    if damage_end > walk.end:
        copy = copy_to_quarantine(fs, directory, file, segment, walk.end, damage_end)
    size = (walk.end + FOOTER_SIZE + BLOCK - 1) // BLOCK * BLOCK
    reach("wal.cut.copied")
    with writing(segment.path):
        file.ftruncate(size)
        write_all(file, walk.end, bytes(size - walk.end))
    reach("wal.cut.truncated")
    rewrite_unwitnessed(file, segment, walk)
    header = segment.header
    records = walk.last_lsn + 1 - header.first_lsn
    footer = Footer(header.sequence, records, walk.last_lsn, walk.end, walk.chain)
    with writing(segment.path):
        write_all(file, size - FOOTER_SIZE, encode_footer(header, footer))
    with syncing(segment.path):
        file.fdatasync()
    reach("wal.cut.sealed")
    report = Cut(segment.path, walk.end, damage_end - walk.end, walk.last_lsn + 1, last_lsn_seen, copy)
    return SegmentFile(segment.path, header, footer, size), report
