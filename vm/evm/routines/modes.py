"""Stepping in native code: modes that count opcodes, look for marked places and low gas, or hash a trace.

A mode is a dispatch table whose every entry is one function here: it does its work and runs the opcode through the
frame's plain table. ``step`` needs nothing else. ``watch`` and ``digest`` have operands in a block of memory
(`vm.evm.layout.SteppingBlock`) that the frame's BREAKPOINTS register points to.
"""

from __future__ import annotations

from typing import Final

from vm.evm.convention import (
    TABLE_ENTRIES,
    code_function,
    exit_function,
    get_field,
    go_on,
    opcode_function,
    pc_of,
    set_field,
    table,
)
from vm.evm.layout import STACK_OFFSET, WORD_BYTES, Exit, Field, SteppingBlock
from vm.ir.builder import Builder, declared_exports

DIGEST_FACTOR: Final = 0x9E3779B97F4A7C15
DIGEST_SHIFT: Final = 29
WATCHING: Final = ("watch", "digest")
"""What the module of `watching_ir` exports."""
_LIMBS: Final = WORD_BYTES // 8


def step_ir() -> str:
    """The table ``@step``: count down, and leave before the opcode when the count is used up."""
    b = Builder()
    _run(b, _count(b))
    return code_function("step_one", b) + table("step", ["step_one"] * TABLE_ENTRIES)


def watching_ir() -> str:
    """The tables ``@watch`` and ``@digest``, a module of their own: they need nothing of a fork."""
    return "".join(
        (
            exit_function(Exit.STEP),
            exit_function(Exit.BREAK),
            _watch(),
            _digest(),
            *(table(name, [f"{name}_one"] * TABLE_ENTRIES) for name in WATCHING),
            declared_exports(WATCHING),
        )
    )


def _count(b: Builder) -> str:
    """Leave if no steps are left; how many there are."""
    steps = get_field(b, Field.STEPS)
    b.branch(b.let(f"icmp eq i64 {steps}, 0"), "out", "on")
    b.place("out")
    go_on(b, f"@exit{int(Exit.STEP)}")
    b.place("on")
    return steps


def _run(b: Builder, steps: str) -> None:
    """Count one step and run the opcode through the plain table."""
    set_field(b, Field.STEPS, b.let(f"sub i64 {steps}, 1"))
    go_on(b, opcode_function(b, get_field(b, Field.PLAIN_TABLE, "ptr")))


def _mark_at(b: Builder, block: str, pc: str) -> str:
    return b.load("i8", b.at(b.get("ptr", block, SteppingBlock.MARKS), pc))


def _stack_word(b: Builder, index: str) -> tuple[str, str]:
    """Lowest limb of a stack word by its index from the top, and the others or-ed. Missing ones read garbage."""
    below = b.let(f"sub i64 %sp, {b.let(f'shl i64 {index}, 5')}")
    word = b.at("%frame", below)
    low, *high = (b.get("i64", word, 8 * limb - WORD_BYTES) for limb in range(_LIMBS))
    either = b.let(f"or i64 {high[0]}, {high[1]}")
    return low, b.let(f"or i64 {either}, {high[2]}")


def _touches_area(b: Builder, block: str, mark: str) -> str:
    """Whether what a mark names (`vm.evm.watch.memory_mark`) has a byte in common with the area, i1."""
    bits = b.let(f"zext i8 {mark} to i64")
    start_index = b.let(f"and i64 {b.let(f'lshr i64 {bits}, 3')}, 7")
    size_index = b.let(f"and i64 {bits}, 7")
    (start, start_high), (size, size_high) = _stack_word(b, start_index), _stack_word(b, size_index)
    size = b.let(f"select i1 {b.let(f'icmp ne i64 {size_high}, 0')}, i64 -1, i64 {size}")
    size = b.let(f"select i1 {b.let(f'icmp eq i64 {size_index}, 7')}, i64 1, i64 {size}")
    size = b.let(f"select i1 {b.let(f'icmp eq i64 {size_index}, 0')}, i64 {WORD_BYTES}, i64 {size}")
    first, end = b.get("i64", block, SteppingBlock.AREA_START), b.get("i64", block, SteppingBlock.AREA_END)
    is_near = b.let(f"icmp eq i64 {start_high}, 0")
    may = b.let(f"and i1 {is_near}, {b.let(f'icmp ult i64 {start}, {end}')}")
    is_inside = b.let(f"icmp uge i64 {start}, {first}")
    needed = b.let(f"select i1 {is_inside}, i64 0, i64 {b.let(f'sub i64 {first}, {start}')}")
    return b.let(f"and i1 {may}, {b.let(f'icmp ugt i64 {size}, {needed}')}")


def _watch() -> str:
    """Stop at a marked place, if its mark says so only where it touches the area, and where gas is low."""
    b = Builder()
    steps = _count(b)
    block, pc = get_field(b, Field.BREAKPOINTS, "ptr"), pc_of(b)
    skip_at = b.at(block, SteppingBlock.SKIP)
    b.branch(b.let(f"icmp ne i64 {b.load('i64', skip_at)}, 0"), "first", "check")
    b.place("first")
    b.store("i64", 0, skip_at)
    b.go("go")
    b.place("check")
    is_low = b.let(f"icmp ult i64 %gas, {b.get('i64', block, SteppingBlock.GAS_BELOW)}")
    mark = _mark_at(b, block, pc)
    is_marked = b.let(f"icmp ne i8 {mark}, 0")
    b.branch(b.let(f"or i1 {is_low}, {is_marked}"), "look", "go")
    b.place("look")
    is_area = b.let(f"icmp slt i8 {mark}, 0")
    only_area = b.let(f"and i1 {is_area}, {b.let(f'xor i1 {is_low}, true')}")
    b.branch(only_area, "area", "break")
    b.place("area")
    b.branch(_touches_area(b, block, mark), "break", "go")
    b.place("break")
    go_on(b, f"@exit{int(Exit.BREAK)}")
    b.place("go")
    _run(b, steps)
    return code_function("watch_one", b)


def _digest() -> str:
    """Stop at a marked place; mix pc, opcode, masked gas, stack height and top word of every step into the digest."""
    b = Builder()
    steps = _count(b)
    block, pc = get_field(b, Field.BREAKPOINTS, "ptr"), pc_of(b)
    skip_at = b.at(block, SteppingBlock.SKIP)
    is_skipped = b.let(f"icmp ne i64 {b.load('i64', skip_at)}, 0")
    is_unmarked = b.let(f"icmp eq i8 {_mark_at(b, block, pc)}, 0")
    b.branch(b.let(f"or i1 {is_unmarked}, {is_skipped}"), "mix", "break")
    b.place("break")
    go_on(b, f"@exit{int(Exit.BREAK)}")
    b.place("mix")
    b.store("i64", 0, skip_at)
    digest_at = b.at(block, SteppingBlock.DIGEST)
    digest = b.load("i64", digest_at)
    for number in _numbers_of_step(b, block, pc):
        mixed = b.let(f"mul i64 {b.let(f'xor i64 {digest}, {number}')}, {DIGEST_FACTOR}")
        digest = b.let(f"xor i64 {mixed}, {b.let(f'lshr i64 {mixed}, {DIGEST_SHIFT}')}")
    b.store("i64", digest, digest_at)
    _run(b, steps)
    return code_function("digest_one", b)


def _numbers_of_step(b: Builder, block: str, pc: str) -> list[str]:
    """Opcode and pc, masked gas, stack height, and the four limbs of the top word."""
    opcode = b.let(f"zext i8 {b.load('i8', '%ip')} to i64")
    place = b.let(f"or i64 {b.let(f'shl i64 {opcode}, 40')}, {pc}")
    gas = b.let(f"and i64 %gas, {b.get('i64', block, SteppingBlock.GAS_MASK)}")
    is_empty = b.let(f"icmp eq i64 %sp, {STACK_OFFSET}")
    top = b.at("%frame", "%sp")
    limbs = (b.get("i64", top, 8 * limb - WORD_BYTES) for limb in range(_LIMBS))
    return [place, gas, "%sp", *(b.let(f"select i1 {is_empty}, i64 0, i64 {limb}") for limb in limbs)]
