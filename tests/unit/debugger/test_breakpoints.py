"""Breakpoints and expressions against naive stepping, forwards and backwards."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.types import Address
from debugger import moves
from debugger.breakpoints import Breakpoint, Condition
from debugger.errors import InvalidBreakpoint, InvalidExpression, SessionLimitReached, SessionNotFound
from debugger.expressions import Expression
from debugger.limits import BREAKPOINTS
from debugger.position import Position
from debugger.program import Program
from debugger.session import Session
from debugger.slices import finish
from tests.effort import tries
from tests.unit.debugger.programs import CALL_OTHER, LOOP, REVERTING, program, programs, session, to_end
from tests.unit.vm.programs import OTHER, TARGET, code

POINTS = [
    Breakpoint("pc", pc=6),
    Breakpoint("pc", pc=5, address="0x" + OTHER.hex()),
    Breakpoint("opcode", opcode="mul"),
    Breakpoint("opcode", opcode="STOP"),
    Breakpoint("slot_write"),
    Breakpoint("slot_write", slot=3, address="0x" + OTHER.hex()),
    Breakpoint("slot_read", slot="0x2"),
    Breakpoint("log"),
    Breakpoint("log", topic="0x0"),
    Breakpoint("depth", depth=2),
    Breakpoint("call", target="0x" + OTHER.hex()),
    Breakpoint("call", target="0x" + TARGET.hex()),
    Breakpoint("revert"),
    Breakpoint("gas", gas=25_000),
    Breakpoint("gas", gas=150_000),
    Breakpoint("expression", expression="op == SSTORE && stack[0] == 4"),
    Breakpoint("expression", expression="stacksize > 2"),
    Breakpoint("expression", expression="mem[128:160] == 2 || storage[1] == 2"),
    Breakpoint("expression", expression="pc == 7"),
]


def naive_hits(run: Session, conditions: list[Condition]) -> list[int]:
    """Every step at which one of the conditions holds, by looking at all steps."""
    timeline = run.clone()
    execution, hits = timeline.execution, set()
    edges = dict.fromkeys((c.id for c in conditions), False)
    was_low = dict.fromkeys((c.id for c in conditions), False)
    while timeline.outcome is None:
        position = Position(execution)
        for c in conditions:
            holds = c.matches(position)
            if c.gas is not None:
                is_low = position.gas < c.gas
                holds = is_low and not was_low[c.id]
                was_low[c.id] = is_low
            if holds and not (c.is_edge and edges[c.id]):
                hits.add(timeline.step)
            edges[c.id] = holds
        execution.take_halt()
        timeline.forward(1)
        failed = not execution.take_halt().is_success
        if failed and any(c.kind == "revert" for c in conditions):
            hits.add(timeline.step - 1)
    return sorted(hits)


@settings(max_examples=tries(25, 300), deadline=None)
@given(programs(), st.lists(st.sampled_from(POINTS), min_size=1, max_size=4), st.sampled_from([3, 50, 9999]))
def test_running_stops_where_naive_stepping_finds_a_hit(
    chosen: Program, points: list[Breakpoint], spacing: int
) -> None:
    run = session(chosen, spacing=spacing)
    for point in points:
        run.set_breakpoint(point)
    wanted = naive_hits(run, run.active())
    found = []
    while run.halt() is None:
        (event,) = finish(moves.run(run))
        if event.reason == "breakpoint":  # type: ignore[union-attr]
            found.append(event.step)  # type: ignore[union-attr]
    assert found == [hit for hit in wanted if hit]
    backwards = []
    while run.step_index:
        (event,) = finish(moves.reverse_run(run))
        if event.reason == "breakpoint":  # type: ignore[union-attr]
            backwards.append(event.step)  # type: ignore[union-attr]
    assert backwards == wanted[::-1]


@settings(max_examples=25, deadline=None)
@given(programs(), st.sampled_from(POINTS), st.integers(1, 40))
def test_runs_of_limited_length_miss_nothing(chosen: Program, point: Breakpoint, size: int) -> None:
    run = session(chosen, spacing=13)
    run.set_breakpoint(point)
    wanted = [hit for hit in naive_hits(run, run.active()) if hit]
    found = []
    while run.halt() is None:
        (event,) = finish(moves.run(run, size))
        if getattr(event, "reason", "") == "breakpoint":
            found.append(event.step)  # type: ignore[union-attr]
    assert found == wanted


def test_reverse_run_over_a_million_steps() -> None:
    run = session(LOOP)
    to_end(run)
    run.set_breakpoint(Breakpoint("expression", expression="pc == 2 && stack[0] == 70"))
    (event,) = finish(moves.reverse_run(run))
    assert event.reason == "breakpoint"  # type: ignore[union-attr]
    assert run.state().stack == ["0x46"]


def test_a_disabled_breakpoint_is_passed_and_ids_stay() -> None:
    run = session(program(CALL_OTHER, REVERTING))
    run.set_breakpoint(Breakpoint("revert", enabled=False))
    run.set_breakpoint(Breakpoint("log"))
    assert finish(moves.run(run))[0].breakpoints == (2,)  # type: ignore[union-attr]
    run.remove_breakpoint(2)
    assert run.set_breakpoint(Breakpoint("revert", id=1))[0].breakpoint.enabled  # type: ignore[union-attr]
    assert finish(moves.run(run))[0].breakpoints == (1,)  # type: ignore[union-attr]
    assert run.state().opcode == "REVERT"
    assert run.set_breakpoint(Breakpoint("log"))[0].breakpoint.id == 3  # type: ignore[union-attr]
    with pytest.raises(SessionNotFound):
        run.remove_breakpoint(2)
    while len(run.breakpoints) < BREAKPOINTS:
        run.set_breakpoint(Breakpoint("log"))
    with pytest.raises(SessionLimitReached):
        run.set_breakpoint(Breakpoint("log"))


@pytest.mark.parametrize(
    "point",
    [
        Breakpoint("nowhere"),
        Breakpoint("pc"),
        Breakpoint("pc", pc=-1),
        Breakpoint("pc", pc=1, slot=2),
        Breakpoint("opcode", opcode="NOPE"),
        Breakpoint("call", target="0x12"),
        Breakpoint("depth", depth=5000),
        Breakpoint("slot_write", slot="many"),
        Breakpoint("slot_write", slot="٣"),
        Breakpoint("slot_write", slot="1_0"),
        Breakpoint("slot_write", slot=" 5 "),
        Breakpoint("slot_write", slot="0x" + "0" * 1000 + "5"),
        Breakpoint("log", name="x" * 201),
        Breakpoint("opcode", opcode=" " * 501 + "SSTORE"),
    ],
)
def test_bad_breakpoints_are_refused(point: Breakpoint) -> None:
    run = session(LOOP)
    with pytest.raises(InvalidBreakpoint):
        run.set_breakpoint(point)
    assert not run.breakpoints


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("0 - 1 == ~0", 1),
        ("1 << 255 >> 255", 1),
        ("1 << 256", 0),
        ("7 / 0 + 7 % 0", 0),
        ("!0 && !!5 || 0", 1),
        ("1 | 6 ^ 2 & 3", 5),
        ("-1 == ~0", 1),
        ("stack[0] == 0x2a && stack[1] == 7", 1),
        ("stack[2]", None),
        ("stack[stack[9]]", None),
        ("mem[0:32]", 9),
        ("mem[31:32] * 2", 18),
        ("mem[0:33]", None),
        ("mem[5:5]", None),
        ("storage[3] + storage[4]", 8),
        ("op == STOP && pc < 100 && depth == 1", 1),
        ("gas > 0 && value == 0 && caller == 0", 1),
        ("msize == 32 && stacksize == 2 && calldatasize == 0 && step > 4", 1),
        ("address == 0xc0de && origin == 0", 1),
        ("stack[5] == 1 || 1", None),
        ("1 || stack[5] == 1", 1),
    ],
)
def test_expressions(text: str, value: int | None) -> None:
    run = session(code(9, 0, "MSTORE", 8, 3, "SSTORE", 7, 0x2A, "STOP"))
    finish(moves.step(run, 8))
    assert Expression(text).value(Position(run.timeline.execution)) == value


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "(1", "stack", "stack[0", "mem[1]", "import os", "a.b", "1 ; 2", "'x'", "1 1", "__import__('os')",
     "0x", "1" * 90, "(" * 50 + "1" + ")" * 50, "+".join(["1"] * 200), "-" * 300 + "1", "gas(", "x" * 600, "²"],
)  # fmt: skip
def test_bad_expressions_are_refused(text: str) -> None:
    with pytest.raises(InvalidExpression):
        Expression(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789abx+-*/%&|^~!<>=()[]: stackmemgpc", max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    run = session(code("STOP"))
    try:
        expression = Expression(text)
    except InvalidExpression:
        return
    value = expression.value(Position(run.timeline.execution))
    assert value is None or 0 <= value < 2**256
    run.close()


def test_many_breakpoints_in_much_code_cost_one_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one look for each breakpoint, nor one for each stretch of a way back."""
    run = session(Program(code="0x" + "5b" * 20_000), spacing=1_000)
    for at in range(BREAKPOINTS // 2):
        run.set_breakpoint(Breakpoint("pc", pc=at))
        run.set_breakpoint(Breakpoint("opcode", opcode="SSTORE"))
    looks: list[int] = []
    is_in = Condition.is_in

    def counted(self: Condition, code: bytes, address: Address) -> bool:
        looks.append(self.id)
        return is_in(self, code, address)

    monkeypatch.setattr(Condition, "is_in", counted)
    to_end(run)
    assert finish(moves.reverse_run(run))[0].step == BREAKPOINTS // 2 - 1  # type: ignore[union-attr]
    assert len(looks) == BREAKPOINTS  # one look at the code for each with a pc, and one where it is met
