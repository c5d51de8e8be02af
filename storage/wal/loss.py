"""Cuts a log inside its durable range, because its owner says so and names the exact record: the last resort.

Nothing is deleted. The damaged bytes, the segments after them and the watermark go to quarantine; what is left is a
sound log that ends before the given record, and whoever opens it next appends a DATA_LOSS record.
"""

from __future__ import annotations

from storage.errors import DataLossRefused
from storage.io.failures import reading, syncing, writing
from storage.io.files import FileSystem
from storage.wal.beginning import Beginning, read_beginning
from storage.wal.format import WalIdentity
from storage.wal.packed import unpacked
from storage.wal.reader import Walk, look_beyond, written_end
from storage.wal.repair import cut, move_to_quarantine
from storage.wal.segment import SegmentFile, segment_name
from storage.wal.survey import check_place, read_ends, split_sequences
from storage.wal.watermark import WATERMARK_NAME


def accept_loss(fs: FileSystem, directory: str, identity: WalIdentity, lsn: int) -> None:
    """End the log before record ``lsn``, which must be the first that cannot be read.

    A crash in between leaves a log to which the same call may be made again. Raises `DataLossRefused`, and then
    nothing was changed.
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
        if segment is None:  # it cannot even be told what it is: all of it goes
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
    with reading(segment.path):
        file = fs.open(segment.path, writable=False)
    try:
        walk = Walk(file, segment.header, segment.path, segment.limit)
        for _ in walk:
            pass
        return walk.last_lsn
    finally:
        file.close()


def _cut(fs: FileSystem, directory: str, segment: SegmentFile) -> None:
    with reading(segment.path):
        file = fs.open(segment.path)
    try:
        open_end = segment._replace(footer=None)
        walk = Walk(file, segment.header, segment.path, segment.limit)
        for _ in walk:
            pass
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
