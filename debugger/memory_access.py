"""Which bytes of memory each opcode reads and writes, and the marks by which native code checks them.

A call's output area counts whole, and all that is named counts though the opcode may fail before it touches it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from debugger.position import Position
from vm.evm.opcodes import BY_NAME
from vm.evm.watch import AREA_END, memory_mark


class Touch(NamedTuple):
    """One area of memory that an opcode accesses."""

    offset: int
    """Index from the top of the stack of the area's first byte."""
    size: int
    """Index of its size on the stack; -1 and -32 mean that many bytes."""


_WRITES: Final[dict[str, Touch]] = {
    "MSTORE": Touch(0, -32),
    "MSTORE8": Touch(0, -1),
    "CALLDATACOPY": Touch(0, 2),
    "CODECOPY": Touch(0, 2),
    "RETURNDATACOPY": Touch(0, 2),
    "EXTCODECOPY": Touch(1, 3),
    "MCOPY": Touch(0, 2),
    "CALL": Touch(5, 6),
    "CALLCODE": Touch(5, 6),
    "DELEGATECALL": Touch(4, 5),
    "STATICCALL": Touch(4, 5),
}
_READS: Final[dict[str, Touch]] = {
    "MLOAD": Touch(0, -32),
    "KECCAK256": Touch(0, 1),
    "MCOPY": Touch(1, 2),
    "LOG0": Touch(0, 1),
    "LOG1": Touch(0, 1),
    "LOG2": Touch(0, 1),
    "LOG3": Touch(0, 1),
    "LOG4": Touch(0, 1),
    "CREATE": Touch(1, 2),
    "CREATE2": Touch(1, 2),
    "CALL": Touch(3, 4),
    "CALLCODE": Touch(3, 4),
    "DELEGATECALL": Touch(2, 3),
    "STATICCALL": Touch(2, 3),
    "RETURN": Touch(0, 1),
    "REVERT": Touch(0, 1),
}
TOUCHES: Final[dict[str, dict[int, Touch]]] = {
    "memory_write": {BY_NAME[name].byte: touch for name, touch in _WRITES.items()},
    "memory_read": {BY_NAME[name].byte: touch for name, touch in _READS.items()},
}
"""By kind of breakpoint and opcode."""
EVERYWHERE: Final = range(AREA_END)
"""More than an opcode can pay for."""


def touched(position: Position, kind: str) -> range:
    """The bytes the next opcode names; empty if there are none, or operands are missing."""
    touch = TOUCHES[kind].get(position.op)
    if touch is None:
        return range(0)
    offset = position.stack(touch.offset)
    size = -touch.size if touch.size < 0 else position.stack(touch.size)
    return range(0) if offset is None or size is None else range(offset, offset + size)


def overlap(one: range, two: range) -> bool:
    """Whether two areas have a byte in common."""
    return max(one.start, two.start) < min(one.stop, two.stop)


def mark_of(kinds: Collection[str], op: int) -> int:
    """The mark native code gets for an opcode: its area's place on the stack, 1 (stop) if it has two, 0 if none."""
    touches = {TOUCHES[kind][op] for kind in kinds if op in TOUCHES[kind]}
    if len(touches) != 1:
        return min(1, len(touches))
    return memory_mark(*touches.pop())
