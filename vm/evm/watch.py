"""Modes of stepping that native code carries out: stopping at marked places or low gas, and hashing a trace.

A mode is one more dispatch table over the interpreter's functions (`vm.evm.routines.modes`). Each object here owns the
control block of its mode and hands it to the frames it steps through.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from typing import Any, Final

from vm.code import Code, address_of
from vm.evm.execution import Execution
from vm.evm.frame import Frame
from vm.evm.layout import Field, SteppingBlock
from vm.evm.routines.modes import DIGEST_FACTOR, DIGEST_SHIFT, WATCHING, watching_ir
from vm.ir.loader import load_library
from vm.limits import GAS_MAX

_GAS: Final = int(Field.GAS)
_BLOCK: Final = int(Field.BREAKPOINTS)
_GAS_BELOW: Final = SteppingBlock.GAS_BELOW // 8
_DIGEST: Final = SteppingBlock.DIGEST // 8
_GAS_MASK: Final = SteppingBlock.GAS_MASK // 8
_MARKS: Final = SteppingBlock.MARKS // 8
_SKIP: Final = SteppingBlock.SKIP // 8
_AREA_START: Final = SteppingBlock.AREA_START // 8
_AREA_END: Final = SteppingBlock.AREA_END // 8
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


def _table(name: str) -> int:
    """Address of a mode's table."""
    return load_library("modes", watching_ir, WATCHING)[name]


def _control_block() -> tuple[Any, int]:
    block = (ctypes.c_uint64 * (SteppingBlock.SIZE // 8))()
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
        self.table = _table("watch")
        self._marks = marks
        self._maps: dict[tuple[Code, bytes], bytes] = {}
        self._block, self._address = _control_block()
        self._block[_AREA_START], self._block[_AREA_END] = area.start, area.stop
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
        self._block[_SKIP] = 1
        frame = execution.frames[-1]
        self._depth = len(execution.frames)
        self.has_failed = self.has_stopped = False
        execution.take_halt()
        for threshold in self.armed:
            self.armed[threshold] = frame.gas >= threshold

    def arm(self, frame: Frame) -> None:
        self._block[_MARKS] = address_of(self.marks_of(frame))
        if self.armed:
            gas = frame.words[_GAS]
            for threshold in self.armed:
                if gas >= threshold:
                    self.armed[threshold] = True
            self._block[_GAS_BELOW] = max((t for t, is_armed in self.armed.items() if is_armed), default=0)
        frame.words[_BLOCK] = self._address

    def stops(self, execution: Execution) -> bool:
        depth, before = len(execution.frames), self._depth
        self._depth = depth
        is_there = depth != before and depth in self.depths
        is_failure = not execution.take_halt().is_success
        has_failed = self.on_failure and is_failure
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
        self.table = _table("digest")
        self._marks = marks
        self._maps: dict[tuple[Code, bytes], bytes] = {}
        self._block, self._address = _control_block()
        self._block[_GAS_MASK] = _MASK if with_gas else 0

    @property
    def value(self) -> int:
        """The digest so far; set it to go on from a known position."""
        return int(self._block[_DIGEST])

    @value.setter
    def value(self, digest: int) -> None:
        self._block[_DIGEST] = digest

    def mix(self, number: int) -> None:
        """Have 64 bits more in the digest."""
        mixed = (self.value ^ number) * DIGEST_FACTOR & _MASK
        self.value = mixed ^ mixed >> DIGEST_SHIFT

    def skip_mark(self) -> None:
        """The opcode of this position will run though it is marked."""
        self._block[_SKIP] = 1

    def arm(self, frame: Frame) -> None:
        key = frame.code, frame.message.code_address
        marks = self._maps.get(key)
        if marks is None:
            marks = bytes(frame.code.length + MARKS_PADDING) if self._marks is None else self._marks(frame)
            self._maps[key] = marks
        self._block[_MARKS] = address_of(marks)
        frame.words[_BLOCK] = self._address

    def stops(self, _: Execution) -> bool:
        """A digest stops at marks only."""
        return False


assert GAS_MAX < _MASK
