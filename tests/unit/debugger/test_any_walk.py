"""Any walk through a run leads to the states that a replay from the start leads to, wherever keyframes are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.program import Program
from debugger.session import Session
from debugger.slices import finish
from debugger.state import State
from tests.effort import tries
from tests.unit.debugger.programs import MACHINE, length, program, programs, session
from tests.unit.vm.programs import OTHER, code

Place = tuple[bytes, State]

SLOTS = b"".join(code(slot, "SLOAD POP") for slot in range(40)) + code("STOP")
"""Reads more slots of an account without storage than are asked for one by one."""
NEW_SLOTS = code(
    0, "JUMPDEST", 1, "ADD DUP1 DUP1 SSTORE DUP1 DUP1 TSTORE DUP1", 15, "AND SLOAD POP DUP1", 150, "GT", 2, "JUMPI STOP"
)

CALLING = code(
    0, "JUMPDEST", 1, "ADD", 0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), 90_000, "CALL POP DUP1", 60, "GT", 2,
    "JUMPI STOP",
)  # fmt: skip
FAILING = code(1, "GAS SSTORE", 1, 7, "SLOAD ADD", 7, "SSTORE", 3, 7, "TSTORE", 0, 0, "REVERT")
MANY = {
    "slots that are read": Program(code="0x" + SLOTS.hex(), gas=1 << 30),
    "new slots": Program(code="0x" + NEW_SLOTS.hex(), gas=1 << 30),
    "calls that fail": program(CALLING, FAILING, gas=1 << 30),
}


def ticking(seconds: list[float]) -> Callable[[], float]:
    """A clock that goes on by these seconds in turn each time it is read."""
    times = accumulate(cycle(seconds))
    return lambda: next(times)


def timed(program: Program, seconds: list[float], spacing: int, keyframe_bytes: int) -> Session:
    return Session(program, MACHINE, spacing=spacing, keyframe_bytes=keyframe_bytes, clock=ticking(seconds))


def replayed(run: Session, step: int) -> Place:
    """What a run of the same branch from the start shows at a step."""
    kept, fresh = run.timeline, run.clone(spacing=1 << 40)
    fresh.forward(step)
    run.timeline = fresh
    place = run.digest(), run.state()
    run.timeline = kept
    fresh.close()
    return place


def walk(run: Session, draw: Callable[[st.SearchStrategy[int]], int], moves_count: int) -> None:
    """Move about at random, with edits; after each move the state is that of a replay."""
    end = length(run)
    for _ in range(moves_count):
        here = run.step_index
        match draw(st.integers(0, 5)):
            case 0 | 1:
                finish(moves.seek(run, draw(st.integers(0, end))))
            case 2:
                finish(moves.step(run, draw(st.integers(0, end))))
            case 3:
                finish(moves.step_back(run, draw(st.integers(0, end))))
            case 4:
                finish(moves.reverse_run(run))
            case _ if run.halt() is None:
                run.edit(Edit("storage", index=draw(st.integers(0, 5)), value=here))
                end = length(run)
        assert (run.digest(), run.state()) == replayed(run, run.step_index)


CLOCKS = st.lists(st.sampled_from([0.0, 0.0001, 0.0004, 0.002]), min_size=1, max_size=7)


@settings(max_examples=tries(25, 400), deadline=None)
@given(programs(), CLOCKS, st.sampled_from([2, 7, 64]), st.sampled_from([6_000, 30_000, 1 << 20]), st.data())
def test_any_walk_leads_where_a_replay_does(
    program: Program, seconds: list[float], spacing: int, keyframe_bytes: int, data: st.DataObject
) -> None:
    run = timed(program, seconds, spacing, keyframe_bytes)
    run.set_breakpoint(Breakpoint("opcode", opcode="SSTORE"))
    walk(run, data.draw, 8)
    run.close()


@pytest.mark.parametrize("name", MANY)
@settings(max_examples=tries(5, 100), deadline=None)
@given(CLOCKS, st.sampled_from([16, 128]), st.sampled_from([20_000, 1 << 20]), st.data())
def test_any_walk_among_many_slots(
    name: str, seconds: list[float], spacing: int, keyframe_bytes: int, data: st.DataObject
) -> None:
    run = timed(MANY[name], seconds, spacing, keyframe_bytes)
    walk(run, data.draw, 8)
    run.close()


def test_slots_are_known_however_they_were_read() -> None:
    at_once, one_by_one = session(SLOTS), session(SLOTS)
    finish(moves.step(at_once, 119))
    for _ in range(119):
        finish(moves.step(one_by_one))
    assert at_once.state() == one_by_one.state()
    assert len(at_once.state().storage) == 40


def test_going_back_undoes_even_if_the_journal_is_too_large_to_be_kept() -> None:
    run = timed(MANY["new slots"], [0.001], 64, 15_000)
    finish(moves.run(run))
    frames = run.timeline.keyframes
    assert frames.bytes <= 15_000
    assert run.step_index > 2_000
    assert len(frames) > 3
    end = run.step_index
    for back in (100, 1, 900, 1, 700):
        finish(moves.step_back(run, back))
        assert (run.digest(), run.state()) == replayed(run, run.step_index)
    finish(moves.seek(run, end))
    assert (run.digest(), run.state()) == replayed(run, end)
