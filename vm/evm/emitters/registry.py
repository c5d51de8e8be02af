"""How emitters are registered: any opcode, one that computes a word from words, or one that decides a condition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

from vm.evm.emitter import Emitter, Value, wrapped

Emit = Callable[[Emitter], None]
"""Emits one opcode. Its static gas has been paid; ``c.gas`` is what is left."""

Compute = Callable[..., str]
"""``(emitter, *operands)`` to the name of an SSA value; the first operand was on top of the stack."""

EMITTERS: Final[dict[str, Emit]] = {}


def opcode(*names: str) -> Callable[[Emit], Emit]:
    """Register the emitter of these opcodes."""

    def register(emit: Emit) -> Emit:
        for name in names:
            assert name not in EMITTERS, name
            EMITTERS[name] = emit
        return emit

    return register


def word(name: str, fold: Callable[..., int]) -> Callable[[Compute], Compute]:
    """Register an opcode that turns words into the word, i256, that its emitter computes.

    ``fold`` is its meaning on Python ints (modulo 2**256), used when all operands are constants.
    """
    return _register(name, fold, lambda c, result: c.push(result))


def condition(name: str, fold: Callable[..., int]) -> Callable[[Compute], Compute]:
    """Register an opcode that pushes 1 or 0 as the i1 that its emitter computes; ``fold`` as for `word`."""
    return _register(name, fold, lambda c, result: c.push_bool(result))


def _register(
    name: str, fold: Callable[..., int], push: Callable[[Emitter, str], None]
) -> Callable[[Compute], Compute]:
    def register(compute: Compute) -> Compute:
        operands = len(inspect.signature(compute).parameters) - 1

        def emit(c: Emitter) -> None:
            # Stack
            values: list[Value] = [c.pop() for _ in range(operands)]
            # Operation
            if all(isinstance(value, int) for value in values):
                c.push(wrapped(int(fold(*values))))
            else:
                push(c, compute(c, *values))

        opcode(name)(emit)
        return compute

    return register
