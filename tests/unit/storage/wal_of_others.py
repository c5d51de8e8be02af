"""Logs as programs of other versions write them: segments of format 1, records of unknown types."""

from __future__ import annotations

from typing import NamedTuple

from storage.wal import RecordType, Wal
from storage.wal.format import (
    FOOTER_SIZE,
    OPTIONAL,
    RECORD_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    decode_segment_header,
    encode_segment_header,
)
from storage.wal.records import SCHEMAS
from storage.wal.segments import sequence_of
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN, SEGMENT_SIZE


class Entry(NamedTuple):
    """A record to be appended."""

    type: int
    payload: bytes
    optional: bool = False
    schema: int = 1


KNOWN = Entry(RecordType.TRANSACTION, b"known")
UNHEARD_OF = Entry(200, b"a type of a later version", optional=True)
RESERVED_NAME = Entry(23, b"a reserved type", optional=True)
LATER_SCHEMA = Entry(RecordType.FATE, b"a known type, encoded anew", True, SCHEMAS[RecordType.FATE] + 1)
OPTIONALS = (UNHEARD_OF, RESERVED_NAME, LATER_SCHEMA)
CRITICALS = tuple(entry._replace(optional=False) for entry in (*OPTIONALS, Entry(18, b"a reserved critical type")))


def opened(fs: SimFs, **options: object) -> Wal:
    return Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=bytes, **options)


def log_of(*groups: tuple[Entry, ...]) -> SimFs:
    """A log with these groups, closed and durable."""
    fs = SimFs()
    log = opened(fs)
    for group in groups:
        for kind, payload, optional, schema in group:
            log.append(kind, payload, optional=optional, schema=schema)
        log.flush()
    log.close()
    return fs.restart()


def entries(log: Wal, *, unknown: bool) -> list[Entry]:
    return [
        Entry(record.type, record.payload, bool(record.flags & OPTIONAL), record.schema)
        for record in log.records(unknown=unknown)
    ]


def files(fs: SimFs) -> dict[str, bytes]:
    """Everything in the directory of the log, and whether there is a quarantine."""
    found = {f"wal/{name}": fs.content(f"wal/{name}") for name in fs.listdir("wal")}
    return found | {"quarantine": b"there"} if fs.exists("quarantine") else found


def segments(fs: SimFs) -> list[str]:
    return sorted(f"wal/{name}" for name in fs.listdir("wal") if sequence_of(name) is not None)


def as_of_format_1(fs: SimFs) -> SimFs:
    """The same log with the headers that programs of format 2.4 write."""
    for path in segments(fs):
        content = fs.content(path)
        header = decode_segment_header(content[:SEGMENT_HEADER_SIZE])
        assert header is not None
        fs.replace(path, encode_segment_header(header._replace(version=1)) + content[SEGMENT_HEADER_SIZE:])
    return fs.restart()


def versions(fs: SimFs) -> list[int]:
    """Format version of each segment."""
    found = [decode_segment_header(fs.content(path)[:SEGMENT_HEADER_SIZE]) for path in segments(fs)]
    return [header.version for header in found if header is not None]


def filling(count: int = 1) -> tuple[Entry, ...]:
    """Records that leave no room in a segment for another."""
    room = SEGMENT_SIZE - SEGMENT_HEADER_SIZE - FOOTER_SIZE - 32
    return (Entry(RecordType.TRANSACTION, bytes(room // count // 8 * 8 - RECORD_HEADER_SIZE)),) * count


