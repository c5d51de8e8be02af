"""LOG0 to LOG4: paid for natively, recorded by Python."""

from __future__ import annotations

from vm.evm import gas
from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode


@opcode("LOG0", "LOG1", "LOG2", "LOG3", "LOG4")
def _log(c: Emitter) -> None:
    c.require_not_static()
    offset, length = c.pop(), c.pop()
    _, size = c.memrange(offset, length)
    c.dyngas(size * gas.LOG_BYTE if isinstance(size, int) else c.let(f"mul i64 {size}, {gas.LOG_BYTE}"))
    c.host()
