"""Emitters of LOG0 to LOG4: native code charges and records; Python takes over if the native state is full."""

from __future__ import annotations

from functools import partial

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import WORD_BYTES


def log_n(c: Emitter, topics: int) -> None:
    """Record a log with this many topics."""
    c.require_not_static()
    # Stack
    offset, length = c.pop(), c.pop()
    words = [c.pop() for _ in range(topics)]
    # Gas
    start, size = c.memrange(offset, length)
    c.charge_size(size)
    # Operation
    at = c.let(f"call ptr @append_log(ptr %frame, i64 {topics}, ptr {start}, i64 {size})")
    c.host_unless(c.let(f"icmp ne ptr {at}, null"))
    for i, word in enumerate(words):
        place = c.let(f"getelementptr i8, ptr {at}, i64 {WORD_BYTES * i}")
        c.b.do(f"store i256 {c.let(f'call i256 @llvm.bswap.i256(i256 {word})')}, ptr {place}, align 32")


for _topics in range(5):
    opcode(f"LOG{_topics}")(partial(log_n, topics=_topics))
