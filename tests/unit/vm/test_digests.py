"""KECCAK256 of two words is remembered: what is remembered is the hash, in both engines, whatever was hashed before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import keccak256
from node.machine.assembly import build_machine
from tests.bytecode import code
from tests.effort import tries
from tests.unit.vm.programs import World
from vm.evm.layout import DIGEST_BITS, Digest, StateBlock
from vm.machine import Machine

ENGINES = ("interpreter", "jit")
HASHES_CALLDATA = code("CALLDATASIZE", 0, 0, "CALLDATACOPY CALLDATASIZE", 0, "KECCAK256", 0, "MSTORE", 32, 0, "RETURN")
MACHINES = {engine: build_machine(engine=engine) for engine in ENGINES}


def hashed(machine: Machine, data: bytes) -> bytes:
    world = World()
    message = world.message(1_000_000, data=data)
    world.journal.set_code(message.to, HASHES_CALLDATA)
    return machine.execute(message, world.context).output


NUMBERS = st.integers(0, 40) | st.integers(0, 2**256 - 1)
PAIRS = st.builds(lambda key, slot: key.to_bytes(32) + slot.to_bytes(32), NUMBERS, st.integers(0, 3) | NUMBERS)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=tries(30, 2_000), deadline=None)
@given(inputs=st.lists(PAIRS | st.binary(max_size=200) | st.just(bytes(64)), min_size=1, max_size=30))
def test_the_hash_is_right_each_time(engine: str, inputs: list[bytes]) -> None:
    for data in inputs + inputs[::-1]:
        assert hashed(MACHINES[engine], data) == keccak256(data)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 63, 64, 65, 134, 135, 136, 137, 271, 272, 273, 1000])
def test_of_every_length_about_a_word_and_a_block(engine: str, length: int) -> None:
    for data in (bytes(length), b"\xff" * length, bytes(n * n % 251 for n in range(length))):
        assert hashed(MACHINES[engine], data) == keccak256(data)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_place_is_not_the_hash_of_zeros(engine: str) -> None:
    machine = build_machine(engine=engine)
    assert hashed(machine, bytes(64)) == keccak256(bytes(64))
    assert hashed(machine, bytes(64)) == keccak256(bytes(64))


@pytest.mark.parametrize("engine", ENGINES)
def test_more_inputs_than_places_replace_each_other(engine: str) -> None:
    machine, count = build_machine(engine=engine), 3 << DIGEST_BITS
    inputs = [(7 * n).to_bytes(32) + (n % 5).to_bytes(32) for n in range(count)]
    for turn in (inputs[: count // 3], inputs, inputs[-50:]):
        assert all(hashed(machine, data) == keccak256(data) for data in turn)
    assert 0.8 * (1 << DIGEST_BITS) < places_used(machine) <= 1 << DIGEST_BITS, "inputs are spread over the places"


def places_used(machine: Machine) -> int:
    view = machine._pools.pool.native_state.view
    return sum(view[at + Digest.IS_KNOWN] for at in range(StateBlock.DIGESTS, StateBlock.END, 128))
