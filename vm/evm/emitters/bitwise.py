"""Emitters of the bitwise opcodes, AND to CLZ (Yellow Paper, appendix H; EIP-145, EIP-7939)."""

from __future__ import annotations

from vm.evm.emitter import Emitter, Value, signed
from vm.evm.emitters.registry import word


def _sar(shift: int, value: int) -> int:
    return signed(value) >> min(shift, 255)


@word("AND", lambda a, b: a & b)
def and_(c: Emitter, a: Value, b: Value) -> str:
    """Bitwise and."""
    return c.let(f"and i256 {a}, {b}")


@word("OR", lambda a, b: a | b)
def or_(c: Emitter, a: Value, b: Value) -> str:
    """Bitwise or."""
    return c.let(f"or i256 {a}, {b}")


@word("XOR", lambda a, b: a ^ b)
def xor(c: Emitter, a: Value, b: Value) -> str:
    """Bitwise exclusive or."""
    return c.let(f"xor i256 {a}, {b}")


@word("NOT", lambda a: ~a)
def not_(c: Emitter, a: Value) -> str:
    """Bitwise complement."""
    return c.let(f"xor i256 {a}, -1")


def _shift(c: Emitter, kind: str, shift: Value, value: Value) -> tuple[str, str]:
    """Whether the shift is below 256, and the value shifted by its low byte."""
    inside = c.let(f"icmp ult i256 {shift}, 256")
    amount = c.let(f"and i256 {shift}, 255")
    return inside, c.let(f"{kind} i256 {value}, {amount}")


def _shift_known(c: Emitter, kind: str, shift: int, value: Value) -> str:
    return c.let(f"{kind} i256 {value}, {shift}" if shift < 256 else "add i256 0, 0")


@word("SHL", lambda shift, value: value << shift if shift < 256 else 0)
def shl(c: Emitter, shift: Value, value: Value) -> str:
    """Left shift; 0 for a shift above 255 (EIP-145)."""
    if isinstance(shift, int):
        return _shift_known(c, "shl", shift, value)
    inside, shifted = _shift(c, "shl", shift, value)
    return c.let(f"select i1 {inside}, i256 {shifted}, i256 0")


@word("SHR", lambda shift, value: value >> shift if shift < 256 else 0)
def shr(c: Emitter, shift: Value, value: Value) -> str:
    """Logical right shift; 0 for a shift above 255 (EIP-145)."""
    if isinstance(shift, int):
        return _shift_known(c, "lshr", shift, value)
    inside, shifted = _shift(c, "lshr", shift, value)
    return c.let(f"select i1 {inside}, i256 {shifted}, i256 0")


@word("SAR", _sar)
def sar(c: Emitter, shift: Value, value: Value) -> str:
    """Arithmetic right shift; 0 or -1 for a shift above 255 (EIP-145)."""
    if isinstance(shift, int):
        return c.let(f"ashr i256 {value}, {min(shift, 255)}")
    amount = c.let(f"call i256 @llvm.umin.i256(i256 {shift}, i256 255)")
    return c.let(f"ashr i256 {value}, {amount}")


@word("BYTE", lambda index, value: value >> (248 - 8 * index) & 255 if index < 32 else 0)
def byte(c: Emitter, index: Value, value: Value) -> str:
    """One byte of a word, 0 being the most significant; 0 for an index above 31."""
    inside = c.let(f"icmp ult i256 {index}, 32")
    bits = c.let(f"shl i256 {index}, 3")
    amount = c.let(f"and i256 {c.let(f'sub i256 248, {bits}')}, 255")
    byte = c.let(f"and i256 {c.let(f'lshr i256 {value}, {amount}')}, 255")
    return c.let(f"select i1 {inside}, i256 {byte}, i256 0")


@word("CLZ", lambda a: 256 - a.bit_length())
def clz(c: Emitter, a: Value) -> str:
    """Number of leading zero bits; 256 for 0 (EIP-7939)."""
    return c.let(f"call i256 @llvm.ctlz.i256(i256 {a}, i1 false)")
