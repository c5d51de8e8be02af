"""Long work of precompiled contracts is done in parts: a call is stopped between two, and the result is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from chain.forks import Fork
from chain.types import Address
from tests.unit.vm.test_bn254 import pair
from vm.interruption import Interruption, run_interruptible
from vm.precompiles import bls12_381, bn254, precompile, precompile_addresses
from vm.precompiles.contract import Precompile

bls = pytest.importorskip("py_arkworks_bls12381")

CALL_GAS = 50_000_000
"""`node.rpc.limits.RpcLimits.call_gas_max`."""
MEMORY_BYTES = 5 << 20
"""Memory for which that is just not enough."""


class Counted(Interruption):
    """Counts looks, and stops at one of them."""

    def __init__(self, last: int = 2**63) -> None:
        super().__init__()
        self.looks, self._last = 0, last

    def check(self) -> None:
        self.looks += 1
        if self.looks == self._last:
            self.stop(TimeoutError("late"))
        super().check()


class Long(NamedTuple):
    """A contract whose work grows with its input."""

    data: Callable[[int], bytes]
    """Input for so many units of work."""
    units: int
    """Most units between two looks."""
    fork: Fork = Fork.OSAKA


def _padded(raw: bytes) -> bytes:
    return b"".join(bytes(16) + raw[at : at + 48] for at in range(0, len(raw), 48))


G1_POINT = _padded(bytes(bls.G1Point().to_xy_bytes_be()))
G1_NEGATED = _padded(bytes((-bls.G1Point()).to_xy_bytes_be()))
G2_POINT = _padded(bytes(bls.G2Point().to_xy_bytes_be()))
BN_PAIR, BN_NEGATED = pair(1, 1), pair(-1, 1)


def _scalars(point: bytes) -> Callable[[int], bytes]:
    return lambda count: b"".join(point + number.to_bytes(32, "big") for number in range(1, count + 1))


def _modexp(exponent_bytes: int, size: int) -> bytes:
    sizes = b"".join(n.to_bytes(32, "big") for n in (size, exponent_bytes, size))
    return sizes + b"\x03" * size + b"\xff" * (exponent_bytes + size)


def _rounds(count: int) -> bytes:
    return count.to_bytes(4, "big") + bytes(208) + b"\x01"


LONG = {
    0x02: Long(bytes, 1 << 20),
    0x03: Long(bytes, 1 << 20),
    0x05: Long(lambda count: _modexp(count, 1_024), 240, Fork.BERLIN),
    0x08: Long(lambda count: BN_PAIR * count, 32),
    0x09: Long(_rounds, 1 << 20),
    0x0C: Long(_scalars(G1_POINT), 256),
    0x0E: Long(_scalars(G2_POINT), 128),
    0x0F: Long(lambda count: (G1_POINT + G2_POINT) * count, 32),
}
"""In units of bytes, exponent bytes, pairs, rounds and points."""
SHORT = {0x01, 0x04, 0x06, 0x07, 0x0A, 0x0B, 0x0D, 0x10, 0x11, 0x100}
"""Those whose work is that of one unit, whatever their input."""


def contract(number: int, fork: Fork = Fork.OSAKA) -> Precompile:
    found = precompile(fork, Address(number.to_bytes(20, "big")))
    assert found is not None
    return found


def _largest(long: Long, run: Precompile) -> int:
    """Most units that the gas of a call pays for."""

    def fits(units: int) -> bool:
        data = long.data(units)
        return len(data) <= MEMORY_BYTES and run.gas(data) <= CALL_GAS

    step = 1
    while fits(2 * step):
        step *= 2
    most = 0
    while step:
        if fits(most + step):
            most += step
        step //= 2
    return most


def test_every_contract_is_known_to_be_long_or_short() -> None:
    numbers = {int.from_bytes(address, "big") for address in precompile_addresses(Fork.OSAKA)}
    assert LONG.keys() | SHORT == numbers
    assert not LONG.keys() & SHORT


@pytest.mark.parametrize("number", LONG)
def test_the_largest_input_of_a_call_is_stopped_between_two_parts(number: int) -> None:
    long = LONG[number]
    run = contract(number, long.fork)
    units = _largest(long, run)
    assert units > long.units, "all of it is one part"
    data = long.data(units)
    for look in (1, 2):
        counted = Counted(look)
        with pytest.raises(TimeoutError, match="late"):
            run_interruptible(counted, lambda: run.run(data))
        assert counted.looks == look


@pytest.mark.parametrize("number", LONG)
def test_looks_are_no_further_apart_than_a_part(number: int) -> None:
    """Whatever the size of the input, so that the work between two of them is bounded."""
    long = LONG[number]
    for parts in (2, 4):
        counted, data = Counted(), long.data(parts * long.units)
        run_interruptible(counted, lambda: contract(number, long.fork).run(data))  # noqa: B023  # called here
        assert counted.looks >= parts - 1


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


@pytest.mark.parametrize("pairs", [64, 66, 67])
def test_a_product_of_many_pairings_is_that_of_its_parts(pairs: int) -> None:
    expected = _word(pairs % 2 == 0)
    for one, other, check in (
        (BN_PAIR, BN_NEGATED, bn254.pairing),
        (G1_POINT + G2_POINT, G1_NEGATED + G2_POINT, bls12_381.pairing_check),
    ):
        # All negated pairs last, so that no part has the product one.
        data = one * ((pairs + 1) // 2) + other * (pairs // 2)
        assert check(data) == expected
    assert bn254.pairing(b"") == _word(1)


@pytest.mark.parametrize(("run", "group", "point"), [(0x0C, "G1Point", G1_POINT), (0x0E, "G2Point", G2_POINT)])
@pytest.mark.parametrize("more", [0, 1])
def test_a_sum_of_many_multiples_is_that_of_its_parts(run: int, group: str, point: bytes, more: int) -> None:
    count = 2 * LONG[run].units + more
    total: Any = getattr(bls, group)() * bls.Scalar.from_be_bytes(_word(count * (count + 1) // 2))
    assert contract(run).run(_scalars(point)(count)) == _padded(bytes(total.to_xy_bytes_be()))


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 7])
def test_hashes_of_many_parts(size: int) -> None:
    from Crypto.Hash import RIPEMD160

    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert contract(2).run(data) == hashlib.sha256(data).digest()
    assert contract(3).run(data) == bytes(12) + RIPEMD160.new(data).digest()
