"""Stepping to and fro: identity, seeking against fresh runs, keyframes under a cap, edits and branches."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.crypto import address_of_secret
from chain.transactions import DYNAMIC_FEE, Transaction, encode_transaction, sign_transaction
from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.errors import (
    InvalidEdit,
    InvalidProgram,
    SessionDiverged,
    SessionLimitReached,
    SessionNotFound,
    StepOutOfRange,
)
from debugger.events import Stopped
from debugger.limits import REPLAY_STEPS
from debugger.persist import decode_record, encode_record, record_of, restore
from debugger.program import AccountSetup, Program, block_setup, parse_program
from debugger.session import Session
from debugger.slices import finish
from debugger.state import StateQuery, Window
from tests.unit.debugger.programs import LOOP, MACHINE, length, programs, session, to_end
from tests.unit.vm.programs import OTHER, code

CAREFUL = settings(max_examples=40, deadline=None)


@CAREFUL
@given(programs(), st.data())
def test_forward_then_back_is_identity(program: Program, data: st.DataObject) -> None:
    run = session(program, spacing=data.draw(st.sampled_from([3, 16, 1000])))
    end = length(run)
    start = data.draw(st.integers(0, end))
    finish(moves.seek(run, start))
    state, digest = run.state(), run.digest()
    n = data.draw(st.integers(0, end - start))
    finish(moves.step(run, n))
    assert run.step_index == start + n
    finish(moves.step_back(run, n))
    assert (run.state(), run.digest()) == (state, digest)


@CAREFUL
@given(programs(), st.data())
def test_seeking_equals_a_fresh_run(program: Program, data: st.DataObject) -> None:
    run = session(program, spacing=data.draw(st.sampled_from([2, 7, 64])), keyframe_bytes=20_000)
    end = length(run)
    steps = [data.draw(st.integers(0, end)) for _ in range(6)]
    fresh, there = session(program, spacing=10**6), {}
    for step in sorted(steps):
        while fresh.step_index < step:
            finish(moves.step(fresh))
        there[step] = fresh.digest(), fresh.state()
    for step in steps:
        finish(moves.seek(run, step))
        assert (run.digest(), run.state()) == there[step]


def test_there_is_nothing_before_the_start_or_beyond_the_end() -> None:
    run = session(code(1, 2, "ADD STOP"))
    assert finish(moves.step_back(run, 5))[0].step == 0  # type: ignore[union-attr]
    with pytest.raises(StepOutOfRange):
        finish(moves.seek(run, 5))
    with pytest.raises(StepOutOfRange):
        finish(moves.seek(run, -1))
    assert run.step_index == 0
    assert finish(moves.step(run, 99)) == [Stopped(4, "halt", (), run.halt())]
    state = run.state()
    assert (state.pc, state.opcode, state.stack, state.step) == (5, "STOP", ["0x3"], 4)
    assert state.halt is not None
    assert state.halt.reason == "stop"


def test_a_long_run_keeps_its_memory_bounded_and_steps_back() -> None:
    run = session(LOOP, keyframe_bytes=30_000, spacing=8192)
    finish(moves.run(run))
    frames = run.timeline.keyframes
    assert run.step_index > 1_000_000
    assert frames.bytes <= 30_000
    steps = frames.steps
    assert steps[0] == 0
    assert len(steps) > 5
    finish(moves.step_back(run, 10_000))
    near = run.state()
    finish(moves.step_back(run, 1))
    finish(moves.step(run, 1))
    assert run.state() == near


def test_memory_pages_are_shared_between_keyframes() -> None:
    big = code(1, 500_000, "MSTORE") + LOOP.replace(code(2, "JUMPI"), code(9, "JUMPI"))
    run = session(big, spacing=8192)
    finish(moves.step(run, 300_000))
    assert len(run.timeline.keyframes) > 30
    assert run.timeline.keyframes.bytes < 2_000_000


@pytest.mark.parametrize(
    ("end", "reason", "message"),
    [
        (code("STOP"), "stop", None),
        (code(0, 0, "RETURN"), "return", None),
        (code(0, 0, "REVERT"), "revert", None),
        (code("ADD"), "stack_underflow", None),
        (code(3, "JUMP"), "invalid_jump", None),
        (b"\xfe", "invalid_opcode", None),
        (code(1, 0, 0, "RETURNDATACOPY"), "return_data_out_of_bounds", None),
        (code(1 << 60, "MLOAD"), "out_of_gas", None),
        (code("JUMPDEST GAS", 0, "JUMP"), "stack_overflow", None),
        (code("CALLER SELFDESTRUCT"), "selfdestruct", None),
        (
            code(0x4E487B71 << 224, 0, "MSTORE", 0x12, 4, "MSTORE", 36, 0, "REVERT"),
            "revert",
            "Panic(0x12): division or modulo by zero",
        ),
    ],
)
def test_each_end_has_its_reason(end: bytes, reason: str, message: str | None) -> None:
    run = session(end)
    finish(moves.run(run))
    halt = run.halt()
    assert halt is not None
    assert (halt.reason, halt.message) == (reason, message)


def test_pages_tell_what_they_leave_out() -> None:
    run = session(code(5, 4096, "MSTORE", 1, 1, "SSTORE", 1, 2, "SSTORE", 1, 2, 3, 4, "STOP"))
    finish(moves.step(run, 13))
    state = run.state(StateQuery(stack=Window(1, 2), memory=Window(4096, 32), storage=Window(1, 5)))
    assert state.stack == ["0x2", "0x3"]
    assert state.memory == "0x" + (5).to_bytes(32, "big").hex()
    assert state.storage == {"0x2": "0x1"}
    assert (state.pages["memory"].total, state.pages["stack"].total) == (4128, 4)
    document = msgspec.json.decode(msgspec.json.encode(state))
    names = "pc opcode gasLeft depth stack memory storage transientStorage logs returnData callFrames step halt"
    assert set(document) >= {*names.split()}
    with pytest.raises(InvalidProgram):
        run.state(StateQuery(memory=Window(0, 1 << 30)))


def test_step_over_and_out() -> None:
    run = session(code(0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), "GAS CALL POP STOP"))
    finish(moves.step(run, 7))
    assert run.state().opcode == "CALL"
    finish(moves.step_over(run))
    assert (run.state().opcode, run.state().depth) == ("POP", 1)
    over = run.step_index
    finish(moves.step_back(run, 4))
    assert run.state().depth == 2
    finish(moves.step_out(run))
    assert run.step_index == over
    assert [f.depth for f in run.state().call_frames] == [1]
    assert finish(moves.step_out(run))[0].reason == "halt"  # type: ignore[union-attr]


def test_edits_branch_and_replay_alike() -> None:
    run = session(code(1, 2, "ADD", 0, "SSTORE", 5, 0, "MSTORE", 0, "SLOAD STOP"), spacing=2)
    finish(moves.step(run, 3))
    run.edit(Edit("stack", index=0, value=40))
    run.edit(Edit("memory", index=10, data="0xaabb"))
    assert len(run.branches) == 2
    run.edit(Edit("gas", value=100_000))
    to_end(run)
    changed, end = run.state(), run.step_index
    assert changed.stack == ["0x28"]
    finish(moves.step_back(run, 2))
    run.edit(Edit("storage", index=0, value=7))
    finish(moves.step(run, 2))
    assert run.state().stack == ["0x7"]
    assert run.branches[2].parent == 1
    finish(moves.checkout(run, 1, end))
    assert run.state() == changed
    finish(moves.checkout(run, 0, end))
    assert run.state().stack == ["0x3"]
    finish(moves.checkout(run, 1, 1))
    finish(moves.seek(run, end))
    assert run.state() == changed
    run.reset()
    assert (run.step_index, run.branch) == (0, 0)


def test_edits_of_calldata_and_pc() -> None:
    run = session(code(0, "CALLDATALOAD POP", 0x5B, "POP JUMPDEST STOP"))
    run.edit(Edit("calldata", data="0x" + "11" * 32))
    finish(moves.step(run, 2))
    assert run.state().stack == ["0x" + "11" * 32]
    for bad in (Edit("pc", value=5), Edit("pc", value=1000), Edit("stack", index=1, value=0), Edit("nothing")):
        with pytest.raises(InvalidEdit):
            run.edit(bad)
    run.edit(Edit("push", value=3))
    run.edit(Edit("pc", value=3))
    run.edit(Edit("pop"))
    to_end(run)
    finish(moves.seek(run, run.step_index - 1))
    assert run.state().opcode == "STOP"


def test_a_failed_branch_to_a_missing_step_changes_nothing() -> None:
    run = session(code(1, "POP STOP"))
    finish(moves.step(run, 1))
    with pytest.raises(StepOutOfRange):
        finish(moves.checkout(run, 0, 50))
    with pytest.raises(SessionNotFound):
        finish(moves.checkout(run, 9))
    assert run.step_index == 1


def test_a_run_has_a_limit() -> None:
    run = session(LOOP)
    assert finish(moves.run(run, limit=1000))[0] == Stopped(1000, "limit")
    assert finish(moves.run(run))[0].reason == "halt"  # type: ignore[union-attr]
    run.reset()
    assert run.step_index == 0


def test_a_transaction_costs_what_its_receipt_says() -> None:
    secret = b"\x11" * 32
    sender = "0x" + address_of_secret(secret).hex()
    tx = Transaction(
        type=DYNAMIC_FEE, chain_id=31337, nonce=0, gas_price=0, max_priority_fee_per_gas=1, max_fee_per_gas=10,
        gas_limit=100_000, to=OTHER, value=0, data=b"\x01", access_list=(), max_fee_per_blob_gas=0,
        blob_versioned_hashes=(), authorization_list=(), y_parity=0, r=0, s=0,
    )  # fmt: skip
    raw = encode_transaction(sign_transaction(tx, secret))
    program = Program(
        transaction="0x" + raw.hex(),
        state={
            sender: AccountSetup(balance=10**18),
            "0x" + OTHER.hex(): AccountSetup(code="0x" + code(1, 1, "SSTORE STOP").hex()),
        },
    )
    run = Session(program, MACHINE)
    assert run.state().gas_left == 100_000 - 21_016
    finish(moves.run(run))
    halt = run.halt()
    assert halt is not None
    assert halt.gas_used == 21_016 + 6 + 22_100
    assert block_setup(run.launch.environment) == msgspec.structs.replace(
        block_setup(run.launch.environment), number=program.block.number
    )


def test_programs_are_checked() -> None:
    for bad in (
        {},
        {"code": "0x", "to": "0x" + "00" * 20},
        {"code": "0x0"},
        {"code": "0x", "fork": "nonsense"},
        {"code": "0x", "gas": -1},
        {"code": "0x", "unknown": 1},
        {"transaction": "0x1234"},
        {"code": "0x", "value": "0x1" + "00" * 32},
    ):
        with pytest.raises(InvalidProgram):
            parse_program(bad)
    run = Session(parse_program({"code": "0x34", "value": "0x5", "block": {"baseFee": 7}}), MACHINE)
    finish(moves.step(run))
    assert run.state().stack == ["0x5"]


def test_no_session_goes_further_than_is_replayed() -> None:
    run = session(LOOP)
    for move in (moves.seek(run, REPLAY_STEPS + 1), moves.checkout(run, 0, REPLAY_STEPS + 1)):
        with pytest.raises(SessionLimitReached):
            finish(move)
    assert run.step_index == 0


def test_a_refused_program_leaves_the_session_alone() -> None:
    run = session(code(1, 2, "ADD"))
    finish(moves.step(run, 2))
    with pytest.raises(InvalidProgram):
        run.load(Program(code="0x", fork="nonsense"))
    assert (run.step_index, run.launch.code) == (2, code(1, 2, "ADD"))
    run.load(Program(code="0x5f"))
    assert run.step_index == 0


def test_large_numbers_can_be_stored() -> None:
    rich = AccountSetup(balance=2**255, storage={"1": 2**200})
    run = session(Program(code="0x5f5f", value=10**30, state={"0x" + "12" * 20: rich}))
    run.edit(Edit("push", value=2**256 - 1))
    run.set_breakpoint(Breakpoint("slot_write", slot=2**255))
    back = restore(decode_record(encode_record(record_of(run))), MACHINE)
    assert back.digest() == run.digest()
    assert back.state().stack == ["0x" + "ff" * 32]


def test_stepping_over_what_is_no_call_is_one_step() -> None:
    run = Session(Program(code="0x600160020150"), MACHINE)
    for step in range(1, 5):
        assert finish(moves.step_over(run)) == [Stopped(step, "step")]
    run.close()


def test_a_place_is_known_by_its_digest_however_much_the_run_has_stored() -> None:
    storing = code(0, "JUMPDEST", 1, "ADD DUP1 DUP1 TSTORE DUP1", 2_000, "GT", 2, "JUMPI STOP")
    for main in (LOOP, storing):
        run = session(main)
        finish(moves.step(run, 15_000))
        place = run.place_digest()
        assert (place == run.digest()) == (main is LOOP)
        assert run.is_at(place)
        assert run.is_at(run.digest())
        finish(moves.step(run))
        assert not run.is_at(place)
        record = msgspec.structs.replace(record_of(run), digest=run.place_digest())
        assert restore(record, MACHINE).digest() == run.digest()
        with pytest.raises(SessionDiverged):
            restore(msgspec.structs.replace(record, digest=place), MACHINE)
