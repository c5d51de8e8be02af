"""Stepping over and out backwards, against a naive look at every earlier position; pauses between slices."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debugger.breakpoints import Breakpoint
from debugger.commands import Command, ReverseRun, Run, Seek, Step, StepBack, StepOutBack, StepOverBack, perform_sliced
from debugger.events import Event, Stopped
from debugger.limits import RUN_SLICE
from debugger.program import Program
from debugger.session import Session
from tests.unit.debugger.programs import CALL_OTHER, LOOP, program, programs, session
from tests.unit.vm.programs import code


def depths(run: Session) -> list[int]:
    """Frames at every step; 0 at the end."""
    timeline = run.twin()
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
    run.seek(here)
    assert at(run.step_over_back()) == over
    run.seek(here)
    assert at(run.step_out_back()) == out
    # A breakpoint in between stops both, one before does not.
    run.set_breakpoint(Breakpoint("opcode", opcode="SSTORE"))
    run.seek(here)
    run.reverse_run()
    hit = run.step_index
    for move, wanted in ((run.step_over_back, over), (run.step_out_back, out)):
        run.seek(here)
        assert at(move()) == max(hit, wanted)


def at(events: list[Event]) -> int:
    [stopped] = events
    assert isinstance(stopped, Stopped)
    return stopped.step


def test_over_back_undoes_what_over_did() -> None:
    run = session(program(CALL_OTHER + code(1, 2, "STOP")))
    run.step(7)
    assert run.state().opcode == "CALL"
    run.step_over()
    assert run.state().opcode == "POP"
    assert run.step_over_back()[0] == Stopped(7, "step")
    run.step(3)
    assert run.state().depth == 2
    assert run.step_out_back()[0] == Stopped(7, "step")
    assert run.step_out_back()[0] == Stopped(0, "start")
    assert run.step_over_back()[0] == Stopped(0, "start")


@pytest.mark.parametrize(
    ("command", "at_once"),
    [
        (Run(), methodcaller("run")),
        (Step(1_200_000), methodcaller("step", 1_200_000)),
        (Seek(1_200_000), methodcaller("seek", 1_200_000)),
        (ReverseRun(), methodcaller("reverse_run")),
        (StepOverBack(), methodcaller("step_over_back")),
        (StepOutBack(), methodcaller("step_out_back")),
        (StepBack(5), methodcaller("step_back", 5)),
    ],
)
def test_slices_end_where_the_whole_does(command: Command, at_once: Callable[[Session], list[Event]]) -> None:
    whole, sliced = session(LOOP), session(LOOP)
    for run in (whole, sliced):
        run.step(RUN_SLICE + 5)
        run.set_breakpoint(Breakpoint("pc", pc=1))
    moves = perform_sliced(sliced, command, lambda: False)
    slices = 0
    while True:
        try:
            next(moves)
        except StopIteration as end:
            events = end.value
            break
        slices += 1
    assert events == at_once(whole)
    assert sliced.digest() == whole.digest()
    if isinstance(command, Step | Seek):
        assert slices >= 3


def test_a_reverse_run_that_was_paused_misses_nothing() -> None:
    """The position where a stretch was left is looked at when it goes on."""
    run = session(LOOP, spacing=100)
    run.set_breakpoint(Breakpoint("pc", pc=8))
    run.step(3_000)
    wanted = run.step_index
    found = []
    while wanted:
        run.reverse_run()
        wanted = run.step_index
        found.append(wanted)
    run.seek(3_000)
    again: list[int] = []
    while run.step_index:
        moves = perform_sliced(run, ReverseRun(), lambda: True)
        while True:
            try:
                next(moves)
            except StopIteration as end:
                [stopped] = end.value
                break
        if stopped.reason != "paused":
            again.append(stopped.step)
    assert again == found
