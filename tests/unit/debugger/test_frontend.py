"""What front ends ask: code of any frame, listings, timeline marks, values."""

from __future__ import annotations

import pytest

from chain.forks import Fork
from debugger import moves
from debugger.assembly import assemble
from debugger.edits import Edit
from debugger.errors import InvalidExpression, InvalidProgram
from debugger.frontend import disassemble, evaluate, read_code, timeline_marks
from debugger.program import parse_program
from debugger.session import Session
from debugger.slices import finish
from node.machine.assembly import build_machine

CALLEE = "0x00000000000000000000000000000000000000dd"
INNER = assemble("PUSH 7 PUSH 0 SSTORE STOP")
OUTER = assemble(f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH20 {CALLEE} GAS CALL STOP")


@pytest.fixture
def session() -> Session:
    program = {"code": "0x" + OUTER.hex(), "state": {CALLEE: {"code": "0x" + INNER.hex()}}}
    return Session(parse_program(program), build_machine())


def test_code_of_the_running_frame_of_others_and_at_the_end(session: Session) -> None:
    assert read_code(session, None).code == "0x" + OUTER.hex()
    finish(moves.step(session, 8))
    inner = read_code(session, None)
    assert (inner.address, inner.code, inner.size) == (CALLEE, "0x" + INNER.hex(), len(INNER))
    assert read_code(session, 0).code == "0x" + OUTER.hex()
    assert read_code(session, None, 1, 2).code == "0x" + INNER[1:3].hex()
    assert read_code(session, None, 0, 0).hash == inner.hash
    with pytest.raises(InvalidProgram):
        read_code(session, 2)
    finish(moves.run(session))
    assert read_code(session, None).code == "0x" + OUTER.hex()


def test_marks_have_keyframes_and_edits(session: Session) -> None:
    finish(moves.step(session, 3))
    session.edit(Edit("push", value=1))
    marks = timeline_marks(session)
    assert (marks.step, marks.branch, marks.edits) == (3, 1, [3])
    assert 0 in marks.keyframes


def test_values(session: Session) -> None:
    finish(moves.step(session, 7))
    assert evaluate(session, "stack[1]") == CALLEE.replace("0x" + "0" * 38, "0x")
    assert evaluate(session, "op == CALL && depth == 1") == "0x1"
    assert evaluate(session, "stack[99]") is None
    with pytest.raises(InvalidExpression):
        evaluate(session, "__import__")
    finish(moves.run(session))
    assert evaluate(session, "pc") is None


def test_a_listing_ends_with_a_cut_push_and_knows_its_fork() -> None:
    lines = list(disassemble(bytes.fromhex("5f61ff"), Fork.PARIS))
    assert [(line.pc, line.text) for line in lines] == [(0, "UNKNOWN_5f"), (1, "PUSH2 0xff")]
