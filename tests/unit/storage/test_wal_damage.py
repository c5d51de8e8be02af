"""Damaged logs are refused or provably whole: flipped bits, cut and grown files, misplaced segments."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from storage.errors import StorageError, StoreTooNew, WalCorrupt, WalForeign, WalShort
from storage.wal import RecordType, Wal, WalIdentity, inspect
from storage.wal.format import SEGMENT_HEADER_SIZE, record_size
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN, SEGMENT_SIZE

FIRST = "wal/0000000000000000.seg"
SECOND = "wal/0000000000000001.seg"
THIRD = "wal/0000000000000002.seg"
MARK = "wal/watermark"
GROUPS = ((300,), (20, 500, 1), (900, 64), (1100, 700), (1400,), (33, 4, 180), (600,), (90, 30))
"""Payload lengths; the log rotates after the fourth group."""


def build(chain: WalIdentity = CHAIN, seed: int = 1, groups: tuple[tuple[int, ...], ...] = GROUPS) -> SimFs:
    fs, source = SimFs(), random.Random(seed)
    log = Wal.open(fs, "wal", chain, segment_size=SEGMENT_SIZE, random_bytes=source.randbytes)
    for sizes in groups:
        for size in sizes:
            log.append(RecordType.TRANSACTION, source.randbytes(size))
        log.flush()
    log.close()
    _, disk = next(fs.survivors(0))
    return disk


def history(fs: SimFs, witness_lsn: int = 0) -> list[bytes] | StorageError:
    """What opening and reading the log gives: its payloads, or the refusal."""
    try:
        log = Wal.open(
            fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=bytes, witness_lsn=witness_lsn
        )
        return [record.payload for record in log.records()]
    except StorageError as error:
        return error


BASE = build()
_whole = history(BASE.restart())
assert isinstance(_whole, list)
WHOLE: list[bytes] = _whole
RECORDS_END = SEGMENT_HEADER_SIZE + sum(record_size(size) for sizes in GROUPS[:4] for size in sizes)
"""Of the first segment."""
LAST_GROUP = len(WHOLE) - len(GROUPS[-1])
"""Without the watermark, records up to here are witnessed by the last group's stamps."""


def damaged(path: str, content: bytes, *, mark: bool = True) -> SimFs:
    fs = BASE.restart()
    fs.replace(path, content)
    if not mark:
        fs.remove(MARK)
    return fs


def judge(fs: SimFs, floor: int, note: object) -> bool:
    """Refused, or accepted as a prefix that holds all witnessed records. Whether it was accepted."""
    got = history(fs)
    if isinstance(got, WalCorrupt):
        return False
    assert isinstance(got, list), (note, got)
    assert floor <= len(got), (note, len(got))
    assert got == WHOLE[: len(got)], note
    return True


def written(path: str) -> int:
    """Where the last byte that means something ends: records are padded to 8 bytes."""
    used = len(BASE.content(path).rstrip(b"\0"))
    return used + -used % 8


def flip(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_log_under_test_is_what_the_tests_say() -> None:
    assert BASE.listdir("wal") == [FIRST[4:], SECOND[4:], MARK[4:]]
    assert written(FIRST) + written(SECOND) + written(MARK) > 14_000
    assert all(finding.sound for finding in inspect(BASE.restart(), "wal"))


def flip_bits(path: str, bits: Sequence[int]) -> int:
    content, accepted = BASE.content(path), 0
    for bit in bits:
        accepted += judge(damaged(path, flip(content, bit)), len(WHOLE), (path, bit))
    return accepted


some_or_all = pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.full)])
"""Every seventh bit, which is each of a byte's in turn, or every one."""


@some_or_all
@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_flipped_bits(path: str, step: int) -> None:
    """With the watermark whole, every record is witnessed: accepted means complete."""
    used = written(path)
    if path == FIRST:  # between the last record and the footer nothing is written
        used = RECORDS_END
        assert flip_bits(path, range(8 * (SEGMENT_SIZE - 64), 8 * SEGMENT_SIZE)) == 0
    assert flip_bits(path, range(0, 8 * used, step)) == 0
    beyond = random.Random(3).sample(range(8 * used, 8 * (SEGMENT_SIZE - 64)), 500 // step)
    assert flip_bits(path, beyond) == 500 // step


@some_or_all
def test_flipped_bits_of_the_watermark(step: int) -> None:
    """It is a witness only: with one slot damaged the other, or none, is believed."""
    bits = range(0, 8 * 1024, step)
    assert flip_bits(MARK, bits) == len(bits)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("change", ["00", "ff", "+1"])
@pytest.mark.parametrize("path", [FIRST, SECOND, MARK])
def test_every_changed_byte(path: str, change: str) -> None:
    content = BASE.content(path)
    for place, byte in enumerate(content):
        new = {"00": 0, "ff": 255, "+1": (byte + 1) % 256}[change]
        judge(
            damaged(path, content[:place] + bytes((new,)) + content[place + 1 :]), len(WHOLE), (path, place)
        )


@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_flipped_bits_without_a_watermark(path: str) -> None:
    """Only the last group may then be taken for torn."""
    content, source = BASE.content(path), random.Random(4)
    for bit in source.sample(range(8 * written(path)), 1500):
        judge(damaged(path, flip(content, bit), mark=False), LAST_GROUP, (path, bit))


def lengths(path: str, *, step: int) -> list[int]:
    size = len(BASE.content(path))
    near = range(written(path) - 64, written(path) + 1)
    return sorted({*range(0, size, step), *near, *range(8), size - 1, SEGMENT_HEADER_SIZE} - {size})


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_files_cut_short(path: str, mark: bool) -> None:
    check_cut(path, lengths(path, step=7), mark=mark)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_files_cut_at_every_length(path: str, mark: bool) -> None:
    check_cut(path, list(range(len(BASE.content(path)))), mark=mark)


def check_cut(path: str, sizes: list[int], *, mark: bool) -> None:
    """Without the watermark, a file that ends early is a torn tail wherever no later record contradicts."""
    content = BASE.content(path)
    end = written(path)
    for size in sizes:
        accepted = judge(damaged(path, content[:size], mark=mark), len(WHOLE) if mark else 0, (path, size))
        if path == FIRST:
            assert not accepted, "its successor proves that it was whole"
        elif size >= end:
            assert accepted, "nothing was lost"


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_files_that_grew(path: str, mark: bool) -> None:
    content, source = BASE.content(path), random.Random(5)
    stale = BASE.content(FIRST)
    foreign = build(seed=9).content(SECOND)
    end = written(path)
    for extra in (1, 7, 8, 64, 511, 4096, 8192):
        for tail in (bytes(extra), source.randbytes(extra), stale[-extra:], stale[:extra], foreign[-extra:]):
            judge(damaged(path, content + tail, mark=mark), len(WHOLE), (path, extra))
            if path == SECOND:  # written into the free space, somewhere behind the end
                for gap in (0, 8, 40, 200):
                    grown = (content[: end + gap] + tail).ljust(SEGMENT_SIZE, b"\0")[:SEGMENT_SIZE]
                    judge(damaged(path, grown, mark=mark), len(WHOLE), (path, extra, gap))


def test_stale_records_of_the_same_segment_behind_the_end() -> None:
    """A copy of the segment's own records, with valid checksums, at the end or beyond: never history."""
    content, end = BASE.content(SECOND), written(SECOND)
    records = content[SEGMENT_HEADER_SIZE + record_size(1400) : end]
    for gap in (0, 8, 64):
        grown = (content[:end] + bytes(gap) + records)[:SEGMENT_SIZE].ljust(SEGMENT_SIZE, b"\0")
        got = history(damaged(SECOND, grown))
        assert got == WHOLE or isinstance(got, WalForeign)
        assert isinstance(got, WalForeign) == (gap == 0)


def test_misdirected_records_are_refused() -> None:
    """Two neighbours of equal size exchanged, checksums right: the chain tells."""
    fs = build(groups=((100,), (100,), (100,)))
    content = fs.content(FIRST)
    at, size = SEGMENT_HEADER_SIZE, 144
    first, second = content[at : at + size], content[at + size : at + 2 * size]
    fs.replace(FIRST, content[:at] + second + first + content[at + 2 * size :])
    assert isinstance(history(fs), WalForeign)


def test_segments_deleted_swapped_doubled_renamed() -> None:
    assert check_arrangements(1) > 15


def check_arrangements(seed: int) -> int:
    """Every segment deleted and renamed, every pair doubled and exchanged: refused, and the file is named."""
    base = build(seed=seed, groups=GROUPS + GROUPS)
    names = [FIRST, SECOND, THIRD]
    contents = {name: base.content(name) for name in names}
    cases = 0
    for place, name in enumerate(names):
        fs = base.restart()
        fs.remove(name)
        got = history(fs)
        assert isinstance(got, WalCorrupt), name
        if place < 2:
            assert names[place] in str(got)
        cases += 1
    for one, other in itertools.permutations(names, 2):
        fs = base.restart()
        fs.replace(one, contents[other])  # doubled
        assert isinstance(history(fs), WalForeign)
        assert one in str(history(fs))
        fs.replace(other, contents[one])  # swapped
        assert isinstance(history(fs), WalForeign)
        cases += 2
    for name in names:
        fs = base.restart()
        fs.rename(name, "wal/0000000000000009.seg")
        assert isinstance(history(fs), WalCorrupt)
        fs = base.restart()
        fs.rename("wal/0000000000000003.seg", "wal/0000000000000004.seg")
        fs.rename(name, "wal/0000000000000003.seg")
        assert isinstance(history(fs), WalCorrupt)
        cases += 2
    for other_log in (build(WalIdentity(bytes(32), CHAIN.chain_id)), build(WalIdentity(CHAIN.genesis_hash, 1))):
        for name in (FIRST, SECOND):
            fs = base.restart()
            fs.replace(name, other_log.content(name))
            assert isinstance(history(fs), WalForeign)
            cases += 1
    return cases


def test_files_cut_and_grown_again() -> None:
    chance, foreign = random.Random(8), build(seed=9).content(SECOND)
    for _ in range(300):
        check_mix(chance, foreign)


def check_mix(chance: random.Random, foreign: bytes) -> None:
    """Cut anywhere, then filled up or lengthened with zeros, garbage, stale or foreign bytes: never another history."""
    path, mark = chance.choice((FIRST, SECOND)), chance.random() < 0.5
    content = BASE.content(path)
    end = chance.randrange(written(path) + 64)
    extra = chance.choice((chance.randrange(64), chance.randrange(4096), len(content)))
    stale = BASE.content(chance.choice((FIRST, SECOND)))
    offset = chance.randrange(len(stale)) // 8 * 8
    tail = chance.choice((bytes(extra), chance.randbytes(extra), stale[offset:][:extra], foreign[offset:][:extra]))
    changed = content[:end] + tail
    if chance.random() < 0.7:
        changed = changed[: len(content)].ljust(len(content), b"\0")
    judge(damaged(path, changed, mark=mark), len(WHOLE) if mark else 0, (path, end, extra, offset))


@pytest.mark.parametrize("place", [FIRST, SECOND])
def test_segments_of_other_logs(place: str) -> None:
    others = [
        build(WalIdentity(bytes(32), CHAIN.chain_id)),
        build(WalIdentity(CHAIN.genesis_hash, 1)),
    ]
    if place == SECOND:  # the same chain, another history
        others.append(build(seed=2))
    for other in others:
        got = history(damaged(place, other.content(place)))
        assert isinstance(got, WalForeign), got
        assert got.path == place
        assert got.exit_code == 65


def test_a_log_replaced_by_an_older_copy_of_itself() -> None:
    """The watermark and the derived stores remember more."""
    older = build(groups=GROUPS[:-1])
    fs = BASE.restart()
    fs.replace(SECOND, older.content(SECOND))
    assert isinstance(history(fs), WalShort)
    fs.remove(MARK)
    assert history(fs.restart()) == WHOLE[:LAST_GROUP], "nothing knows better"
    assert isinstance(history(fs, witness_lsn=len(WHOLE)), WalShort)


def test_a_log_that_is_gone() -> None:
    fs = BASE.restart()
    for name in (FIRST, SECOND):
        fs.remove(name)
    assert isinstance(history(fs), WalShort)
    fs.remove(MARK)
    assert isinstance(history(fs.restart(), witness_lsn=1), WalShort)
    assert history(fs) == []


def test_another_history_of_equal_length_is_refused() -> None:
    fs = build(seed=2)
    fs.replace(MARK, BASE.content(MARK))
    got = history(fs)
    assert isinstance(got, WalForeign)
    assert "watermark" in str(got)


def test_a_torn_group_is_cut_and_kept_in_quarantine() -> None:
    """Its first record is torn, the second whole: nothing says that they were acknowledged."""
    fs = BASE.restart()
    content, end = BASE.content(SECOND), written(SECOND)
    start = end - (40 + 96) - (40 + 32)
    torn = content[:start] + bytes(60) + content[start + 60 :]
    fs.replace(SECOND, torn)
    fs.remove(MARK)
    log = Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=bytes)
    taken = log.scan_report.cut
    assert taken is not None
    assert (taken.path, taken.offset, taken.first_lsn, taken.last_lsn) == (SECOND, start, 14, 15)
    assert fs.content(taken.quarantine) == torn[start:].rstrip(b"\0")
    assert [record.payload for record in log.records()] == WHOLE[:13]
    assert log.append(RecordType.TRANSACTION, b"again") == 14
    log.close()
    assert history(fs) == [*WHOLE[:13], b"again"]
    assert all(finding.sound for finding in inspect(fs, "wal"))


def test_records_and_files_of_later_versions() -> None:
    fs = SimFs()
    log = Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE)
    log.append(RecordType.TRANSACTION, b"known")
    log.append(77, b"may be skipped", optional=True)
    log.append(RecordType.TRANSACTION, b"known too")
    log.flush()
    assert [record.lsn for record in log.records()] == [1, 3]
    log.append(78, b"must be understood")
    log.close()
    got = history(fs)
    assert isinstance(got, StoreTooNew)
    assert got.exit_code == 67


def test_inspect_goes_on_after_damage_and_changes_nothing() -> None:
    content = BASE.content(FIRST)
    fs = damaged(FIRST, flip(content, 8 * (SEGMENT_HEADER_SIZE + 400)))
    before = fs.content(FIRST)
    findings = list(inspect(fs, "wal"))
    verdicts = [finding.verdict for finding in findings]
    assert fs.content(FIRST) == before
    assert "damaged" in verdicts
    assert "stray record" in verdicts
    assert "seal mismatch" in verdicts
    assert verdicts[-1] == "open end"
    found = {finding.record.lsn for finding in findings if finding.record}
    assert found == set(range(1, len(WHOLE) + 1)) - {2}
