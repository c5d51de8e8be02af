"""The log's bytes: headers, records, footers and marks come back as they went; nothing else is accepted."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreTooNew
from storage.io import checksum
from storage.io.checksum import CRC32, CRC32C, Checksum, crc32c_by_table
from storage.wal.format import (
    GROUP_END,
    RECORD_HEADER_SIZE,
    SEGMENT,
    SEGMENT_HEADER_SIZE,
    UINT32,
    VERSION,
    Footer,
    Mark,
    Record,
    SegmentHeader,
    WalIdentity,
    decode_footer,
    decode_mark,
    decode_segment_header,
    encode_footer,
    encode_group,
    encode_mark,
    encode_segment_header,
)
from storage.wal.reader import Stop, Walk
from storage.wal.segments import segment_name, sequence_of
from tests.paths import REPO
from tests.simulation.simfs import SimFs

uint64 = st.integers(0, 2**64 - 1)
identities = st.builds(WalIdentity, st.binary(min_size=32, max_size=32), uint64)
chains = st.binary(min_size=16, max_size=16)
headers = st.builds(
    SegmentHeader,
    identities,
    uint64,
    st.integers(1, 2**40),
    chains,
    st.binary(min_size=8, max_size=8),
    uint64,
    st.sampled_from([CRC32C, CRC32]),
    st.sampled_from([1, VERSION]),
)
PAGE = (REPO / "docs/formats/wal.md").read_text()


def walk(header: SegmentHeader, body: bytes) -> tuple[Walk, list[Record]]:
    fs = SimFs()
    file = fs.open("segment", create=True)
    file.pwrite(0, encode_segment_header(header) + body)
    walked = Walk(file, header, "segment", file.size())
    return walked, list(walked)


@given(headers)
def test_segment_headers_come_back(header: SegmentHeader) -> None:
    assert decode_segment_header(encode_segment_header(header)) == header


@given(headers, st.integers(0, 8 * SEGMENT_HEADER_SIZE - 1))
def test_a_flipped_header_is_none(header: SegmentHeader, bit: int) -> None:
    data = bytearray(encode_segment_header(header))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_segment_header(bytes(data)) is None


@given(headers, st.data())
def test_footers_come_back_and_belong_to_their_segment(header: SegmentHeader, data: st.DataObject) -> None:
    records, last_lsn, end = (data.draw(uint64) for _ in range(3))
    footer = Footer(header.sequence, records, last_lsn, end, data.draw(chains))
    encoded = encode_footer(header, footer)
    assert decode_footer(header, encoded) == footer
    assert decode_footer(header._replace(salt=bytes(8), sequence=1), encode_footer(header, footer)) in (
        None,
        footer,
    )
    changed = bytearray(encoded)
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    assert decode_footer(header, bytes(changed)) is None


@given(identities, uint64, uint64, uint64, uint64, chains, st.integers(0, 8 * 80 - 1))
def test_marks_come_back(
    identity: WalIdentity, counter: int, lsn: int, sequence: int, end: int, chain: bytes, bit: int
) -> None:
    mark = Mark(counter, lsn, sequence, end, chain)
    data = bytearray(encode_mark(identity, mark, CRC32C))
    assert decode_mark(identity, bytes(data)) == mark
    assert decode_mark(identity._replace(genesis_hash=bytes(32), chain_id=5), bytes(data)) in (None, mark)
    data[bit // 8] ^= 1 << bit % 8
    assert decode_mark(identity, bytes(data)) in (None, mark)


@given(headers, st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=5), max_size=6))
def test_groups_come_back(header: SegmentHeader, groups: list[list[bytes]]) -> None:
    body, chain, lsn = b"", header.previous_chain, header.first_lsn
    wanted = []
    for payloads in groups:
        records = [Record(lsn + index, index, payload, 0, 1) for index, payload in enumerate(payloads)]
        data, chain = encode_group(header, records, lsn - 1, chain)
        assert len(data) % 8 == 0
        body += data
        wanted += [record._replace(durable_lsn=lsn - 1) for record in records[:-1]]
        wanted.append(records[-1]._replace(durable_lsn=lsn - 1, flags=GROUP_END))
        lsn += len(payloads)
    walked, got = walk(header, body + bytes(64))
    assert got == wanted
    assert (walked.stop, walked.chain, walked.end) == (Stop.END, chain, SEGMENT_HEADER_SIZE + len(body))


@given(st.binary(max_size=400))
def test_garbage_is_no_record(garbage: bytes) -> None:
    header = SegmentHeader(WalIdentity(bytes(32), 1), 0, 1, bytes(16), b"saltsalt", 8192, CRC32C)
    walked, got = walk(header, garbage)
    assert got == []
    assert walked.stop is not Stop.END or not garbage[:RECORD_HEADER_SIZE].strip(b"\0") or len(garbage) < 40


def test_a_header_for_later_readers_is_refused_not_damaged() -> None:
    header = SegmentHeader(WalIdentity(bytes(32), 1), 0, 1, bytes(16), b"saltsalt", 8192, CRC32C)
    data = bytearray(encode_segment_header(header))
    data[10:12] = (VERSION + 1).to_bytes(2, "little")
    data[SEGMENT.size - 4 : SEGMENT.size] = UINT32.pack(CRC32C.run(bytes(data[: SEGMENT.size - 4]), 0))
    with pytest.raises(StoreTooNew):
        decode_segment_header(bytes(data))


def test_the_table_and_the_binding_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(1)
    for length in (0, 1, 7, 64, 300):
        data, start = source.randbytes(length), source.getrandbits(32)
        assert crc32c_by_table(data, start) == CRC32C.run(data, start)
    slow = Checksum(CRC32C.number, CRC32C.name, crc32c_by_table)
    header = SegmentHeader(WalIdentity(bytes(32), 1), 0, 1, bytes(16), b"saltsalt", 8192, CRC32C)
    data, _ = encode_group(header, [Record(1, 3, b"payload")], 0, header.previous_chain)
    monkeypatch.setitem(checksum.CHECKSUMS, CRC32C.number, slow)
    without_binding = decode_segment_header(encode_segment_header(header))
    assert without_binding is not None
    assert [record.payload for record in walk(without_binding, data)[1]] == [b"payload"]


def test_segment_names() -> None:
    assert sequence_of(segment_name(2**64 - 1)) == 2**64 - 1
    for name in ("1.seg", segment_name(1) + ".tmp", segment_name(10).upper(), "x" + segment_name(1)):
        assert sequence_of(name) is None


def dump_of_the_page() -> bytes:
    """The bytes of the hex dump in docs/formats/wal.md; rows of zeros are left out there."""
    data = bytearray(8192)
    for offset, columns in re.findall(r"^ +([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+) *\|", PAGE, re.MULTILINE):
        row = bytes.fromhex(columns)
        data[int(offset, 16) : int(offset, 16) + len(row)] = row
    return bytes(data)


def test_the_dump_in_the_documentation_is_a_segment() -> None:
    data = dump_of_the_page()
    header = decode_segment_header(data)
    assert header is not None
    assert header.identity == WalIdentity(bytes(range(32)), 31337)
    assert (header.sequence, header.first_lsn, header.salt, header.size) == (0, 1, b"saltsalt", 8192)
    assert header.version == VERSION
    assert header.previous_chain == header.identity.first_chain()
    walked, records = walk(header, data[SEGMENT_HEADER_SIZE:])
    assert [(r.lsn, r.type, r.payload, r.flags, r.durable_lsn) for r in records] == [
        (1, 3, b"hello", GROUP_END, 0),
        (2, 3, b"again", GROUP_END, 1),
    ]
    assert walked.stop is Stop.END
