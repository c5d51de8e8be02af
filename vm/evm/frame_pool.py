"""Native memory that the executions of one thread reuse one after the other."""

from __future__ import annotations

from chain.brief import before_long_work
from chain.forks import Fork
from vm.evm.frame import Frame
from vm.evm.layout import Field
from vm.evm.memory_port import Allocate
from vm.evm.native import Interpreter
from vm.evm.native_state.state import NativeState
from vm.evm.tables import Tables
from vm.limits import (
    BRIEF_MEMORY_BYTES,
    FRAMES_KEPT,
    FRAMES_WITH_MEMORY,
    MEMORY_KEPT_BYTES,
    MEMORY_START_BYTES,
)


class FramePool:
    """Frames by depth, the state that native code keeps, and each fork's dispatch tables.

    Owns them; the execution under way borrows all. Used by one thread, except where a method says otherwise.
    """

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self.frames: list[Frame] = []
        """Each names the next to native code."""
        self._has_grown = False
        """Whether the memory of any frame has since they were tidied."""
        self.native_state = NativeState(allocate)
        self._tables: dict[Fork, Tables] = {}

    def tables_of(self, interpreter: Interpreter) -> Tables:
        """The dispatch tables of a fork, for this pool's executions only."""
        tables = self._tables.get(interpreter.fork)
        if tables is None:
            tables = self._tables[interpreter.fork] = Tables(interpreter)
        return tables

    @property
    def memory_bytes(self) -> int:
        """Memory of all frames. Any thread."""
        return sum(len(frame.memory) for frame in tuple(self.frames))

    def frame_at(self, depth: int) -> Frame:
        """The frame to use at a depth; those of smaller depths exist."""
        frames = self.frames
        if depth == len(frames):
            frames.append(Frame(self._allocate))
            if depth:
                frames[depth - 1].words[Field.NEXT] = frames[depth].address
        return frames[depth]

    def grow(self, frame: Frame) -> bool:
        """Give a frame of this pool the memory it asks for; False if it cannot have that."""
        if frame.words[Field.RESULT_OFFSET] > BRIEF_MEMORY_BYTES:
            before_long_work()
        self._has_grown = True
        return frame.grow()

    def tidy(self) -> None:
        """Between two executions: free large memories and frames of great depth."""
        frames = self.frames
        if self._has_grown:
            self._has_grown = False
            for depth, frame in enumerate(frames):
                frame.finish(MEMORY_KEPT_BYTES if depth < FRAMES_WITH_MEMORY else MEMORY_START_BYTES)
        if len(frames) > FRAMES_KEPT:
            del frames[FRAMES_KEPT:]
            frames[-1].words[Field.NEXT] = 0
