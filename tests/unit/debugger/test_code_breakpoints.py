"""Breakpoints on places of a code: an account may run several, and a listing's lines are known before it runs."""

from __future__ import annotations

import pytest

from chain.forks import Fork
from chain.hashing import keccak256
from debugger import moves
from debugger.assembly import assemble
from debugger.breakpoints import Breakpoint, pc_of_line
from debugger.errors import InvalidBreakpoint, InvalidExpression, InvalidProgram
from debugger.expressions import Expression
from debugger.frontend import Bytes, disassemble, evaluate, read_code
from debugger.position import Position
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.slices import finish
from tests.unit.debugger.programs import session, to_end

QUINE = assemble("CODESIZE PUSH 0 PUSH 0 CODECOPY CODESIZE PUSH 0 RETURN")
"""Returns itself: init code and what the account runs later are the same bytes."""
FACTORY = assemble(
    f"PUSH{len(QUINE)} 0x{QUINE.hex()} PUSH 0 MSTORE PUSH {len(QUINE)} PUSH {32 - len(QUINE)} PUSH 0 CREATE "
    "PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP6 GAS CALL STOP"
)
CALLEE = "0x00000000000000000000000000000000000000dd"
INNER = assemble("PUSH 1 PUSH 2 ADD PUSH 3 SSTORE STOP")
OUTER = assemble(f"PUSH 0 PUSH 0 PUSH 4 PUSH 28 PUSH 0 PUSH20 {CALLEE} GAS CALL POP STOP")


def stops(run: Session, point: Breakpoint, *, back: bool = False) -> list[tuple[str, int]]:
    """Kind of message and pc at every stop of a run with only this breakpoint."""
    for number in list(run.breakpoints):
        run.remove_breakpoint(number)
    run.set_breakpoint(point)
    found = []
    to_end(run) if back else finish(moves.seek(run, 0))
    while True:
        [event] = finish(moves.reverse_run(run)) if back else finish(moves.run(run))
        if event.reason != "breakpoint":  # type: ignore[union-attr]
            return found
        frame = run.state().call_frames[-1]
        found.append((frame.kind, frame.pc))


@pytest.mark.parametrize("back", [False, True])
def test_init_code_and_runtime_code_are_told_apart_though_they_are_the_same(back: bool) -> None:
    run = session(Program(code="0x" + FACTORY.hex()))
    assert sorted(stops(run, Breakpoint("pc", pc=3), back=back)) == [("call", 3), ("create", 3)]
    assert stops(run, Breakpoint("pc", pc=3, init=True), back=back) == [("create", 3)]
    assert stops(run, Breakpoint("pc", pc=3, init=False), back=back) == [("call", 3)]
    digest = "0x" + keccak256(QUINE).hex()
    assert sorted(stops(run, Breakpoint("line", line=3, code=digest), back=back)) == [("call", 3), ("create", 3)]
    assert stops(run, Breakpoint("line", line=3, code=digest, init=False, condition="stacksize == 2"), back=back) == [
        ("call", 3)
    ]
    assert stops(run, Breakpoint("line", line=3, code="0x" + "11" * 32), back=back) == []
    assert stops(run, Breakpoint("line", line=3, code=digest, condition="stacksize == 3"), back=back) == []


def test_lines_are_those_of_the_listing() -> None:
    for code in (QUINE, OUTER, bytes.fromhex("600161"), b"\x7f", b"", bytes(range(256))):
        for fork in (Fork.SHANGHAI, Fork.PRAGUE):
            pcs = [line.pc for line in disassemble(code, fork)]
            assert [pc_of_line(code, fork, line) for line in range(1, len(pcs) + 1)] == pcs
            assert pc_of_line(code, fork, 0) is None
            assert pc_of_line(code, fork, len(pcs) + 1) is None


def test_conditions_of_every_kind() -> None:
    run = session(Program(code="0x" + OUTER.hex(), state={CALLEE: AccountSetup(code="0x" + INNER.hex())}))
    for fields in (
        {"kind": "opcode", "opcode": "SSTORE"}, {"kind": "slot_write"}, {"kind": "depth", "depth": 2},
        {"kind": "call"}, {"kind": "pc", "pc": 2}, {"kind": "line", "line": 3}, {"kind": "gas", "gas": 100},
    ):  # fmt: skip
        all_stops = stops(run, Breakpoint(**fields))  # type: ignore[arg-type]
        assert stops(run, Breakpoint(**fields, condition="depth > 0")) == all_stops  # type: ignore[arg-type]
        assert stops(run, Breakpoint(**fields, condition="depth > 2")) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "point",
    [
        Breakpoint("line"),
        Breakpoint("line", line=-1),
        Breakpoint("line", line=1, code="0x11"),
        Breakpoint("line", line=1, pc=1),
        Breakpoint("opcode", opcode="ADD", init=True),
        Breakpoint("opcode", opcode="ADD", code="0x" + "11" * 32),
        Breakpoint("revert", condition="pc == 1"),
        Breakpoint("expression", expression="pc", condition="pc"),
        Breakpoint("pc", pc=1, condition="("),
        Breakpoint("pc", pc=1, condition="x" * 501),
    ],
)
def test_what_makes_no_sense_is_refused(point: Breakpoint) -> None:
    run = session(Program(code="0x" + OUTER.hex()))
    with pytest.raises((InvalidBreakpoint, InvalidExpression)):
        run.set_breakpoint(point)
    assert not run.breakpoints


def inside(run: Session) -> None:
    run.set_breakpoint(Breakpoint("opcode", opcode="SSTORE"))
    finish(moves.run(run))
    assert run.state().depth == 2


CALLDATA = "0xa9059cbb" + "00" * 31 + "07" + "ff" * 3


def test_calldata_in_states_and_expressions_of_each_frame() -> None:
    program = Program(code="0x" + OUTER.hex(), calldata=CALLDATA, state={CALLEE: AccountSetup(code="0x" + INNER.hex())})
    run = session(program)
    inside(run)
    assert run.state().calldata == "0x00000000"
    assert evaluate(run, "calldata") == Bytes("0x00000000")
    for text, value in (
        ("calldata[0:4]", "0xa9059cbb"), ("calldata[4]", "0x7"), ("calldata[36:39]", "0xffffff"),
        ("calldata[0:4] == 0xa9059cbb && calldatasize == 39", "0x1"), ("calldata[38:40]", "0xff00"),
        ("calldata[1000]", "0x0"), ("calldata[3:3]", None),
        ("calldata[2:1]", None), ("calldata[calldatasize - 1 : calldatasize]", "0xff"), ("depth", "0x1"),
    ):  # fmt: skip
        assert evaluate(run, text, 0) == value, text
    assert evaluate(run, "calldata", 0) == Bytes(CALLDATA)
    assert evaluate(run, " calldata[0:39] ", 0) == Bytes(CALLDATA)
    assert evaluate(run, "calldata[38:80]", 0) == Bytes("0xff" + "00" * 41)
    assert evaluate(run, "mem", 0) == Bytes("0x" + "00" * 32)
    for text in ("calldata", "mem"):
        with pytest.raises(InvalidExpression):
            Expression(text)
    wrong = ("[0:65537]", "[", "[1", "[1:]", "[:]", " + 1", "[٣]")
    for text in (f"calldata{part}" for part in wrong):
        with pytest.raises(InvalidExpression):
            evaluate(run, text, 0)
    for frame in (-1, 2):
        with pytest.raises(InvalidProgram):
            evaluate(run, "pc", frame)
    to_end(run)
    assert run.state().calldata == CALLDATA
    assert evaluate(run, "calldata") is None


def test_init_code_has_no_calldata() -> None:
    run = session(Program(code="0x" + FACTORY.hex()))
    run.set_breakpoint(Breakpoint("pc", pc=0, init=True))
    finish(moves.run(run))
    state = run.state()
    assert (state.calldata, state.pages["calldata"].total) == ("0x", 0)
    assert (evaluate(run, "calldatasize"), evaluate(run, "calldata")) == ("0x0", Bytes("0x"))
    assert Position(run.timeline.execution).calldata == b""
    page = read_code(run, None)
    assert page.init
    assert page.hash == state.call_frames[-1].code_hash
    assert not read_code(run, 0).init
