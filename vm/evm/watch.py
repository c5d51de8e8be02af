"""Modes of stepping that native code carries out: stopping at marked places or low gas, and hashing a trace.

A mode is one more dispatch table over the interpreter's functions. The two here need nothing of a fork, so they
are a small module of machine code of their own. Their operands are in a control block that the frame's
BREAKPOINTS register points to: gas below which to stop, digest, gas mask, address of the marks, whether the
first opcode is to run unchecked, and the first byte of an area of memory and the one behind its last.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from llvmlite import binding as llvm

from vm.code import Code, address_of
from vm.evm.convention import TABLE_ENTRIES, table
from vm.evm.execution import Execution
from vm.evm.frame import Frame
from vm.evm.layout import STACK_OFFSET, Exit, Field
from vm.evm.native import compile_object, compiler
from vm.limits import GAS_MAX
from vm.message import Halt

_SIGNATURE: Final = "preserve_nonecc i64"
_PARAMETERS: Final = "ptr %frame, i64 %sp, i64 %gas, ptr %ip, ptr %table"
_GAS: Final = int(Field.GAS)
_BLOCK: Final = int(Field.BREAKPOINTS)
_MIX: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1
MARKS_PADDING: Final = 40
"""Marks beyond the end of the code: the pc may stand behind the data of a last PUSH32."""
AREA_END: Final = 1 << 63
"""Areas of memory that are looked for end here at the latest."""
_AREA_MARK: Final = 0x80
_SIZES: Final = {-32: 0, -1: 7}
"""How a mark encodes an area of fixed size: 32 bytes or one (`memory_mark`)."""


def memory_mark(offset: int, size: int) -> int:
    """The mark of an opcode that is to stop only if it touches the area.

    ``offset`` and ``size`` are indexes of its operands from the top of the stack; size -1 and -32 are that many bytes.
    """
    assert 0 <= offset < 8 and 0 < _SIZES.get(size, size) + (size == -32) <= 7  # noqa: PT018
    return _AREA_MARK | offset << 3 | _SIZES.get(size, size)


def _field(name: str, field: Field, kind: str = "i64") -> str:
    return (
        f"  %at.{name} = getelementptr i8, ptr %frame, i64 {8 * field}\n"
        f"  %{name} = load {kind}, ptr %at.{name}\n"
    )


def _leave(code: Exit) -> str:
    """Store the registers and return the code to Python."""
    stores = "".join(
        f"  %to.{field.name} = getelementptr i8, ptr %frame, i64 {8 * field}\n"
        f"  store i64 {value}, ptr %to.{field.name}\n"
        for field, value in ((Field.PC, "%pc"), (Field.GAS, "%gas"), (Field.SP, "%sp"))
    )
    return (
        f"define internal {_SIGNATURE} @leave{int(code)}({_PARAMETERS}) noinline nounwind {{\n"
        + _field("code", Field.CODE)
        + "  %here = ptrtoint ptr %ip to i64\n  %pc = sub i64 %here, %code\n"
        + stores
        + f"  ret i64 {int(code)}\n}}\n"
    )


def _tail(callee: str) -> str:
    return f"  %end.{callee} = musttail call {_SIGNATURE} @{callee}({_PARAMETERS})\n  ret i64 %end.{callee}\n"


_BEGIN: Final = (
    _field("steps", Field.STEPS)
    + "  %done = icmp eq i64 %steps, 0\n  br i1 %done, label %out, label %on\n"
    + f"out:\n{_tail(f'leave{int(Exit.STEP)}')}on:\n"
    + _field("block", Field.BREAKPOINTS, "ptr")
    + _field("code", Field.CODE)
    + "  %here = ptrtoint ptr %ip to i64\n  %pc = sub i64 %here, %code\n"
)
_GO: Final = (
    "  %left = sub i64 %steps, 1\n  store i64 %left, ptr %at.steps\n"
    + _field("plain", Field.PLAIN_TABLE, "ptr")
    + "  %op = load i8, ptr %ip\n  %index = zext i8 %op to i64\n"
    "  %slot = getelementptr ptr, ptr %plain, i64 %index\n  %function = load ptr, ptr %slot\n"
    f"  %code.end = musttail call {_SIGNATURE} %function({_PARAMETERS})\n  ret i64 %code.end\n"
)


def _operand(name: str, index: str) -> str:
    """Load a stack word by its index from the top: its lowest limb, and the others or-ed. Missing ones read garbage."""
    text = (
        f"  %down.{name} = shl i64 {index}, 5\n  %below.{name} = sub i64 %sp, %down.{name}\n"
        f"  %word.{name} = getelementptr i8, ptr %frame, i64 %below.{name}\n"
    )
    for limb in range(4):
        text += (
            f"  %at.{name}{limb} = getelementptr i8, ptr %word.{name}, i64 {8 * limb - 32}\n"
            f"  %{name}{limb} = load i64, ptr %at.{name}{limb}\n"
        )
    return text + f"  %both.{name} = or i64 %{name}1, %{name}2\n  %{name}.more = or i64 %both.{name}, %{name}3\n"


def _area() -> str:
    """Go to ``break`` if what the mark names has a byte in common with the area, else to ``go``."""
    return (
        "area:\n  %bits = zext i8 %mark to i64\n  %bits.high = lshr i64 %bits, 3\n"
        "  %at.start = and i64 %bits.high, 7\n  %at.size = and i64 %bits, 7\n"
        + _operand("start", "%at.start")
        + _operand("size", "%at.size")
        + "  %is_huge = icmp ne i64 %size.more, 0\n  %given = select i1 %is_huge, i64 -1, i64 %size0\n"
        "  %is_byte = icmp eq i64 %at.size, 7\n  %short = select i1 %is_byte, i64 1, i64 %given\n"
        "  %is_word = icmp eq i64 %at.size, 0\n  %size = select i1 %is_word, i64 32, i64 %short\n"
        "  %at.first = getelementptr i8, ptr %block, i64 40\n  %first.byte = load i64, ptr %at.first\n"
        "  %at.end = getelementptr i8, ptr %block, i64 48\n  %end.byte = load i64, ptr %at.end\n"
        "  %is_near = icmp eq i64 %start.more, 0\n  %is_before = icmp ult i64 %start0, %end.byte\n"
        "  %may = and i1 %is_near, %is_before\n"
        "  %is_inside = icmp uge i64 %start0, %first.byte\n  %way = sub i64 %first.byte, %start0\n"
        "  %needed = select i1 %is_inside, i64 0, i64 %way\n  %reaches = icmp ugt i64 %size, %needed\n"
        "  %touches = and i1 %may, %reaches\n  br i1 %touches, label %break, label %go\n"
    )


def _watch() -> str:
    """Stop at a marked place, if its mark says so only where it touches the area, and where gas is low."""
    return (
        f"define internal {_SIGNATURE} @watch_one({_PARAMETERS}) nounwind {{\n"
        + _BEGIN
        + "  %at.skip = getelementptr i8, ptr %block, i64 32\n  %skip = load i64, ptr %at.skip\n"
        "  %is_skipped = icmp ne i64 %skip, 0\n  br i1 %is_skipped, label %first, label %check\n"
        "first:\n  store i64 0, ptr %at.skip\n  br label %go\ncheck:\n"
        "  %low = load i64, ptr %block\n  %is_low = icmp ult i64 %gas, %low\n"
        "  %at.marks = getelementptr i8, ptr %block, i64 24\n  %marks = load ptr, ptr %at.marks\n"
        "  %at.mark = getelementptr i8, ptr %marks, i64 %pc\n  %mark = load i8, ptr %at.mark\n"
        "  %is_marked = icmp ne i8 %mark, 0\n  %hit = or i1 %is_low, %is_marked\n"
        "  br i1 %hit, label %look, label %go\nlook:\n  %is_area = icmp slt i8 %mark, 0\n"
        "  %is_high = xor i1 %is_low, true\n  %only_area = and i1 %is_area, %is_high\n"
        "  br i1 %only_area, label %area, label %break\n"
        f"{_area()}break:\n{_tail(f'leave{int(Exit.BREAK)}')}go:\n{_GO}}}\n"
    )


def _digest() -> str:
    """Stop at a marked place; mix pc, opcode, masked gas, stack height and top word of every step into the digest."""
    check = (
        "  %at.skip = getelementptr i8, ptr %block, i64 32\n  %skip = load i64, ptr %at.skip\n"
        "  %at.marks = getelementptr i8, ptr %block, i64 24\n  %marks = load ptr, ptr %at.marks\n"
        "  %at.mark = getelementptr i8, ptr %marks, i64 %pc\n  %mark = load i8, ptr %at.mark\n"
        "  %is_unmarked = icmp eq i8 %mark, 0\n  %is_skipped = icmp ne i64 %skip, 0\n"
        "  %passes = or i1 %is_unmarked, %is_skipped\n  br i1 %passes, label %mix, label %break\n"
        f"break:\n{_tail(f'leave{int(Exit.BREAK)}')}mix:\n  store i64 0, ptr %at.skip\n"
    )
    lines = [
        check,
        "  %at.digest = getelementptr i8, ptr %block, i64 8\n  %h0 = load i64, ptr %at.digest\n",
        "  %at.mask = getelementptr i8, ptr %block, i64 16\n  %mask = load i64, ptr %at.mask\n",
        "  %x1 = and i64 %gas, %mask\n",
        "  %byte = load i8, ptr %ip\n  %wide = zext i8 %byte to i64\n  %high = shl i64 %wide, 40\n",
        "  %x0 = or i64 %high, %pc\n  %x2 = add i64 %sp, 0\n",
        f"  %is_empty = icmp eq i64 %sp, {STACK_OFFSET}\n",
        "  %top = getelementptr i8, ptr %frame, i64 %sp\n",
    ]
    lines += [
        f"  %at.limb{i} = getelementptr i8, ptr %top, i64 {8 * i - 32}\n"
        f"  %limb{i} = load i64, ptr %at.limb{i}\n"
        f"  %x{3 + i} = select i1 %is_empty, i64 0, i64 %limb{i}\n"
        for i in range(4)
    ]
    lines += [
        f"  %a{i} = xor i64 %h{i}, %x{i}\n  %m{i} = mul i64 %a{i}, {_MIX}\n"
        f"  %s{i} = lshr i64 %m{i}, 29\n  %h{i + 1} = xor i64 %m{i}, %s{i}\n"
        for i in range(7)
    ]
    head = f"define internal {_SIGNATURE} @digest_one({_PARAMETERS}) nounwind {{\n"
    return head + _BEGIN + "".join(lines) + "  store i64 %h7, ptr %at.digest\n" + _GO + "}\n"


def modes_ir() -> str:
    """Both tables as a module's text."""
    tables = "".join(
        table(name, [f"{name}_one"] * TABLE_ENTRIES)
        for name in ("watch", "digest")
    )
    exports = "@exports = constant [2 x ptr] [ptr @watch, ptr @digest]\n"
    return _leave(Exit.STEP) + _leave(Exit.BREAK) + _watch() + _digest() + tables + exports


class _Tables(NamedTuple):
    """Addresses of the tables."""

    watch: int
    digest: int
    keep: Any
    """What their memory hangs on."""


_lock = threading.Lock()
_loaded: list[_Tables] = []


def _tables() -> _Tables:
    """Compiled when first needed in a process."""
    with _lock:
        if not _loaded:
            _, linker = compiler()
            library = (
                llvm.JITLibraryBuilder()
                .add_object_img(compile_object(modes_ir()))
                .add_current_process()
                .export_symbol("exports")
                .link(linker, "modes")
            )
            watch, digest = (ctypes.c_uint64 * 2).from_address(library["exports"])
            _loaded.append(_Tables(watch, digest, library))
        return _loaded[0]


def _control_block() -> tuple[Any, int]:
    block = (ctypes.c_uint64 * 7)()
    return block, ctypes.addressof(block)


class Watch:
    """Stop before opcodes at marked places, when gas falls below thresholds, at depths, and after failures.

    ``marks(frame)`` gives one byte per code byte and `MARKS_PADDING` more, not 0 where to stop; it is asked once
    per code and address. At a `memory_mark` only what touches the ``area`` of memory stops. ``depths`` are numbers of
    frames: stop when an opcode has made them that many.
    A threshold does not stop where the step before was below it already.
    """

    def __init__(
        self,
        marks: Callable[[Frame], bytes] | None = None,
        gas_below: Collection[int] = (),
        depths: Collection[int] = (),
        on_failure: bool = False,
        area: range = range(0),
    ) -> None:
        assert 0 <= area.start <= area.stop <= AREA_END
        self.table = _tables().watch
        self._marks = marks
        self._maps: dict[tuple[Code, bytes], bytes] = {}
        self._block, self._address = _control_block()
        self._block[5], self._block[6] = area.start, area.stop
        self.armed = dict.fromkeys(gas_below, False)
        """For each threshold of gas whether a frame has been at or above it since `begin`."""
        self.depths = frozenset(depths)
        self.has_failed = False
        """Whether a message has failed since `begin`."""
        self.has_stopped = False
        """Whether a depth or a failure has stopped the stepping since `begin`."""
        self.on_failure = on_failure
        self._depth = 0

    def marks_of(self, frame: Frame) -> bytes:
        """The marks of the frame's code, as made once."""
        key = frame.code, frame.message.code_address
        marks = self._maps.get(key)
        if marks is None:
            size = frame.code.length + MARKS_PADDING
            marks = self._maps[key] = bytes(size) if self._marks is None else self._marks(frame)
            assert len(marks) == size
        return marks

    def begin(self, execution: Execution) -> None:
        """The current position has been seen: its opcode will run unchecked."""
        self._block[4] = 1
        frame = execution.frames[-1]
        self._depth = len(execution.frames)
        self.has_failed = self.has_stopped = False
        execution.last_halt = Halt.STOP
        for threshold in self.armed:
            self.armed[threshold] = frame.gas >= threshold

    def arm(self, frame: Frame) -> None:
        self._block[3] = address_of(self.marks_of(frame))
        if self.armed:
            gas = frame.words[_GAS]
            for threshold in self.armed:
                if gas >= threshold:
                    self.armed[threshold] = True
            self._block[0] = max((t for t, is_armed in self.armed.items() if is_armed), default=0)
        frame.words[_BLOCK] = self._address

    def stops(self, execution: Execution) -> bool:
        depth, before = len(execution.frames), self._depth
        self._depth = depth
        is_there = depth != before and depth in self.depths
        has_failed = self.on_failure and not execution.last_halt.is_success
        # A failure is reported once; the next call may not end any message.
        execution.last_halt = Halt.STOP
        self.has_stopped = is_there or has_failed
        self.has_failed |= has_failed
        return self.has_stopped


class TraceDigest:
    """A 64-bit digest of all steps: equal traces give equal digests, and after a difference the digests stay different.

    It covers pc, opcode, gas (unless left out), stack height and top word at every step, hence all values that ever
    come onto a stack; what reaches memory and storage another way only if it is mixed in: ``marks`` says where to stop
    for that, before the opcode, as in `Watch`.
    """

    def __init__(self, with_gas: bool = True, marks: Callable[[Frame], bytes] | None = None) -> None:
        self.table = _tables().digest
        self._marks = marks
        self._maps: dict[tuple[Code, bytes], bytes] = {}
        self._block, self._address = _control_block()
        self._block[2] = _MASK if with_gas else 0

    @property
    def value(self) -> int:
        """The digest so far; set it to go on from a known position."""
        return int(self._block[1])

    @value.setter
    def value(self, digest: int) -> None:
        self._block[1] = digest

    def mix(self, number: int) -> None:
        """Have 64 bits more in the digest."""
        mixed = (self.value ^ number) * _MIX & _MASK
        self.value = mixed ^ mixed >> 29

    def skip_mark(self) -> None:
        """The opcode of this position will run though it is marked."""
        self._block[4] = 1

    def arm(self, frame: Frame) -> None:
        key = frame.code, frame.message.code_address
        marks = self._maps.get(key)
        if marks is None:
            marks = bytes(frame.code.length + MARKS_PADDING) if self._marks is None else self._marks(frame)
            self._maps[key] = marks
        self._block[3] = address_of(marks)
        frame.words[_BLOCK] = self._address

    def stops(self, _: Execution) -> bool:
        """A digest stops at marks only."""
        return False


assert GAS_MAX < _MASK
