"""How emitters are registered: `opcode` for any, `pure` for those that only compute one word from others."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

from vm.evm.builder import Emitter, Value, wrapped

Emit = Callable[[Emitter], None]

EMITTERS: Final[dict[str, Emit]] = {}


def opcode(*names: str) -> Callable[[Emit], Emit]:
    """Register the emitter of these opcodes."""

    def register(emit: Emit) -> Emit:
        for name in names:
            assert name not in EMITTERS, name
            EMITTERS[name] = emit
        return emit

    return register


def pure(name: str, fold: Callable[..., int]) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register an opcode that turns words into one word, or into an i1 if its emitter returns ``Bool``.

    ``fold`` is its meaning on Python ints (modulo 2**256), used when all operands are constants.
    """

    def register(emit: Callable[..., str]) -> Callable[..., str]:
        operands = len(inspect.signature(emit).parameters) - 1
        is_bool = emit.__annotations__.get("return") == "Bool"

        def emit_opcode(c: Emitter) -> None:
            values: list[Value] = [c.pop() for _ in range(operands)]
            if all(isinstance(v, int) for v in values):
                c.push(wrapped(int(fold(*values))))
            elif is_bool:
                c.push_bool(emit(c, *values))
            else:
                c.push(emit(c, *values))

        opcode(name)(emit_opcode)
        return emit

    return register


Bool = str
"""Name of an i1."""
