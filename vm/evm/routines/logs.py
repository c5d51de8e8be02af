"""LOG0 to LOG4 in native code: records in the ledger, which Python makes logs of when somebody looks."""

from __future__ import annotations

from vm.evm.convention import load_field
from vm.evm.layout import ENV_OFFSET, LOG_BYTES, WORD_BYTES, Env, Field, LogRecord, StateBlock

IR = f"""
; Record a log; where its topics go, null if there is no room for it.
define internal ptr @append_log(ptr %frame, i64 %topics, ptr %data, i64 %size) noinline nounwind {{
{load_field(Field.LEDGER, "ptr")}
  %end.at = getelementptr i8, ptr %LEDGER, i64 {int(StateBlock.LOGS_END)}
  %end = load i64, ptr %end.at
  %up = add i64 %size, {WORD_BYTES - 1}
  %padded = and i64 %up, -{WORD_BYTES}
  %listed = mul i64 %topics, {WORD_BYTES}
  %head = add i64 %listed, {int(LogRecord.FIRST_TOPIC)}
  %length = add i64 %head, %padded
  %after = add i64 %end, %length
  %fits = icmp ule i64 %after, {LOG_BYTES}
  br i1 %fits, label %write, label %full
full:
  ret ptr null
write:
  store i64 %after, ptr %end.at
  %logs = getelementptr i8, ptr %LEDGER, i64 {int(StateBlock.LOGS)}
  %log = getelementptr i8, ptr %logs, i64 %end
  store i64 %topics, ptr %log
  %size.at = getelementptr i8, ptr %log, i64 {int(LogRecord.SIZE)}
  store i64 %size, ptr %size.at
  %mine.at = getelementptr i8, ptr %frame, i64 {ENV_OFFSET + WORD_BYTES * Env.ADDRESS}
  %mine = load i256, ptr %mine.at, align 32
  %address.at = getelementptr i8, ptr %log, i64 {int(LogRecord.ADDRESS)}
  store i256 %mine, ptr %address.at, align 32
  %data.at = getelementptr i8, ptr %log, i64 %head
  call void @llvm.memcpy.p0.p0.i64(ptr %data.at, ptr %data, i64 %size, i1 false)
  %topics.at = getelementptr i8, ptr %log, i64 {int(LogRecord.FIRST_TOPIC)}
  ret ptr %topics.at
}}
"""
