"""Data for front ends besides the state: a frame's code, its listing, the timeline's marks, values of expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chain.forks import Fork
from debugger.errors import InvalidExpression, InvalidProgram
from debugger.expressions import Expression
from debugger.hex import code_hash, hex_of, word_text
from debugger.limits import PAGE_MAX, VALUE_BYTES
from debugger.position import FrameView, Position
from debugger.session import Session
from debugger.state import opcode_name
from vm.evm.opcodes import opcodes

WORD_BYTES = 32


class CodePage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of a frame's code from ``offset`` on."""

    address: str
    """The account whose code it is; for init code the one that is being created."""
    hash: str
    size: int
    offset: int
    code: str
    fork: str
    init: bool = False
    """Whether it is init code, which creates the account, and not its runtime code."""


def read_code(session: Session, frame: int | None, offset: int = 0, limit: int = PAGE_MAX) -> CodePage:
    """Code of a frame (None: the running one, 0: the outermost). Raises `InvalidProgram`."""
    if offset < 0 or not 0 <= limit <= PAGE_MAX:
        raise InvalidProgram(f"a page begins at 0 or later and has at most {PAGE_MAX} bytes")
    execution = session.timeline.execution
    fork = execution.fork.name.lower()
    frames = execution.frames
    index = len(frames) - 1 if frame is None else frame
    if frames and not 0 <= index < len(frames):
        raise InvalidProgram(f"frame {index} of {len(frames)}")
    view = FrameView.of(frames[index]) if frames else session.timeline.last_frame()
    if view is None:
        return CodePage("", hex_of(code_hash(b"")), 0, offset, "0x", fork)
    code = view.code
    page = hex_of(code[offset : offset + limit])
    address, digest = hex_of(view.message.code_address), hex_of(code_hash(code))
    return CodePage(address, digest, len(code), offset, page, fork, view.is_create)


class TimelineMarks(msgspec.Struct, frozen=True, rename="camel"):
    """The marks along a session's timeline."""

    step: int
    keyframes: list[int]
    """Steps at which the node keeps snapshots of the run."""
    keyframe_bytes: int
    branch: int
    edits: list[int]
    """Steps at which this branch was edited."""


def timeline_marks(session: Session) -> TimelineMarks:
    """The marks of the current branch."""
    timeline = session.timeline
    return TimelineMarks(
        timeline.step,
        timeline.keyframes.steps,
        timeline.keyframes.bytes,
        session.branch,
        [edit.step for edit in timeline.edits],
    )


class Bytes(msgspec.Struct, frozen=True):
    """The value of an expression that is a part of calldata or memory, not a word."""

    bytes: str
    """``0x`` and two hex digits per byte."""


_OFFSET = r"\s*(0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,18})\s*"
_WHOLE = re.compile(rf"(calldata|mem)(?:\[{_OFFSET}:{_OFFSET}\])?")


def evaluate(session: Session, text: str, frame: int | None = None) -> str | Bytes | None:
    """Value of an expression in a frame (None: the running one, 0: the outermost) at this position.

    A word as a quantity; of ``calldata``, ``mem`` and parts of them longer than a word the bytes. None where a stack
    word is missing and at the end of the run. Raises `InvalidExpression`, `InvalidProgram`.
    """
    frames = session.timeline.execution.frames
    whole = _WHOLE.fullmatch(text.strip())
    expression = None if whole is not None and _is_long(whole) else Expression(text)
    if frame is not None and frames and not 0 <= frame < len(frames):
        raise InvalidProgram(f"frame {frame} of {len(frames)}")
    if session.timeline.outcome is not None:
        return None
    position = Position(session.timeline.execution, -1 if frame is None else frame)
    if expression is None:
        assert whole is not None
        return _bytes(position, whole)
    value = expression.value(position)
    return None if value is None else word_text(value)


def _is_long(whole: re.Match[str]) -> bool:
    return whole[2] is None or int(whole[3], 0) - int(whole[2], 0) > WORD_BYTES


def _bytes(position: Position, whole: re.Match[str]) -> Bytes:
    size = len(position.calldata) if whole[1] == "calldata" else position.memory_size
    start, stop = (0, size) if whole[2] is None else (int(whole[2], 0), int(whole[3], 0))
    if stop - start > VALUE_BYTES:
        raise InvalidExpression(f"{stop - start} bytes, more than the {VALUE_BYTES} a value may have: name a part")
    if whole[1] == "calldata":
        return Bytes(hex_of(position.calldata[start:stop].ljust(stop - start, b"\0")))
    return Bytes(hex_of(position.memory(start, stop)))


class ListingLine(NamedTuple):
    """A line of a listing."""

    pc: int
    name: str
    data: bytes
    """The immediate of a PUSH; shorter than the opcode says if the code ends in it."""

    @property
    def text(self) -> str:
        """The instruction as assembly text."""
        return f"{self.name} 0x{self.data.hex()}" if self.data else self.name


def disassemble(code: bytes, fork: Fork) -> Iterator[ListingLine]:
    """
    >>> [line.text for line in disassemble(bytes.fromhex("6001015f0c"), Fork.CANCUN)]
    ['PUSH1 0x01', 'ADD', 'PUSH0', 'UNKNOWN_0c']
    """
    table, pc = opcodes(fork), 0
    while pc < len(code):
        row = table.get(code[pc])
        size = 0 if row is None else row.immediate
        yield ListingLine(pc, opcode_name(code[pc], fork), code[pc + 1 : pc + 1 + size])
        pc += 1 + size
