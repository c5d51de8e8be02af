"""Every call of the log's workloads fails, once or until repaired: policy kept, nothing acknowledged lost."""

from __future__ import annotations

import copy
import errno
from contextlib import suppress

import pytest

from storage.errors import StorageError, StorageFull, StoragePanic, StorageUnreadable, WalClosed
from storage.wal import RecordType, Wal
from tests.effort import tries
from tests.simulation.simfaults import APPLICABLE, READING, SYNCING, Fault, SimCrash
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN, SEGMENT_SIZE, WORKLOADS, History, counted_calls

SHORT = 0
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, SHORT)
FULL = (errno.ENOSPC, errno.EDQUOT)
SAMPLED = ("three groups", "rotates", "killed between flushes", "rotation after restart")


def expected(error: int, kind: str, *, forever: bool) -> type[StorageError] | None:
    """What the log makes of it (docs/formats/wal.md, failing calls)."""
    if error in FULL:
        return StorageFull
    if error == SHORT or (error == errno.EINTR and not forever):
        return None
    return StorageUnreadable if kind in READING - {"open"} else StoragePanic


def outcome(history: History, fs: SimFs, steps: list[tuple[str, int]]) -> StorageError | None:
    try:
        history.live(fs, steps)
    except StorageError as error:
        return error
    return None


def explore(name: str, *, variants: int) -> int:
    steps, states = WORKLOADS[name], 0
    trace = counted_calls(steps, 3)
    for call, kind in enumerate(trace):
        for error in ERRORS:
            if kind not in APPLICABLE[error]:
                continue
            for forever in (False, True):
                for partial in (False, True) if error in FULL and kind == "pwrite" else (False,):
                    history, fs = History(3), SimFs(3)
                    fs.fail_at(Fault(call, error, forever=forever, partial=partial))
                    try:
                        failed = outcome(history, fs, steps)
                        states += check(history, expected(error, kind, forever=forever), failed, variants)
                    except Exception as problem:
                        problem.add_note(f"{name!r} call {call} {kind} errno {error} {forever=} {partial=}")
                        raise
    return states


def check(
    history: History, wanted: type[StorageError] | None, failed: StorageError | None, variants: int
) -> int:
    """The right error came, and whatever happens to the machine afterwards, the log is whole."""
    if wanted is None:
        assert failed is None
    elif wanted is StorageFull:  # a watermark that finds no space only weakens a check
        assert failed is None or isinstance(failed, StorageFull)
    else:
        # Opening what shall be written may count as reading or as writing.
        assert isinstance(failed, (wanted, StorageUnreadable) if wanted is StoragePanic else wanted)
    machine = history.machine
    machine.recover_from_faults()
    states = 0
    for seed, (_, image) in enumerate(machine.survivors(5, variants)):
        # `none` first, then `killed`: that one sees pages a failed sync dropped, and must not believe them.
        states += copy.deepcopy(history).continues(image, seed)
    return states


@pytest.mark.parametrize("name", SAMPLED)
def test_every_call_failing(name: str) -> None:
    assert explore(name, variants=3) > 300


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_call_failing_with_many_survivors(name: str) -> None:
    assert explore(name, variants=12) > 300


@pytest.mark.parametrize("name", ["three groups", "rotates"])
def test_a_crash_after_the_disk_was_full(name: str) -> None:
    """The group written twice, once in part, then a power loss: any mixture of both attempts is legal."""
    steps = WORKLOADS[name]
    images = 0
    for call, kind in enumerate(counted_calls(steps, 4)):
        if kind not in APPLICABLE[errno.ENOSPC]:
            continue
        for later in (2, 3, 4, 6):
            history, fs = History(4, patient=True), SimFs(4)
            fs.fail_at(Fault(call, errno.ENOSPC, partial=True))
            fs.crash_at(call + later)
            with suppress(SimCrash, StorageFull):
                history.live(fs, steps)
            fs.crash()
            for seed, (_, image) in enumerate(fs.survivors(call + later, tries(10, 40))):
                images += copy.deepcopy(history).continues(image, seed)
    assert images > tries(120, 500)


def opened(fs: SimFs) -> Wal:
    return Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=bytes)


@pytest.mark.parametrize("partial", [False, True])
def test_a_full_disk_loses_nothing_and_the_log_goes_on(partial: bool) -> None:
    fs = SimFs()
    log = opened(fs)
    log.append(RecordType.TRANSACTION, b"one")
    log.flush()
    before = fs.content("wal/0000000000000000.seg")
    log.append(RecordType.TRANSACTION, b"two" * 100)
    fs.fail_at(Fault(fs.calls, errno.ENOSPC, partial=partial))
    with pytest.raises(StorageFull):
        log.flush()
    assert log.durable_lsn == 1
    assert fs.content("wal/0000000000000000.seg") == before, "partial bytes were zeroed back"
    assert log.append(RecordType.TRANSACTION, b"three") == 3
    assert log.flush() == 3
    assert [record.payload for record in log.records()] == [b"one", b"two" * 100, b"three"]


def test_a_full_disk_during_rotation() -> None:
    fs = SimFs()
    log = opened(fs)
    for _ in range(2):
        log.append(RecordType.TRANSACTION, bytes(1800))
    log.flush()
    fs.fail_at(Fault(fs.calls + 2, errno.ENOSPC, forever=True))
    log.append(RecordType.TRANSACTION, b"after" * 200)
    for _ in range(3):
        with pytest.raises(StorageFull):
            log.flush()
    fs.recover_from_faults()
    assert log.flush() == 3
    assert [len(record.payload) for record in log.records()] == [1800, 1800, 1000]
    assert fs.listdir("wal") == ["0000000000000000.seg", "0000000000000001.seg", "watermark"]


def test_a_failed_sync_is_never_retried() -> None:
    fs = SimFs()
    log = opened(fs)
    log.append(RecordType.TRANSACTION, b"one")
    fs.fail_at(Fault(fs.calls + 1, errno.EIO))
    with pytest.raises(StoragePanic) as caught:
        log.flush()
    assert caught.value.exit_code == 70
    calls = fs.calls
    with pytest.raises(WalClosed):
        log.flush()
    with pytest.raises(WalClosed):
        log.append(RecordType.TRANSACTION, b"two")
    log.close()
    assert fs.calls == calls, "the disk was not touched again"


def test_a_failed_log_refuses_also_what_is_durable_already() -> None:
    """The watermark fails right after a sync: a second waiter for the same records got its answer after the panic."""
    fs = SimFs()
    log = opened(fs)
    log.append(RecordType.TRANSACTION, b"one")
    fs.fail_at(Fault(fs.calls + 2, errno.EIO))
    with pytest.raises(StoragePanic, match="watermark"):
        log.flush()
    assert log.durable_lsn == 1
    with pytest.raises(WalClosed):
        log.flush()


def test_pages_that_a_failed_sync_dropped_are_written_again() -> None:
    """ATC'20: afterwards the cache shows the record, and a second sync would succeed without writing."""
    fs = SimFs()
    log = opened(fs)
    log.append(RecordType.TRANSACTION, b"in the cache only")
    fs.fail_at(Fault(fs.calls + 1, errno.EIO))
    with pytest.raises(StoragePanic):
        log.flush()
    assert fs.pending == 0, "the disk will not get it by itself"
    process = fs.restart()
    log = opened(process)
    assert log.durable_lsn == 1
    assert log.scan_report.rewritten > 0
    process.crash()
    _, disk = next(process.survivors(0))
    assert [record.payload for record in opened(disk).records()] == [b"in the cache only"]


def test_sync_directory_kinds_are_covered() -> None:
    kinds = set(counted_calls(WORKLOADS["rotates"], 3))
    assert kinds >= SYNCING
