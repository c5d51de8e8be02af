"""What all native code of the EVM has in common: one signature, registers in and out of the frame, dispatch, exits.

A function is given the frame, stack pointer, gas, instruction pointer and dispatch table in registers, and ends by
going on in another or by leaving to Python through an exit.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from chain.forks import Fork
from vm.evm.layout import Exit, Field
from vm.evm.opcodes import opcodes
from vm.ir.builder import Builder, Operand
from vm.message import CallKind, Halt

PARAMETERS: Final = "ptr %frame, i64 %sp, i64 %gas, ptr %ip, ptr %table"
PARAMETER_TYPES: Final = "ptr, i64, i64, ptr, ptr"
SIGNATURE: Final = "preserve_nonecc i64"
"""Every opcode, block and exit: what ``musttail`` needs to be the same everywhere."""

TABLE_ENTRIES: Final = 256
TABLE_WORDS: Final = TABLE_ENTRIES + 1
"""A dispatch table: a function for each opcode, and a word that is not 0 when what runs is to leave."""

INTERPRET: Final = 1
"""Index of the function that interprets one opcode, among those that a frame's maps name."""


def field_at(b: Builder, field: Field, frame: str = "%frame") -> str:
    """Address of a register of a frame."""
    return b.at(frame, 8 * field)


def get_field(b: Builder, field: Field, kind: str = "i64", frame: str = "%frame") -> str:
    """Value of a register of a frame."""
    return b.load(kind, field_at(b, field, frame))


def set_field(b: Builder, field: Field, value: Operand, kind: str = "i64", frame: str = "%frame") -> None:
    """Write a register of a frame."""
    b.store(kind, value, field_at(b, field, frame))


def pc_of(b: Builder) -> str:
    """Offset in the code of the instruction pointer, i64."""
    code, here = get_field(b, Field.CODE), b.let("ptrtoint ptr %ip to i64")
    return b.let(f"sub i64 {here}, {code}")


def code_function(name: str, b: Builder, attributes: str = "nounwind") -> str:
    """The text of a function with the common signature; the module's own."""
    return b.function(f"define internal {SIGNATURE} @{name}({PARAMETERS}) {attributes}")


def go_on(
    b: Builder,
    callee: str,
    *,
    frame: str = "%frame",
    sp: str = "%sp",
    gas: Operand = "%gas",
    ip: str = "%ip",
    table: str = "%table",
) -> None:
    """End the function by going on in another, with these registers."""
    arguments = f"ptr {frame}, i64 {sp}, i64 {gas}, ptr {ip}, ptr {table}"
    b.do(f"ret i64 {b.let(f'musttail call {SIGNATURE} {callee}({arguments})')}")


def opcode_function(b: Builder, table: str, ip: str = "%ip") -> str:
    """What a dispatch table has for the opcode at the instruction pointer."""
    index = b.let(f"zext i8 {b.load('i8', ip)} to i64")
    return b.load("ptr", b.element("ptr", table, index))


def indexed_function(b: Builder, index: Operand, functions: str) -> str:
    """A function by its index (`vm.evm.routines.compiled`)."""
    return b.load("ptr", b.element("ptr", functions, index))


def through_maps(b: Builder, entries: str, functions: str, pc: Operand, table: str, ip: str) -> str:
    """The function a frame goes on with: compiled code for its pc if it has ``entries``, else the opcode's."""
    b.branch(b.let(f"icmp eq ptr {entries}, null"), "plainly", "mapped")
    b.place("plainly")
    plain = opcode_function(b, table, ip)
    b.go("chosen")
    b.place("mapped")
    index = b.load("i16", b.element("i16", entries, pc))
    is_entry = b.let(f"icmp ne i16 {index}, 0")
    chosen = b.let(f"select i1 {is_entry}, i16 {index}, i16 {INTERPRET}")
    compiled = indexed_function(b, b.let(f"zext i16 {chosen} to i64"), functions)
    b.go("chosen")
    b.place("chosen")
    return b.choose("ptr", ((plain, "plainly"), (compiled, "mapped")))


def is_halted(b: Builder) -> str:
    """Whether what runs is to leave, i1: for native code that goes on without the table.

    The load is volatile: another thread writes the word.
    """
    word = b.let(f"load volatile i64, ptr {b.element('ptr', '%table', TABLE_ENTRIES)}")
    return b.let(f"icmp ne i64 {word}, 0")


def exit_function(code: int) -> str:
    """``@exitN``: store the registers and return the code to Python."""
    b = Builder()
    set_field(b, Field.PC, pc_of(b))
    set_field(b, Field.GAS, "%gas")
    set_field(b, Field.SP, "%sp")
    b.do(f"ret i64 {int(code)}")
    return code_function(f"exit{int(code)}", b, "noinline nounwind")


def table(name: str, entries: list[str]) -> str:
    """A dispatch table."""
    listed = ", ".join([*(f"ptr @{entry}" for entry in entries), "ptr null"])
    return f"@{name} = internal constant [{TABLE_WORDS} x ptr] [{listed}]\n"


@cache
def routines_before_python(fork: Fork) -> dict[int, str]:
    """Names of what is tried before leaving with a code: calls and ends of frames (`vm.evm.routines.calls`)."""
    if fork < Fork.TANGERINE_WHISTLE:
        return {}
    rows = opcodes(fork)
    calls = {
        Exit.HOST + byte: f"call{byte}"
        for byte, row in rows.items()
        if row.name in CallKind.__members__ and not row.name.startswith("CREATE")
    }
    names = {row.name for row in rows.values()}
    ends = {int(h): f"end{int(h)}" for h in (Halt.STOP, Halt.RETURN, Halt.REVERT) if h.name in names}
    return calls | ends
