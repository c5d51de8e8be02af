"""The calling convention of all native code: one signature, registers in and out of the frame, dispatch."""

from __future__ import annotations

from functools import cache
from typing import Final

from chain.forks import Fork
from vm.evm.layout import Exit, Field
from vm.evm.opcodes import opcodes
from vm.message import CallKind, Halt

PARAMETERS: Final = "ptr %frame, i64 %sp, i64 %gas, ptr %ip, ptr %table"
PARAMETER_TYPES: Final = "ptr, i64, i64, ptr, ptr"
SIGNATURE: Final = "preserve_nonecc i64"
"""Every opcode, block and exit: what ``musttail`` needs to be the same everywhere."""


def store_field(field: Field, value: str) -> str:
    """Write a register of the frame."""
    return (
        f"  %at.{field.name} = getelementptr i8, ptr %frame, i64 {8 * field}\n"
        f"  store i64 {value}, ptr %at.{field.name}\n"
    )


def load_field(field: Field, kind: str = "i64") -> str:
    """Read a register of the frame as ``%NAME``."""
    return (
        f"  %at.{field.name} = getelementptr i8, ptr %frame, i64 {8 * field}\n"
        f"  %{field.name} = load {kind}, ptr %at.{field.name}\n"
    )


HERE: Final = (
    load_field(Field.CODE) + "  %here = ptrtoint ptr %ip to i64\n  %pc = sub i64 %here, %CODE\n"
)
"""Finds ``%pc``."""


def exit_function(code: int) -> str:
    """``@exitN``: store the registers and return the code to Python."""
    return (
        f"define internal {SIGNATURE} @exit{code}({PARAMETERS}) noinline nounwind {{\n"
        + HERE
        + store_field(Field.PC, "%pc")
        + store_field(Field.GAS, "%gas")
        + store_field(Field.SP, "%sp")
        + f"  ret i64 {code}\n}}\n"
    )


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


THROUGH_TABLE: Final = (
    "  %op = load i8, ptr %ip\n  %index = zext i8 %op to i64\n"
    "  %slot = getelementptr ptr, ptr {table}, i64 %index\n  %function = load ptr, ptr %slot\n"
)
"""Finds the ``%function`` of the opcode at ``%ip``."""


TABLE_ENTRIES: Final = 256
TABLE_WORDS: Final = TABLE_ENTRIES + 1
"""A dispatch table: a function for each opcode, and a word that is not 0 when what runs is to leave."""

IS_HALTED: Final = (
    f"  %halted.at = getelementptr i8, ptr %table, i64 {8 * TABLE_ENTRIES}\n"
    "  %halted.word = load volatile i64, ptr %halted.at\n  %is.halted = icmp ne i64 %halted.word, 0\n"
)
"""Finds ``%is.halted``: for native code that goes on without the table. Volatile: another thread writes it."""


def table(name: str, entries: list[str]) -> str:
    """A dispatch table."""
    listed = ", ".join([*(f"ptr @{entry}" for entry in entries), "ptr null"])
    return f"@{name} = internal constant [{TABLE_WORDS} x ptr] [{listed}]\n"
