"""AND to CLZ."""

from __future__ import annotations

from vm.evm.builder import Emitter, Value
from vm.evm.emitters.registry import pure


def _sar(shift: int, value: int) -> int:
    return (value - 2**256 if value >> 255 else value) >> min(shift, 255)


@pure("AND", lambda a, b: a & b)
def _(c: Emitter, a: Value, b: Value) -> str:
    return c.let(f"and i256 {a}, {b}")


@pure("OR", lambda a, b: a | b)
def _(c: Emitter, a: Value, b: Value) -> str:
    return c.let(f"or i256 {a}, {b}")


@pure("XOR", lambda a, b: a ^ b)
def _(c: Emitter, a: Value, b: Value) -> str:
    return c.let(f"xor i256 {a}, {b}")


@pure("NOT", lambda a: ~a)
def _(c: Emitter, a: Value) -> str:
    return c.let(f"xor i256 {a}, -1")


def _shift(c: Emitter, kind: str, shift: Value, value: Value) -> tuple[str, str]:
    """Whether the shift is below 256, and the value shifted by its low byte."""
    inside = c.let(f"icmp ult i256 {shift}, 256")
    amount = c.let(f"and i256 {shift}, 255")
    return inside, c.let(f"{kind} i256 {value}, {amount}")


def _shift_known(c: Emitter, kind: str, shift: int, value: Value) -> str:
    return c.let(f"{kind} i256 {value}, {shift}" if shift < 256 else "add i256 0, 0")


@pure("SHL", lambda shift, value: value << shift if shift < 256 else 0)
def _(c: Emitter, shift: Value, value: Value) -> str:
    if isinstance(shift, int):
        return _shift_known(c, "shl", shift, value)
    inside, shifted = _shift(c, "shl", shift, value)
    return c.let(f"select i1 {inside}, i256 {shifted}, i256 0")


@pure("SHR", lambda shift, value: value >> shift if shift < 256 else 0)
def _(c: Emitter, shift: Value, value: Value) -> str:
    if isinstance(shift, int):
        return _shift_known(c, "lshr", shift, value)
    inside, shifted = _shift(c, "lshr", shift, value)
    return c.let(f"select i1 {inside}, i256 {shifted}, i256 0")


@pure("SAR", _sar)
def _(c: Emitter, shift: Value, value: Value) -> str:
    if isinstance(shift, int):
        return c.let(f"ashr i256 {value}, {min(shift, 255)}")
    amount = c.let(f"call i256 @llvm.umin.i256(i256 {shift}, i256 255)")
    return c.let(f"ashr i256 {value}, {amount}")


@pure("BYTE", lambda index, value: value >> (248 - 8 * index) & 255 if index < 32 else 0)
def _(c: Emitter, index: Value, value: Value) -> str:
    inside = c.let(f"icmp ult i256 {index}, 32")
    bits = c.let(f"shl i256 {index}, 3")
    amount = c.let(f"and i256 {c.let(f'sub i256 248, {bits}')}, 255")
    byte = c.let(f"and i256 {c.let(f'lshr i256 {value}, {amount}')}, 255")
    return c.let(f"select i1 {inside}, i256 {byte}, i256 0")


@pure("CLZ", lambda a: 256 - a.bit_length())
def _(c: Emitter, a: Value) -> str:
    return c.let(f"call i256 @llvm.ctlz.i256(i256 {a}, i1 false)")
