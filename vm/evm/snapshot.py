"""Snapshots of a whole execution: every frame and the journal, to return to again and again.

A snapshot shares with an earlier one whatever has not changed since: outer frames, pages of memory, parts of the
journal. It belongs to the execution it was taken of, whose journal only that execution may have changed.

A light snapshot has a mark instead of the journal's content: it costs no more than its frames, and leads back only
from where the journal has undone nothing before it, or from a whole snapshot of such a place (`leads_to`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from vm.code import Code
from vm.evm.execution import Execution
from vm.evm.frame import Frame
from vm.evm.layout import Field
from vm.journal import JournalMark, JournalSnapshot
from vm.message import CREATES, Halt, Message, Outcome

MARK_BYTES: Final = 512
"""A mark and the frames' tuples, besides the sizes of the containers."""
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
    journal: JournalSnapshot | None
    """The journal's content; None in a light snapshot."""
    mark: JournalMark | None
    """Where the journal was; None if it has no marks, being spread over too many accounts."""

    def leads_to(self, earlier: ExecutionSnapshot) -> bool:
        """Whether the execution can be brought back to another snapshot by way of this one."""
        mark, journal = earlier.mark, self.journal
        return mark is not None and journal is not None and journal.is_after(mark)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Identity and bytes of each piece that snapshots share, for adding up what several of them hold."""
        yield from self.frame_pieces()
        if self.journal is not None:
            yield from self.journal.pieces()

    def frame_pieces(self) -> Iterator[tuple[int, int]]:
        """`pieces` but for the journal's content."""
        for frame in self.frames:
            for piece in (frame.head, frame.returndata, *frame.pages):
                yield id(piece), sys.getsizeof(piece)
        if self.mark is not None:
            yield id(self.mark.sizes), sys.getsizeof(self.mark.sizes) + MARK_BYTES


def _frame(frame: Frame, before: FrameSnapshot | None) -> FrameSnapshot:
    head, memory = frame.head(), frame.memory[: frame.words[Field.MEMORY_SIZE]]
    pages = [bytes(memory[i : i + PAGE_BYTES]) for i in range(0, len(memory), PAGE_BYTES)]
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


def take_snapshot(
    execution: Execution,
    before: ExecutionSnapshot | None = None,
    *,
    content: JournalSnapshot | None = None,
    light: bool = False,
) -> ExecutionSnapshot:
    """The execution's position, sharing with the snapshot ``before``; between two calls of `step` only.

    The journal's content is shared with ``content``, by default that of ``before``. A ``light`` snapshot is whole
    nevertheless if the journal has no marks.
    """
    old = before.frames if before is not None else ()
    frames = tuple(
        _frame(frame, old[i] if i < len(old) and old[i].message is frame.message else None)
        for i, frame in enumerate(execution.frames)
    )
    mark = execution.journal.mark(None if before is None else before.mark)
    journal = None
    if not light or mark is None:
        if content is None and before is not None:
            content = before.journal
        journal = execution.journal.snapshot(content)
    return ExecutionSnapshot(execution.steps, execution.outcome, execution.last_halt, frames, journal, mark)


def restore_snapshot(execution: Execution, snapshot: ExecutionSnapshot, via: ExecutionSnapshot | None = None) -> None:
    """Bring the execution back to a snapshot taken of it, by way of one that `leads_to` it if it is light.

    Where the journal is still beyond the snapshot's mark, it undoes what came after: that costs as much as there is
    to undo, not as much as there is.
    """
    journal, mark = execution.journal, snapshot.mark
    execution.rewind(snapshot.steps, snapshot.outcome, snapshot.last_halt)
    if mark is not None and journal.is_after(mark):
        journal.return_to(mark)
    else:
        content = (snapshot if via is None else via).journal
        assert content is not None, "a light snapshot that nothing leads to"
        journal.restore(content)
        if via is not None and via is not snapshot:
            assert mark is not None
            journal.return_to(mark)
    for kept in snapshot.frames:
        message = kept.message
        data = b"" if message.kind in CREATES else message.data
        frame = execution.push_frame(message, kept.code, data, kept.checkpoint)
        frame.words[Field.OUTPUT_OFFSET] = kept.output_offset
        frame.words[Field.OUTPUT_LENGTH] = kept.output_length
        frame.restore(b"".join((kept.head, *kept.pages, kept.returndata)))
