"""Programs and sessions for the debugger's tests: random code that always ends, calls and reverts included."""

from __future__ import annotations

from hypothesis import strategies as st

from debugger import moves
from debugger.limits import REPLAY_STEPS, RUN_SLICE
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.slices import finish
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.paths import OBJECTS
from tests.unit.vm.programs import OTHER, code

MACHINE = build_machine(cache=FileObjectCache(OBJECTS))
CALL_OTHER = code(
    0, 0, 32, 0, 0, int.from_bytes(OTHER, "big"), 50_000, "CALL POP",
)  # fmt: skip
RECURSING = code(0, 0, 32, 0, 0, int.from_bytes(OTHER, "big"), 8, 7, "GAS MUL DIV CALL POP")
"""Calls itself with seven eighths of its gas: some 40 frames deep; with 63 of 64 it would be 400, and take minutes."""
LOOP = code(
    0, "JUMPDEST", 1, "ADD DUP1 DUP1 MUL POP DUP1", 0, "MSTORE DUP1", 100_000, "GT", 2, "JUMPI STOP"
)
"""1,500,000 steps of plain opcodes."""
LOGGING = code(7, 1, "TSTORE", 5, 3, "SSTORE", 0, 64, 0, "LOG1 GAS", 9, "SSTORE")
REVERTING = LOGGING + code(4, 0, "REVERT")

_PIECES = st.sampled_from(
    [
        code(3, 5, "ADD"),
        code("GAS"),
        code(9, "DUP1", 1, "SWAP1 SUB MUL"),
        code(77, 64, "MSTORE"),
        code(1, 2, "SSTORE"),
        code(2, "SLOAD"),
        code("GAS", 4, "SSTORE"),
        code(8, 8, "TSTORE", 8, "TLOAD"),
        code(0, 32, 0, "LOG1"),
        code(64, 0, "KECCAK256"),
        code("CALLDATASIZE", 0, 0, "CALLDATACOPY"),
        code("RETURNDATASIZE", 0, 0, "RETURNDATACOPY"),
        code("PC POP"),
        code(0, 0, 0, "CREATE POP"),
        CALL_OTHER,
    ]
)
_ENDS = st.sampled_from([code("STOP"), code(32, 0, "RETURN"), code(32, 0, "REVERT"), code("ADD"), b"\xfe", b""])


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of pieces, a loop around some of them, and another contract."""
    head = b"".join(draw(st.lists(_PIECES, max_size=6)))
    body = b"".join(draw(st.lists(_PIECES, min_size=1, max_size=5)))
    head = code(draw(st.integers(1, 6)), 0x80, "MSTORE") + head
    at = len(head)
    loop = code("JUMPDEST") + body + code(1, 0x80, "MLOAD SUB DUP1", 0x80, "MSTORE", at, "JUMPI")
    other = draw(st.sampled_from([LOGGING, REVERTING, code(0, 0, "RETURN"), code("INVALID"), RECURSING]))
    whole = head + loop + draw(_ENDS)
    calldata = draw(st.binary(max_size=40))
    return program(whole, other, calldata, gas=draw(st.sampled_from([30_000, 200_000, 3_000_000])))


def program(main: bytes, other: bytes = LOGGING, calldata: bytes = b"", gas: int = 3_000_000) -> Program:
    """Run ``main``, which may call ``other`` at `OTHER`."""
    return Program(
        code="0x" + main.hex(),
        calldata="0x" + calldata.hex(),
        gas=gas,
        state={"0x" + OTHER.hex(): AccountSetup(code="0x" + other.hex(), storage={"0x3": 1})},
    )


def to_end(run: Session) -> None:
    """Run to the end past all breakpoints."""
    while run.halt() is None:
        finish(moves.step(run, RUN_SLICE))


def length(run: Session) -> int:
    """Steps of the whole run; the session does not move."""
    timeline = run.clone()
    try:
        finish(timeline.advance(REPLAY_STEPS))
        return timeline.step
    finally:
        timeline.close()


def session(main: bytes | Program, spacing: int = 32_768, **keywords: object) -> Session:
    """A session of code or of a program."""
    chosen = main if isinstance(main, Program) else program(main, gas=10**9)
    return Session(chosen, MACHINE, spacing=spacing, **keywords)  # type: ignore[arg-type]
