"""Emitters of the arithmetic opcodes, ADD to SIGNEXTEND (Yellow Paper, appendix H)."""

from __future__ import annotations

from typing import TypeGuard

from vm.evm.emitter import Emitter, Value, signed
from vm.evm.emitters.registry import opcode, word


def _is_power_of_two(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and value.bit_count() == 1


def _sdiv(a: int, b: int) -> int:
    a, b = signed(a), signed(b)
    quotient = abs(a) // abs(b) if b else 0
    return -quotient if (a < 0) != (b < 0) else quotient


def _smod(a: int, b: int) -> int:
    a, b = signed(a), signed(b)
    remainder = abs(a) % abs(b) if b else 0
    return -remainder if a < 0 else remainder


def _signextend(size: int, value: int) -> int:
    if size > 30:
        return value
    bits = 8 * (size + 1)
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@word("ADD", lambda a, b: a + b)
def add(c: Emitter, a: Value, b: Value) -> str:
    """a + b."""
    return c.let(f"add i256 {a}, {b}")


@word("MUL", lambda a, b: a * b)
def mul(c: Emitter, a: Value, b: Value) -> str:
    """a * b."""
    return c.let(f"mul i256 {a}, {b}")


@word("SUB", lambda a, b: a - b)
def sub(c: Emitter, a: Value, b: Value) -> str:
    """a - b."""
    return c.let(f"sub i256 {a}, {b}")


@word("DIV", lambda a, b: a // b if b else 0)
def div(c: Emitter, a: Value, b: Value) -> str:
    """a // b; 0 for b = 0."""
    if _is_power_of_two(b):
        return c.let(f"lshr i256 {a}, {b.bit_length() - 1}")
    return c.let(f"call i256 @divide(i256 {a}, i256 {b})")


@word("MOD", lambda a, b: a % b if b else 0)
def mod(c: Emitter, a: Value, b: Value) -> str:
    """a % b; 0 for b = 0."""
    if _is_power_of_two(b):
        return c.let(f"and i256 {a}, {b - 1}")
    return c.let(f"call i256 @modulo(i256 {a}, i256 {b})")


def _with_sign(c: Emitter, magnitude: str, sign: str) -> str:
    """The magnitude, negated if the i256 ``sign`` is all ones and unchanged if it is 0."""
    return c.let(f"sub i256 {c.let(f'xor i256 {magnitude}, {sign}')}, {sign}")


@word("SDIV", _sdiv)
def sdiv(c: Emitter, a: Value, b: Value) -> str:
    """a / b as signed numbers, truncated; 0 for b = 0."""
    left = c.let(f"call i256 @llvm.abs.i256(i256 {a}, i1 false)")
    right = c.let(f"call i256 @llvm.abs.i256(i256 {b}, i1 false)")
    quotient = c.let(f"call i256 @divide(i256 {left}, i256 {right})")
    return _with_sign(c, quotient, c.let(f"ashr i256 {c.let(f'xor i256 {a}, {b}')}, 255"))


@word("SMOD", _smod)
def smod(c: Emitter, a: Value, b: Value) -> str:
    """Remainder of signed numbers, with the sign of a; 0 for b = 0."""
    left = c.let(f"call i256 @llvm.abs.i256(i256 {a}, i1 false)")
    right = c.let(f"call i256 @llvm.abs.i256(i256 {b}, i1 false)")
    remainder = c.let(f"call i256 @modulo(i256 {left}, i256 {right})")
    return _with_sign(c, remainder, c.let(f"ashr i256 {a}, 255"))


@word("ADDMOD", lambda a, b, n: (a + b) % n if n else 0)
def addmod(c: Emitter, a: Value, b: Value, n: Value) -> str:
    """(a + b) % n without wrapping; 0 for n = 0."""
    return c.let(f"call i256 @add_modulo(i256 {a}, i256 {b}, i256 {n})")


@word("MULMOD", lambda a, b, n: a * b % n if n else 0)
def mulmod(c: Emitter, a: Value, b: Value, n: Value) -> str:
    """a * b % n without wrapping; 0 for n = 0."""
    return c.let(f"call i256 @multiply_modulo(ptr %frame, i256 {a}, i256 {b}, i256 {n})")


@opcode("EXP")
def exp(c: Emitter) -> None:
    """base ** exponent."""
    # Stack
    base, exponent = c.pop(), c.pop()
    # Gas
    if isinstance(exponent, int):
        c.charge(c.gas_schedule.exponent(exponent))
    else:
        zeros = c.let(f"trunc i256 {c.let(f'call i256 @llvm.ctlz.i256(i256 {exponent}, i1 false)')} to i64")
        size = c.let(f"lshr i64 {c.let(f'sub i64 263, {zeros}')}, 3")
        c.charge(c.let(f"mul i64 {size}, {c.gas_schedule.exponent_byte}"))
    # Operation
    if isinstance(base, int) and isinstance(exponent, int):
        c.push(pow(base, exponent, 2**256))
    elif _is_power_of_two(base) and base > 1:
        bits = base.bit_length() - 1
        small = c.let(f"icmp ult i256 {exponent}, {(255 + bits) // bits}")
        amount = c.let(f"mul i256 {c.let(f'select i1 {small}, i256 {exponent}, i256 0')}, {bits}")
        c.push(c.let(f"select i1 {small}, i256 {c.let(f'shl i256 1, {amount}')}, i256 0"))
    else:
        c.push(c.let(f"call i256 @power(i256 {base}, i256 {exponent})"))


@word("SIGNEXTEND", _signextend)
def signextend(c: Emitter, size: Value, value: Value) -> str:
    """Extend the sign of a number of size + 1 bytes."""
    if isinstance(size, int):
        known = max(0, 248 - 8 * size) if size < 31 else 0
        return c.let(f"ashr i256 {c.let(f'shl i256 {value}, {known}')}, {known}")
    # Shift the sign bit to the top and back; sizes above 30 leave the word as it is.
    small = c.let(f"icmp ult i256 {size}, 31")
    bits = c.let(f"shl i64 {c.truncated(size)}, 3")
    shift = c.let(f"select i1 {small}, i64 {c.let(f'sub i64 248, {bits}')}, i64 0")
    wide = c.let(f"zext i64 {shift} to i256")
    return c.let(f"ashr i256 {c.let(f'shl i256 {value}, {wide}')}, {wide}")
