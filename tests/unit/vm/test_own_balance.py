"""SELFBALANCE and BLOBHASH, which native code answers itself: the balance is never that of another moment."""

from __future__ import annotations

import pytest

from chain.forks import Fork
from chain.types import Hash32
from node.machine.assembly import build_machine
from tests.unit.vm.programs import OTHER, TARGET, World, code
from vm.machine import Machine
from vm.message import Outcome

MACHINES = {"interpreter": build_machine(), "jit": build_machine(engine="jit")}
OWN, PEER = (int.from_bytes(address, "big") for address in (TARGET, OTHER))
AGREES = code("SELFBALANCE ADDRESS BALANCE EQ AND")
"""One on the stack stays one if both opcodes say the same; the first asks Python, a second one does not."""

HAPPENINGS = {
    "value sent": code(0, 0, 0, 0, 3, 0xBEEF, 0, "CALL POP"),
    "value sent to itself": code(0, 0, 0, 0, 3, OWN, 0, "CALL POP"),
    "value sent back": code(0, 0, 0, 0, 9, PEER, 50_000, "CALL POP"),
    "value in a call that fails": code(0, 0, 0, 0, 5, 0x0F, 0, "CALL POP"),
    "value nobody has": code(0, 0, 0, 0, 10**30, 0xBEEF, 0, "CALL POP"),
    "a creation with value": code(0, 0, 4, "CREATE POP"),
    "a creation that fails": code(0xFE, 0, "MSTORE", 1, 31, 4, "CREATE POP"),
    "a contract that destroys itself": code(0x33FF, 0, "MSTORE", 2, 30, 6, "CREATE POP"),
    "its own code in another frame": code(0, 0, 0, 0, PEER, 50_000, "DELEGATECALL POP"),
}


def call(machine: Machine, program: bytes, world: World, gas: int = 1_000_000) -> Outcome:
    world.journal.set_code(TARGET, program)
    return machine.execute(world.message(gas), world.context)


@pytest.mark.parametrize("engine", MACHINES)
@pytest.mark.parametrize("name", HAPPENINGS)
def test_own_balance_is_the_current_one(name: str, engine: str) -> None:
    world = World(Fork.OSAKA)
    world.journal.add_balance(TARGET, 100)
    world.journal.set_code(OTHER, code("SELFBALANCE POP", 0, 0, 0, 0, 2, "CALLER", 0, "CALL POP"))
    program = code(1) + AGREES * 2 + (HAPPENINGS[name] + AGREES * 2) * 2 + code(0, "MSTORE", 32, 0, "RETURN")
    outcome = call(MACHINES[engine], program, world, gas=10**9)  # a creation that fails takes most of it
    assert outcome.success
    assert outcome.output == (1).to_bytes(32, "big")


@pytest.mark.parametrize("engine", MACHINES)
def test_own_balance_costs_python_one_turn_a_frame(engine: str) -> None:
    world = World(Fork.OSAKA)
    world.journal.add_balance(TARGET, 7)
    program = code("SELFBALANCE SELFBALANCE SELFBALANCE ADD ADD", 0, "MSTORE", 32, 0, "RETURN")
    outcome = call(MACHINES[engine], program, world)
    assert int.from_bytes(outcome.output, "big") == 21
    assert 1_000_000 - outcome.gas_left == 3 * 5 + 2 * 3 + 3 + 6 + 3 + 3


def test_a_balance_changed_between_steps_is_seen() -> None:
    world = World(Fork.OSAKA)
    world.journal.set_code(TARGET, code("SELFBALANCE SELFBALANCE SELFBALANCE"))
    execution = MACHINES["interpreter"].begin(world.message(), world.context)
    execution.step(2)
    world.journal.add_balance(TARGET, 5)
    execution.forget_slots()
    execution.step(1)
    assert execution.frames[-1].stack() == [0, 0, 5]
    execution.close()


@pytest.mark.parametrize("engine", MACHINES)
def test_blob_hashes(engine: str) -> None:
    world = World(Fork.OSAKA)
    hashes = Hash32(b"\x01" + b"\x02" * 31), Hash32(b"\x01" + b"\x03" * 31)
    program = b"".join(
        code(index, "BLOBHASH", 32 * place, "MSTORE")
        for place, index in enumerate((0, 1, 2, 2**63 - 1, 2**64, 2**255))
    )
    world.context.blob_hashes = hashes
    outcome = call(MACHINES[engine], program + code(192, 0, "RETURN"), world)
    assert outcome.output == b"".join(hashes) + bytes(128)
    assert 1_000_000 - outcome.gas_left == 6 * (3 + 3 + 3 + 3) + 6 * 3 + 6
    none = World(Fork.OSAKA)
    none.context.blob_hashes = ()
    assert call(MACHINES[engine], program + code(192, 0, "RETURN"), none).output == bytes(192)
