"""Snapshots of a whole execution: every frame and the journal, to return to again and again.

A snapshot shares with an earlier one whatever has not changed since: outer frames, pages of memory, parts of the
journal. It belongs to the execution it was taken of, whose journal only that execution may have changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from vm.code import Code
from vm.evm.execution import Execution
from vm.evm.frame import Frame
from vm.evm.layout import Field
from vm.journal import JournalSnapshot
from vm.message import CREATES, Halt, Message, Outcome

PAGE_BYTES: Final = 4096
"""Memory is shared in pages of this size."""


class FrameSnapshot(NamedTuple):
    """One frame; memory is cut into pages."""

    message: Message
    code: Code
    checkpoint: int
    output_offset: int
    output_length: int
    head: bytes
    pages: tuple[bytes, ...]
    returndata: bytes


class ExecutionSnapshot(NamedTuple):
    """A position of an execution."""

    steps: int
    outcome: Outcome | None
    last_halt: Halt
    frames: tuple[FrameSnapshot, ...]
    journal: JournalSnapshot

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Identity and bytes of each piece that snapshots share, for adding up what several of them hold."""
        for frame in self.frames:
            for piece in (frame.head, frame.returndata, *frame.pages):
                yield id(piece), sys.getsizeof(piece)
        yield from self.journal.pieces()


def _frame(frame: Frame, before: FrameSnapshot | None) -> FrameSnapshot:
    raw = frame.snapshot()
    memory_end = len(raw) - len(frame.returndata)
    memory_start = memory_end - frame.words[Field.MEMORY_SIZE]
    head, memory = raw[:memory_start], raw[memory_start:memory_end]
    pages = [memory[i : i + PAGE_BYTES] for i in range(0, len(memory), PAGE_BYTES)]
    if before is not None:
        known = before.pages
        pages[: len(known)] = [
            old if old == new else new for old, new in zip(known, pages, strict=False)
        ]
        head = before.head if before.head == head else head
    return FrameSnapshot(
        frame.message,
        frame.code,
        frame.checkpoint,
        *frame.output_range,
        head,
        tuple(pages),
        frame.returndata,
    )


def take_snapshot(execution: Execution, before: ExecutionSnapshot | None = None) -> ExecutionSnapshot:
    """The execution's position, sharing with the snapshot ``before``; between two calls of `step` only."""
    old = before.frames if before is not None else ()
    frames = tuple(
        _frame(frame, old[i] if i < len(old) and old[i].message is frame.message else None)
        for i, frame in enumerate(execution.frames)
    )
    journal = execution.journal.snapshot(before.journal if before is not None else None)
    return ExecutionSnapshot(execution.steps, execution.outcome, execution.last_halt, frames, journal)


def restore_snapshot(execution: Execution, snapshot: ExecutionSnapshot) -> None:
    """Bring the execution back to a snapshot taken of it."""
    execution.rewind(snapshot.steps, snapshot.outcome, snapshot.last_halt)
    execution.journal.restore(snapshot.journal)
    for kept in snapshot.frames:
        message = kept.message
        data = b"" if message.kind in CREATES else message.data
        frame = execution.push_frame(message, kept.code, data, kept.checkpoint)
        frame.words[Field.OUTPUT_OFFSET] = kept.output_offset
        frame.words[Field.OUTPUT_LENGTH] = kept.output_length
        frame.restore(b"".join((kept.head, *kept.pages, kept.returndata)))
