"""Breakpoints: what each kind means at a position, and where in a code native stepping has to look for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec

from chain.forks import Fork
from chain.types import Address
from debugger.errors import InvalidBreakpoint, InvalidProgram
from debugger.expressions import Expression
from debugger.limits import EXPRESSION_CHARACTERS, NAME_CHARACTERS
from debugger.memory_access import EVERYWHERE, TOUCHES, mark_of, overlap, touched
from debugger.position import CALLS, LOGS, SLOAD, SSTORE, Position
from debugger.words import Number, address_of, number_of
from vm.evm.frame import Frame
from vm.evm.opcodes import BY_NAME, opcodes
from vm.evm.watch import MARKS_PADDING, Watch
from vm.limits import CALL_DEPTH, GAS_MAX


class Breakpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to stop, always before the opcode concerned.

    pc: at ``pc`` · opcode: before ``opcode`` · slot_write, slot_read: before SSTORE, SLOAD of ``slot`` (any) ·
    memory_write, memory_read: before an opcode that writes or reads one of ``length`` bytes (32) of memory from
    ``offset`` on (any byte) ·
    log: before LOG0 to LOG4 with first topic ``topic`` (any) · depth: when a frame begins as number ``depth`` ·
    call: before a call of ``target`` (any) · revert: before an opcode that makes a message fail ·
    gas: when the frame's gas is below ``gas`` and was not before · expression: where ``expression`` holds; if it
    names no opcode or pc, only where it did not hold the step before. ``address`` limits pc, slots, memory and logs
    to one account (for pc: the account whose code runs).
    """

    kind: str
    id: int = 0
    pc: int | None = None
    opcode: str | None = None
    address: str | None = None
    slot: Number | None = None
    offset: Number | None = None
    length: Number | None = None
    topic: str | None = None
    target: str | None = None
    depth: int | None = None
    gas: int | None = None
    expression: str | None = None
    enabled: bool = True
    name: str = ""


_FIELDS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "pc": (frozenset({"pc"}), frozenset({"address"})),
    "opcode": (frozenset({"opcode"}), frozenset({"address"})),
    "slot_write": (frozenset(), frozenset({"slot", "address"})),
    "slot_read": (frozenset(), frozenset({"slot", "address"})),
    "memory_write": (frozenset(), frozenset({"offset", "length", "address"})),
    "memory_read": (frozenset(), frozenset({"offset", "length", "address"})),
    "log": (frozenset(), frozenset({"topic", "address"})),
    "depth": (frozenset({"depth"}), frozenset()),
    "call": (frozenset(), frozenset({"target"})),
    "revert": (frozenset(), frozenset()),
    "gas": (frozenset({"gas"}), frozenset()),
    "expression": (frozenset({"expression"}), frozenset()),
}
"""What each kind needs and what else it takes."""

_SPECIFIC: Final = (
    "pc", "opcode", "address", "slot", "offset", "length", "topic", "target", "depth", "gas", "expression"
)  # fmt: skip
WORD_BYTES: Final = 32
"""Length of an area of memory unless told."""


class Condition:
    """A breakpoint, checked and ready."""

    def __init__(self, point: Breakpoint) -> None:
        """Raises `InvalidBreakpoint` and `InvalidExpression`."""
        self.id = point.id
        self.kind = point.kind
        self.opcodes: frozenset[int] | None = None
        """It can hold only before these, if not None."""
        self.pcs: frozenset[int] | None = None
        self.address: Address | None = None
        self.area: range | None = None
        """Bytes of memory one of which is touched where it holds."""
        self.gas: int | None = None
        self.depth: int | None = None
        self.is_edge = False
        """Holds only where it did not hold a step before; Python has to look at every step."""
        self.holds: Callable[[Position], bool] = _everywhere
        """Whether it holds at a position; gas and revert need more than the position."""
        _check_fields(point)
        try:
            self._prepare(point)
        except InvalidProgram as error:
            raise InvalidBreakpoint(str(error)) from None

    def _prepare(self, point: Breakpoint) -> None:
        if point.address is not None:
            self.address = address_of(point.address, "address")
        match point.kind:
            case "pc":
                self.pcs = frozenset([number_of(point.pc or 0, "pc", 1 << 32)])
            case "opcode":
                self.opcodes = frozenset([_opcode(point.opcode or "")])
            case "slot_write" | "slot_read":
                self.opcodes = frozenset([SSTORE if point.kind == "slot_write" else SLOAD])
                self._operand(0, point.slot, "slot")
            case "memory_write" | "memory_read":
                kind, area = point.kind, _area(point)
                self.opcodes, self.area = frozenset(TOUCHES[kind]), area
                self.holds = lambda p: overlap(touched(p, kind), area)
            case "log":
                self.opcodes = LOGS
                self._operand(2, point.topic, "topic")
                if point.topic is not None:
                    self.opcodes = LOGS - {BY_NAME["LOG0"].byte}
            case "call":
                self.opcodes = CALLS
                if point.target is not None:
                    target = int.from_bytes(address_of(point.target, "target"), "big")
                    self.holds = lambda p: (p.stack(1) or 0) & _ADDRESS_MASK == target
            case "depth":
                depth = self.depth = number_of(point.depth or 0, "depth", CALL_DEPTH + 1)
                self.holds = lambda p: p.depth == depth and p.is_fresh
            case "gas":
                self.gas = number_of(point.gas or 0, "gas", GAS_MAX)
            case "expression":
                expression = Expression(point.expression or "")
                self.opcodes, self.pcs, self.holds = expression.opcodes, expression.pcs, expression
                self.is_edge = not expression.is_located
            case _:
                assert point.kind == "revert"

    def _operand(self, index: int, wanted: Number | None, field: str) -> None:
        if wanted is not None:
            number = number_of(wanted, field)
            self.holds = lambda p: p.stack(index) == number

    def is_at(self, op: int, pc: int, code_address: Address) -> bool:
        """Whether it can hold at this place of a code."""
        if self.opcodes is None and self.pcs is None:
            return False
        if self.kind == "pc" and self.address not in (None, code_address):
            return False
        return (self.opcodes is None or op in self.opcodes) and (self.pcs is None or pc in self.pcs)

    def matches(self, position: Position) -> bool:
        """Whether it holds here as far as the position tells."""
        if self.gas is not None or self.kind == "revert":
            return False
        if self.opcodes is not None and position.op not in self.opcodes:
            return False
        if self.pcs is not None and position.pc not in self.pcs:
            return False
        if self.address is not None:
            message = position.message
            if (message.code_address if self.kind == "pc" else message.to) != self.address:
                return False
        return self.holds(position)


_PUSH0: Final = 0x5F
_ADDRESS_MASK: Final = 2**160 - 1


def _everywhere(_: Position) -> bool:
    return True


def _opcode(name: str) -> int:
    row = BY_NAME.get(name.strip().upper())
    if row is None:
        raise InvalidBreakpoint(f"no opcode {name!r}"[:60])
    return row.byte


def _area(point: Breakpoint) -> range:
    if point.offset is None:
        if point.length is not None:
            raise InvalidBreakpoint("a length needs an offset")
        return EVERYWHERE
    start = number_of(point.offset, "offset", GAS_MAX)
    length = WORD_BYTES if point.length is None else number_of(point.length, "length", GAS_MAX)
    if not length:
        raise InvalidBreakpoint("an area of memory has at least 1 byte")
    return range(start, min(start + length, EVERYWHERE.stop))


def _check_fields(point: Breakpoint) -> None:
    known = _FIELDS.get(point.kind)
    if known is None:
        raise InvalidBreakpoint(f"no kind {point.kind!r}"[:60])
    needed, taken = known
    texts = [text for text in msgspec.structs.astuple(point) if isinstance(text, str)]
    if len(point.name) > NAME_CHARACTERS or max(map(len, texts)) > EXPRESSION_CHARACTERS:
        raise InvalidBreakpoint(f"names have at most {NAME_CHARACTERS} characters, other texts {EXPRESSION_CHARACTERS}")
    given = {name for name in _SPECIFIC if getattr(point, name) is not None}
    if needed - given:
        raise InvalidBreakpoint(f"{point.kind} needs {', '.join(sorted(needed - given))}")
    if given - needed - taken:
        raise InvalidBreakpoint(f"{point.kind} takes no {', '.join(sorted(given - needed - taken))}")


def marks_at(chosen: Collection[int]) -> Callable[[Frame], bytes]:
    """Gives a frame's code its marks: 1 before each of the opcodes."""
    sizes = bytes(1 + (op - _PUSH0 if _PUSH0 < op <= _PUSH0 + 32 else 0) for op in range(256))

    def marks(frame: Frame) -> bytes:
        code = frame.code.bytes
        found = bytearray(len(code) + MARKS_PADDING)
        pc = 0
        while pc < len(code):
            found[pc] = code[pc] in chosen
            pc += sizes[code[pc]]
        return bytes(found)

    return marks


def marks_for(conditions: Sequence[Condition], fork: Fork) -> Callable[[Frame], bytes]:
    """Gives a frame's code its marks: where a condition can hold, 1 or which area of memory to look at."""
    table = opcodes(fork)
    sizes = bytes(1 + (table[byte].immediate if byte in table else 0) for byte in range(256))
    anywhere = [condition for condition in conditions if condition.pcs is None]
    of_op = bytes(_mark([c for c in anywhere if c.opcodes is not None and op in c.opcodes], op) for op in range(256))
    by_pc: dict[int, list[Condition]] = {}
    for condition in conditions:
        for pc in condition.pcs or ():
            by_pc.setdefault(pc, []).append(condition)

    def marks(frame: Frame) -> bytes:
        code, address = frame.code.bytes, frame.message.code_address
        found = bytearray(len(code) + MARKS_PADDING)
        padded = code + bytes(MARKS_PADDING)
        pc = 0
        while pc < len(found):
            op = padded[pc]
            found[pc] = of_op[op]
            if pc in by_pc and any(condition.is_at(op, pc, address) for condition in by_pc[pc]):
                found[pc] = 1
            pc += sizes[op]
        return bytes(found)

    return marks


def _mark(conditions: Sequence[Condition], op: int) -> int:
    """The mark of an opcode at which, wherever it stands, some conditions can hold."""
    if any(condition.area is None for condition in conditions):
        return 1
    return mark_of({condition.kind for condition in conditions}, op)


def watch_for(conditions: Iterable[Condition], fork: Fork, depth: int | None = None) -> Watch:
    """A native watch that stops wherever one of the conditions may hold, and when frames become ``depth``."""
    conditions = tuple(conditions)
    depths = {condition.depth for condition in conditions if condition.depth is not None}
    placed = [c for c in conditions if c.opcodes is not None or c.pcs is not None]
    areas = [condition.area for condition in conditions if condition.area is not None]
    return Watch(
        marks_for(placed, fork) if placed else None,
        {condition.gas for condition in conditions if condition.gas is not None},
        depths if depth is None else depths | {depth},
        on_failure=any(condition.kind == "revert" for condition in conditions),
        area=range(min(area.start for area in areas), max(area.stop for area in areas)) if areas else range(0),
    )
