"""Comparing runs against naive comparison; state differences; call trees; EIP-3155 lines."""

from __future__ import annotations

import json
from itertools import pairwise, zip_longest

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debugger import diff
from debugger.calltree import call_tree
from debugger.diff import compare
from debugger.edits import Edit
from debugger.program import Program
from debugger.session import Session
from debugger.state_diff import diff_states
from debugger.trace3155 import trace_lines, trace_page
from node.conformance.trace import TraceWriter
from tests.unit.debugger.programs import CALL_OTHER, LOOP, REVERTING, program, programs, session
from tests.unit.vm.programs import OTHER, code


def naive_steps(run: Session, with_gas: bool) -> list[object]:
    """What is compared at each step, and the end."""
    timeline = run.twin()
    steps: list[object] = []
    while timeline.outcome is None:
        frame = timeline.execution.frames[-1]
        gas = frame.gas if with_gas else 0
        logs = [log[1:] for log in timeline.execution.journal.logs]
        op = frame.code.padded[frame.pc]
        steps.append(
            (frame.pc, op, gas, len(timeline.execution.frames), frame.stack(), frame.memory_bytes(), logs)
        )
        timeline.forward(1)
    end = timeline.outcome
    steps.append((end.halt, end.output, end.gas_left if with_gas else 0))
    return steps


@settings(max_examples=60, deadline=None)
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
        b.seek(seed % (b.length() + 1))
        if b.halt() is None and int(b.state().stack[-1] if b.state().stack else "0x0", 16) != 5:
            b.edit(Edit("push", value=1) if not b.state().stack else Edit("stack", index=0, value=5))
    left, right = naive_steps(a, not ignoring_gas), naive_steps(b, not ignoring_gas)
    wanted = next((i for i, (x, y) in enumerate(zip_longest(left, right)) if x != y), None)
    before, diff.DIFF_CHUNK = diff.DIFF_CHUNK, chunk
    try:
        found = compare(a, b, ignoring_gas=ignoring_gas)
    finally:
        diff.DIFF_CHUNK = before
    assert found.is_equal == (wanted is None)
    if wanted is not None:
        assert found.divergence is not None
        assert found.divergence.step == wanted
        assert len(found.divergence.before) == min(wanted, diff.DIFF_CONTEXT)


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
    end = run.length()
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
    assert root.end_step == tree.steps == run.length()
    assert root.gas_own + sum(node.gas_used for node in tree.nodes[1:]) == root.gas_used
    assert tree.nodes[1].halt is not None
    assert (tree.nodes[1].halt.reason, tree.nodes[1].logs, tree.nodes[1].parent) == ("revert", 1, 0)
    for node in tree.nodes[1:3]:
        run.seek(node.first_step)
        assert (run.state().depth, run.state().pc) == (2, 0)
        assert node.end_step is not None
        run.seek(node.end_step)
        assert run.state().depth == 1
    assert not call_tree(run, limit=3).has_ended


@settings(max_examples=20, deadline=None)
@given(programs())
def test_traces_come_in_pages_and_whole(chosen: Program) -> None:
    run = session(chosen)
    whole = list(trace_lines(run))
    paged, at, has_ended = [], 0, False
    while not has_ended:
        page = trace_page(run, at, 17)
        paged += page.lines
        at, has_ended = page.stop, page.has_ended
    assert paged == whole
    lines = [json.loads(line) for line in whole]
    summary = lines.pop()
    assert run.step_index == 0
    run.to_end()
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
