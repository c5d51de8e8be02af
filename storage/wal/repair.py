"""Takes away the end of a damaged log: keeps a copy, cuts, and never writes there again.

Recovery cuts what no witness knows to have been durable. Inside the durable range only `accept_loss` cuts, because the
log's owner says so and names the exact record: the last resort. Nothing is deleted: the damaged bytes, the segments
after them and the watermark go to quarantine; the log that is left ends before that record, and the program that opens
it next appends a DATA_LOSS record.

A segment that was cut is sealed at the cut, and history goes on in a new one with a new salt: whatever a
lying disk may bring back from behind the cut is outside every limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.errors import DataLossRefused
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import File, FileSystem, parent_of, write_all
from storage.wal.bounds import WATERMARK_NAME, Beginning, read_beginning
from storage.wal.format import FOOTER_SIZE, Footer, WalIdentity, encode_footer
from storage.wal.packed import unpacked
from storage.wal.reader import CHUNK, Walk, look_beyond, written_end
from storage.wal.segments import SegmentFile, check_place, read_ends, segment_name, split_sequences
from storage.wal.unknown import check_type

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


def accept_loss(fs: FileSystem, directory: str, identity: WalIdentity, lsn: int) -> None:
    """End the log before record ``lsn``, which must be the first that cannot be read.

    A crash in between leaves a log to which the same call may be made again. Raises `DataLossRefused`, or `StoreTooNew`
    if an intact record before it is of a later version, and then nothing was changed.
    """
    fs = unpacked(fs)
    with reading(directory):
        names = fs.listdir(directory)
    beginning = read_beginning(fs, directory) or Beginning.whole(identity)
    _, sequences = split_sequences(names, beginning)
    first_lsn = beginning.first_lsn
    previous: SegmentFile | None = None
    for place, sequence in enumerate(sequences):
        path = f"{directory}/{segment_name(sequence)}"
        expected = previous.footer.last_lsn + 1 if previous and previous.footer else first_lsn
        in_place = sequence == beginning.sequence + place
        segment = _segment(fs, path, sequence, identity, previous, beginning) if in_place else None
        if segment is None:  # its header is unreadable: remove all of it
            _require(lsn, expected, first_lsn)
            _set_aside(fs, directory, sequences[place:])
            return
        last = _last_readable(fs, segment)
        footer = segment.footer
        if footer is None or last != footer.last_lsn:
            _require(lsn, last + 1, first_lsn)
            _set_aside(fs, directory, sequences[place + 1 :])
            _cut(fs, directory, segment)
            return
        previous = segment
    _require(lsn, previous.footer.last_lsn + 1 if previous and previous.footer else first_lsn, first_lsn)
    _set_aside(fs, directory, [])


def _require(lsn: int, first_lost: int, first_lsn: int) -> None:
    if lsn != first_lost or lsn <= first_lsn:
        raise DataLossRefused(f"the first record that cannot be read is LSN {first_lost}, not {lsn}")


def _segment(
    fs: FileSystem,
    path: str,
    sequence: int,
    identity: WalIdentity,
    previous: SegmentFile | None,
    beginning: Beginning,
) -> SegmentFile | None:
    with reading(path):
        file = fs.open(path, writable=False)
    try:
        header, footer, size = read_ends(file, path)
    finally:
        file.close()
    if header is None:
        return None
    check_place(path, header, sequence, identity, previous, beginning)
    return SegmentFile(path, header, footer, size)


def _last_readable(fs: FileSystem, segment: SegmentFile) -> int:
    """LSN of the last record before any damage. Raises `StoreTooNew` rather than take a later version's for damaged."""
    with reading(segment.path):
        file = fs.open(segment.path, writable=False)
    try:
        walk = Walk(file, segment.header, segment.path, segment.limit)
        for record in walk:
            check_type(record, segment.path)
        walk.refuse_later_flags()
        return walk.last_lsn
    finally:
        file.close()


def _cut(fs: FileSystem, directory: str, segment: SegmentFile) -> None:
    with reading(segment.path):
        file = fs.open(segment.path)
    try:
        open_end = segment._replace(footer=None)
        walk = Walk(file, segment.header, segment.path, segment.limit).to_the_end()
        beyond = look_beyond(file, segment.header, segment.path, walk.end, segment.size, walk.last_lsn + 1)
        end = written_end(file, segment.path, walk.end, [(walk.end, segment.size)])
        cut(fs, directory, file, open_end, walk, damage_end=end, last_lsn_seen=beyond.last_lsn)
    finally:
        file.close()


def _set_aside(fs: FileSystem, directory: str, sequences: list[int]) -> None:
    """The last segment first, so that a crash leaves no gap; then the witness that would object."""
    for sequence in reversed(sequences):
        move_to_quarantine(fs, directory, f"{directory}/{segment_name(sequence)}")
    mark = f"{directory}/{WATERMARK_NAME}"
    if fs.exists(mark):
        move_to_quarantine(fs, directory, mark)
    with writing(directory), syncing(directory):
        fs.sync_directory(directory)
