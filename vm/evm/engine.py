"""What executions are made with: an engine for each fork, a pool for each thread."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chain.forks import CODE_BYTES_MAX, Fork
from vm.code import Code, CodeCache
from vm.evm.frame import Frame
from vm.evm.host import Handler
from vm.evm.jit.maps import Maps
from vm.evm.layout import Field
from vm.evm.ledger import SlotLedger
from vm.evm.native import Interpreter
from vm.evm.tables import Tables
from vm.limits import FRAMES_KEPT, FRAMES_WITH_MEMORY, MEMORY_KEPT_BYTES, MEMORY_START_BYTES


class Tier(Protocol):
    """Knows what is compiled."""

    def maps_of(self, code: Code) -> Maps | None:
        """Maps of the code about to run, None to interpret it."""


class Engine(NamedTuple):
    """All that executing under one fork needs, made once."""

    fork: Fork
    interpreter: Interpreter
    handlers: list[Handler]
    codes: CodeCache
    tier: Tier | None
    """What compiles; None to interpret everything."""
    code_bytes_max: int
    """Longest code of a contract; creation code may be twice as long."""

    @classmethod
    def of(
        cls,
        interpreter: Interpreter,
        handlers: list[Handler],
        codes: CodeCache,
        tier: Tier | None = None,
        code_bytes_max: int = CODE_BYTES_MAX,
    ) -> Engine:
        """The engine of the interpreter's fork."""
        return cls(interpreter.fork, interpreter, handlers, codes, tier, code_bytes_max)


class Pool:
    """What executions of one thread use one after the other: frames by depth, and a ledger."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        """Each names the next to native code."""
        self.has_grown = False
        """Whether the memory of any frame has since they were tidied."""
        self.ledger = SlotLedger()
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
        """The frame to use at a depth; all above it exist."""
        frames = self.frames
        if depth == len(frames):
            frames.append(Frame())
            if depth:
                frames[depth - 1].words[Field.NEXT] = frames[depth].address
        return frames[depth]

    def tidy(self) -> None:
        """Between two executions: give back much memory, and frames of great depth."""
        frames = self.frames
        if self.has_grown:
            self.has_grown = False
            for depth, frame in enumerate(frames):
                frame.finish(MEMORY_KEPT_BYTES if depth < FRAMES_WITH_MEMORY else MEMORY_START_BYTES)
        if len(frames) > FRAMES_KEPT:
            del frames[FRAMES_KEPT:]
            frames[-1].words[Field.NEXT] = 0
