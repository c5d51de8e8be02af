"""Modular exponentiation: EIP-198, repriced by EIP-2565 and EIP-7883, bounded by EIP-7823."""

from __future__ import annotations

from collections.abc import Callable

from gmpy2 import context, get_context, mpz, powmod

from chain.gas_schedule import ModexpPrice
from vm.errors import PrecompileError
from vm.interruption import checkpoint, current
from vm.precompiles.contract import padded, word

MAX_OPERAND_BYTES = 1_024
"""EIP-7823."""
HELD_WORK_MAX = 10**8
"""Work (`_work_of_a_bit`) of a millisecond, for which the interpreter lock is kept."""
UNSTOPPED_WORK_MAX = 2 * 10**9
"""Work of 20 milliseconds. What is larger and may be stopped is done in windows of the exponent, and takes twice as
long.
"""


def _exponent_head(data: bytes) -> int:
    """The first 32 bytes of the exponent (all of it if shorter) as an integer."""
    return int.from_bytes(padded(data, 96 + word(data, 0), min(32, word(data, 32))), "big")


def _iterations(data: bytes, per_byte: int) -> int:
    """Leading bit position of the exponent, guessed by ``per_byte`` for bytes after the 32nd; at least 1."""
    extra = max(0, word(data, 32) - 32)
    return max(1, per_byte * extra + max(0, _exponent_head(data).bit_length() - 1))


def gas(price: ModexpPrice, complexity: Callable[[bytes], int], data: bytes) -> int:
    """Price of an input, whose ``complexity`` is a fork's."""
    return max(price.least, complexity(data) * _iterations(data, price.exponent_byte) // price.divisor)


def complexity_byzantium(data: bytes) -> int:
    """EIP-198."""
    size = max(word(data, 0), word(data, 64))
    if size <= 64:
        return size**2
    if size <= 1_024:
        return size**2 // 4 + 96 * size - 3_072
    return size**2 // 16 + 480 * size - 199_680


def complexity_berlin(data: bytes) -> int:
    """EIP-2565: by words of eight bytes."""
    return ((max(word(data, 0), word(data, 64)) + 7) // 8) ** 2


def complexity_osaka(data: bytes) -> int:
    """EIP-7883."""
    size = max(word(data, 0), word(data, 64))
    return 2 * ((size + 7) // 8) ** 2 if size > 32 else 16


def modexp(data: bytes) -> bytes:
    """``base ** exponent % modulus``, as long as the modulus; zeros for modulus 0."""
    base_size, exponent_size, modulus_size = word(data, 0), word(data, 32), word(data, 64)
    if base_size == 0 and modulus_size == 0:
        return b""  # costs the minimum whatever the exponent's length claims to be
    base = int.from_bytes(padded(data, 96, base_size), "big")
    exponent = int.from_bytes(padded(data, 96 + base_size, exponent_size), "big")
    modulus = int.from_bytes(padded(data, 96 + base_size + exponent_size, modulus_size), "big")
    if modulus == 0:
        return bytes(modulus_size)
    return int(_power(mpz(base), mpz(exponent), mpz(modulus))).to_bytes(modulus_size, "big")


def _work_of_a_bit(modulus_bytes: int) -> int:
    """Work for one bit of the exponent, in some 10 picoseconds: a squaring, and what GMP does beside it."""
    return modulus_bytes * modulus_bytes + 120 * modulus_bytes + 512


def _power(base: mpz, exponent: mpz, modulus: mpz) -> mpz:
    """``base ** exponent % modulus``. A large one lets other threads run, and may be stopped (`vm.interruption`)."""
    bits, each = exponent.bit_length(), _work_of_a_bit((modulus.bit_length() + 7) // 8)
    work = bits * each
    if work <= HELD_WORK_MAX:
        return powmod(base, exponent, modulus)
    with context(get_context(), allow_release_gil=True):
        if work <= UNSTOPPED_WORK_MAX or current() is None:
            return powmod(base, exponent, modulus)
        window = max(64, UNSTOPPED_WORK_MAX // each)
        result, shift = mpz(1), mpz(1) << window
        for begin in range((bits - 1) // window * window, -1, -window):
            checkpoint()
            digit = exponent >> begin & (shift - 1)
            result = powmod(result, shift, modulus) * powmod(base, digit, modulus) % modulus
        return result


def modexp_bounded(data: bytes) -> bytes:
    """`modexp` which fails for operands longer than 1,024 bytes."""
    if max(word(data, 0), word(data, 32), word(data, 64)) > MAX_OPERAND_BYTES:
        raise PrecompileError("one or more of base/exponent/modulus length exceeded 1024 bytes")
    return modexp(data)
