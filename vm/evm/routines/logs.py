"""LOG0 to LOG4 in native code: records in the native state, which Python makes logs of when somebody looks."""

from __future__ import annotations

from vm.evm.convention import get_field
from vm.evm.layout import ENV_OFFSET, LOG_BYTES, WORD_BYTES, Env, Field, LogRecord, StateBlock
from vm.ir.builder import Builder


def ir() -> str:
    """``@append_log``: record a log; where its topics go, null if there is no room for it."""
    b = Builder()
    block = get_field(b, Field.STATE, "ptr")
    end_at = b.at(block, StateBlock.LOGS_END)
    end = b.load("i64", end_at)
    padded = b.let(f"and i64 {b.let(f'add i64 %size, {WORD_BYTES - 1}')}, -{WORD_BYTES}")
    head = b.let(f"add i64 {b.let(f'mul i64 %topics, {WORD_BYTES}')}, {int(LogRecord.FIRST_TOPIC)}")
    after = b.let(f"add i64 {end}, {b.let(f'add i64 {head}, {padded}')}")
    b.branch(b.let(f"icmp ule i64 {after}, {LOG_BYTES}"), "write", "full")
    b.place("full")
    b.do("ret ptr null")
    b.place("write")
    b.store("i64", after, end_at)
    log = b.at(b.at(block, StateBlock.LOGS), end)
    b.put("i64", "%topics", log, LogRecord.TOPICS)
    b.put("i64", "%size", log, LogRecord.SIZE)
    b.put("i256", b.get("i256", "%frame", ENV_OFFSET + WORD_BYTES * Env.ADDRESS), log, LogRecord.ADDRESS)
    b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {b.at(log, head)}, ptr %data, i64 %size, i1 false)")
    b.do(f"ret ptr {b.at(log, LogRecord.FIRST_TOPIC)}")
    return b.function(
        "define internal ptr @append_log(ptr %frame, i64 %topics, ptr %data, i64 %size) noinline nounwind"
    )
