"""POP, PUSHn, DUPn, SWAPn."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import Emit, opcode


@opcode("POP")
def _pop(c: Emitter) -> None:
    c.drop()


@opcode("PUSH0")
def _push0(c: Emitter) -> None:
    c.push(0)


def _push(size: int) -> Emit:
    return lambda c: c.push(c.immediate(size))


def _dup(n: int) -> Emit:
    return lambda c: c.dup(n)


def _swap(n: int) -> Emit:
    return lambda c: c.swap(n)


for _n in range(1, 33):
    opcode(f"PUSH{_n}")(_push(_n))
for _n in range(1, 17):
    opcode(f"DUP{_n}")(_dup(_n))
    opcode(f"SWAP{_n}")(_swap(_n))
