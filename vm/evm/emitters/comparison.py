"""Emitters of the comparison opcodes, LT to ISZERO (Yellow Paper, appendix H)."""

from __future__ import annotations

from vm.evm.emitter import Emitter, Value, signed
from vm.evm.emitters.registry import condition


@condition("LT", lambda a, b: a < b)
def lt(c: Emitter, a: Value, b: Value) -> str:
    """a < b."""
    return c.let(f"icmp ult i256 {a}, {b}")


@condition("GT", lambda a, b: a > b)
def gt(c: Emitter, a: Value, b: Value) -> str:
    """a > b."""
    return c.let(f"icmp ugt i256 {a}, {b}")


@condition("SLT", lambda a, b: signed(a) < signed(b))
def slt(c: Emitter, a: Value, b: Value) -> str:
    """a < b as signed numbers."""
    return c.let(f"icmp slt i256 {a}, {b}")


@condition("SGT", lambda a, b: signed(a) > signed(b))
def sgt(c: Emitter, a: Value, b: Value) -> str:
    """a > b as signed numbers."""
    return c.let(f"icmp sgt i256 {a}, {b}")


@condition("EQ", lambda a, b: a == b)
def eq(c: Emitter, a: Value, b: Value) -> str:
    """a == b."""
    return c.let(f"icmp eq i256 {a}, {b}")


@condition("ISZERO", lambda a: a == 0)
def iszero(c: Emitter, a: Value) -> str:
    """a == 0."""
    return c.is_zero(a)
