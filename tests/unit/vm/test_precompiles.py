"""Precompiled contracts against the vectors of their EIPs, and against independent implementations."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import Any

import pytest

from chain.forks import Fork
from chain.types import Address
from tests.conformance.archives import P256, precompile_cases
from tests.unit.vm import bn254_pairing_reference as tower
from vm.errors import PrecompileError
from vm.interruption import Interruption, run_interruptible
from vm.precompiles import modexp, precompile, precompile_addresses

py_ecc = pytest.importorskip("py_ecc.optimized_bn128")


def contract(number: int, fork: Fork = Fork.OSAKA) -> Any:
    found = precompile(fork, Address(number.to_bytes(20, "big")))
    assert found is not None
    return found


@pytest.mark.parametrize(("number", "case"), [pytest.param(n, c, id=i) for i, n, c in precompile_cases()])
def test_eip_vectors(number: int, case: dict[str, Any]) -> None:
    data, contract_ = bytes.fromhex(case["Input"]), contract(number)
    if "ExpectedError" in case:
        with pytest.raises(PrecompileError):
            contract_.run(data)
        return
    assert contract_.run(data).hex() == case["Expected"]
    if number != P256:
        assert contract_.gas(data) == case["Gas"]


def test_each_fork_has_its_addresses() -> None:
    def numbers(fork: Fork) -> list[int]:
        return sorted(int.from_bytes(address, "big") for address in precompile_addresses(fork))

    assert numbers(Fork.FRONTIER) == [1, 2, 3, 4]
    assert numbers(Fork.BYZANTIUM) == list(range(1, 9))
    assert numbers(Fork.ISTANBUL) == numbers(Fork.SHANGHAI) == list(range(1, 10))
    assert numbers(Fork.CANCUN) == list(range(1, 11))
    assert numbers(Fork.PRAGUE) == list(range(1, 18))
    assert numbers(Fork.OSAKA) == [*range(1, 18), 0x100]


def test_hashes_and_identity() -> None:
    assert contract(2).run(b"abc") == hashlib.sha256(b"abc").digest()
    assert contract(3).run(b"abc").hex() == "00" * 12 + "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"
    assert contract(4).run(b"abc") == b"abc"
    assert [contract(n).gas(bytes(33)) for n in (2, 3, 4)] == [84, 840, 21]


def test_ecrecover_accepts_high_s_and_refuses_other_v() -> None:
    from chain.crypto import CURVE_ORDER, address_of_secret, sign

    digest, secret = bytes(range(32)), bytes(31) + b"\x07"
    parity, r, s = sign(digest, secret)

    def call(v: int, s: int) -> bytes:
        return contract(1).run(digest + b"".join(n.to_bytes(32, "big") for n in (v, r, s)))

    expected = bytes(12) + address_of_secret(secret)
    assert call(27 + parity, s) == expected
    assert call(28 - parity, CURVE_ORDER - s) == expected
    assert call(29, s) == b""
    assert call(27 + parity, CURVE_ORDER) == b""
    assert contract(1).run(b"") == b""


def _modexp_input(base: bytes, exponent: bytes, modulus: bytes) -> bytes:
    sizes = b"".join(len(part).to_bytes(32, "big") for part in (base, exponent, modulus))
    return sizes + base + exponent + modulus


def test_modexp_agrees_with_pow() -> None:
    rng = random.Random(5)
    for _ in range(200):
        base, exponent, modulus = (rng.randbytes(rng.randrange(70)) for _ in range(3))
        b, e, m = (int.from_bytes(part, "big") for part in (base, exponent, modulus))
        expected = (pow(b, e, m) if m else 0).to_bytes(len(modulus), "big")
        assert contract(5).run(_modexp_input(base, exponent, modulus)) == expected


@pytest.mark.parametrize("least", [0, 20_000, 10**12])
def test_modexp_in_windows_agrees_with_pow(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modexp, "HELD_WORK_MAX", 0)
    monkeypatch.setattr(modexp, "UNSTOPPED_WORK_MAX", least)
    rng = random.Random(6)
    for _ in range(200):
        base, exponent, modulus = (rng.randbytes(rng.randrange(90)) for _ in range(3))
        b, e, m = (int.from_bytes(part, "big") for part in (base, exponent, modulus))
        expected = (pow(b, e, m) if m else 0).to_bytes(len(modulus), "big")
        data = _modexp_input(base, exponent, modulus)
        assert contract(5).run(data) == expected
        assert run_interruptible(Interruption(), lambda: contract(5).run(data)) == expected  # noqa: B023  # called here


def test_a_long_modexp_can_be_stopped() -> None:
    """Of 60,000 bytes it takes a minute and more, for which nothing else of the node ran."""
    interruption = Interruption()
    interruption.stop(TimeoutError("late"))
    data = _modexp_input(*(b"\xff" * 60_000 for _ in range(3)))
    with pytest.raises(TimeoutError, match="late"):
        run_interruptible(interruption, lambda: contract(5, Fork.BERLIN).run(data))


def test_modexp_prices() -> None:
    """Examples of EIP-198, EIP-2565 and EIP-7883."""
    prime = (2**256 - 2**32 - 977).to_bytes(32, "big")
    data = _modexp_input(b"\x03", (2**256 - 2**32 - 978).to_bytes(32, "big"), prime)
    assert contract(5, Fork.BYZANTIUM).gas(data) == 13_056
    assert contract(5, Fork.BERLIN).gas(data) == 1_360
    assert contract(5, Fork.OSAKA).gas(data) == 4_080
    huge = (2**255).to_bytes(32, "big") * 3
    for fork in (Fork.BYZANTIUM, Fork.BERLIN, Fork.OSAKA):
        assert contract(5, fork).gas(huge) > 2**256
    # A gigantic exponent with nothing to raise costs the minimum and must not allocate.
    assert contract(5, Fork.BERLIN).run(bytes(32) + (2**255).to_bytes(32, "big") + bytes(32)) == b""
    with pytest.raises(PrecompileError):
        contract(5).run(_modexp_input(bytes(1_025), b"\x01", b"\x02"))


def test_blake2f_makes_blake2b() -> None:
    """Hash "abc" by one compression (EIP-152, vector 5) and the failing inputs of vectors 0 to 3."""
    iv = [
        0x6A09E667F3BCC908 ^ 0x01010040, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ]  # fmt: skip
    state, offsets = struct.pack("<8Q", *iv), struct.pack("<2Q", 3, 0)
    data = struct.pack(">I", 12) + state + b"abc".ljust(128, b"\0") + offsets + b"\1"
    assert contract(9).run(data) == hashlib.blake2b(b"abc").digest()
    assert contract(9).gas(data) == 12
    for bad in (b"", data[:-1], data + b"\0", data[:-1] + b"\2"):
        with pytest.raises(PrecompileError):
            contract(9).run(bad)


def _g1(point: Any) -> bytes:
    if py_ecc.is_inf(point):
        return bytes(64)
    return b"".join(int(c).to_bytes(32, "big") for c in py_ecc.normalize(point))


def _g2(point: Any) -> bytes:
    if py_ecc.is_inf(point):
        return bytes(128)
    x, y = py_ecc.normalize(point)
    return b"".join(int(c).to_bytes(32, "big") for part in (x, y) for c in reversed(part.coeffs))


def test_bn254_arithmetic_agrees_with_py_ecc() -> None:
    rng = random.Random(6)
    edges = [0, 1, 2, py_ecc.curve_order, py_ecc.curve_order - 1]
    for scalar in [*edges, *(rng.randrange(2**256) for _ in range(5))]:
        point = py_ecc.multiply(py_ecc.G1, scalar % py_ecc.curve_order)
        assert contract(7).run(_g1(py_ecc.G1) + scalar.to_bytes(32, "big")) == _g1(point)
        for other in (py_ecc.G1, point, py_ecc.neg(point)):
            assert contract(6).run(_g1(point) + _g1(other)) == _g1(py_ecc.add(point, other))
    assert contract(6).run(b"") == bytes(64)
    for bad in (bytes(31) + b"\1" + bytes(31) + b"\1", py_ecc.field_modulus.to_bytes(32, "big") + bytes(32)):
        with pytest.raises(PrecompileError):
            contract(6).run(bad)


def test_bn254_pairing_is_bilinear() -> None:
    rng = random.Random(7)
    one, zero = (1).to_bytes(32, "big"), bytes(32)
    for _ in range(3):
        a, b = rng.randrange(1, py_ecc.curve_order), rng.randrange(1, py_ecc.curve_order)
        left = _g1(py_ecc.multiply(py_ecc.G1, a)) + _g2(py_ecc.multiply(py_ecc.G2, b))

        def right(product: int) -> bytes:
            return _g1(py_ecc.neg(py_ecc.multiply(py_ecc.G1, product % py_ecc.curve_order))) + _g2(py_ecc.G2)

        assert contract(8).run(left + right(a * b)) == one
        assert contract(8).run(left + right(a * b + 1)) == zero
        assert contract(8).run(left) == zero
        assert contract(8).run(left + right(a * b) + bytes(192)) == one
    assert contract(8).run(b"") == one
    assert contract(8).run(_g1(py_ecc.G1) + bytes(128)) == one
    with pytest.raises(PrecompileError):
        contract(8).run(bytes(191))


def _root2(value: tuple[int, int], field: int) -> tuple[int, int] | None:
    """A square root in Fp2, by the norm; None if there is none."""

    def root(n: int) -> int | None:
        candidate = pow(n, (field + 1) // 4, field)
        return candidate if candidate * candidate % field == n % field else None

    norm = root(value[0] ** 2 + value[1] ** 2)
    if norm is None:
        return None
    for half in (value[0] + norm, value[0] - norm):
        real = root(half * pow(2, -1, field))
        if real:
            return real, value[1] * pow(2 * real, -1, field) % field
    return None


def test_bn254_pairing_refuses_points_outside_g2() -> None:
    """Points of the twist, but of another order; of a small one, at which doubling and adding meets infinity."""
    field, order = int(tower.FIELD), tower.ORDER
    cofactor, small = 2 * field - order, 10_069
    rng = random.Random(8)
    y = None
    while y is None:
        x = (rng.randrange(field), rng.randrange(field))
        cube = tower._mul2(tower._square2(x), x)
        y = _root2((int(cube[0] + tower._TWIST_B[0]), int(cube[1] + tower._TWIST_B[1])), field)

    point, multiple = (x, y), tower.multiple
    inside, few = multiple(point, cofactor), multiple(point, order * (cofactor // small))
    assert multiple(few, small) is None
    outside = [point, multiple(point, order), *(multiple(few, n) for n in (1, 2, 3)), tower._add_points(inside, few)]

    def pair(twisted: Any) -> bytes:
        return _g1(py_ecc.G1) + b"".join(int(c).to_bytes(32, "big") for part in twisted for c in reversed(part))

    assert contract(8).run(pair(inside)) == bytes(32)
    for each in outside:
        with pytest.raises(PrecompileError, match="subgroup"):
            contract(8).run(pair(each))


def test_kzg_point_evaluation() -> None:
    """The commitment to a constant polynomial c is c G1, its proof the point at infinity."""
    arkworks = pytest.importorskip("py_arkworks_bls12381")
    c, z = (42).to_bytes(32, "big"), (7).to_bytes(32, "big")
    commitment = bytes((arkworks.G1Point() * arkworks.Scalar.from_be_bytes(c)).to_compressed_bytes())
    infinity = b"\xc0" + bytes(47)
    versioned = b"\x01" + hashlib.sha256(commitment).digest()[1:]
    run = contract(0x0A).run
    output = run(versioned + z + c + commitment + infinity)
    assert output[:32] == (4_096).to_bytes(32, "big")
    for bad in (
        versioned + z + z + commitment + infinity,
        b"\x02" + versioned[1:] + z + c + commitment + infinity,
        versioned + b"\xff" * 32 + c + commitment + infinity,
        versioned + z + c + commitment + infinity[:-1],
    ):
        with pytest.raises(PrecompileError):
            run(bad)
