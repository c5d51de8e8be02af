"""What compiled code and the interpreter need of each other, as IR inside the interpreter's module.

Compiled functions are found by a dense index: 0 is a bad jump, 1 interprets one opcode, and from 2 on come in
order of pc the code's begin, every JUMPDEST and every place after an opcode that always leaves to Python. Until
it is compiled each of these interprets one opcode too, and counts how often.
"""

from __future__ import annotations

from typing import Final

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from vm.evm.convention import (
    PARAMETER_TYPES,
    SIGNATURE,
    code_function,
    get_field,
    go_on,
    indexed_function,
    opcode_function,
    pc_of,
    routines_before_python,
    through_maps,
)
from vm.evm.layout import Field
from vm.evm.opcodes import BY_NAME
from vm.evm.routines.push_data import step_over
from vm.ir.builder import Builder

FIRST_INDEX: Final = 2
DEOPTIMISED: Final = 1
"""Index of the counter of failed guards and opcodes left to the interpreter."""

_BINARY: Final = "declare i256 @{name}(i256, i256)\n"
_BLOCK: Final = f"declare {SIGNATURE} @{{name}}({PARAMETER_TYPES})\n"
_SYMBOLS: Final[dict[str, str]] = {
    "retry": _BLOCK,
    "defer": _BLOCK,
    "divide": _BINARY,
    "modulo": _BINARY,
    "power": _BINARY,
    "add_modulo": "declare i256 @{name}(i256, i256, i256)\n",
    "multiply_modulo": "declare i256 @{name}(ptr, i256, i256, i256)\n",
    "expand": "declare i64 @{name}(ptr, i64, i64)\n",
    "digest": "declare i256 @{name}(ptr, ptr, i64)\n",
    "copy_padded": "declare void @{name}(ptr, ptr, i64, i64, i64)\n",
    "load_padded": "declare i256 @{name}(ptr, i64, i64)\n",
    "append_log": "declare ptr @{name}(ptr, i64, ptr, i64)\n",
    "load_slot": "declare i64 @{name}(ptr, i256, i64, i64)\n",
    "store_slot": "declare i64 @{name}(ptr, i256, i256, i64)\n",
    "store_transient": "declare i64 @{name}(ptr, i256, i256, i64)\n",
}


def symbols(fork: Fork) -> dict[str, str]:
    """What compiled code may call of the interpreter's module: name -> declaration."""
    texts = _SYMBOLS | dict.fromkeys(routines_before_python(fork).values(), _BLOCK)
    if "TSTORE" not in SCHEDULES[fork].opcodes:
        del texts["store_transient"]
    return {name: text.format(name=name) for name, text in texts.items()}


def ir(always_left: frozenset[int]) -> str:
    """The functions; ``always_left`` are the opcodes that Python carries out in any case."""
    marks = ", ".join(f"i8 {int(byte in always_left)}" for byte in range(256))
    return "".join(
        (
            f"@always_left = internal constant [256 x i8] [{marks}]\n",
            _map_entries(),
            entry("resume", into_compiled=True),
            _to_compiled(),
            _interpret(),
            _retry(),
            _defer(),
        )
    )


def entry(name: str, *, into_compiled: bool) -> str:
    """``@name(frame)``: run from the registers in the frame until something exits, and return the exit's code.

    ``into_compiled``: in compiled code, where the frame's pc has some.
    """
    b = Builder()
    b.place("start")
    pc, gas, sp = (get_field(b, field) for field in (Field.PC, Field.GAS, Field.SP))
    code, table = get_field(b, Field.CODE, "ptr"), get_field(b, Field.TABLE, "ptr")
    ip = b.at(code, pc)
    if into_compiled:
        entries = get_field(b, Field.ENTRIES, "ptr")
        function = through_maps(b, entries, get_field(b, Field.FUNCTIONS, "ptr"), pc, table, ip)
    else:
        function = opcode_function(b, table, ip)
    ended = b.let(f"call {SIGNATURE} {function}(ptr %frame, i64 {sp}, i64 {gas}, ptr {ip}, ptr {table})")
    b.do(f"ret i64 {ended}")
    return b.function(f"define i64 @{name}(ptr %frame) nounwind")


def _target_index(b: Builder) -> str:
    """Index of the function for the JUMPDEST at ``%ip``; 0, the bad jump, where there is none."""
    cell = b.element("i16", get_field(b, Field.TARGETS, "ptr"), pc_of(b))
    return b.let(f"zext i16 {b.load('i16', cell)} to i64")


def _count(b: Builder, index: str | int) -> None:
    counter = b.element("i32", get_field(b, Field.PROFILE, "ptr"), index)
    b.store("i32", b.let(f"add i32 {b.load('i32', counter)}, 1"), counter)


def _to_compiled() -> str:
    """The jit table's only own entry, for JUMPDEST."""
    b = Builder()
    index = _target_index(b)
    go_on(b, indexed_function(b, index, get_field(b, Field.FUNCTIONS, "ptr")))
    return code_function("to_compiled", b)


def _interpret() -> str:
    """What stands where nothing is compiled."""
    b = Builder()
    _count(b, _target_index(b))
    go_on(b, opcode_function(b, get_field(b, Field.PLAIN_TABLE, "ptr")))
    return code_function("interpret", b)


def _retry() -> str:
    """A guard failed: interpret from here on. Through the jit table the same guard would fail again and again."""
    b = Builder()
    _count(b, DEOPTIMISED)
    plain = get_field(b, Field.PLAIN_TABLE, "ptr")
    go_on(b, opcode_function(b, plain), table=plain)
    return code_function("retry", b)


def _defer() -> str:
    """Interpret this opcode, whatever it is, and go on in the table's mode."""
    b = Builder()
    _count(b, DEOPTIMISED)
    go_on(b, opcode_function(b, get_field(b, Field.PLAIN_TABLE, "ptr")))
    return code_function("defer", b)


def _map_entries() -> str:
    """``@map_entries``: give out the indexes; both maps are zero before. Returns how many there are."""
    b = Builder()
    b.place("start")
    b.store("i16", FIRST_INDEX, "%entries")
    b.go("loop")
    b.place("loop")
    pc = b.choose("i64", ((0, "start"), ("%next", "after")))
    index = b.choose("i64", ((FIRST_INDEX + 1, "start"), ("%index.next", "after")))
    b.branch(b.let(f"icmp ult i64 {pc}, %length"), "look", "done")
    b.place("look")
    opcode = b.load("i8", b.at("%code", pc))
    step_over(b, opcode, pc, "%next")
    short = b.let(f"trunc i64 {index} to i16")
    mark = b.load("i8", b.at("@always_left", b.let(f"zext i8 {opcode} to i64")))
    b.branch(b.let(f"icmp eq i8 {opcode}, {BY_NAME['JUMPDEST'].byte}"), "target", "other")
    b.place("target")
    b.store("i16", short, b.element("i16", "%targets", pc))
    b.go("count")
    b.place("other")
    b.branch(b.let(f"icmp ne i8 {mark}, 0"), "left", "after")
    b.place("left")
    b.store("i16", short, b.element("i16", "%entries", "%next"))
    b.go("count")
    b.place("count")
    raised = b.let(f"add i64 {index}, 1")
    b.go("after")
    b.place("after")
    b.do(f"%index.next = phi i64 [ {raised}, %count ], [ {index}, %other ]")
    b.go("loop")
    b.place("done")
    b.do(f"ret i64 {index}")
    return b.function("define i64 @map_entries(ptr %code, i64 %length, ptr %targets, ptr %entries) nounwind")
