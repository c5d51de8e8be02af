"""Plain calls in native code: the callee's frame begins and ends without returning to Python.

A plain call has no value, and goes to an account that Python has called before in this execution (`Callee`), without
stepping or tracing. All others return to Python, which finds the frames that native code began by `StateBlock.DEPTH`
and `Field.IS_KNOWN`. The callee reads its calldata from the memory of its caller, which is suspended, and the caller
its return data from the memory of the callee, which is not reused before the caller makes another call.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES, GasSchedule
from vm.evm.convention import (
    code_function,
    field_at,
    get_field,
    go_on,
    is_halted,
    pc_of,
    routines_before_python,
    set_field,
    through_maps,
)
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
from vm.evm.opcodes import Opcode, opcodes
from vm.ir.builder import Builder, Operand
from vm.message import CallKind, Halt

_ATTRIBUTES: Final = "nounwind noimplicitfloat"
_OF_STORAGE: Final = (Field.STORAGE_TAG, Field.COMPLETE)
"""Registers copied from the caller where a call runs on its storage."""
_MARKS: Final = {
    Field.UNDO_MARK: StateBlock.UNDO,
    Field.LOG_MARK: StateBlock.LOGS_END,
    Field.REFUND_MARK: StateBlock.REFUND,
}
"""Positions in the native state at the beginning of the frame."""


class _Callee(NamedTuple):
    """The facts about a plain call, as SSA values."""

    frame: str
    """The callee's frame, not started yet."""
    block: str
    """The native state."""
    known: str
    """The account's `Callee`."""
    number: str
    address: str
    granted: str
    """Gas given to it."""
    data: str
    """Address of its calldata; ``data_size`` is the length in bytes."""
    data_size: str


class _Place(NamedTuple):
    """Where to continue: registers, and maps of compiled code."""

    frame: str
    sp: Operand
    gas: str
    ip: str
    table: str
    entries: str
    functions: str
    pc: Operand


def ir(fork: Fork) -> str:
    """`vm.evm.convention.routines_before_python`."""
    rows = opcodes(fork)
    return "".join(
        _end(Halt(code)) if code < Exit.HOST else _call(rows[code - Exit.HOST], SCHEDULES[fork])
        for code in routines_before_python(fork)
    )


def _enter(b: Builder, place: _Place) -> None:
    """Continue in a frame, in compiled code if there is any for the pc."""
    function = through_maps(b, place.entries, place.functions, place.pc, place.table, place.ip)
    go_on(b, function, frame=place.frame, sp=str(place.sp), gas=place.gas, ip=place.ip, table=place.table)


def _leave_unless(b: Builder, condition: str, code: int) -> None:
    """Return to Python unless the i1 holds."""
    b.branch(condition, "begin", "leave")
    b.place("leave")
    go_on(b, f"@exit{int(code)}")
    b.place("begin")


def _both(b: Builder, *conditions: str) -> str:
    """Whether all conditions hold, i1."""
    both, *others = conditions
    for other in others:
        both = b.let(f"and i1 {both}, {other}")
    return both


def _call(row: Opcode, gas: GasSchedule) -> str:
    """``@callN``: the opcode's frame has its state after the opcode, operands above the stack."""
    b, kind = Builder(), CallKind[row.name]
    callee = _begin(b, kind, row, gas)
    registers = _set_registers(b, kind, callee)
    _set_environment(b, kind, callee)
    _deepen(b, callee.block, 1)
    ip, table, entries, functions = (
        b.let(f"inttoptr i64 {registers[field]} to ptr")
        for field in (Field.CODE, Field.TABLE, Field.ENTRIES, Field.FUNCTIONS)
    )
    _enter(b, _Place(callee.frame, STACK_OFFSET, callee.granted, ip, table, entries, functions, 0))
    return code_function(f"call{row.byte}", b, _ATTRIBUTES)


def _begin(b: Builder, kind: CallKind, row: Opcode, gas: GasSchedule) -> _Callee:
    """Check that the call is plain, and suspend the caller in the state in which it will continue."""
    has_value = kind in (CallKind.CALL, CallKind.CALLCODE)
    gas_at = 160 if has_value else 128
    following, block = get_field(b, Field.NEXT, "ptr"), get_field(b, Field.STATE, "ptr")
    top = b.at("%frame", "%sp")
    has_frame, goes_on = b.let(f"icmp ne ptr {following}, null"), b.let(f"xor i1 {is_halted(b)}, true")
    worthless = [b.let(f"icmp eq i256 {b.get('i256', top, 96)}, 0")] if has_value else []
    wanted = b.get("i256", top, gas_at - WORD_BYTES)
    address = b.let(f"zext i160 {b.let(f'trunc i256 {wanted} to i160')} to i256")
    place = b.let(f"and i64 {b.let(f'trunc i256 {wanted} to i64')}, {CALLEES_MAX - 1}")
    known = b.at(b.at(block, StateBlock.CALLEES), b.let(f"mul i64 {place}, {CALLEE_BYTES}"))
    is_same = b.let(f"icmp eq i256 {b.get('i256', known, Callee.ADDRESS)}, {address}")
    number = b.get("i64", known, Callee.NUMBER)
    is_filled = b.let(f"icmp ne i64 {number}, 0")
    _leave_unless(b, _both(b, is_same, is_filled, *worthless, has_frame, goes_on), Exit.HOST + row.byte)
    asked = b.get("i256", top, gas_at)
    start, size, out_start, out_size = (b.get("i64", top, at) for at in (64, 32, 0, -WORD_BYTES))
    most = b.let(f"sub i64 %gas, {b.let(f'udiv i64 %gas, {gas.call_withheld_divisor}')}")
    most_wide = b.let(f"zext i64 {most} to i256")
    granted = b.let(f"trunc i256 {b.let(f'call i256 @llvm.umin.i256(i256 {asked}, i256 {most_wide})')} to i64")
    b.put("i256", 0, top, -WORD_BYTES)
    for field, value in (
        *((Field.PC, pc_of(b)), (Field.GAS, b.let(f"sub i64 %gas, {granted}")), (Field.SP, "%sp")),
        *((Field.RETURNDATA_LENGTH, 0), (Field.OUTPUT_OFFSET, out_start), (Field.OUTPUT_LENGTH, out_size)),
    ):
        set_field(b, field, value)
    data = b.at(get_field(b, Field.MEMORY, "ptr"), start)
    return _Callee(following, block, known, number, address, granted, data, size)


def _set_registers(b: Builder, kind: CallKind, callee: _Callee) -> dict[Field, str]:
    """Registers of the callee at its beginning; those of its `Callee`, by field."""
    # Each is written as soon as it is read: many values live at once would be spilled.
    found: dict[Field, str] = {}
    for place, field in enumerate(CALLEE_FIELDS):
        if field in _OF_STORAGE and kind in (CallKind.CALLCODE, CallKind.DELEGATECALL):
            found[field] = get_field(b, field)
        else:
            found[field] = b.get("i64", callee.known, Callee.REGISTERS + 8 * place)
        set_field(b, field, found[field], frame=callee.frame)
    is_static = 1 if kind is CallKind.STATICCALL else get_field(b, Field.STATIC)
    set_field(b, Field.STATIC, is_static, frame=callee.frame)
    used_at = field_at(b, Field.MEMORY_SIZE, callee.frame)
    used, memory = b.load("i64", used_at), get_field(b, Field.MEMORY, "ptr", callee.frame)
    b.do(f"call void @llvm.memset.p0.i64(ptr {memory}, i8 0, i64 {used}, i1 false)")
    b.store("i64", 0, used_at)
    values: dict[Field, Operand] = {
        Field.CALLDATA_LENGTH: callee.data_size,
        Field.PLAIN_TABLE: get_field(b, Field.PLAIN_TABLE),
        Field.CALLEE: callee.number,
        Field.KIND: int(kind),
        **dict.fromkeys((Field.RETURNDATA_LENGTH, Field.MEMORY_COST, Field.IS_KNOWN, Field.IS_JOURNALED), 0),
    }
    for field, value in values.items():
        set_field(b, field, value, frame=callee.frame)
    for field, pointer in ((Field.CALLDATA, callee.data), (Field.STATE, callee.block), (Field.CALLER, "%frame")):
        set_field(b, field, pointer, "ptr", callee.frame)
    for field, place in _MARKS.items():
        set_field(b, field, b.get("i64", callee.block, place), frame=callee.frame)
    return found


def _word_at(word: Env) -> int:
    return ENV_OFFSET + WORD_BYTES * word


def _set_environment(b: Builder, kind: CallKind, callee: _Callee) -> None:
    """Words of the callee's environment; those of the transaction are the caller's."""
    mine = b.get("i256", "%frame", _word_at(Env.ADDRESS))
    is_delegate = kind is CallKind.DELEGATECALL
    words = {
        Env.ADDRESS: callee.address if kind in (CallKind.CALL, CallKind.STATICCALL) else mine,
        Env.CALLER: b.get("i256", "%frame", _word_at(Env.CALLER)) if is_delegate else mine,
        Env.CALLVALUE: b.get("i256", "%frame", _word_at(Env.CALLVALUE)) if is_delegate else 0,
    }
    for word, value in words.items():
        b.put("i256", value, callee.frame, _word_at(word))
    source, target = (b.at(frame, TRANSACTION_ENV_OFFSET) for frame in ("%frame", callee.frame))
    size = ENV_END - TRANSACTION_ENV_OFFSET
    b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")


def _deepen(b: Builder, block: str, by: int) -> None:
    depth_at = b.at(block, StateBlock.DEPTH)
    b.store("i64", b.let(f"add i64 {b.load('i64', depth_at)}, {by}"), depth_at)


def _end(halt: Halt) -> str:
    """``@endN``: STOP, RETURN or REVERT of a frame."""
    b, is_success = Builder(), halt is not Halt.REVERT
    caller, journaled = get_field(b, Field.CALLER, "ptr"), get_field(b, Field.IS_JOURNALED)
    conditions = [b.let(f"icmp ne ptr {caller}, null")]
    if not is_success:  # only Python can undo the frame's changes in the journal
        conditions.append(b.let(f"icmp eq i64 {journaled}, 0"))
    _leave_unless(b, _both(b, *conditions), halt)
    block = get_field(b, Field.STATE, "ptr")
    if is_success:
        before = get_field(b, Field.IS_JOURNALED, frame=caller)
        set_field(b, Field.IS_JOURNALED, b.let(f"or i64 {before}, {journaled}"), frame=caller)
    else:
        b.do("call void @undo(ptr %frame)")
    if halt is not Halt.STOP:
        _give_output(b, caller)
    sp, kept, pc = (get_field(b, field, frame=caller) for field in (Field.SP, Field.GAS, Field.PC))
    code, table, entries, functions = (
        get_field(b, field, "ptr", caller) for field in (Field.CODE, Field.TABLE, Field.ENTRIES, Field.FUNCTIONS)
    )
    _deepen(b, block, -1)
    if is_success:
        b.put("i256", 1, b.at(caller, sp), -WORD_BYTES)
    gas = b.let(f"add i64 {kept}, %gas")
    _enter(b, _Place(caller, sp, gas, b.at(code, pc), table, entries, functions, pc))
    return code_function(f"end{int(halt)}", b, _ATTRIBUTES)


def _give_output(b: Builder, caller: str) -> None:
    """Give the output to the caller: as return data, and in its output area of memory."""
    offset, size = get_field(b, Field.RESULT_OFFSET), get_field(b, Field.RESULT_LENGTH)
    output = b.at(get_field(b, Field.MEMORY, "ptr"), offset)
    set_field(b, Field.RETURNDATA, output, "ptr", caller)
    set_field(b, Field.RETURNDATA_LENGTH, size, frame=caller)
    room, start = (get_field(b, field, frame=caller) for field in (Field.OUTPUT_LENGTH, Field.OUTPUT_OFFSET))
    target = b.at(get_field(b, Field.MEMORY, "ptr", caller), start)
    taken = b.let(f"call i64 @llvm.umin.i64(i64 {room}, i64 {size})")
    b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {output}, i64 {taken}, i1 false)")
