"""One emitter per opcode, in families. `EMITTERS` maps an opcode's name to the function that emits it."""

from __future__ import annotations

from vm.evm.emitters import (  # noqa: F401 (a family registers its emitters when it is imported)
    arithmetic,
    bitwise,
    block,
    comparison,
    control_flow,
    environment,
    keccak,
    log,
    memory,
    stack,
    storage,
    system,
)
from vm.evm.emitters.registry import EMITTERS

__all__ = ["EMITTERS"]
