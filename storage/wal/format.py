"""The bytes of the write-ahead log: segment header, record, footer, watermark. See docs/formats/wal.md.

Pure: bytes in, words out. Everything is little-endian. A decoder returns None for bytes that are not what it
looks for, whatever the reason; deciding between torn and corrupt is the reader's job.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from storage.errors import StoreTooNew
from storage.io.checksum import CHECKSUMS, Checksum

VERSION = 2
"""Format version of the segments that are written, and the oldest reader that takes them.

2 has the layout of 1. The number keeps out programs that know log formats up to 2.4.
"""

ALIGNMENT = 8
SEGMENT_HEADER_SIZE = 4096
MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of one record's payload."""
MAX_CHAIN_ID = 2**64 - 1

GROUP_END = 0x01
"""Flag: the last record that one sync made durable."""
OPTIONAL = 0x02
"""Flag: a reader that does not know the type may skip the record."""
KNOWN_FLAGS = GROUP_END | OPTIONAL

SEGMENT_MAGIC = b"ZVMDWAL\0"
FOOTER_MAGIC = b"ZVMDEND\0"
WATERMARK_MAGIC = b"ZVMDMRK\0"

SEGMENT = struct.Struct("<8sHH32sQQQ16s8sQII")
RECORD = struct.Struct("<IIIBBHQQ8s")
RECORD_CORE = struct.Struct("<IBBHQQ")
FOOTER = struct.Struct("<8sQQQQ16sII")
WATERMARK = struct.Struct("<8sQQQQ16s8sII")
UINT32 = struct.Struct("<I")

RECORD_HEADER_SIZE = RECORD.size
FOOTER_SIZE = FOOTER.size
WATERMARK_SLOT_SIZE = 512
ZERO_RECORD_HEADER = bytes(RECORD_HEADER_SIZE)
PADDING = tuple(bytes(-length % ALIGNMENT) for length in range(ALIGNMENT))
"""Zeros that follow a payload, by its length modulo 8."""


class WalIdentity(NamedTuple):
    """The chain a log belongs to."""

    genesis_hash: bytes
    chain_id: int
    """At most 2**64 - 1."""

    def first_chain(self) -> bytes:
        """The chain value before the first record: 16 bytes."""
        return blake2b(self.genesis_hash + self.chain_id.to_bytes(8, "little"), digest_size=16).digest()


class Record(NamedTuple):
    """One entry of the log."""

    lsn: int
    """Its place in history, from 1, without gaps."""
    type: int
    """A `RecordType`, or a number of a later version if the record is optional."""
    payload: bytes
    flags: int = 0
    schema: int = 0
    """Version of the payload's encoding."""
    durable_lsn: int = 0
    """The highest LSN that was durable when this record was written: a witness for all up to there."""


class SegmentHeader(NamedTuple):
    """What the first 4,096 bytes of a segment say."""

    identity: WalIdentity
    sequence: int
    """Segments count from 0; the file's name says the same."""
    first_lsn: int
    previous_chain: bytes
    """Chain value after the last record of the segment before."""
    salt: bytes
    """Random; mixed into every checksum, so that bytes of another file or an older life never look valid."""
    size: int
    """Bytes preallocated."""
    checksum: Checksum
    version: int = VERSION
    """Format version. Segments of an earlier one are read, not written further."""

    @property
    def start(self) -> int:
        """The state of a checksum that has taken in the salt."""
        return self.checksum.run(self.salt, 0)


class Footer(NamedTuple):
    """Last bytes of a sealed segment: what it holds, so that opening need not read it."""

    sequence: int
    records: int
    """How many the segment holds."""
    last_lsn: int
    end: int
    """Where the last record ends, in bytes."""
    chain: bytes
    """Chain value after the last record."""


class Mark(NamedTuple):
    """One slot of the watermark: how far the log was durable."""

    counter: int
    """Grows with each write; the highest valid slot counts."""
    durable_lsn: int
    sequence: int
    end: int
    chain: bytes


def aligned(length: int) -> int:
    """``length`` rounded up to a multiple of 8.

    >>> aligned(0), aligned(1), aligned(8)
    (0, 8, 8)
    """
    return length + -length % ALIGNMENT


def record_size(payload_length: int) -> int:
    """Bytes a record takes in the file."""
    return RECORD_HEADER_SIZE + aligned(payload_length)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The 4,096 bytes that begin a segment."""
    body = SEGMENT.pack(
        SEGMENT_MAGIC,
        header.version,
        header.version,
        header.identity.genesis_hash,
        header.identity.chain_id,
        header.sequence,
        header.first_lsn,
        header.previous_chain,
        header.salt,
        header.size,
        header.checksum.number,
        0,
    )[:-4]
    sealed = body + UINT32.pack(header.checksum.run(body, 0))
    return sealed.ljust(SEGMENT_HEADER_SIZE, b"\0")


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header, or None if damaged. Raises `StoreTooNew` if intact but written for later readers."""
    if len(data) < SEGMENT_HEADER_SIZE or data[SEGMENT.size : SEGMENT_HEADER_SIZE].strip(b"\0"):
        return None
    magic, version, reader, genesis, chain_id, sequence, first_lsn, chain, salt, size, flags, crc = (
        SEGMENT.unpack_from(data)
    )
    checksum = CHECKSUMS.get(flags)
    if magic != SEGMENT_MAGIC or checksum is None or crc != checksum.run(data[: SEGMENT.size - 4], 0):
        return None
    if reader > VERSION:
        raise StoreTooNew(f"segment {sequence} of the log needs a reader of format {reader}, this is {VERSION}")
    return SegmentHeader(WalIdentity(genesis, chain_id), sequence, first_lsn, chain, salt, size, checksum, version)


def encode_group(
    header: SegmentHeader, records: Iterable[Record], durable_lsn: int, chain: bytes
) -> tuple[bytes, bytes]:
    """The bytes of records that one sync will make durable, and the chain value after them.

    The records' own ``durable_lsn`` and group flags are ignored: they are decided here.
    """
    run, start = header.checksum.run, header.start
    parts: list[bytes] = []
    records = tuple(records)
    last_lsn = records[-1].lsn if records else 0
    for lsn, kind, payload, flags, schema, _ in records:
        length = len(payload)
        if lsn == last_lsn:
            flags |= GROUP_END
        core = RECORD_CORE.pack(length, kind, flags, schema, lsn, durable_lsn)
        chain = blake2b(chain + core + payload, digest_size=16).digest()
        core += chain[:8]
        core = UINT32.pack(run(core, start)) + core
        parts += (UINT32.pack(run(payload, run(core, start))), core, payload, PADDING[length % ALIGNMENT])
    return b"".join(parts), chain


def next_chain(chain: bytes, core: bytes, payload: bytes) -> bytes:
    """Chain value after a record whose header bytes 8 to 32 are ``core``."""
    return blake2b(chain + core + payload, digest_size=16).digest()


def encode_footer(header: SegmentHeader, footer: Footer) -> bytes:
    """The last 64 bytes of a sealed segment."""
    body = FOOTER.pack(FOOTER_MAGIC, *footer, 0, 0)[:-4]
    return body + UINT32.pack(header.checksum.run(body, header.start))


def decode_footer(header: SegmentHeader, data: bytes) -> Footer | None:
    """The footer in the last 64 bytes of a segment; None if there is none, or a damaged one."""
    if len(data) != FOOTER_SIZE or data[:8] != FOOTER_MAGIC:
        return None
    _, sequence, records, last_lsn, end, chain, flags, crc = FOOTER.unpack(data)
    if crc != header.checksum.run(data[:-4], header.start) or flags or sequence != header.sequence:
        return None
    return Footer(sequence, records, last_lsn, end, chain)


@lru_cache(maxsize=8)
def _own_chain(identity: WalIdentity) -> bytes:
    return identity.first_chain()[:8]


def encode_mark(identity: WalIdentity, mark: Mark, checksum: Checksum) -> bytes:
    """One slot of the watermark file: 512 bytes."""
    own = _own_chain(identity)
    body = WATERMARK.pack(WATERMARK_MAGIC, *mark, own, checksum.number, 0)[:-4]
    return (body + UINT32.pack(checksum.run(body, 0))).ljust(WATERMARK_SLOT_SIZE, b"\0")


def decode_mark(identity: WalIdentity, data: bytes) -> Mark | None:
    """The mark in a slot; None if torn, damaged, never written, or of another chain's log."""
    if len(data) < WATERMARK.size or data[:8] != WATERMARK_MAGIC:
        return None
    _, counter, durable_lsn, sequence, end, chain, own, number, crc = WATERMARK.unpack_from(data)
    checksum = CHECKSUMS.get(number)
    if checksum is None or crc != checksum.run(data[: WATERMARK.size - 4], 0):
        return None
    if own != _own_chain(identity):
        return None
    return Mark(counter, durable_lsn, sequence, end, chain)
