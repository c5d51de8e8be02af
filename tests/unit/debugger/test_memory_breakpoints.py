"""Breakpoints on memory: what each opcode reads and writes, by its effects, and finding it against naive stepping."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.errors import InvalidBreakpoint
from debugger.memory_access import TOUCHES, touched
from debugger.persist import decode_record, encode_record, record_of, restore
from debugger.position import Position
from debugger.session import Session
from debugger.slices import finish
from tests.unit.debugger.programs import LOOP, MACHINE, program, session, to_end
from tests.unit.debugger.test_breakpoints import naive_hits
from tests.unit.vm.programs import OTHER, code
from vm.evm.opcodes import BY_NAME

SIZE = 320
IDENTITY = 4
CALLING = {
    "CALL": code(40, 224, 45, 67, 0, IDENTITY, "GAS CALL"),
    "CALLCODE": code(40, 224, 45, 67, 0, IDENTITY, "GAS CALLCODE"),
    "DELEGATECALL": code(40, 224, 45, 67, IDENTITY, "GAS DELEGATECALL"),
    "STATICCALL": code(40, 224, 45, 67, IDENTITY, "GAS STATICCALL"),
}
"""The precompile returns what it is given, 45 bytes, of which 40 are wanted."""
WRITING = {
    "MSTORE": code(2**256 - 1, 67, "MSTORE"),
    "MSTORE8": code(0xFF, 67, "MSTORE8"),
    "CALLDATACOPY": code(45, 0, 67, "CALLDATACOPY"),
    "CODECOPY": code(45, 100, 67, "CODECOPY"),
    "RETURNDATACOPY": code(45, 0, 67, "RETURNDATACOPY"),
    "EXTCODECOPY": code(45, 100, 67, 0xC0DE, "EXTCODECOPY"),
    "MCOPY": code(45, 100, 67, "MCOPY"),
    **CALLING,
}
READING = {
    "MLOAD": code(67, "MLOAD"),
    "KECCAK256": code(45, 67, "KECCAK256"),
    "MCOPY": code(45, 67, 140, "MCOPY"),
    **{f"LOG{n}": code(*range(n), 45, 67, f"LOG{n}") for n in range(5)},
    "CREATE": code(45, 67, 0, "CREATE"),
    "CREATE2": code(9, 45, 67, 0, "CREATE2"),
    **CALLING,
    "RETURN": code(45, 67, "RETURN"),
    "REVERT": code(45, 67, "REVERT"),
}
_INIT = code(45, 0, 0, "CODECOPY", 45, 0, "RETURN")
_FILL = bytes(range(1, 33)) * (SIZE // 32)
FILL = "0x" + (_FILL[:67] + _INIT + _FILL[67 + len(_INIT) :]).hex()
"""What is created of 45 bytes from 67 on is these bytes."""


def before(operation: bytes, name: str) -> Session:
    """Memory full of bytes that differ, return data of 45 bytes, and the session before the operation."""
    start = code(0, SIZE - 32, "MSTORE", 0, 0, 45, 96, IDENTITY, "GAS STATICCALL POP")
    run = session(program(start + operation + code("STOP") + b"\xee" * 200, calldata=b"\xdd" * 60))
    finish(moves.step(run, 3))
    run.edit(Edit("memory", index=0, data=FILL))
    run.set_breakpoint(Breakpoint("opcode", opcode=name))
    finish(moves.run(run))
    if name == "STATICCALL":
        finish(moves.run(run))
    return run


def after(run: Session) -> object:
    """All that an operation leaves behind, memory aside where it only reads."""
    finish(moves.step_over(run))
    state = run.state()
    return state.stack, state.logs, state.return_data, state.halt, run.timeline.execution.journal.delta()


def memory_of(run: Session) -> bytes:
    return bytes(run.timeline.execution.frames[-1].memory[:SIZE])


@pytest.mark.parametrize("name", WRITING)
def test_what_is_written_is_what_changes(name: str) -> None:
    assert BY_NAME[name].byte in TOUCHES["memory_write"]
    run = before(WRITING[name], name)
    was, area = memory_of(run), touched(Position(run.timeline.execution), "memory_write")
    finish(moves.step_over(run))
    now = memory_of(run)
    assert [at for at in range(SIZE) if was[at] != now[at]] == list(area)


@pytest.mark.parametrize("name", READING)
def test_what_is_read_is_what_matters(name: str) -> None:
    assert BY_NAME[name].byte in TOUCHES["memory_read"]
    run = before(READING[name], name)
    here, area = run.step_index, touched(Position(run.timeline.execution), "memory_read")
    assert area
    plain, copied = after(run), memory_of(run) if name == "MCOPY" else b""
    for at in (area[0] - 1, area[0], area[-1], area[-1] + 1):
        finish(moves.checkout(run, 1, here))
        run.edit(Edit("memory", index=at, data=f"0x{memory_of(run)[at] ^ 0xFF:02x}"))
        found = after(run)
        if name == "MCOPY":
            assert (memory_of(run)[140:185] != copied[140:185]) == (at in area)
        else:
            assert (found != plain) == (at in area)


def test_no_opcode_is_missing() -> None:
    assert {BY_NAME[name].byte for name in WRITING} == TOUCHES["memory_write"].keys()
    assert {BY_NAME[name].byte for name in READING} == TOUCHES["memory_read"].keys()


_NUMBERS = st.sampled_from([0, 1, 31, 32, 33, 64, 96, 100, 128, 500])
_SIZES = st.sampled_from([0, 1, 20, 32, 45, 64])
_FAR = st.sampled_from([2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 33, 2**128 + 40, 2**192, 2**255])
_TO = st.sampled_from([IDENTITY, int.from_bytes(OTHER, "big")])


@st.composite
def pieces(
    draw: st.DrawFn,
    number: st.SearchStrategy[int] = _NUMBERS,
    size: st.SearchStrategy[int] = _SIZES,
    to: st.SearchStrategy[int] = _TO,
) -> bytes:
    """Operations on memory, with nothing left on the stack."""
    a, b, n, m = draw(number), draw(number), draw(size), draw(size)
    return draw(
        st.sampled_from(
            [
                code(7, a, "MSTORE"),
                code(7, a, "MSTORE8"),
                code(a, "MLOAD POP"),
                code(n, b, a, "MCOPY"),
                code(n, 0, a, "CALLDATACOPY"),
                code(n, 0, a, "CODECOPY"),
                code(n, 0, a, draw(to), "EXTCODECOPY"),
                code(n, a, "KECCAK256 POP"),
                code(5, n, a, "LOG1"),
                code(m, b, n, a, 0, draw(to), 50_000, "CALL POP"),
                code(m, b, n, a, draw(to), 50_000, "DELEGATECALL POP"),
                code(n, a, 0, "CREATE POP"),
            ]
        )
    )


@st.composite
def points(draw: st.DrawFn) -> Breakpoint:
    """A breakpoint on memory, perhaps of one account."""
    address = draw(st.sampled_from([None, "0x" + OTHER.hex(), "0x" + bytes(18).hex() + "c0de"]))
    kind = draw(st.sampled_from(["memory_write", "memory_read"]))
    if not draw(st.integers(0, 6)):
        return Breakpoint(kind, address=address)
    offset = draw(st.one_of(_NUMBERS, st.integers(0, 200), st.just(2**63 - 1)))
    return Breakpoint(kind, offset=offset, length=draw(st.sampled_from([None, 1, 5, 40, 2**63 - 1])), address=address)


_UNDERFLOWING = st.sampled_from([code(1, "MSTORE"), code("MSTORE"), code("CALL")])
OTHERS = [Breakpoint("opcode", opcode="MSTORE"), Breakpoint("gas", gas=150_000), Breakpoint("pc", pc=4)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(pieces(), min_size=1, max_size=12),
    st.lists(pieces(to=st.just(IDENTITY)), max_size=4),
    st.lists(st.one_of(pieces(_FAR), pieces(size=_FAR), _UNDERFLOWING), max_size=1),
    st.lists(points(), min_size=1, max_size=4),
    st.lists(st.sampled_from(OTHERS), max_size=1),
    st.sampled_from([3, 50, 9999]),
)
def test_running_stops_where_naive_stepping_sees_memory_touched(
    body: list[bytes], inner: list[bytes], end: list[bytes], chosen: list[Breakpoint], others: list[Breakpoint],
    gap: int,
) -> None:
    run = session(program(b"".join(body + end), b"".join(inner) + code(32, 0, "RETURN"), b"\x05" * 30), spacing=gap)
    for point in chosen + others:
        run.set_breakpoint(point)
    wanted = naive_hits(run, run.active())
    found, backwards = [], []
    while run.halt() is None:
        if finish(moves.run(run))[0].reason == "breakpoint":  # type: ignore[union-attr]
            found.append(run.step_index)
    assert found == [hit for hit in wanted if hit]
    while run.step_index:
        if finish(moves.reverse_run(run))[0].reason == "breakpoint":  # type: ignore[union-attr]
            backwards.append(run.step_index)
    assert backwards == wanted[::-1]


def test_python_sees_the_touching_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of 100,000 words stored elsewhere is passed natively, there and back."""
    run = session(LOOP[:-1] + code(1, 64, "MSTORE STOP"))
    run.set_breakpoint(Breakpoint("memory_write", offset=40))
    looks = []
    monkeypatch.setattr("debugger.breakpoints.touched", lambda *of: looks.append(1) or touched(*of))
    finish(moves.run(run))
    assert run.state().opcode == "MSTORE"
    there = run.step_index
    to_end(run)
    assert finish(moves.reverse_run(run))[0].step == there  # type: ignore[union-attr]
    assert len(looks) < 10


STARTS = [0, 31, 32, 63, 64, 2**63 - 1, 2**63, 2**64, 2**64 + 40, 2**128 + 40, 2**192 + 40, 2**255]
LENGTHS = [0, 1, 32, 33, 2**63, 2**64, 2**64 + 1, 2**128, 2**192, 2**255]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("first", "length"), [(32, 32), (40, 1), (0, 2**63 - 1)])
def test_native_code_finds_exactly_what_overlaps(
    start: int, first: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of 256 bits, of which most cost more than there is: the operation fails, but is stopped at before."""
    cases = {code(size, 0, start, "CALLDATACOPY"): size for size in LENGTHS}
    cases |= {code(1, start, "MSTORE"): 32, code(1, start, "MSTORE8"): 1}
    looks: list[int] = []
    monkeypatch.setattr("debugger.breakpoints.touched", lambda *of: looks.append(1) or touched(*of))
    for body, size in cases.items():
        run = session(body + code("STOP"))
        run.set_breakpoint(Breakpoint("memory_write", offset=first, length=length))
        is_touched = size > 0 and start < first + length and start + size > first
        looks.clear()
        assert (finish(moves.run(run))[0].reason == "breakpoint") == is_touched  # type: ignore[union-attr]
        assert bool(looks) == is_touched
        run.close()


def test_low_gas_stops_also_where_other_memory_is_written() -> None:
    run = session(program(code(1, 0, "MSTORE STOP"), gas=100))
    run.set_breakpoint(Breakpoint("memory_write", offset=64))
    run.set_breakpoint(Breakpoint("gas", gas=95))
    assert finish(moves.run(run))[0].breakpoints == (2,)  # type: ignore[union-attr]
    assert run.state().opcode == "MSTORE"


@pytest.mark.parametrize(
    "point",
    [
        Breakpoint("memory_write", length=5),
        Breakpoint("memory_write", offset=0, length=0),
        Breakpoint("memory_read", offset=-1),
        Breakpoint("memory_read", offset=2**63),
        Breakpoint("memory_write", offset="many"),
        Breakpoint("memory_write", offset=0, slot=1),
        Breakpoint("slot_write", offset=1),
    ],
)
def test_areas_that_are_none_are_refused(point: Breakpoint) -> None:
    with pytest.raises(InvalidBreakpoint):
        session(LOOP).set_breakpoint(point)


def test_they_are_kept() -> None:
    run = session(LOOP)
    run.set_breakpoint(Breakpoint("memory_write", offset=2**62, length="0x5"))
    back = restore(decode_record(encode_record(record_of(run))), MACHINE)
    assert back.breakpoints == run.breakpoints
