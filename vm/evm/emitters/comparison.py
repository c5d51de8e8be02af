"""LT to ISZERO."""

from __future__ import annotations

from vm.evm.builder import Emitter, Value
from vm.evm.emitters.registry import Bool, pure


def _signed(value: int) -> int:
    return value - 2**256 if value >> 255 else value


@pure("LT", lambda a, b: a < b)
def _(c: Emitter, a: Value, b: Value) -> Bool:
    return c.let(f"icmp ult i256 {a}, {b}")


@pure("GT", lambda a, b: a > b)
def _(c: Emitter, a: Value, b: Value) -> Bool:
    return c.let(f"icmp ugt i256 {a}, {b}")


@pure("SLT", lambda a, b: _signed(a) < _signed(b))
def _(c: Emitter, a: Value, b: Value) -> Bool:
    return c.let(f"icmp slt i256 {a}, {b}")


@pure("SGT", lambda a, b: _signed(a) > _signed(b))
def _(c: Emitter, a: Value, b: Value) -> Bool:
    return c.let(f"icmp sgt i256 {a}, {b}")


@pure("EQ", lambda a, b: a == b)
def _(c: Emitter, a: Value, b: Value) -> Bool:
    return c.let(f"icmp eq i256 {a}, {b}")


@pure("ISZERO", lambda a: a == 0)
def _(c: Emitter, a: Value) -> Bool:
    return c.is_zero(a)
