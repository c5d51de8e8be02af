"""LOG0 to LOG4: paid for and recorded natively; Python helps where the ledger has no room."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import Emit, opcode
from vm.evm.layout import WORD_BYTES


def _log(topics: int) -> Emit:
    def emit(c: Emitter) -> None:
        c.require_not_static()
        offset, length = c.pop(), c.pop()
        words = [c.pop() for _ in range(topics)]
        start, size = c.memrange(offset, length)
        c.charge_size(size)
        at = c.let(f"call ptr @append_log(ptr %frame, i64 {topics}, ptr {start}, i64 {size})")
        c.host_unless(c.let(f"icmp ne ptr {at}, null"))
        for i, word in enumerate(words):
            place = c.let(f"getelementptr i8, ptr {at}, i64 {WORD_BYTES * i}")
            c.b.do(f"store i256 {c.let(f'call i256 @llvm.bswap.i256(i256 {word})')}, ptr {place}, align 32")

    return emit


for _topics in range(5):
    opcode(f"LOG{_topics}")(_log(_topics))
