"""Comparing runs against naive comparison; state differences; call trees; EIP-3155 lines."""

from __future__ import annotations

import json
from itertools import pairwise, zip_longest

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.console_log import CONSOLE
from chain.hashing import keccak256
from debugger import diff, moves
from debugger.calltree import call_tree
from debugger.diff import Comparison, compare, compare_slices
from debugger.edits import Edit
from debugger.limits import DIFF_CHUNK, DIFF_CONTEXT
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.slices import finish
from debugger.state_diff import diff_states
from debugger.trace3155 import trace_lines, trace_page
from node.conformance.trace import TraceWriter
from node.machine.assembly import build_machine
from tests.effort import tries
from tests.unit.debugger.programs import CALL_OTHER, LOOP, REVERTING, length, program, programs, session, to_end
from tests.unit.vm.programs import OTHER, code
from vm.machine import ENGINES

STEPS = 500
"""Compared of two runs: a change of one bit can make a loop go on until millions of gas are spent."""


def naive_steps(run: Session, with_gas: bool) -> list[object]:
    """What is compared at each of the first `STEPS`, and the end if it is among them."""
    timeline = run.clone()
    steps: list[object] = []
    waiting: list[object] = []
    """Frames around the running one, as each was left: nothing changes them before it goes on."""
    while timeline.outcome is None:
        execution = timeline.execution
        frame, journal = execution.frames[-1], execution.journal
        waiting = waiting[: len(execution.frames) - 1]
        waiting += [(f.stack(), f.memory_bytes(), f.returndata) for f in execution.frames[len(waiting) : -1]]
        gas = frame.gas if with_gas else 0
        logs = [log[1:] for log in journal.logs]
        op = frame.code.padded[frame.pc]
        frames = [*waiting, (frame.stack(), frame.memory_bytes(), frame.returndata)]
        held = {a: dict(slots) for a, slots in journal._base_storage.items()}
        holds = {a: dict(slots) for a, slots in journal._slots.storage.items() if slots}
        steps.append((frame.pc, op, gas, frames, logs, held, holds))
        if len(steps) > STEPS:
            return steps
        timeline.forward(1)
    end = timeline.outcome
    steps.append((end.halt, end.output, end.gas_left if with_gas else 0))
    return steps


@settings(max_examples=tries(25, 300), deadline=None)
@given(programs(), programs(), st.booleans(), st.integers(0, 2), st.integers(0, 2**20), st.integers(3, 200))
def test_the_first_divergence_is_the_naive_one(
    one: Program, two: Program, ignoring_gas: bool, how: int, seed: int, chunk: int
) -> None:
    if how == 0:
        two = msgspec.structs.replace(one, gas=one.gas - 1 - seed % 1000)
    elif how == 1:
        two = one
    a, b = session(one), session(two)
    if how == 1:
        finish(moves.seek(b, seed % (min(length(b), STEPS) + 1)))
        if b.halt() is None:
            b.edit(an_edit(b, seed))
    left, right = naive_steps(a, not ignoring_gas), naive_steps(b, not ignoring_gas)
    wanted = next((i for i, (x, y) in enumerate(zip_longest(left, right)) if x != y), None)
    diff.DIFF_CHUNK = chunk  # type: ignore[attr-defined]
    try:
        found = compare(a, b, ignoring_gas=ignoring_gas, limit=STEPS)
    finally:
        diff.DIFF_CHUNK = DIFF_CHUNK  # type: ignore[attr-defined]
    assert found.is_equal == (wanted is None)
    if wanted is not None:
        assert found.divergence is not None
        assert found.divergence.step == wanted
        assert len(found.divergence.before) == min(wanted, DIFF_CONTEXT)


def an_edit(run: Session, seed: int) -> Edit:
    """One that changes something at the position."""
    state = run.state()
    deep = seed % (len(state.stack) or 1)
    if seed % 3 == 0 and state.stack:
        return Edit("stack", index=deep, value=int(state.stack[-1 - deep], 16) ^ 5)
    if seed % 3 == 1 and len(state.memory) > 2:
        at = seed % (len(state.memory) // 2 - 1)
        return Edit("memory", index=at, data=f"0x{int(state.memory[2 + 2 * at : 4 + 2 * at], 16) ^ 1:02x}")
    return Edit("storage", index=3, value=2**200 + seed)


def at_different_memory(one: Program, two: Program, ignoring_gas: bool = True) -> tuple[int, list[str], list[str]]:
    found = compare(session(one), session(two), ignoring_gas=ignoring_gas)
    assert found.divergence is not None
    return found.divergence.step, found.divergence.fields, found.divergence.notes


def test_what_is_copied_and_forgotten_is_seen() -> None:
    """The copy is overwritten by the same words and never looked at; chunk ends would not show it."""
    copy = code(32, 0, 0, "CALLDATACOPY", 7, 0, "MSTORE STOP")
    one, two = program(copy, calldata=b"\1"), program(copy, calldata=b"\2")
    assert at_different_memory(one, two)[:2] == (4, ["memory"])
    padded = program(copy, calldata=b"\1\0\0")
    assert compare(session(one), session(padded)).is_equal, "zero padding is not a difference"
    of_code = code(1, 17, 0, "CODECOPY", 7, 0, "MSTORE STOP")
    assert at_different_memory(program(of_code + bytes(4) + b"\1"), program(of_code + bytes(4) + b"\2"))[:2] == (
        4, ["memory"]
    )  # fmt: skip
    other = code(2, 0, 0, int.from_bytes(OTHER, "big"), "EXTCODECOPY", 7, 0, "MSTORE STOP")
    assert at_different_memory(program(other, code(1, "STOP")), program(other, code(2, "STOP")))[:2] == (5, ["memory"])


def test_what_an_inner_frame_reads_and_drops_is_seen() -> None:
    inner = code(1, 4, 0, "CODECOPY STOP")
    one = program(CALL_OTHER + code("STOP"), inner + b"\0\0\1")
    two = program(CALL_OTHER + code("STOP"), inner + b"\0\0\2")
    assert compare(session(one), session(two)).is_equal, "another byte was copied"
    inner = code(1, 10, 0, "CODECOPY STOP")
    one, two = (program(CALL_OTHER + code("STOP"), inner + b"\0\0" + last) for last in (b"\1", b"\2"))
    assert at_different_memory(one, two)[1] == ["memory"]


def test_what_a_slot_held_before_it_was_written_is_seen() -> None:
    write = program(code(9, 3, "SSTORE STOP"))
    state = {"0x" + bytes(18).hex() + "c0de": AccountSetup(storage={"0x3": 4})}
    kept = msgspec.structs.replace(write, state={**write.state, **state})
    step, fields, notes = at_different_memory(write, kept)
    assert (step, fields) == (3, ["storage"])
    assert notes == [
        "on the left, slot 0x3 held 0x0 before it was written", "on the right, slot 0x3 held 0x4 before it was written"
    ]  # fmt: skip


def test_precompiles_of_other_forks_are_seen() -> None:
    """Without a precompile the call succeeds as well and returns nothing, and nothing of it comes onto the stack."""
    add = code(0, 0, 256, 0, 0, 0xB, 50_000, "CALL POP STOP")
    old = Program(code="0x" + add.hex(), fork="cancun")
    new = Program(code="0x" + add.hex(), fork="prague")
    found = compare(session(old), session(new), ignoring_gas=True)
    assert found.divergence is not None
    assert found.divergence.fields == ["returnData"]


@pytest.mark.parametrize("engine", ENGINES)
def test_machines_of_other_engines_step_alike(engine: str) -> None:
    """Code that is compiled has no steps: a session of any engine is stepped by the interpreter, beside the maps."""
    one = session(LOOP)
    two = Session(one.program, build_machine(engine=engine))
    assert compare(one, two, limit=100_000).is_equal


def test_a_comparison_comes_in_slices_and_can_be_paused() -> None:
    slices = compare_slices(session(LOOP), session(LOOP), wants_pause=lambda: True)
    next(slices)
    with pytest.raises(StopIteration) as ended:
        next(slices)
    assert ended.value.value == Comparison(True, DIFF_CHUNK, False, None)


def test_a_late_divergence_is_found_with_its_context() -> None:
    late = LOOP.replace(code(100_000, "GT"), code(90_000, "GT"))
    found = compare(session(LOOP), session(late))
    assert found.divergence is not None
    assert found.divergence.fields == ["stack"]
    assert "stack word 2" in found.divergence.notes[0]
    assert found.divergence.before[-1].opcode.startswith("PUSH")


def test_forks_are_compared() -> None:
    reads = code(1, "SLOAD POP", 5, "SLOAD POP STOP")
    old = session(Program(code="0x" + reads.hex(), fork="istanbul"))
    new = session(Program(code="0x" + reads.hex(), fork="berlin"))
    found = compare(old, new)
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.fields) == (2, ["gas"])
    assert compare(old, new, ignoring_gas=True).is_equal


def test_positions_differ_in_state_stack_and_memory() -> None:
    run = session(program(CALL_OTHER + code(8, 1, "SSTORE", 5, 0, "MSTORE", 1, 2, "STOP")))
    end = length(run)
    found = diff_states(run, 0, run, end)
    assert found.storage["0x" + OTHER.hex()]["0x3"].left == "0x1"
    assert found.storage["0x" + OTHER.hex()]["0x3"].right == "0x5"
    assert found.storage["0x" + bytes(18).hex() + "c0de"]["0x1"].right == "0x8"
    assert found.transient_storage["0x" + OTHER.hex()]["0x1"].right == "0x7"
    assert found.memory[0].left is None
    assert found.position["halt"].right == "stop"
    same = diff_states(run, end, run, end)
    assert not any((same.accounts, same.storage, same.stack, same.memory, same.position))
    assert diff_states(run, end - 2, run, end - 1).stack[1].right == "0x2"


def test_call_tree_and_gas() -> None:
    run = session(program(CALL_OTHER + CALL_OTHER + code(0, 0, 0, "CREATE", 0, 4, "GAS CALL"), REVERTING))
    tree = call_tree(run)
    assert [node.kind for node in tree.nodes] == ["call", "call", "call", "create"]
    root = tree.nodes[0]
    assert root.end_step == tree.steps == length(run)
    assert root.gas_own + sum(node.gas_used for node in tree.nodes[1:]) == root.gas_used
    assert tree.nodes[1].halt is not None
    assert (tree.nodes[1].halt.reason, tree.nodes[1].logs, tree.nodes[1].parent) == ("revert", 1, 0)
    for node in tree.nodes[1:3]:
        finish(moves.seek(run, node.first_step))
        assert (run.state().depth, run.state().pc) == (2, 0)
        assert node.end_step is not None
        finish(moves.seek(run, node.end_step))
        assert run.state().depth == 1
    assert not call_tree(run, limit=3).has_ended


def test_console_log_is_told_by_the_messages_that_call_it() -> None:
    text = keccak256(b"log(uint256)")[:4] + (500).to_bytes(32, "big")
    store = code(b"\x7f" + text[:32], 0, "MSTORE", b"\x63" + text[32:], 224, "SHL", 32, "MSTORE")
    call = code(0, 0, len(text), 0, b"\x73" + CONSOLE, "GAS STATICCALL POP")
    assert [node.console for node in call_tree(session(program(store + call + CALL_OTHER, REVERTING))).nodes] == [
        None,
        "500",
        None,
    ]


@settings(max_examples=20, deadline=None)
@given(programs())
def test_traces_come_in_pages_and_whole(chosen: Program) -> None:
    run = session(chosen)
    whole = list(trace_lines(run))
    paged, at, has_ended = [], 0, False
    while not has_ended:
        page = trace_page(run, at, max(17, len(whole) // 30))
        paged += page.lines
        at, has_ended = page.stop, page.has_ended
    assert paged == whole
    lines = [json.loads(line) for line in whole]
    summary = lines.pop()
    assert run.step_index == 0
    to_end(run)
    halt = run.halt()
    assert halt is not None
    assert summary["pass"] == halt.success
    assert int(summary["gasUsed"], 16) == chosen.gas - halt.gas_left
    for now, after in pairwise(lines):
        if now["depth"] == after["depth"] and now["opName"] not in ("CALL", "CREATE"):
            assert int(now["gas"], 16) - int(now["gasCost"], 16) == int(after["gas"], 16)


@settings(max_examples=20, deadline=None)
@given(programs())
def test_traces_are_those_of_the_statetest_command(chosen: Program) -> None:
    run = session(chosen)
    wanted: list[str] = []
    writer = TraceWriter(wanted.append)
    execution = run.begin(writer)
    writer.begin(execution.context)
    execution.run()
    assert list(trace_lines(run))[:-1] == wanted


@pytest.mark.parametrize("ignoring_gas", [False, True])
def test_equal_runs_are_equal(ignoring_gas: bool) -> None:
    found = compare(session(LOOP), session(LOOP), ignoring_gas=ignoring_gas, limit=300_000)
    assert (found.is_equal, found.steps) == (True, 300_000)
