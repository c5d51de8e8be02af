"""Every way a run can end has its own name; reverts say what they mean; the state has every field."""

from __future__ import annotations

import msgspec
import pytest

from debugger import moves
from debugger.calltree import call_tree
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.slices import finish
from debugger.state import State
from tests.unit.debugger.programs import MACHINE
from tests.unit.vm.programs import OTHER, code
from vm.message import Halt

OTHER_NUMBER = int.from_bytes(OTHER, "big")
ERROR = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (4).to_bytes(32, "big") + b"poor".ljust(32, b"\0")
PANIC = bytes.fromhex("4e487b71") + (0x12).to_bytes(32, "big")


def reverting_with(data: bytes) -> bytes:
    """Code that reverts with the bytes that follow it."""
    head = 12
    return code(len(data), head, 0, "CODECOPY", len(data), 0, "REVERT").ljust(head, b"\0") + data


def ended(main: bytes, gas: int = 100_000, other: bytes = b"", create: bool = False) -> Session:
    world = {"0x" + OTHER.hex(): AccountSetup(code="0x" + other.hex())}
    program = Program(code="0x" + main.hex(), gas=gas, create=create, state=world)
    session = Session(program, MACHINE)
    finish(moves.run(session))
    return session


TOP = {
    Halt.STOP: code(1, "STOP"),
    Halt.RETURN: code(0, 0, "RETURN"),
    Halt.SELFDESTRUCT: code(0, "SELFDESTRUCT"),
    Halt.REVERT: code(0, 0, "REVERT"),
    Halt.OUT_OF_GAS: code("JUMPDEST", 0, "JUMP"),
    Halt.STACK_UNDERFLOW: code("POP"),
    Halt.STACK_OVERFLOW: code("JUMPDEST PC DUP1", 0, "JUMP"),
    Halt.INVALID_JUMP: code(3, "JUMP"),
    Halt.INVALID_OPCODE: b"\xfe",
    Halt.RETURN_DATA_OUT_OF_BOUNDS: code(1, 0, 0, "RETURNDATACOPY"),
}
CALL = code(0, 0, 0, 0, 0, OTHER_NUMBER, 60_000, "CALL POP STOP")
STATIC = code(0, 0, 0, 0, OTHER_NUMBER, 60_000, "STATICCALL POP STOP")
CREATE = code(0, 0, 0, "CREATE STOP")


@pytest.mark.parametrize("halt", TOP, ids=lambda halt: halt.name.lower())
def test_each_end_has_its_name(halt: Halt) -> None:
    session = ended(TOP[halt])
    found = session.halt()
    assert found is not None
    assert (found.reason, found.success) == (halt.name.lower(), halt.is_success)
    assert (found.gas_left == 0) or halt < 32


CREATIONS = {
    Halt.CODE_TOO_LARGE: code(24_577, 0, "RETURN"),
    Halt.CODE_STARTS_WITH_EF: code(0xEF, 0, "MSTORE8", 1, 0, "RETURN"),
}


@pytest.mark.parametrize("halt", CREATIONS, ids=lambda halt: halt.name.lower())
def test_each_failed_creation_has_its_name(halt: Halt) -> None:
    found = ended(CREATIONS[halt], 10_000_000, create=True).halt()
    assert found is not None
    assert found.reason == halt.name.lower()


TWICE = code(0, 0, 0, 0, "CREATE2", 0, 0, 0, 0, "CREATE2 STOP")
NESTED: dict[Halt, tuple[bytes, bytes]] = {
    Halt.STATIC_VIOLATION: (STATIC, code(1, 1, "SSTORE")),
    Halt.PRECOMPILE_FAILURE: (code(0, 0, 1, 0, 0, 8, 60_000, "CALL POP STOP"), b""),
    Halt.CREATE_COLLISION: (TWICE, b""),
    Halt.REVERT: (CALL, reverting_with(ERROR)),
}


@pytest.mark.parametrize("halt", NESTED, ids=lambda halt: halt.name.lower())
def test_each_end_of_an_inner_message_has_its_name(halt: Halt) -> None:
    main, other = NESTED[halt]
    session = ended(main, 1_000_000, other)
    assert session.halt() is not None
    reasons = [node.halt.reason for node in call_tree(session, 10_000).nodes if node.halt is not None]
    assert halt.name.lower() in reasons[1:]
    assert reasons[0] == "stop"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ERROR, "Error('poor')"),
        (PANIC, "Panic(0x12): division or modulo by zero"),
        (bytes.fromhex("deadbeef") + bytes(32), "custom error 0xdeadbeef"),
        (b"raw", None),
        (b"", None),
        (ERROR[:60], None),
        (PANIC[:35], None),
    ],
)
def test_reverts_say_what_they_mean(data: bytes, message: str | None) -> None:
    found = ended(reverting_with(data)).halt()
    assert found is not None
    assert (found.reason, found.output, found.message) == ("revert", "0x" + data.hex(), message)


def test_the_state_has_every_field_of_the_original_and_more() -> None:
    inner = code(5, 6, "TSTORE", 7, 8, "SSTORE", 0x2A, 0, "MSTORE", 9, 32, 0, "LOG1", 32, 0, "RETURN")
    session = ended(CALL[:-1] + code("GAS GAS STOP"), 200_000, inner)
    end = msgspec.to_builtins(session.state(), str_keys=True)
    fields = "pc opcode gasLeft depth stack memory storage logs returnData transientStorage callFrames step halt"
    assert set(fields.split()) <= set(end)
    assert end["returnData"] == "0x"
    finish(moves.seek(session, session.step_index - 2))
    before: State = session.state()
    assert before.return_data == f"0x{0x2A:064x}"
    assert [(list(log.topics), log.data) for log in before.logs] == [([f"0x{9:064x}"], f"0x{0x2A:064x}")]
    while session.state().depth == 1:
        finish(moves.step_back(session))
    inside: State = session.state()
    assert (inside.depth, len(inside.call_frames)) == (2, 2)
    assert inside.storage == {"0x8": "0x7"}
    assert inside.transient_storage == {"0x6": "0x5"}
    assert inside.memory == f"0x{0x2A:064x}"
