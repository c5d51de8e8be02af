"""Estimates the memory of a session in bytes, for the cache of sessions; within a fifth of the truth on long runs."""

from __future__ import annotations

from typing import Final

from debugger.session import Session
from vm.evm.layout import FRAME_BYTES, Field
from vm.journal import ITEM_BYTES

SESSION_BYTES: Final = 48 << 10
"""Bytes of the smallest session."""
TEXT_COPIES: Final = 3
"""Bytes per hex digit of a program's code and calldata, which are also held as bytes and by the frame."""


def footprint(session: Session) -> int:
    """Bytes of a session: keyframes, journal, frames, recorded reads of the base state, the program, edits."""
    execution, keyframes = session.timeline.execution, session.timeline.keyframes
    frames = sum(FRAME_BYTES + int(frame.words[Field.MEMORY_SIZE]) for frame in execution.frames)
    kept = keyframes.whole_at_or_before(session.step_index).journal
    assert kept is not None
    journal = execution.journal.bytes_besides(kept)
    program = session.program
    texts = [program.code, program.calldata, program.transaction]
    texts += [edit.data for branch in session.branches.values() for edit in branch.edits]
    texts += [account.code for account in program.state.values()]
    entries = session.base.reads + sum(1 + len(account.storage) for account in program.state.values())
    held = sum(len(text) for text in texts if text) * TEXT_COPIES // 2
    return SESSION_BYTES + keyframes.bytes + journal + frames + held + 2 * ITEM_BYTES * entries
