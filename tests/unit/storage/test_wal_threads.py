"""Appends and flushes from many threads, limits, and the real disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from storage.errors import RecordTooLarge, StorageFull, WalClosed
from storage.io.files import RealFs
from storage.wal import RecordType, Wal, inspect, writer
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN


def test_many_threads_append_and_flush_on_a_real_disk(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    log = Wal.open(fs, "wal", CHAIN, segment_size=65536)
    results: list[list[tuple[int, bytes]]] = [[] for _ in range(4)]

    def work(number: int) -> None:
        for round_ in range(100):
            payload = f"{number} {round_} ".encode() * (1 + round_ % 50)
            lsn = log.append(RecordType.TRANSACTION, payload)
            results[number].append((lsn, payload))
            if round_ % 3 == 0:
                assert log.flush() >= lsn
                if round_ % 30 == 0:
                    assert len(list(log.records())) >= lsn, "readers see what is durable"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    wanted = sorted(item for result in results for item in result)
    assert [lsn for lsn, _ in wanted] == list(range(1, 401))
    again = Wal.open(fs, "wal", CHAIN, segment_size=65536)
    assert again.scan_report.cut is None
    assert again.scan_report.segments > 1
    assert [(record.lsn, record.payload) for record in again.records()] == wanted
    assert [record.lsn for record in again.records(from_lsn=350)] == list(range(350, 401))
    assert list(again.records(from_lsn=401)) == []
    again.close()
    assert all(finding.sound for finding in inspect(fs, "wal"))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Wal.open(SimFs(), "wal", CHAIN, segment_size=8192)
    largest = 8192 - 4096 - 64 - 40
    assert log.append(RecordType.TRANSACTION, bytes(largest)) == 1
    with pytest.raises(RecordTooLarge):
        log.append(RecordType.TRANSACTION, bytes(largest + 1))
    monkeypatch.setattr(writer, "MAX_PENDING", 8192)
    log.append(RecordType.TRANSACTION, bytes(largest))
    with pytest.raises(StorageFull):
        log.append(RecordType.TRANSACTION, bytes(largest))
    assert log.flush() == log.next_lsn - 1
    log.close()
    with pytest.raises(WalClosed):
        log.append(RecordType.TRANSACTION, b"")
    for size in (4096, 8193):
        with pytest.raises(ValueError, match="multiples"):
            Wal.open(SimFs(), "wal", CHAIN, segment_size=size)


def test_a_group_that_fails_to_encode_stays_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Wal.open(SimFs(), "wal", CHAIN, segment_size=8192)
    log.append(RecordType.TRANSACTION, b"one")
    with monkeypatch.context() as patched:
        patched.setattr(writer, "encode_group", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            log.flush()
    assert log.flush() == 1
    assert [record.payload for record in log.records()] == [b"one"]


def test_large_batches_are_split_into_groups() -> None:
    fs = SimFs()
    log = Wal.open(fs, "wal", CHAIN, segment_size=8 * 1024 * 1024)
    for _ in range(30):
        log.append(RecordType.TRANSACTION, bytes(100_000))
    before = fs.trace.count("fdatasync")
    assert log.flush() == 30
    assert fs.trace.count("fdatasync") - before == 3
