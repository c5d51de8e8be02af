"""Records of later versions: optional ones are skipped and kept, critical ones refuse the log and change nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreTooNew, WalCorrupt
from storage.io.checksum import CRC32C
from storage.wal import RecordType, Wal, inspect
from storage.wal.format import (
    RECORD,
    RECORD_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    UINT32,
    decode_segment_header,
    next_chain,
)
from storage.wal.inspect import TOO_NEW
from storage.wal.records import SCHEMAS
from storage.wal.repair import accept_loss
from storage.wal.segments import survey
from storage.wal.unknown import RESERVED, type_name
from tests.paths import REPO
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN
from tests.unit.storage.wal_of_others import (
    CRITICALS,
    KNOWN,
    OPTIONALS,
    Entry,
    entries,
    files,
    filling,
    log_of,
    opened,
    segments,
)

PAGE = (REPO / "docs/formats/wal.md").read_text()
PLACES: dict[str, tuple[tuple[Entry | str, ...], ...]] = {
    "between groups": ((KNOWN,), ("X",), (KNOWN,)),
    "inside a group": ((KNOWN, "X", KNOWN),),
    "at the end of a group": ((KNOWN, "X"), (KNOWN,)),
    "first": (("X",), (KNOWN,)),
    "last": ((KNOWN,), ("X",)),
    "alone in the last segment": (filling(), ("X",)),
    "first of a sealed segment": (filling(), ("X", KNOWN), filling()),
    "last of a sealed segment": ((KNOWN, "X"), filling()),
    "alone in a sealed segment": (("X",), filling()),
}
"""Groups of records; X is the unknown one."""


def with_it(place: str, entry: Entry) -> list[tuple[Entry, ...]]:
    return [tuple(entry if isinstance(one, str) else one for one in group) for group in PLACES[place]]


@pytest.mark.parametrize("entry", OPTIONALS, ids=lambda entry: f"{entry.type}.{entry.schema}")
@pytest.mark.parametrize("place", PLACES)
def test_an_optional_one_is_skipped_and_kept(place: str, entry: Entry) -> None:
    groups = with_it(place, entry)
    whole = [one for group in groups for one in group]
    fs = log_of(*groups)
    log = opened(fs, read_from=0)
    assert entries(log, unknown=True) == whole
    assert entries(log, unknown=False) == [one for one in whole if one != entry]
    assert log.append(*KNOWN[:2]) == len(whole) + 1
    log.flush()
    while log.pack_one():
        pass
    log.close()
    assert entries(opened(fs.restart(), read_from=0), unknown=True) == [*whole, KNOWN]
    findings = [finding for finding in inspect(fs, "wal") if finding.record is not None]
    assert all(finding.sound for finding in findings)
    (found,) = (finding for finding in findings if finding.detail)
    assert found.record is not None
    assert found.record.type == entry.type
    assert type_name(entry.type) in found.detail


@pytest.mark.parametrize("entry", CRITICALS, ids=lambda entry: f"{entry.type}.{entry.schema}")
@pytest.mark.parametrize("place", PLACES)
def test_a_critical_one_refuses_the_log_and_nothing_is_changed(place: str, entry: Entry) -> None:
    groups = with_it(place, entry)
    fs = log_of(*groups)
    before = files(fs)
    called: list[bool] = []
    for _ in range(2):
        with pytest.raises(StoreTooNew, match=re.escape(f"{type_name(entry.type)} record")) as refused:
            opened(fs, read_from=0, before_change=lambda: called.append(True))
        assert refused.value.exit_code == 67
        assert files(fs) == before
    assert not called
    verdicts = [finding.verdict for finding in inspect(fs, "wal") if not finding.sound]
    assert verdicts == [TOO_NEW], "the records after it can be read"


def test_behind_a_torn_tail_nothing_is_cut_if_one_is_critical() -> None:
    fs = log_of((KNOWN,), (CRITICALS[0],))
    (path,) = segments(fs)
    content = bytearray(fs.content(path))
    content[len(content.rstrip(b"\0")) + 16] = 1  # begins a record that is torn
    fs.replace(path, bytes(content))
    before = files(fs)
    with pytest.raises(StoreTooNew):
        opened(fs)
    assert files(fs) == before


def test_one_in_a_sealed_segment_is_met_by_who_reads_there_only() -> None:
    """A start reads from its checkpoint on: for what is before, the stamp names the types (`Stamp.records`)."""
    fs = log_of((CRITICALS[0],), filling(), filling())
    first_of_last = survey(fs, "wal", CHAIN).segments[-1].header.first_lsn
    log = opened(fs, read_from=first_of_last)
    assert [record.lsn for record in log.records(first_of_last)] == [first_of_last]
    with pytest.raises(StoreTooNew):
        list(log.records())


def test_sealed_segments_that_will_be_read_are_verified_before_anything_is_changed() -> None:
    fs = log_of(filling(), filling(), (KNOWN,))
    path = segments(fs)[0]
    content = bytearray(fs.content(path))
    content[SEGMENT_HEADER_SIZE + 100] ^= 1
    fs.replace(path, bytes(content))
    before = files(fs)
    with pytest.raises(WalCorrupt):
        opened(fs, read_from=0)
    assert files(fs) == before
    opened(fs, read_from=2)


def with_later_flag(fs: SimFs, lsn: int) -> SimFs:
    """The log with a flag of a later version on a record that begins a segment; its checksums and chain are right."""
    for path in segments(fs):
        content = bytearray(fs.content(path))
        header = decode_segment_header(bytes(content[:SEGMENT_HEADER_SIZE]))
        assert header is not None
        at = SEGMENT_HEADER_SIZE
        length, flags = RECORD.unpack_from(content, at)[2], content[at + 13]
        if header.first_lsn != lsn:
            continue
        content[at + 13] = flags | 0x80
        end = at + RECORD_HEADER_SIZE + length
        payload = bytes(content[at + RECORD_HEADER_SIZE : end])
        chain = next_chain(header.previous_chain, bytes(content[at + 8 : at + 32]), payload)
        content[at + 32 : at + 40] = chain[:8]
        run, start = CRC32C.run, header.start
        content[at + 4 : at + 8] = UINT32.pack(run(bytes(content[at + 8 : at + 40]), start))
        content[at : at + 4] = UINT32.pack(run(bytes(content[at + 4 : end]), start))
        fs.replace(path, bytes(content))
    return fs.restart()


def test_flags_of_a_later_version_are_not_taken_for_damage() -> None:
    last = with_later_flag(log_of(filling(), (KNOWN,)), 2)
    sealed = with_later_flag(log_of(filling(), (KNOWN,)), 1)
    for fs in (last, sealed):
        before = files(fs)
        with pytest.raises(StoreTooNew):
            opened(fs, read_from=0)
        with pytest.raises(StoreTooNew):
            accept_loss(fs, "wal", CHAIN, 2)
        assert files(fs) == before
    log = opened(sealed)
    with pytest.raises(StoreTooNew):
        list(log.records())
    with pytest.raises(StoreTooNew):
        log.pack_one()


def test_accepting_a_loss_does_not_cut_a_log_with_a_critical_record() -> None:
    """The start afterwards would be refused: its version is wrong, and it cannot judge what else is."""
    fs = log_of((KNOWN,), (CRITICALS[0],), (KNOWN,))
    before = files(fs)
    for lsn in (2, 3, 4):
        with pytest.raises(StoreTooNew):
            accept_loss(fs, "wal", CHAIN, lsn)
    assert files(fs) == before


def test_a_callback_that_refuses_leaves_the_log_as_it_was() -> None:
    fs = log_of((KNOWN,))
    before = files(fs)

    def refuse() -> None:
        assert files(fs) == before
        raise RuntimeError

    with pytest.raises(RuntimeError):
        opened(fs, before_change=refuse)
    assert files(fs) == before
    assert entries(opened(fs), unknown=False) == [KNOWN], "and the lock was given back"


mixed = st.lists(
    st.lists(
        st.builds(
            Entry,
            st.sampled_from([RecordType.TRANSACTION, RecordType.FATE, 23, 200, 255]),
            st.binary(max_size=900),
            st.booleans(),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=4,
    ),
    max_size=8,
)


@given(mixed)
def test_what_is_kept_is_what_was_written(groups: list[list[Entry]]) -> None:
    whole = [entry for group in groups for entry in group]
    unknown = [entry for entry in whole if entry.schema > SCHEMAS.get(entry.type, -1)]
    fs = log_of(*map(tuple, groups))
    before = files(fs)
    try:
        log = opened(fs, read_from=0)
    except StoreTooNew:
        assert any(not entry.optional for entry in unknown)
        assert files(fs) == before
        return
    assert all(entry.optional for entry in unknown)
    assert entries(log, unknown=True) == whole
    assert entries(log, unknown=False) == [entry for entry in whole if entry not in unknown]
    copy: Wal = opened(SimFs())
    for record in log.records(unknown=True):
        copy.append(record.type, record.payload, optional=bool(record.flags & 2), schema=record.schema)
    copy.flush()
    assert entries(copy, unknown=True) == whole


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading of docs/formats/wal.md."""
    section = PAGE.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and line[2].isdigit()]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_the_types_that_the_code_knows() -> None:
    written = {int(number): (name, int(schema)) for number, name, schema, *_ in rows("Types written")}
    assert written == {kind.value: (kind.name, SCHEMAS[kind]) for kind in RecordType}
    reserved = {int(number): (name, kind) for number, name, kind, *_ in rows("Types reserved")}
    assert reserved == {
        number: (one.name, "optional" if one.optional else "critical") for number, one in RESERVED.items()
    }


def test_no_number_is_given_twice() -> None:
    assert not set(RESERVED) & set(map(int, RecordType))
    assert max(RESERVED) < 192, "the numbers from there on are for tests"
    names = [*(one.name for one in RESERVED.values()), *(kind.name for kind in RecordType)]
    assert len(set(names)) == len(names)
