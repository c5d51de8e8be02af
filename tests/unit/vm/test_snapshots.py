"""Snapshots of whole executions, and the modes of stepping: watching and trace digests."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.unit.vm.programs import MACHINE, OTHER, World, code
from vm.evm.execution import Execution
from vm.evm.snapshot import restore_snapshot, take_snapshot
from vm.evm.watch import MARKS_PADDING, TraceDigest, Watch
from vm.journal import CHUNK

LOGGING = code(7, 1, "TSTORE", 5, 3, "SSTORE", 0, 64, 0, "LOG1", 9, 9, "SSTORE", 0, 0, "REVERT")
CALLING = code(
    1, 1, "SSTORE", 77, 0, "MSTORE JUMPDEST",
    0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), "GAS CALL",
    1, "SLOAD ADD DUP1", 2, "SSTORE", 1, "SLOAD", 1, "ADD DUP1", 1, "SSTORE",
    9, "GT", 10, "JUMPI", 0, 0, "RETURN",
)  # fmt: skip


def begin() -> Execution:
    world = World()
    world.journal.set_code(OTHER, LOGGING)
    world.journal.set_code(world.message().to, CALLING)
    return MACHINE.begin(world.message(), world.context)


def position(execution: Execution) -> object:
    frames = [
        (f.pc, f.gas, f.stack(), f.memory_bytes(), f.returndata, f.message.to) for f in execution.frames
    ]
    journal = execution.journal
    held = {name: part for name, part in journal.snapshot().parts.items() if name[0] not in ("undo", "logs")}
    return execution.steps, execution.outcome, frames, deepcopy(held), journal.refund, journal.logs


def test_every_position_can_be_returned_to() -> None:
    execution = begin()
    snapshots, positions = [], []
    while execution.outcome is None:
        snapshots.append(take_snapshot(execution, snapshots[-1] if snapshots else None))
        positions.append(position(execution))
        execution.step(1)
    end = position(execution)
    assert len(positions) > 200
    assert execution.outcome.success
    for i in (0, 150, 10, len(positions) - 1, 60, 61, 0):
        restore_snapshot(execution, snapshots[i])
        assert position(execution) == positions[i]
        for k in range(i, min(i + 40, len(positions))):
            assert position(execution) == positions[k]
            execution.step(1)
        while execution.step(13) is None:
            pass
        assert position(execution) == end


def test_steps_are_counted_over_all_frames_however_they_are_run() -> None:
    one, all_at_once = begin(), begin()
    count = 0
    while one.outcome is None:
        one.step(1)
        count += 1
        assert one.steps == count
    all_at_once.step(10**6)
    assert all_at_once.steps == count


def marks_at(*pcs: int):  # type: ignore[no-untyped-def]
    def marks(frame) -> bytes:  # type: ignore[no-untyped-def]
        found = bytearray(frame.code.length + MARKS_PADDING)
        for pc in pcs:
            if frame.message.depth == 0:
                found[pc] = 1
        return bytes(found)

    return marks


@pytest.mark.parametrize("thresholds", [(), (900_000, 500_000)])
def test_watching_stops_where_naive_stepping_would(thresholds: tuple[int, ...]) -> None:
    naive, wanted = begin(), []
    lows = dict.fromkeys(thresholds, False)
    depth = 1
    while naive.outcome is None:
        frame = naive.frames[-1]
        low = {t: frame.gas < t for t in thresholds}
        marked = frame.message.depth == 0 and frame.pc == 10
        entered = len(naive.frames) == 2 != depth
        if marked or entered or any(low[t] and not lows[t] for t in thresholds):
            wanted.append(naive.steps)
        lows, depth = low, len(naive.frames)
        naive.step(1)
    watching, found = begin(), []
    watch = Watch(marks_at(10), thresholds, depths={2})
    watch.begin(watching)
    while watching.step(10**6, watch) is None:
        found.append(watching.steps)
        watch.begin(watching)
    assert found == wanted
    assert len(found) > 5


def test_watching_stops_after_a_failing_message() -> None:
    execution = begin()
    watch = Watch(on_failure=True)
    watch.begin(execution)
    execution.step(10**6, watch)
    assert execution.outcome is None
    assert watch.has_failed
    assert len(execution.frames) == 1


def test_digests_of_a_trace_depend_on_the_trace_alone() -> None:
    digests = []
    for chunk in (1, 7, 10**6):
        execution, digest = begin(), TraceDigest()
        while execution.step(chunk, digest) is None:
            pass
        digests.append(digest.value)
    assert len(set(digests)) == 1
    poorer, digest = begin(), TraceDigest()
    poorer.frames[-1].gas -= 1
    poorer.step(50, digest)
    with_gas, rich, plain, blind = begin(), begin(), TraceDigest(), TraceDigest(with_gas=False)
    with_gas.step(50, plain)
    rich.frames[-1].gas -= 1
    rich.step(6, blind)
    blind_too, also = begin(), TraceDigest(with_gas=False)
    blind_too.step(6, also)
    assert plain.value != digest.value
    assert also.value == blind.value


def test_large_journals_share_their_chunks_and_come_back() -> None:
    journal = World().journal
    journal.begin_transaction()
    for slot in range(3 * CHUNK):
        journal.set_transient(OTHER, slot, slot + 1)
    first = journal.snapshot()
    point = journal.checkpoint()
    for slot in range(3 * CHUNK, 3 * CHUNK + 10):
        journal.set_transient(OTHER, slot, 1)
    journal.set_transient(OTHER, 5, 77)
    second = journal.snapshot(first)
    once = dict(first.pieces())
    assert sum(size for piece, size in second.pieces() if piece not in once) < sum(once.values()) / 3
    transients = journal.transients()
    journal.revert(point)
    journal.set_storage(OTHER, 1, 2)
    journal.restore(second)
    assert journal.transients() == transients
    assert journal.storage(OTHER, 1) == 0
    journal.restore(first)
    assert journal.transient(OTHER, 5) == 6
    journal.restore(second)
    journal.revert(point)
    assert journal.transient(OTHER, 5) == 6
    journal.revert(0)
    assert not journal.transients()


def test_equal_containers_are_not_mistaken_for_each_other() -> None:
    journal = World().journal
    journal.begin_transaction()
    journal.set_storage(OTHER, 1, 5)
    start = journal.checkpoint()
    journal.create_account(OTHER)  # wipes: other containers from here on
    journal.set_storage(OTHER, 1, 6)
    first = journal.snapshot()
    journal.revert(start)
    journal.create_account(OTHER)
    journal.set_storage(OTHER, 1, 6)
    second = journal.snapshot(first)
    for snapshot in (first, second):
        journal.restore(snapshot)
        assert journal.storage(OTHER, 1) == 6
        journal.set_storage(OTHER, 1, 7)
        journal.revert(start)
        assert journal.storage(OTHER, 1) == 5


def test_storage_that_a_snapshot_will_undo_into_is_not_changed_meanwhile() -> None:
    journal = World().journal
    journal.begin_transaction()
    journal.set_storage(OTHER, 1, 5)
    start = journal.checkpoint()
    journal.create_account(OTHER)  # wipes; what undoes that is in the snapshot
    snapshot = journal.snapshot()
    journal.revert(start)
    journal.set_storage(OTHER, 1, 9)
    journal.restore(snapshot)
    assert journal.storage(OTHER, 1) == 0
    journal.revert(start)
    assert journal.storage(OTHER, 1) == 5


def test_a_watched_opcode_that_must_run_again_is_seen_once() -> None:
    # The slot must be brought in and the memory must grow: both opcodes run twice natively.
    program = code(5, "SLOAD POP", 1, 9_000, "MSTORE STOP")
    watched = [pc for pc in range(len(program)) if program[pc] in (0x54, 0x52)]
    world = World()
    world.journal.set_code(world.message().to, program)
    execution = MACHINE.begin(world.message(), world.context)
    size = len(program) + MARKS_PADDING
    watch = Watch(lambda _: bytes(int(pc in watched) for pc in range(size)))
    seen = []
    watch.begin(execution)
    while execution.step(1_000, watch) is None:
        seen.append((execution.frames[-1].pc, execution.steps))
        watch.begin(execution)
    assert seen == [(watched[0], 1), (watched[1], 5)]
    assert execution.steps == 7


def test_slots_of_a_frame_that_was_restored_are_cold_again_when_it_fails() -> None:
    """What a restored frame did before is in the journal: native code must ask again once that is undone."""
    world = World()
    callee = code(1, 7, "SLOAD ADD", 7, "SSTORE JUMPDEST", 0, 0, "REVERT")
    call = code(0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), 200_000, "CALL POP")
    world.state.put(OTHER, callee, nonce=1)
    world.journal.set_code(world.message().to, call * 3 + code("STOP"))
    execution = MACHINE.begin(world.message(), world.context)
    execution.step(13)
    assert len(execution.frames) == 2
    inside = take_snapshot(execution)
    execution.step(10**6)
    assert execution.outcome is not None
    wanted = execution.outcome.gas_left
    restore_snapshot(execution, inside)
    execution.step(10**6)
    assert execution.outcome is not None
    assert execution.outcome.gas_left == wanted
