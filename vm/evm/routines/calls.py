"""Plain calls in native code: the callee's frame is begun, and ended into its caller, without leaving.

Plain is a call without value to an account that Python has called before in this execution (`Callee`), while nobody
steps or traces. All else leaves to Python, which finds the frames native code began by `StateBlock.DEPTH` and
`Field.IS_KNOWN`. The callee reads its calldata from the memory of its caller, which is suspended, and the caller its
return data from the memory of the callee, which nobody begins again before the caller makes another call.
"""

from __future__ import annotations

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES, GasSchedule
from vm.evm.convention import (
    HERE,
    IS_HALTED,
    PARAMETERS,
    SIGNATURE,
    THROUGH_TABLE,
    load_field,
    routines_before_python,
    store_field,
)
from vm.evm.jit.runtime import INTERPRET
from vm.evm.layout import (
    CALLEE_BYTES,
    CALLEE_FIELDS,
    CALLEES_MAX,
    ENV_END,
    ENV_OFFSET,
    STACK_OFFSET,
    TRANSACTION_ENV_OFFSET,
    WORD_BYTES,
    Callee,
    Env,
    Exit,
    Field,
    StateBlock,
)
from vm.evm.opcodes import BY_NAME, Opcode, opcodes
from vm.message import CallKind, Halt


def _word(name: str, offset: int, kind: str = "i256") -> str:
    aligned = ", align 32" if kind == "i256" else ""
    return (
        f"  %{name}.at = getelementptr i8, ptr %frame, i64 {offset}\n"
        f"  %{name} = load {kind}, ptr %{name}.at{aligned}\n"
    )


def _operand(name: str, offset: int, kind: str) -> str:
    return (
        f"  %{name}.at = getelementptr i8, ptr %top, i64 {offset}\n"
        f"  %{name} = load {kind}, ptr %{name}.at, align 32\n"
    )


def _put(name: str, offset: int, value: str, kind: str = "i64") -> str:
    aligned = ", align 32" if kind == "i256" else ""
    return (
        f"  %to.{name} = getelementptr i8, ptr %callee, i64 {offset}\n"
        f"  store {kind} {value}, ptr %to.{name}{aligned}\n"
    )


def _register(field: Field, value: str, kind: str = "i64") -> str:
    return _put(field.name, 8 * field, value, kind)


def _environment(word: Env, value: str) -> str:
    return _put(f"env{int(word)}", ENV_OFFSET + WORD_BYTES * word, value, "i256")


def _enter(entry: str) -> str:
    """Go on in ``%frame`` at ``%ip``, in compiled code if it has some for the pc."""
    arguments = "ptr %running, i64 %its.sp, i64 %its.gas, ptr %its.ip, ptr %its.table"
    plainly = THROUGH_TABLE.format(table="%its.table").replace("%ip", "%its.ip").replace("%function", "%plain")
    return f"""
  %interpreted = icmp eq ptr %its.entries, null
  br i1 %interpreted, label %plainly, label %mapped
plainly:
{plainly}  br label %go
mapped:
  %cell = getelementptr i16, ptr %its.entries, i64 {entry}
  %short = load i16, ptr %cell
  %is.entry = icmp ne i16 %short, 0
  %chosen = select i1 %is.entry, i16 %short, i16 {INTERPRET}
  %place = zext i16 %chosen to i64
  %compiled.at = getelementptr ptr, ptr %its.functions, i64 %place
  %compiled = load ptr, ptr %compiled.at
  br label %go
go:
  %function = phi ptr [ %plain, %plainly ], [ %compiled, %mapped ]
  %code = musttail call {SIGNATURE} %function({arguments})
  ret i64 %code
}}
"""


def _head(name: str) -> str:
    return f"define internal {SIGNATURE} @{name}({PARAMETERS}) nounwind noimplicitfloat {{\n"


def _to_python(code: int) -> str:
    return (
        f"leave:\n  %left = musttail call {SIGNATURE} @exit{code}({PARAMETERS})\n  ret i64 %left\n"
    )


def _callee_of(kind: CallKind, gas: GasSchedule) -> str:
    """Find out whether the call is plain, and its operands."""
    has_value = kind in (CallKind.CALL, CallKind.CALLCODE)
    gas_at = 160 if has_value else 128
    worth = (
        _operand("value", 96, "i256") + "  %worthless = icmp eq i256 %value, 0\n"
        if has_value
        else "  %worthless = icmp eq i64 0, 0\n"
    )
    return (
        load_field(Field.NEXT, "ptr")
        + load_field(Field.LEDGER, "ptr")
        + "  %top = getelementptr i8, ptr %frame, i64 %sp\n  %has.next = icmp ne ptr %NEXT, null\n"
        + worth
        + _operand("wanted", gas_at - 32, "i256")
        + IS_HALTED
        + f"""
  %target.short = trunc i256 %wanted to i160
  %target = zext i160 %target.short to i256
  %target.low = trunc i256 %wanted to i64
  %number.of = and i64 %target.low, {CALLEES_MAX - 1}
  %distance = mul i64 %number.of, {CALLEE_BYTES}
  %callees = getelementptr i8, ptr %LEDGER, i64 {int(StateBlock.CALLEES)}
  %known = getelementptr i8, ptr %callees, i64 %distance
  %known.address = load i256, ptr %known, align 32
  %number.at = getelementptr i8, ptr %known, i64 {int(Callee.NUMBER)}
  %number = load i64, ptr %number.at
  %same = icmp eq i256 %known.address, %target
  %filled = icmp ne i64 %number, 0
  %plain.a = and i1 %same, %filled
  %plain.b = and i1 %plain.a, %worthless
  %plain.c = and i1 %plain.b, %has.next
  %goes.on = xor i1 %is.halted, true
  %is.plain = and i1 %plain.c, %goes.on
  br i1 %is.plain, label %begin, label %leave
"""
        + _to_python(Exit.HOST + BY_NAME[kind.name].byte)
        + "begin:\n"
        + _operand("asked", gas_at, "i256")
        + _operand("in.offset", 64, "i64")
        + _operand("in.size", 32, "i64")
        + _operand("out.offset", 0, "i64")
        + _operand("out.size", -32, "i64")
        + f"""
  %kept = udiv i64 %gas, {gas.call_withheld_divisor}
  %most = sub i64 %gas, %kept
  %most.wide = zext i64 %most to i256
  %granted.wide = call i256 @llvm.umin.i256(i256 %asked, i256 %most.wide)
  %granted = trunc i256 %granted.wide to i64
  %gas.kept = sub i64 %gas, %granted
  store i256 0, ptr %out.size.at, align 32
  %callee = getelementptr i8, ptr %NEXT, i64 0
"""
    )


def _suspend() -> str:
    """Leave the caller as it will go on."""
    return (
        HERE
        + store_field(Field.PC, "%pc")
        + store_field(Field.GAS, "%gas.kept")
        + store_field(Field.SP, "%sp")
        + store_field(Field.RETURNDATA_LENGTH, "0")
        + store_field(Field.OUTPUT_OFFSET, "%out.offset")
        + store_field(Field.OUTPUT_LENGTH, "%out.size")
    )


def _registers(kind: CallKind) -> str:
    """Registers of the callee at its beginning."""
    text = "".join(
        f"  %f.{field.name}.at = getelementptr i8, ptr %known, i64 {Callee.REGISTERS + 8 * i}\n"
        f"  %f.{field.name} = load i64, ptr %f.{field.name}.at\n" + _register(field, f"%f.{field.name}")
        for i, field in enumerate(CALLEE_FIELDS)
        if kind in (CallKind.CALL, CallKind.STATICCALL)
        or field not in (Field.STORAGE_TAG, Field.COMPLETE)
    )
    if kind in (CallKind.CALLCODE, CallKind.DELEGATECALL):
        for field in (Field.STORAGE_TAG, Field.COMPLETE):
            text += load_field(field) + _register(field, f"%{field.name}")
    if kind is CallKind.STATICCALL:
        text += _register(Field.STATIC, "1")
    else:
        text += load_field(Field.STATIC) + _register(Field.STATIC, "%STATIC")
    used = Field.MEMORY_SIZE
    text += (
        f"  %used.at = getelementptr i8, ptr %callee, i64 {8 * used}\n  %used = load i64, ptr %used.at\n"
        f"  %its.memory.at = getelementptr i8, ptr %callee, i64 {8 * Field.MEMORY}\n"
        "  %its.memory = load ptr, ptr %its.memory.at\n"
        "  call void @llvm.memset.p0.i64(ptr %its.memory, i8 0, i64 %used, i1 false)\n"
        "  store i64 0, ptr %used.at\n"
    )
    text += load_field(Field.MEMORY, "ptr") + load_field(Field.PLAIN_TABLE)
    text += "  %data = getelementptr i8, ptr %MEMORY, i64 %in.offset\n"
    for field, value in (
        (Field.CALLDATA_LENGTH, "%in.size"),
        (Field.RETURNDATA_LENGTH, "0"),
        (Field.MEMORY_COST, "0"),
        (Field.PLAIN_TABLE, "%PLAIN_TABLE"),
        (Field.IS_KNOWN, "0"),
        (Field.IS_JOURNALED, "0"),
        (Field.CALLEE, "%number"),
        (Field.KIND, str(int(kind))),
    ):
        text += _register(field, value)
    text += _register(Field.CALLDATA, "%data", "ptr") + _register(Field.LEDGER, "%LEDGER", "ptr")
    text += _register(Field.CALLER, "%frame", "ptr")
    for mark, place in (
        (Field.UNDO_MARK, StateBlock.UNDO),
        (Field.LOG_MARK, StateBlock.LOGS_END),
        (Field.REFUND_MARK, StateBlock.REFUND),
    ):
        text += (
            f"  %now.{mark.name}.at = getelementptr i8, ptr %LEDGER, i64 {int(place)}\n"
            f"  %now.{mark.name} = load i64, ptr %now.{mark.name}.at\n" + _register(mark, f"%now.{mark.name}")
        )
    return text


def _words(kind: CallKind) -> str:
    """Environment of the callee."""
    mine = _word("mine", ENV_OFFSET + WORD_BYTES * Env.ADDRESS)
    caller, value = "%mine", "0"
    if kind is CallKind.DELEGATECALL:
        mine += _word("caller", ENV_OFFSET + WORD_BYTES * Env.CALLER)
        mine += _word("callvalue", ENV_OFFSET + WORD_BYTES * Env.CALLVALUE)
        caller, value = "%caller", "%callvalue"
    address = "%target" if kind in (CallKind.CALL, CallKind.STATICCALL) else "%mine"
    return (
        mine
        + _environment(Env.ADDRESS, address)
        + _environment(Env.CALLER, caller)
        + _environment(Env.CALLVALUE, value)
        + f"""
  %env.from = getelementptr i8, ptr %frame, i64 {TRANSACTION_ENV_OFFSET}
  %env.to = getelementptr i8, ptr %callee, i64 {TRANSACTION_ENV_OFFSET}
  call void @llvm.memcpy.p0.p0.i64(ptr %env.to, ptr %env.from, i64 {ENV_END - TRANSACTION_ENV_OFFSET}, i1 false)
"""
    )


def _deeper(by: int) -> str:
    return (
        f"  %depth.at = getelementptr i8, ptr %LEDGER, i64 {int(StateBlock.DEPTH)}\n"
        f"  %depth = load i64, ptr %depth.at\n  %deeper = add i64 %depth, {by}\n"
        "  store i64 %deeper, ptr %depth.at\n"
    )


def _call(row: Opcode, gas: GasSchedule) -> str:
    """``@callN``: the opcode's frame has its state after the opcode, operands above the stack."""
    kind = CallKind[row.name]
    return (
        _head(f"call{row.byte}")
        + _callee_of(kind, gas)
        + _suspend()
        + _registers(kind)
        + _words(kind)
        + _deeper(1)
        + f"""
  %running = getelementptr i8, ptr %callee, i64 0
  %its.sp = add i64 0, {STACK_OFFSET}
  %its.gas = add i64 %granted, 0
  %its.ip = inttoptr i64 %f.CODE to ptr
  %its.table = inttoptr i64 %f.TABLE to ptr
  %its.entries = inttoptr i64 %f.ENTRIES to ptr
  %its.functions = inttoptr i64 %f.FUNCTIONS to ptr
"""
        + _enter("0")
    )


def _of_caller(name: str, field: Field, kind: str = "i64") -> str:
    return (
        f"  %{name}.at = getelementptr i8, ptr %CALLER, i64 {8 * field}\n"
        f"  %{name} = load {kind}, ptr %{name}.at\n"
    )


def _take_output() -> str:
    """Give the output to the caller: return data, and what it wanted in its memory."""
    return (
        load_field(Field.RESULT_OFFSET)
        + load_field(Field.RESULT_LENGTH)
        + load_field(Field.MEMORY, "ptr")
        + "  %output = getelementptr i8, ptr %MEMORY, i64 %RESULT_OFFSET\n"
        + _of_caller("data", Field.RETURNDATA, "ptr")
        + _of_caller("length", Field.RETURNDATA_LENGTH)
        + "  store ptr %output, ptr %data.at\n  store i64 %RESULT_LENGTH, ptr %length.at\n"
        + _of_caller("room", Field.OUTPUT_LENGTH)
        + _of_caller("place.offset", Field.OUTPUT_OFFSET)
        + _of_caller("its.memory", Field.MEMORY, "ptr")
        + """
  %taken = call i64 @llvm.umin.i64(i64 %room, i64 %RESULT_LENGTH)
  %place.to = getelementptr i8, ptr %its.memory, i64 %place.offset
  call void @llvm.memcpy.p0.p0.i64(ptr %place.to, ptr %output, i64 %taken, i1 false)
"""
    )


def _end(halt: Halt) -> str:
    """``@endN``: STOP, RETURN or REVERT of a frame."""
    is_success = halt is not Halt.REVERT
    text = _head(f"end{int(halt)}") + load_field(Field.CALLER, "ptr") + load_field(Field.IS_JOURNALED)
    text += "  %is.inner = icmp ne ptr %CALLER, null\n"
    if is_success:
        text += "  br i1 %is.inner, label %end, label %leave\n"
    else:
        # What the journal holds of the frame only Python can undo.
        text += "  %is.pure = icmp eq i64 %IS_JOURNALED, 0\n  %is.native = and i1 %is.inner, %is.pure\n"
        text += "  br i1 %is.native, label %end, label %leave\n"
    text += _to_python(int(halt)) + "end:\n" + load_field(Field.LEDGER, "ptr")
    if is_success:
        text += _of_caller("journaled", Field.IS_JOURNALED)
        text += "  %either = or i64 %journaled, %IS_JOURNALED\n  store i64 %either, ptr %journaled.at\n"
    else:
        text += "  call void @undo(ptr %frame)\n"
    if halt is not Halt.STOP:
        text += _take_output()
    text += _of_caller("its.sp", Field.SP) + _of_caller("kept", Field.GAS) + _of_caller("its.pc", Field.PC)
    text += _of_caller("its.code", Field.CODE, "ptr") + _of_caller("its.table", Field.TABLE, "ptr")
    text += _of_caller("its.entries", Field.ENTRIES, "ptr")
    text += _of_caller("its.functions", Field.FUNCTIONS, "ptr") + _deeper(-1)
    if is_success:
        text += (
            "  %its.top = getelementptr i8, ptr %CALLER, i64 %its.sp\n"
            "  %flag = getelementptr i8, ptr %its.top, i64 -32\n  store i256 1, ptr %flag, align 32\n"
        )
    return (
        text
        + "  %its.gas = add i64 %kept, %gas\n  %running = getelementptr i8, ptr %CALLER, i64 0\n"
        + "  %its.ip = getelementptr i8, ptr %its.code, i64 %its.pc\n"
        + _enter("%its.pc")
    )


def ir(fork: Fork) -> str:
    """`vm.evm.convention.routines_before_python`."""
    rows = opcodes(fork)
    return "".join(
        _end(Halt(code)) if code < Exit.HOST else _call(rows[code - Exit.HOST], SCHEDULES[fork])
        for code in routines_before_python(fork)
    )
