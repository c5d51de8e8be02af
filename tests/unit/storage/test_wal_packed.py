"""Packed segments: the same log to every reader, damage found in every byte, a whole segment there at every crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import zstandard

from storage.errors import WalCorrupt
from storage.io.files import FileSystem, RealFs
from storage.wal import RecordType, Wal, inspect
from storage.wal.packed import FRAME, SUFFIX, PackedFile
from storage.wal.repair import accept_loss
from tests.simulation.simfaults import SimCrash
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN, SEGMENT_SIZE

FIRST = "wal/0000000000000000.seg"


def payload(number: int) -> bytes:
    return Random(number).randbytes(300) * 2


def grown(fs: FileSystem, records: int = 20, size: int = SEGMENT_SIZE, group: int = 1) -> Wal:
    log = Wal.open(fs, "wal", CHAIN, segment_size=size, random_bytes=Random(5).randbytes)
    for number in range(log.next_lsn, log.next_lsn + records):
        log.append(RecordType.TRANSACTION, payload(number))
        if number % group == 0:
            log.flush()
    return log


def reopened(fs: FileSystem) -> Wal:
    return Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=Random(6).randbytes)


def holds(log: Wal, records: int) -> None:
    assert [(r.lsn, r.payload) for r in log.records()] == [(n, payload(n)) for n in range(1, records + 1)]


def pack_all(log: Wal) -> int:
    count = 0
    while log.pack_one():
        count += 1
    return count


def test_all_readers_see_the_same_log_before_and_after() -> None:
    fs = SimFs()
    log = grown(fs)
    before = [(f.record, f.verdict) for f in inspect(fs, "wal") if f.record]
    packed = pack_all(log)
    assert packed >= 2
    holds(log, 20)
    assert [(f.record, f.verdict) for f in inspect(fs, "wal") if f.record] == before
    assert all(finding.sound for finding in inspect(fs, "wal"))
    assert sum(name.endswith(SUFFIX) for name in fs.listdir("wal")) == packed
    log.close()
    fs.crash()
    log = reopened(fs.restart())
    holds(log, 20)


def test_what_others_unpack_is_a_segment(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    log = grown(fs)
    plain = (tmp_path / FIRST).read_bytes()
    assert log.pack_one() == FIRST
    with (tmp_path / (FIRST + SUFFIX)).open("rb") as file:
        unpacked = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    end = len(unpacked) - 4096
    assert unpacked[:end] == plain[:end]
    holds(log, 20)
    log.close()


def test_large_segments_are_read_frame_by_frame(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    log = grown(fs, 1700, 2**20, 100)
    assert pack_all(log) == 1
    holds(log, 1700)
    file = PackedFile(fs.open(FIRST + SUFFIX, writable=False), FIRST)
    whole = file.pread(0, file.size())
    assert len(whole) == file.size() > 3 * FRAME
    source = Random(1)
    for _ in range(200):
        offset, count = source.randrange(len(whole)), source.randrange(FRAME)
        assert file.pread(offset, count) == whole[offset : offset + count]
    file.close()
    log.close()


def test_every_damaged_byte_is_found_or_changes_nothing() -> None:
    """zstd itself ignores a bit or two of a frame's header."""
    fs = SimFs()
    log = grown(fs)
    log.pack_one()
    log.close()
    content, harmless = fs.content(FIRST + SUFFIX), 0
    for place in range(0, len(content), 3):
        fs.replace(FIRST + SUFFIX, content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        machine = fs.restart()
        sound = all(finding.sound for finding in inspect(machine, "wal"))
        try:
            holds(reopened(machine), 20)
            harmless += 1
            assert sound, place
        except WalCorrupt:
            assert not sound, place
    assert harmless < 4


@pytest.mark.parametrize("length", [0, 1, 17, 500])
def test_a_shortened_file_is_found(length: int) -> None:
    fs = SimFs()
    log = grown(fs)
    log.pack_one()
    log.close()
    fs.replace(FIRST + SUFFIX, fs.content(FIRST + SUFFIX)[: -length or None] if length else b"")
    with pytest.raises(WalCorrupt):
        list(reopened(fs.restart()).records())


def test_a_damaged_segment_is_not_packed() -> None:
    fs = SimFs()
    log = grown(fs)
    content = bytearray(fs.content(FIRST))
    content[5000] ^= 1
    fs.replace(FIRST, bytes(content))
    with pytest.raises(WalCorrupt):
        log.pack_one()
    assert FIRST.partition("/")[2] in fs.listdir("wal")


def crash_everywhere(work: Callable[[SimFs], object], prepare: Callable[[SimFs], object], records: int) -> int:
    """Crash before every call of ``work``; what survives opens to the same log, goes on and is packed in the end."""
    fs = SimFs()
    prepare(fs)
    begin = fs.calls
    work(fs)
    calls, states = fs.calls, 0
    for call in range(begin, calls):
        fs = SimFs()
        prepare(fs)
        fs.crash_at(call)
        with pytest.raises(SimCrash):
            work(fs)
        for name, disk in fs.survivors(seed=call):
            states += 1
            log = reopened(disk)
            try:
                holds(log, records)
                log.append(RecordType.TRANSACTION, payload(records + 1))
                log.flush()
                pack_all(log)
                holds(log, records + 1)
                disk.crash()
                for _, again in disk.survivors(seed=call, count=2):
                    holds(reopened(again), records + 1)
            except BaseException as problem:
                problem.add_note(f"crash at call {call}, survivor {name}")
                raise
    return states


def test_a_crash_at_every_call_of_packing_leaves_a_whole_log() -> None:
    logs: dict[int, Wal] = {}

    def prepare(fs: SimFs) -> None:
        logs[id(fs)] = grown(fs, 12)

    assert crash_everywhere(lambda fs: pack_all(logs[id(fs)]), prepare, 12) > 100


def test_a_loss_inside_a_packed_segment_can_be_accepted() -> None:
    fs = SimFs()
    log = grown(fs, 20)
    pack_all(log)
    first = max(f.record.lsn for f in inspect(fs, "wal") if f.record and f.path == FIRST)
    log.close()
    fs.replace(FIRST + SUFFIX, fs.content(FIRST + SUFFIX)[:-1])
    accept_loss_of_all = fs.restart()
    with pytest.raises(WalCorrupt):
        reopened(accept_loss_of_all)
    second = FIRST.replace("0.seg", "1.seg")
    fs = SimFs()
    log = grown(fs, 20)
    pack_all(log)
    log.close()
    content = bytearray(fs.content(second + SUFFIX))
    content[100] ^= 1
    fs.replace(second + SUFFIX, bytes(content))
    machine = fs.restart()
    accept_loss(machine, "wal", CHAIN, first + 1)
    holds(reopened(machine), first)
