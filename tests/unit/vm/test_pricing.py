"""Prices told before an opcode runs are what it then takes; failures told before come to pass."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.forks import CODE_BYTES_MAX, Fork
from node.api.tracing import TracedRun
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from node.rpc.format_traces import struct_log_size
from node.tracers.struct_logs import StructLogOptions, StructLogTracer
from tests.paths import OBJECTS
from tests.unit.vm.programs import CALLER, MACHINE, OTHER, TARGET, World, code
from vm.evm.frame import Frame
from vm.evm.opcodes import opcodes
from vm.evm.pricing import Pricing, Prospect
from vm.evm.trace import Tracer
from vm.message import Message, Outcome

_TAKES_ALONG = {"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"}


class Auditor(Tracer):
    """A tracer that compares each prospect with what followed."""

    hears_steps = True

    def __init__(self, world: World) -> None:
        self.pricing = Pricing(world.fork, world.journal)
        self.steps: list[Prospect] = []
        self.last: tuple[Frame, Prospect, int, int] | None = None

    def step(self, frame: Frame) -> None:
        self._settle(frame)
        prospect = self.pricing.look(frame)
        self.steps.append(prospect)
        self.last = (frame, prospect, frame.gas, self.pricing.journal.refund)

    def _settle(self, now: Frame) -> None:
        if self.last is None or self.last[0] is not now:
            return
        _, prospect, gas, refund = self.last
        assert prospect.failure is None
        assert prospect.opcode is not None
        if prospect.opcode.name not in _TAKES_ALONG:
            assert gas - now.gas == prospect.gas, prospect
            assert self.pricing.journal.refund == refund + prospect.refund, prospect

    def enter(self, message: Message) -> None:
        """A call or creation: its opcode has been paid for."""
        self.last = None

    def leave(self, message: Message, outcome: Outcome) -> None:
        if self.last is not None:
            prospect = self.last[1]
            assert (prospect.failure is not None) == outcome.halt.is_exceptional, (prospect, outcome)
        self.last = None


def audit(
    program: bytes, fork: Fork, gas: int = 200_000, data: bytes = b"", *, static: bool = False
) -> Auditor:
    world = World(fork)
    world.state.put(OTHER, code(1, 2, "SSTORE"), balance=5)
    world.state.put(TARGET, program, balance=7)
    world.state.slots[TARGET] = {1: 5, 2: 6}
    auditor = Auditor(world)
    MACHINE.execute(world.message(gas, data, static=static), world.context, auditor)
    return auditor


PROGRAMS = {
    "storage": code(0, 1, "SSTORE", 5, 1, "SSTORE", 3, 2, "SSTORE", 6, 2, "SSTORE", 2, "SLOAD", 9, "SLOAD"),
    "memory": code(1, 3_000, "MSTORE", 700, 0, "KECCAK256", 64, 0, 4_000, "CALLDATACOPY", 2**20, "MLOAD"),
    "accounts": code(1, "BALANCE", 1, "EXTCODESIZE", 5, 0, 0, 0xBEEF, "EXTCODECOPY", 2**24, 3, "EXP"),
    "logs": code(1, 2, 3, 40, 9, "LOG3", 0, 0, "LOG0"),
    "calls": code(
        0, 0, 0, 0, 1, int.from_bytes(OTHER, "big"), 5_000, "CALL", 32, 0, 0, 0, 3, 99, 50, "CALLCODE"
    ),
    "creations": code(9, 0, 0, "CREATE", 0, 90, 1, "CREATE", 2, "POP"),
    "ends": code(0xABCD, "SELFDESTRUCT"),
    "jump": code(3, "JUMP", "JUMPDEST", 1, 0, "JUMPI", 1, 9, "JUMPI"),
    "underflow": code("SWAP1"),
}


@pytest.mark.parametrize("fork", list(Fork))
@pytest.mark.parametrize("name", PROGRAMS)
def test_prices_are_what_is_paid(name: str, fork: Fork) -> None:
    for gas in (100, 2_400, 9_000, 200_000):
        assert audit(PROGRAMS[name], fork, gas).steps
    if fork >= Fork.BYZANTIUM:
        assert audit(PROGRAMS[name], fork, static=True).steps


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(0, 255), st.sampled_from([0x60, 0x61, 0x55, 0x52, 0xF1, 0x37])), max_size=60
    ),
    st.integers(0, 60_000),
    st.booleans(),
)
def test_any_program(program: list[int], gas: int, static: bool) -> None:
    audit(
        b"\x60\x01\x60\x40\x60\x02\x61\x01\x00\x60\x03" * 2 + bytes(program), Fork.OSAKA, gas, static=static
    )


@pytest.mark.parametrize("code_bytes_max", [50, CODE_BYTES_MAX, 30_000])
@pytest.mark.parametrize("beyond", [False, True])
def test_creation_code_is_limited_as_the_chain_says(code_bytes_max: int, beyond: bool) -> None:
    machine = build_machine(cache=FileObjectCache(OBJECTS), code_bytes_max=code_bytes_max)
    world, size = World(Fork.OSAKA), 2 * code_bytes_max + beyond
    world.state.put(TARGET, code(size, 0, 0, "CREATE"))
    run = TracedRun(None, CALLER, world.context.environment, world.state, world.state, world.journal, code_bytes_max)
    logs = StructLogTracer(run, StructLogOptions(), struct_log_size)
    outcome = machine.execute(world.message(1_000_000), world.context, logs)
    words = f"out of gas: max initcode size exceeded: code size {size} limit {2 * code_bytes_max}"
    assert outcome.fault == (words if beyond else "")
    assert [line.error for line in logs._lines if line.opcode == "CREATE"] == [words if beyond else None]


def test_a_price_beyond_all_gas_is_told() -> None:
    last = audit(code(2**255, 2**255, "KECCAK256"), Fork.OSAKA).steps[-1]
    assert last.gas > 2**256
    assert opcodes(Fork.OSAKA)[0x20] == last.opcode
