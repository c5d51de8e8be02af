"""Looks at a log without touching it, and goes on after damage: what `zvmd wal inspect` and `verify` show."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from storage.errors import StoreTooNew, WalCorrupt, WalForeign
from storage.io.failures import reading
from storage.io.files import File, FileSystem
from storage.wal.bounds import BEGINNING_NAME, Beginning, read_beginning
from storage.wal.format import FOOTER_SIZE, OPTIONAL, Record
from storage.wal.packed import unpacked
from storage.wal.reader import Stop, Walk, records_beyond, written_end
from storage.wal.segments import SegmentFile, check_place, read_ends, segment_name, split_sequences
from storage.wal.unknown import describe_unknown, is_known

TOO_NEW = "too new"
"""Verdict of what is intact, but of a later version."""
OK = frozenset(("beginning", "pruned", "segment", "record", "footer", "open end"))
"""Verdicts of a sound log. All others are findings."""


class Finding(NamedTuple):
    """One thing seen in a segment file."""

    path: str
    offset: int
    """Where it begins, in bytes."""
    record: Record | None
    verdict: str
    """`OK`: sound. ``invalid beginning``, ``invalid header``, ``too new``, ``foreign``,
    ``missing segment``, ``damaged``, ``misplaced``, ``stray record``, ``unsealed``, ``seal mismatch``,
    ``trailing bytes``: not."""
    detail: str

    @property
    def sound(self) -> bool:
        """Whether a sound log holds this."""
        return self.verdict in OK

    def refuse_later_version(self) -> None:
        """Raise `StoreTooNew` if this is intact, but only a later version can judge it."""
        if self.verdict == TOO_NEW:
            raise StoreTooNew(f"{self.path} at {self.offset:#x}: {self.detail}")


def inspect(fs: FileSystem, directory: str, beginning: Beginning | None = None) -> Iterator[Finding]:
    """Everything in the log, file by file. Changes nothing; unreadable files raise `StorageUnreadable`.

    ``beginning``: what the log would hold if it began there, instead of where it does.
    """
    fs = unpacked(fs)
    with reading(directory):
        names = fs.listdir(directory)
    if beginning is None:
        beginning = yield from _beginning(fs, directory)
    pruned, sequences = split_sequences(names, beginning)
    for sequence in pruned:
        yield Finding(f"{directory}/{segment_name(sequence)}", 0, None, "pruned", "the next start removes it")
    if beginning is not None and not sequences:
        path = f"{directory}/{segment_name(beginning.sequence)}"
        yield Finding(path, 0, None, "missing segment", "the log begins with it")
    previous: SegmentFile | None = None
    for place, sequence in enumerate(sequences):
        path = f"{directory}/{segment_name(sequence)}"
        if sequence != (sequences[place - 1] + 1 if place else beginning.sequence if beginning else 0):
            yield Finding(path, 0, None, "missing segment", "a segment before this one is missing")
            previous = None
        with reading(path):
            file = fs.open(path, writable=False)
        try:
            last = sequence == sequences[-1]
            segment = yield from _ends(file, path, sequence, previous, None if place else beginning, place)
            if segment is not None:
                yield from _bodies(file, segment, last=last)
            previous = segment
        finally:
            file.close()


def _beginning(fs: FileSystem, directory: str) -> Generator[Finding, None, Beginning | None]:
    """Where the log begins; None if it is whole, or if that is unknown."""
    path = f"{directory}/{BEGINNING_NAME}"
    try:
        found = read_beginning(fs, directory)
    except StoreTooNew as error:
        yield Finding(path, 0, None, TOO_NEW, str(error))
        return None
    except WalCorrupt as error:
        yield Finding(path, 0, None, "invalid beginning", str(error))
        return None
    if found is not None:
        detail = f"segment {found.sequence}, LSN {found.first_lsn}; what was before is in {found.export}"
        yield Finding(path, 0, None, "beginning", detail)
    return found


def _ends(
    file: File, path: str, sequence: int, previous: SegmentFile | None, beginning: Beginning | None, place: int
) -> Generator[Finding, None, SegmentFile | None]:
    """Header and place of one segment; the segment if it can be read further."""
    try:
        header, footer, size = read_ends(file, path)
    except StoreTooNew as error:
        yield Finding(path, 0, None, TOO_NEW, str(error))
        return None
    if header is None:
        yield Finding(path, 0, None, "invalid header", f"{size} bytes")
        return None
    detail = (
        f"number {header.sequence} from LSN {header.first_lsn}, chain {header.identity.chain_id}, "
        f"{header.checksum.name}, {size} bytes"
    )
    yield Finding(path, 0, None, "segment", detail)
    if previous is not None or place == 0:
        try:
            before = beginning or Beginning.whole(header.identity)
            check_place(path, header, sequence, header.identity, previous, before)
            if previous is not None and previous.header.identity != header.identity:
                raise WalForeign(f"{path} belongs to another chain than {previous.path}")
        except WalForeign as error:
            yield Finding(path, 0, None, "foreign", str(error))
    return SegmentFile(path, header, footer, size)


def _bodies(file: File, segment: SegmentFile, *, last: bool) -> Iterator[Finding]:
    """The records of one segment, what is wrong after them, and its seal."""
    path, header, footer = segment.path, segment.header, segment.footer
    with reading(path):
        ranges = file.data_ranges()
    walk = Walk(file, header, path, segment.limit)
    for record in walk:
        detail = "" if is_known(record) else describe_unknown(record)
        critical = detail and not record.flags & OPTIONAL
        yield Finding(path, walk.position, record, TOO_NEW if critical else "record", detail)
    after, end = f"after LSN {walk.last_lsn}", walk.end
    limit = footer.end if footer else written_end(file, path, end, ranges)
    if walk.stop is not Stop.END:
        yield Finding(path, end, None, walk.stop.value, f"{after}: {limit - end} bytes up to the end")
    elif limit > end:
        yield Finding(
            path, end, None, "damaged", f"{after}: unwritten space is followed by {limit - end} bytes"
        )
    for offset, record in records_beyond(file, header, path, end, limit):
        yield Finding(
            path, offset, record, "stray record", "intact, but not reachable from the records before"
        )
    if footer is None:
        detail = f"{after}, {segment.size - FOOTER_SIZE - end} bytes free"
        yield Finding(path, end, None, "open end" if last else "unsealed", detail)
    elif (footer.end, footer.last_lsn, footer.chain) == (end, walk.last_lsn, walk.chain):
        yield Finding(path, segment.size - FOOTER_SIZE, None, "footer", f"{footer.records} records {after}")
    else:
        detail = (
            f"the footer says LSN {footer.last_lsn} at {footer.end:#x}, the records end {after} at {end:#x}"
        )
        yield Finding(path, segment.size - FOOTER_SIZE, None, "seal mismatch", detail)
    free = [(start, min(stop, segment.size - FOOTER_SIZE)) for start, stop in ranges]
    if footer and written_end(file, path, footer.end, free) > footer.end:
        yield Finding(
            path, footer.end, None, "trailing bytes", "behind the sealed end; they belong to nothing"
        )
