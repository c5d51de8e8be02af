"""How native code walks over code: past the data of PUSHes."""

from __future__ import annotations

from vm.evm.opcodes import BY_NAME
from vm.ir.builder import Builder

_PUSHES = 33
"""PUSH0 to PUSH32."""


def step_over(b: Builder, opcode: str, pc: str, name: str) -> None:
    """Compute, as ``name``, the offset of the opcode after the one at ``pc``."""
    push = b.let(f"sub i8 {opcode}, {BY_NAME['PUSH0'].byte}")
    is_push = b.let(f"icmp ult i8 {push}, {_PUSHES}")
    size = b.let(f"zext i8 {b.let(f'select i1 {is_push}, i8 {push}, i8 0')} to i64")
    b.do(f"{name} = add i64 {pc}, {b.let(f'add i64 {size}, 1')}")
