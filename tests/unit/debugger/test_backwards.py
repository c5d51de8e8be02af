"""Stepping over and out backwards, against a naive look at every earlier position; pauses between slices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.errors import StepOutOfRange
from debugger.events import Event, Stopped
from debugger.limits import RUN_SLICE
from debugger.program import Program
from debugger.session import Session
from debugger.slices import finish
from tests.unit.debugger.programs import CALL_OTHER, LOOP, program, programs, session, to_end
from tests.unit.vm.programs import code


def depths(run: Session) -> list[int]:
    """Frames at every step; 0 at the end."""
    timeline = run.clone()
    found = []
    while timeline.outcome is None:
        found.append(len(timeline.execution.frames))
        timeline.forward(1)
    timeline.close()
    return [*found, 0]


@settings(max_examples=60, deadline=None)
@given(programs(), st.data())
def test_over_and_out_backwards_are_the_naive_ones(chosen: Program, data: st.DataObject) -> None:
    run = session(chosen, spacing=data.draw(st.sampled_from([3, 16, 1000])))
    frames = depths(run)
    here = data.draw(st.integers(0, len(frames) - 1))
    depth = max(1, frames[here])
    over = max((i for i in range(here) if frames[i] <= depth), default=0)
    out = max((i for i in range(here) if frames[i] < depth), default=0)
    finish(moves.seek(run, here))
    assert at(finish(moves.step_over_back(run))) == over
    finish(moves.seek(run, here))
    assert at(finish(moves.step_out_back(run))) == out
    # A breakpoint in between stops both, one before does not.
    run.set_breakpoint(Breakpoint("opcode", opcode="SSTORE"))
    finish(moves.seek(run, here))
    finish(moves.reverse_run(run))
    hit = run.step_index
    for move, wanted in ((moves.step_over_back, over), (moves.step_out_back, out)):
        finish(moves.seek(run, here))
        assert at(finish(move(run))) == max(hit, wanted)


def at(events: list[Event]) -> int:
    [stopped] = events
    assert isinstance(stopped, Stopped)
    return stopped.step


def test_over_back_undoes_what_over_did() -> None:
    run = session(program(CALL_OTHER + code(1, 2, "STOP")))
    finish(moves.step(run, 7))
    assert run.state().opcode == "CALL"
    finish(moves.step_over(run))
    assert run.state().opcode == "POP"
    assert finish(moves.step_over_back(run))[0] == Stopped(7, "step")
    finish(moves.step(run, 3))
    assert run.state().depth == 2
    assert finish(moves.step_out_back(run))[0] == Stopped(7, "step")
    assert finish(moves.step_out_back(run))[0] == Stopped(0, "start")
    assert finish(moves.step_over_back(run))[0] == Stopped(0, "start")


FAR = 1_200_000
KEYFRAMES_BUT_FEW = 1 << 30
"""Spacing: all but the first are further apart than any run is long."""


def driven(move: moves.Move) -> tuple[list[Event], int]:
    """Events of a move, and after how many slices it ended."""
    slices = 0
    while True:
        try:
            next(move)
        except StopIteration as end:
            return end.value, slices
        slices += 1


@pytest.mark.parametrize(
    ("move", "arguments"),
    [
        (moves.run, ()), (moves.step, (FAR,)), (moves.seek, (FAR,)), (moves.reverse_run, ()),
        (moves.step_over_back, ()), (moves.step_out_back, ()), (moves.step_back, (5,)),
    ],
)  # fmt: skip
def test_slices_end_where_the_whole_does(move: Callable[..., moves.Move], arguments: tuple[int, ...]) -> None:
    whole, sliced = session(LOOP), session(LOOP)
    for run in (whole, sliced):
        finish(moves.step(run, RUN_SLICE + 5))
        run.set_breakpoint(Breakpoint("pc", pc=1))
    events, slices = driven(move(sliced, *arguments))
    assert events == finish(move(whole, *arguments))
    assert sliced.digest() == whole.digest()
    if move in (moves.step, moves.seek):
        assert slices >= 3


@pytest.mark.parametrize(("move", "argument"), [(moves.step_back, 200_000), (moves.seek, 1_300_000)])
def test_a_long_way_back_is_sliced(move: Callable[..., moves.Move], argument: int) -> None:
    """Where keyframes are far apart, going back runs most of the program again."""
    run, straight = session(LOOP, spacing=KEYFRAMES_BUT_FEW), session(LOOP)
    to_end(run)
    finish(moves.seek(straight, run.step_index - argument if move is moves.step_back else argument))
    events, slices = driven(move(run, argument))
    assert slices >= 4
    assert at(events) == straight.step_index
    assert run.digest() == straight.digest()


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(("move", "argument"), [(moves.step_back, 200_000), (moves.seek, 1_200_000)])
def test_a_way_back_that_was_paused_ends_where_it_began(
    move: Callable[..., moves.Move], argument: int, ends: bool
) -> None:
    run = session(LOOP, spacing=KEYFRAMES_BUT_FEW)
    to_end(run) if ends else finish(moves.seek(run, 1_450_000))
    run.set_breakpoint(Breakpoint("pc", pc=1))
    before, digest, halt = run.step_index, run.digest(), run.halt()
    [stopped] = finish(move(run, argument, wants_pause=lambda: True))
    assert stopped == Stopped(before, "halt" if ends else "paused", (), halt)
    assert run.digest() == digest
    [stopped] = finish(move(run, argument))
    assert at([stopped]) == (before - argument if move is moves.step_back else argument)


def test_a_way_forward_that_was_paused_goes_on_from_there() -> None:
    run = session(LOOP)
    [stopped] = finish(moves.seek(run, FAR, wants_pause=lambda: True))
    assert stopped == Stopped(RUN_SLICE, "paused")
    assert at(finish(moves.seek(run, FAR))) == FAR


def test_a_way_to_a_missing_step_changes_nothing() -> None:
    run = session(LOOP, spacing=KEYFRAMES_BUT_FEW)
    finish(moves.seek(run, 1_200_000))
    digest = run.digest()
    with pytest.raises(StepOutOfRange):
        finish(moves.seek(run, 900_000_000))
    assert (run.step_index, run.digest()) == (1_200_000, digest)


def test_a_reverse_run_that_was_paused_misses_nothing() -> None:
    """The position where a stretch was left is looked at when it goes on."""
    run = session(LOOP, spacing=100)
    run.set_breakpoint(Breakpoint("pc", pc=8))
    finish(moves.step(run, 3_000))
    wanted = run.step_index
    found = []
    while wanted:
        finish(moves.reverse_run(run))
        wanted = run.step_index
        found.append(wanted)
    finish(moves.seek(run, 3_000))
    again: list[int] = []
    while run.step_index:
        [stopped] = finish(moves.reverse_run(run, wants_pause=lambda: True))
        assert isinstance(stopped, Stopped)
        if stopped.reason != "paused":
            again.append(stopped.step)
    assert again == found
