"""Calls and creations: depth, static frames, return data, values, creations' rules."""

from __future__ import annotations

import pytest

from chain.crypto import create2_address, create_address
from chain.forks import Fork
from chain.types import Address
from tests.unit.vm.programs import CALLER, MACHINE, OTHER, TARGET, World, code, returning_top
from vm.delegation import designator
from vm.message import CallKind, Halt, Message

ADDRESS = int.from_bytes(OTHER, "big")
RETURN_AB = code(0xAB, 0, "MSTORE8", 1, 0, "RETURN")


def calling(
    name: str = "CALL", *, gas: int = 100_000, value: int = 0, size: int = 0
) -> tuple[str | int, ...]:
    """A call of `OTHER` with no data."""
    worth = (value,) if name in {"CALL", "CALLCODE"} else ()
    return (size, 0, 0, 0, *worth, ADDRESS, gas, name)


def deployer(runtime: bytes) -> bytes:
    """Init code that returns the runtime code."""
    return code(len(runtime), 12, 0, "CODECOPY", len(runtime), 0, "RETURN") + runtime


@pytest.mark.parametrize("name", ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"])
def test_success_output_and_returndata(name: str) -> None:
    world = World()
    world.journal.set_code(OTHER, RETURN_AB)
    assert world.top(*calling(name)) == 1
    assert world.top(*calling(name), "POP RETURNDATASIZE") == 1
    assert world.top(*calling(name, size=2), "POP", 0, "MLOAD") == 0xAB << 248


@pytest.mark.parametrize(
    ("name", "address", "caller", "value"),
    [
        ("CALL", OTHER, TARGET, 5),
        ("CALLCODE", TARGET, TARGET, 5),
        ("DELEGATECALL", TARGET, CALLER, 9),
        ("STATICCALL", OTHER, TARGET, 0),
    ],
)
def test_identity_of_the_callee(name: str, address: Address, caller: Address, value: int) -> None:
    for probe, want in (("ADDRESS", address), ("CALLER", caller), ("CALLVALUE", value.to_bytes(20, "big"))):
        world = World()
        world.journal.set_balance(TARGET, 100)
        world.journal.set_code(OTHER, returning_top(probe))
        program = returning_top(*calling(name, value=5, size=32), "POP", 0, "MLOAD")
        assert world.call(program, value=9).output[12:] == want


def test_returndata_bounds() -> None:
    world = World()
    world.journal.set_code(OTHER, RETURN_AB)
    call = (*calling(), "POP")
    assert world.call(code(*call, 1, 0, 0, "RETURNDATACOPY")).success
    assert world.call(code(*call, 0, 1, 0, "RETURNDATACOPY")).success
    for size, start in ((2, 0), (1, 1), (0, 2), (1, 2**256 - 1), (2**256 - 1, 1)):
        outcome = world.call(code(*call, size, start, 0, "RETURNDATACOPY"))
        assert outcome.halt in (Halt.RETURN_DATA_OUT_OF_BOUNDS, Halt.OUT_OF_GAS)
        assert outcome.gas_left == 0


def test_a_failed_call_clears_returndata() -> None:
    world = World()
    world.journal.set_code(OTHER, RETURN_AB)
    assert world.top(*calling(), *calling(value=10**19), "POP POP RETURNDATASIZE") == 0


@pytest.mark.parametrize(
    "program",
    [
        code(1, 1, "SSTORE"),
        code(1, 1, "TSTORE"),
        code(0, 0, "LOG0"),
        code(0, 0, 0, "CREATE"),
        code(0, 0, 0, 0, "CREATE2"),
        code(0, "SELFDESTRUCT"),
        code(0, 0, 0, 0, 1, 2, 3, "CALL"),
    ],
)
def test_static_frames_change_nothing(program: bytes) -> None:
    assert World().call(program, static=True).halt is Halt.STATIC_VIOLATION
    world = World()
    world.journal.set_code(OTHER, program)
    assert world.top(*calling("STATICCALL")) == 0
    assert World().call(code(0, 0, 0, 0, 0, 2, 3, "CALL"), static=True).success


def test_deep_recursion_stops_at_1024() -> None:
    world = World()
    target = int.from_bytes(TARGET, "big")
    # Count the depth in storage on the way down; no gas limit of 63/64 would allow this many otherwise.
    program = code(0, "SLOAD", 1, "ADD", 0, "SSTORE", 0, 0, 0, 0, 0, target, "GAS CALL")
    outcome = world.call(program, gas=2**50)
    assert outcome.success
    assert world.journal.storage(TARGET, 0) == 1025


def test_63_64_of_the_gas_and_the_stipend() -> None:
    world = World()
    world.journal.set_balance(TARGET, 100)
    world.journal.set_code(OTHER, returning_top("GAS"))
    world.journal.warm_account(OTHER)
    spent_before = 3 * 6 + 3 + 100
    got = world.top(*calling(gas=2**255, size=32), "POP", 0, "MLOAD", gas=100_000)
    left = 100_000 - spent_before - 3
    assert abs(got - (left - left // 64 - 2)) <= 64
    assert world.top(*calling(gas=0, value=1, size=32), "POP", 0, "MLOAD") == 2300 - 2


def test_reverted_callee_leaves_no_trace() -> None:
    world = World()
    world.journal.set_code(OTHER, code(1, 1, "SSTORE", 0, 0, "LOG0", 0, 0, "REVERT"))
    assert world.top(*calling()) == 0
    assert world.journal.storage(OTHER, 1) == 0
    assert world.journal.logs == []


def test_precompile_and_empty_account() -> None:
    identity = (4, 0, 4, 28, 4, 100, "STATICCALL")
    assert World().top(0xDEADBEEF, 0, "MSTORE", *identity, "POP", 0, "MLOAD", 224, "SHR") == 0xDEADBEEF
    assert World().top(*calling()) == 1
    assert World().top(0, 0, 100, 0, 4, 1, "STATICCALL") == 0


def test_delegation_is_followed_once() -> None:
    world = World(Fork.PRAGUE)
    delegate = Address(b"\x99" * 20)
    world.journal.set_code(delegate, returning_top("ADDRESS"))
    world.journal.set_code(OTHER, designator(delegate))
    assert world.top(*calling(size=32), "POP", 0, "MLOAD") == ADDRESS
    assert world.top(ADDRESS, "EXTCODESIZE") == 23
    world.journal.set_code(delegate, designator(CALLER))
    assert world.top(*calling()) == 0


def create(initcode: bytes, *, salt: int | None = None, value: int = 0) -> tuple[str | int | bytes, ...]:
    """Put init code of at most 32 bytes into memory and create."""
    assert len(initcode) <= 32
    head = (int.from_bytes(initcode, "big"), 0, "MSTORE")
    where = (len(initcode), 32 - len(initcode), value)
    return (*head, *where, "CREATE") if salt is None else (*head, salt, *where, "CREATE2")


def test_create_deploys() -> None:
    world = World()
    initcode = deployer(b"\x60\x01")
    want = create_address(TARGET, 0)
    assert world.top(*create(initcode)) == int.from_bytes(want, "big")
    assert world.journal.code(want) == b"\x60\x01"
    assert (world.journal.nonce(want), world.journal.nonce(TARGET)) == (1, 1)
    salted = create2_address(TARGET, 77, initcode)
    assert world.top(*create(initcode, salt=77)) == int.from_bytes(salted, "big")
    assert world.top(*create(initcode, salt=77)) == 0, "the address is taken"
    assert world.journal.nonce(TARGET) == 3


@pytest.mark.parametrize(
    ("initcode", "want"),
    [
        (deployer(b"\xef"), Halt.CODE_STARTS_WITH_EF),
        (code(24577, 0, "RETURN"), Halt.CODE_TOO_LARGE),
        (code(0, 0, "REVERT"), Halt.REVERT),
        (code("INVALID"), Halt.INVALID_OPCODE),
        (code(24576, 0, "RETURN"), Halt.RETURN),
        (b"", Halt.STOP),
    ],
)
def test_top_level_creation(initcode: bytes, want: Halt) -> None:
    world = World()
    world.journal.set_nonce(CALLER, 1)
    message = Message(CallKind.CREATE, CALLER, Address(b""), Address(b""), 3, initcode, 10_000_000)
    outcome = MACHINE.execute(message, world.context)
    assert outcome.halt is want
    if want.is_success:
        assert outcome.created == create_address(CALLER, 0)
        assert world.journal.balance(outcome.created) == 3
    else:
        assert outcome.created is None
        assert world.journal.balance(CALLER) == 10**18


@pytest.mark.parametrize("obstacle", ["nonce", "code", "storage"])
def test_collisions_consume_the_gas(obstacle: str) -> None:
    world = World()
    address = create_address(TARGET, 0)
    if obstacle == "storage":
        world.state.slots[address] = {1: 1}
    elif obstacle == "nonce":
        world.journal.set_nonce(address, 1)
    else:
        world.journal.set_code(address, b"\x00")
    outcome = world.call(returning_top(*create(b"\x00")))
    assert int.from_bytes(outcome.output, "big") == 0
    assert outcome.gas_left < 1_000_000 // 64
    assert world.journal.nonce(TARGET) == 1


def test_initcode_limit() -> None:
    assert World().call(code(49153, 0, 0, "CREATE")).halt is Halt.OUT_OF_GAS
    assert World().call(code(49152, 0, 0, "CREATE")).success
    assert World(Fork.PARIS).call(code(49153, 0, 0, "CREATE")).success


def test_homestead_and_frontier_deposit() -> None:
    initcode = deployer(b"\x00" * 20)
    for fork, created in ((Fork.FRONTIER, True), (Fork.HOMESTEAD, False)):
        world = World(fork)
        world.journal.set_nonce(CALLER, 1)
        message = Message(CallKind.CREATE, CALLER, Address(b""), Address(b""), 0, initcode, 1_000)
        outcome = MACHINE.execute(message, world.context)
        assert outcome.success is created
        assert world.journal.code(create_address(CALLER, 0)) == b""


def test_selfdestruct_keeps_old_accounts_since_cancun() -> None:
    for fork, gone in ((Fork.SHANGHAI, True), (Fork.CANCUN, False)):
        world = World(fork)
        world.state.put(TARGET, code(ADDRESS, "SELFDESTRUCT"), balance=5)
        assert MACHINE.execute(world.message(), world.context).halt is Halt.SELFDESTRUCT
        assert (world.journal.balance(TARGET), world.journal.balance(OTHER)) == (0, 5)
        world.journal.end_transaction()
        assert world.journal.exists(TARGET) is not gone
