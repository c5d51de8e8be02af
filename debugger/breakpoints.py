"""Breakpoints: when each kind holds, and at which opcodes of a code native stepping has to check for it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from chain.forks import Fork
from chain.types import Address
from debugger.errors import InvalidBreakpoint, InvalidProgram
from debugger.expressions import Expression
from debugger.hex import Number, address_of, code_hash, data_of, number_of
from debugger.limits import EXPRESSION_CHARACTERS, LISTINGS_KEPT, NAME_CHARACTERS
from debugger.memory_access import EVERYWHERE, TOUCHES, mark_of, overlap, touched
from debugger.position import CALLS, LOGS, SLOAD, SSTORE, Position
from vm.evm.frame import Frame
from vm.evm.opcodes import BY_NAME, opcodes
from vm.evm.watch import MARKS_PADDING, Watch
from vm.limits import CALL_DEPTH, GAS_MAX
from vm.message import CREATES


class Breakpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to stop, always before the opcode concerned.

    pc: at ``pc`` · line: at an instruction of the code's listing, counted from 1 · opcode: before ``opcode`` ·
    slot_write, slot_read: before SSTORE, SLOAD of ``slot`` (any) ·
    memory_write, memory_read: before an opcode that writes or reads one of ``length`` bytes (32) of memory from
    ``offset`` on (any byte) ·
    log: before LOG0 to LOG4 with first topic ``topic`` (any) · depth: when a frame begins as number ``depth`` ·
    call: before a call of ``target`` (any) · revert: before an opcode that makes a message fail ·
    gas: when the frame's gas is below ``gas`` and was not before · expression: where ``expression`` holds; if it
    names no opcode or pc, only where it did not hold the step before. ``address`` limits pc, line, slots, memory and
    logs to one account (for pc and line: the account whose code runs). An account may run several codes, such as its
    init code and what that returns: ``code`` limits pc and line to the code with this Keccak-256 hash, ``init`` to init
    code (true) or to everything else (false). ``condition`` is an expression that has to hold as well.
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
    line: int | None = None
    code: str | None = None
    init: bool | None = None
    condition: str | None = None


_IN_CODE: Final = frozenset({"address", "code", "init", "condition"})
_FIELDS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "pc": (frozenset({"pc"}), _IN_CODE),
    "line": (frozenset({"line"}), _IN_CODE),
    "opcode": (frozenset({"opcode"}), frozenset({"address", "condition"})),
    "slot_write": (frozenset(), frozenset({"slot", "address", "condition"})),
    "slot_read": (frozenset(), frozenset({"slot", "address", "condition"})),
    "memory_write": (frozenset(), frozenset({"offset", "length", "address", "condition"})),
    "memory_read": (frozenset(), frozenset({"offset", "length", "address", "condition"})),
    "log": (frozenset(), frozenset({"topic", "address", "condition"})),
    "depth": (frozenset({"depth"}), frozenset({"condition"})),
    "call": (frozenset(), frozenset({"target", "condition"})),
    "revert": (frozenset(), frozenset()),
    "gas": (frozenset({"gas"}), frozenset({"condition"})),
    "expression": (frozenset({"expression"}), frozenset()),
}
"""Required and optional fields of each kind."""

_SPECIFIC: Final = (
    "pc", "line", "opcode", "address", "code", "init", "slot", "offset", "length", "topic", "target", "depth", "gas",
    "expression", "condition",
)  # fmt: skip
WORD_BYTES: Final = 32
"""Length of an area of memory that is given without one."""


class Condition:
    """A validated breakpoint, ready to be evaluated."""

    def __init__(self, point: Breakpoint) -> None:
        """Raises `InvalidBreakpoint` and `InvalidExpression`."""
        self.id = point.id
        self.kind = point.kind
        self.opcodes: frozenset[int] | None = None
        """Opcodes before which alone it can hold; None for any."""
        self.pcs: frozenset[int] | None = None
        self.line: int | None = None
        self.address: Address | None = None
        self.code_hash: bytes | None = None
        self.init: bool | None = None
        self.area: range | None = None
        """The watched bytes of memory."""
        self.gas: int | None = None
        self.depth: int | None = None
        self.is_edge = False
        """Whether it holds only where it did not hold one step earlier; Python has to check every step."""
        self.holds: Callable[[Position], bool] = _everywhere
        """Tests it at a position; gas and revert need more than the position."""
        _check_fields(point)
        try:
            self._prepare(point)
        except InvalidProgram as error:
            raise InvalidBreakpoint(str(error)) from None
        if point.condition is not None:
            kind_holds, condition = self.holds, Expression(point.condition)
            self.holds = lambda p: kind_holds(p) and condition(p)

    def _prepare(self, point: Breakpoint) -> None:
        if point.address is not None:
            self.address = address_of(point.address, "address")
        if point.code is not None:
            self.code_hash = data_of(point.code, "code", 32, 32)
        self.init = point.init
        match point.kind:
            case "pc":
                self.pcs = frozenset([number_of(point.pc or 0, "pc", 1 << 32)])
            case "line":
                self.line = number_of(point.line or 0, "line", 1 << 32)
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

    def is_in(self, code: bytes, code_address: Address) -> bool:
        """Whether a condition on a position in a code (pc, line) applies to this code."""
        if self.kind in _PLACED and self.address not in (None, code_address):
            return False
        return self.code_hash is None or self.code_hash == code_hash(code)

    def matches(self, position: Position) -> bool:
        """Whether it holds here, as far as the position shows."""
        if self.gas is not None or self.kind == "revert":
            return False
        if self.opcodes is not None and position.op not in self.opcodes:
            return False
        if self.pcs is not None and position.pc not in self.pcs:
            return False
        message = position.message
        if self.kind in _PLACED:
            code = position.frame.code.bytes
            if self.init not in (None, message.kind in CREATES) or not self.is_in(code, message.code_address):
                return False
            if self.line is not None and position.pc != pc_of_line(code, position.execution.fork, self.line):
                return False
        elif self.address is not None and message.to != self.address:
            return False
        return self.holds(position)


_PLACED: Final = ("pc", "line")
"""Kinds that refer to a position in a code."""
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
    """Returns a function that marks a frame's code: 1 before each of the opcodes."""
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
    """Returns a function that marks a frame's code where a condition can hold: 1, or the memory area to check."""
    table = opcodes(fork)
    sizes = bytes(1 + (table[byte].immediate if byte in table else 0) for byte in range(256))
    anywhere = [c for c in conditions if c.pcs is None and c.line is None]
    of_op = bytes(_mark([c for c in anywhere if c.opcodes is not None and op in c.opcodes], op) for op in range(256))
    placed = [c for c in conditions if c.pcs is not None or c.line is not None]

    def marks(frame: Frame) -> bytes:
        # init code makes no difference: a watch shares the marks of a code between both uses
        code, address = frame.code.bytes, frame.message.code_address
        here = [condition for condition in placed if condition.is_in(code, address)]
        pcs = {pc for condition in here for pc in condition.pcs or ()}
        pcs |= {pc for c in here if c.line is not None and (pc := pc_of_line(code, fork, c.line)) is not None}
        found = bytearray(len(code) + MARKS_PADDING)
        padded = code + bytes(MARKS_PADDING)
        pc = 0
        while pc < len(found):
            found[pc] = 1 if pc in pcs else of_op[padded[pc]]
            pc += sizes[padded[pc]]
        return bytes(found)

    return marks


@lru_cache(LISTINGS_KEPT)
def _pcs_of_lines(code: bytes, fork: Fork) -> array[int]:
    table, pcs, pc = opcodes(fork), array("I"), 0
    while pc < len(code):
        pcs.append(pc)
        row = table.get(code[pc])
        pc += 1 if row is None else 1 + row.immediate
    return pcs


def pc_of_line(code: bytes, fork: Fork, line: int) -> int | None:
    """The pc of an instruction by its line in the code's listing; None if there is no such line."""
    pcs = _pcs_of_lines(code, fork)
    return pcs[line - 1] if 1 <= line <= len(pcs) else None


def _mark(conditions: Sequence[Condition], op: int) -> int:
    """The mark of an opcode at which, at any position, some conditions can hold."""
    if any(condition.area is None for condition in conditions):
        return 1
    return mark_of({condition.kind for condition in conditions}, op)


def watch_for(conditions: Iterable[Condition], fork: Fork, depth: int | None = None) -> Watch:
    """A native watch that stops wherever a condition may hold, and when the number of frames becomes ``depth``."""
    conditions = tuple(conditions)
    depths = {condition.depth for condition in conditions if condition.depth is not None}
    placed = [c for c in conditions if c.opcodes is not None or c.pcs is not None or c.line is not None]
    areas = [condition.area for condition in conditions if condition.area is not None]
    return Watch(
        marks_for(placed, fork) if placed else None,
        {condition.gas for condition in conditions if condition.gas is not None},
        depths if depth is None else depths | {depth},
        on_failure=any(condition.kind == "revert" for condition in conditions),
        area=range(min(area.start for area in areas), max(area.stop for area in areas)) if areas else range(0),
    )
