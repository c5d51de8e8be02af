"""Emitters of the stack opcodes: POP, PUSHn, DUPn, SWAPn (Yellow Paper, appendix H)."""

from __future__ import annotations

from functools import partial

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode


@opcode("POP")
def pop(c: Emitter) -> None:
    """Drop the top word."""
    c.drop()


@opcode("PUSH0")
def push0(c: Emitter) -> None:
    """Push 0 (EIP-3855)."""
    c.push(0)


def push_n(c: Emitter, n: int) -> None:
    """Push the next ``n`` bytes of code."""
    c.push(c.immediate(n))


def dup_n(c: Emitter, n: int) -> None:
    """Push a copy of word ``n``, 1 being the top."""
    c.dup(n)


def swap_n(c: Emitter, n: int) -> None:
    """Exchange the top with the word ``n`` below it."""
    c.swap(n)


for _n in range(1, 33):
    opcode(f"PUSH{_n}")(partial(push_n, n=_n))
for _n in range(1, 17):
    opcode(f"DUP{_n}")(partial(dup_n, n=_n))
    opcode(f"SWAP{_n}")(partial(swap_n, n=_n))
