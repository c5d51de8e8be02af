"""What compiled code and the interpreter need of each other, as IR inside the interpreter's module.

Compiled functions are found by a dense index: 0 is a bad jump, 1 interprets one opcode, and from 2 on come in
order of pc the code's begin, every JUMPDEST and every place after an opcode that always leaves to Python. Until
it is compiled each of these interprets one opcode too, and counts how often.
"""

from __future__ import annotations

from typing import Final

from chain.forks import Fork
from vm.evm.convention import (
    HERE,
    PARAMETER_TYPES,
    PARAMETERS,
    SIGNATURE,
    THROUGH_TABLE,
    load_field,
    routines_before_python,
)
from vm.evm.layout import Field

INTERPRET: Final = 1
FIRST_INDEX: Final = 2
DEOPTIMISED: Final = 1
"""Index of the counter of failed guards and opcodes left to the interpreter."""

_TAIL: Final = f"  %code = musttail call {SIGNATURE} %function({PARAMETERS})\n  ret i64 %code\n}}\n"

_BINARY: Final = "declare i256 @{name}(i256, i256)\n"
_TERNARY: Final = "declare i256 @{name}(i256, i256, i256)\n"
_BLOCK: Final = f"declare {SIGNATURE} @{{name}}({PARAMETER_TYPES})\n"
_SYMBOLS: Final[dict[str, str]] = {
    "retry": _BLOCK,
    "defer": _BLOCK,
    "divide": _BINARY,
    "modulo": _BINARY,
    "power": _BINARY,
    "add_modulo": _TERNARY,
    "multiply_modulo": _TERNARY,
    "expand": "declare i64 @{name}(ptr, i64, i64)\n",
    "keccak256": "declare i256 @{name}(ptr, i64)\n",
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
    return {
        name: text.format(name=name)
        for name, text in texts.items()
        if name != "store_transient" or fork >= Fork.CANCUN
    }


def ir(always_left: frozenset[int]) -> str:
    """The functions; ``always_left`` are the opcodes that Python carries out in any case."""
    marks = ", ".join(f"i8 {int(byte in always_left)}" for byte in range(256))
    return "".join(
        (
            f"@always_left = internal constant [256 x i8] [{marks}]\n",
            _MAP_ENTRIES,
            _resume(),
            _to_compiled(),
            _interpret(),
            _retry(),
            _defer(),
        )
    )


def _function(name: str, body: str) -> str:
    return f"define internal {SIGNATURE} @{name}({PARAMETERS}) nounwind {{\n{body}"


def _indexed(map_: Field) -> str:
    """Find the ``%function`` and its ``%place`` for ``%pc``; where the map has 0 it is the bad jump."""
    return (
        load_field(map_, "ptr")
        + load_field(Field.FUNCTIONS, "ptr")
        + f"  %cell = getelementptr i16, ptr %{map_.name}, i64 %pc\n"
        "  %short = load i16, ptr %cell\n  %place = zext i16 %short to i64\n"
        "  %at.function = getelementptr ptr, ptr %FUNCTIONS, i64 %place\n"
        "  %function = load ptr, ptr %at.function\n"
    )


def _to_compiled() -> str:
    """The jit table's only own entry, for JUMPDEST."""
    return _function("to_compiled", HERE + _indexed(Field.TARGETS) + _TAIL)


def _interpret() -> str:
    """What stands where nothing is compiled."""
    body = (
        HERE
        + _indexed(Field.TARGETS).split("  %at.function =")[0]
        + load_field(Field.PROFILE, "ptr")
        + "  %counter = getelementptr i32, ptr %PROFILE, i64 %place\n"
        "  %count = load i32, ptr %counter\n  %more = add i32 %count, 1\n  store i32 %more, ptr %counter\n"
        + load_field(Field.PLAIN_TABLE, "ptr")
        + THROUGH_TABLE.format(table="%PLAIN_TABLE")
        + _TAIL
    )
    return _function("interpret", body)


def _raise_counter(index: int = DEOPTIMISED) -> str:
    return (
        load_field(Field.PROFILE, "ptr") + f"  %counter = getelementptr i32, ptr %PROFILE, i64 {index}\n"
        "  %count = load i32, ptr %counter\n  %more = add i32 %count, 1\n  store i32 %more, ptr %counter\n"
    )


def _retry() -> str:
    """A guard failed: interpret from here on. Through the jit table the same guard would fail again."""
    arguments = PARAMETERS.replace("%table", "%PLAIN_TABLE")
    body = (
        _raise_counter()
        + load_field(Field.PLAIN_TABLE, "ptr")
        + THROUGH_TABLE.format(table="%PLAIN_TABLE")
        + f"  %code = musttail call {SIGNATURE} %function({arguments})\n  ret i64 %code\n}}\n"
    )
    return _function("retry", body)


def _defer() -> str:
    """Interpret this opcode, whatever it is, and go on in the table's mode."""
    body = (
        _raise_counter()
        + load_field(Field.PLAIN_TABLE, "ptr")
        + THROUGH_TABLE.format(table="%PLAIN_TABLE")
        + _TAIL
    )
    return _function("defer", body)


def _resume() -> str:
    """``@resume(frame)``: like ``@enter``, but into compiled code where the frame's pc has some."""
    loads = "".join(load_field(field) for field in (Field.PC, Field.GAS, Field.SP))
    return (
        "define i64 @resume(ptr %frame) nounwind {\n"
        + loads
        + load_field(Field.CODE, "ptr")
        + load_field(Field.TABLE, "ptr")
        + "  %ip = getelementptr i8, ptr %CODE, i64 %PC\n"
        + load_field(Field.ENTRIES, "ptr")
        + "  %none = icmp eq ptr %ENTRIES, null\n  br i1 %none, label %plainly, label %mapped\nplainly:\n"
        + THROUGH_TABLE.format(table="%TABLE")
        + "  br label %go\nmapped:\n"
        + load_field(Field.FUNCTIONS, "ptr")
        + "  %cell = getelementptr i16, ptr %ENTRIES, i64 %PC\n  %short = load i16, ptr %cell\n"
        "  %known = icmp ne i16 %short, 0\n"
        f"  %chosen = select i1 %known, i16 %short, i16 {INTERPRET}\n  %place = zext i16 %chosen to i64\n"
        "  %at.compiled = getelementptr ptr, ptr %FUNCTIONS, i64 %place\n"
        "  %compiled = load ptr, ptr %at.compiled\n  br label %go\ngo:\n"
        "  %first = phi ptr [ %function, %plainly ], [ %compiled, %mapped ]\n"
        f"  %code = call {SIGNATURE} %first(ptr %frame, i64 %SP, i64 %GAS, ptr %ip, ptr %TABLE)\n"
        "  ret i64 %code\n}\n"
    )


_MAP_ENTRIES: Final = f"""
; Give out the indexes; both maps are zero before. Returns how many there are.
define i64 @map_entries(ptr %code, i64 %length, ptr %targets, ptr %entries) nounwind {{
entry:
  store i16 {FIRST_INDEX}, ptr %entries
  br label %loop
loop:
  %pc = phi i64 [ 0, %entry ], [ %next, %after ]
  %index = phi i64 [ {FIRST_INDEX + 1}, %entry ], [ %index.next, %after ]
  %more = icmp ult i64 %pc, %length
  br i1 %more, label %look, label %done
look:
  %at = getelementptr i8, ptr %code, i64 %pc
  %op = load i8, ptr %at
  %from.push = sub i8 %op, 95
  %is.push = icmp ult i8 %from.push, 33
  %data8 = select i1 %is.push, i8 %from.push, i8 0
  %data = zext i8 %data8 to i64
  %step = add i64 %data, 1
  %next = add i64 %pc, %step
  %short = trunc i64 %index to i16
  %wide = zext i8 %op to i64
  %mark.at = getelementptr i8, ptr @always_left, i64 %wide
  %mark = load i8, ptr %mark.at
  %is.left = icmp ne i8 %mark, 0
  %is.dest = icmp eq i8 %op, 91
  br i1 %is.dest, label %target, label %other
target:
  %target.at = getelementptr i16, ptr %targets, i64 %pc
  store i16 %short, ptr %target.at
  br label %count
other:
  br i1 %is.left, label %left, label %after
left:
  %entry.at = getelementptr i16, ptr %entries, i64 %next
  store i16 %short, ptr %entry.at
  br label %count
count:
  %raised = add i64 %index, 1
  br label %after
after:
  %index.next = phi i64 [ %raised, %count ], [ %index, %other ]
  br label %loop
done:
  ret i64 %index
}}
"""
