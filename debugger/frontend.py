"""What front ends show besides the state: a frame's code, its listing, the timeline's marks, an expression's value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chain.forks import Fork
from chain.hashing import keccak256
from debugger.errors import InvalidProgram
from debugger.expressions import Expression
from debugger.limits import PAGE_MAX
from debugger.position import FrameView, Position
from debugger.session import Session
from debugger.state import opcode_name
from debugger.words import hex_of, word_text
from vm.evm.opcodes import opcodes


class CodePage(msgspec.Struct, frozen=True, rename="camel"):
    """Code of a frame from ``offset`` on, as much as was asked for."""

    address: str
    """The account whose code it is; for init code the one that is being created."""
    hash: str
    size: int
    offset: int
    code: str
    fork: str


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
        return CodePage("", hex_of(keccak256(b"")), 0, offset, "0x", fork)
    code = view.code
    page = hex_of(code[offset : offset + limit])
    return CodePage(hex_of(view.message.code_address), hex_of(keccak256(code)), len(code), offset, page, fork)


class Marks(msgspec.Struct, frozen=True, rename="camel"):
    """What lies along a session's timeline."""

    step: int
    keyframes: list[int]
    """Steps at which the node keeps snapshots of the run."""
    keyframe_bytes: int
    branch: int
    edits: list[int]
    """Steps at which this branch was edited."""


def timeline_marks(session: Session) -> Marks:
    """The marks of the current branch."""
    timeline = session.timeline
    return Marks(
        timeline.step,
        timeline.keyframes.steps,
        timeline.keyframes.bytes,
        session.branch,
        [edit.step for edit in timeline.edits],
    )


def evaluate(session: Session, text: str) -> str | None:
    """Value of an expression at this position; None where a stack word is missing and at the end of the run.

    Raises `InvalidExpression`.
    """
    expression = Expression(text)
    if session.timeline.outcome is not None:
        return None
    value = expression.value(Position(session.timeline.execution))
    return None if value is None else word_text(value)


class Instruction(NamedTuple):
    """A line of a listing."""

    pc: int
    name: str
    data: bytes
    """What a PUSH pushes; shorter than the opcode says where the code ends."""

    @property
    def text(self) -> str:
        """As people write it."""
        return f"{self.name} 0x{self.data.hex()}" if self.data else self.name


def disassemble(code: bytes, fork: Fork) -> Iterator[Instruction]:
    """
    >>> [line.text for line in disassemble(bytes.fromhex("6001015f0c"), Fork.CANCUN)]
    ['PUSH1 0x01', 'ADD', 'PUSH0', 'UNKNOWN_0c']
    """
    table, pc = opcodes(fork), 0
    while pc < len(code):
        row = table.get(code[pc])
        size = 0 if row is None else row.immediate
        yield Instruction(pc, opcode_name(code[pc], fork), code[pc + 1 : pc + 1 + size])
        pc += 1 + size
