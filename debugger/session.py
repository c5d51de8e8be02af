"""A debug session: one program, a position in its run, breakpoints, and branches made by edits.

A pure state machine: each change returns events (`debugger.events`), and nothing happens in between.
Moves are functions of their own (`debugger.moves`). A `Session` owns its timeline, its breakpoints and its branches;
use it from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from chain.state import BlockHashes, StateReader
from debugger.base_state import EmptyState, RecordingState
from debugger.breakpoints import Breakpoint, Condition
from debugger.edits import Edit
from debugger.errors import SessionLimitReached, SessionNotFound
from debugger.events import (
    Branch,
    Branched,
    BreakpointRemoved,
    BreakpointSet,
    Event,
    Renamed,
    Stopped,
)
from debugger.hex import storable
from debugger.limits import (
    BRANCHES,
    BREAKPOINTS,
    EDITS,
    KEYFRAME_BYTES,
    KEYFRAME_SPACING,
    NAME_CHARACTERS,
    TAGS,
)
from debugger.outcome import HaltState, halt_state
from debugger.program import Program
from debugger.search import hits_at_start
from debugger.state import (
    PlaceInCode,
    State,
    StateQuery,
    is_small,
    outline_digest,
    read_place,
    read_state,
    state_digest,
)
from debugger.timeline import Clock, Timeline
from vm.evm.execution import Execution
from vm.evm.trace import Tracer
from vm.machine import Machine
from vm.transaction import gas_of

_EVERYTHING: Final = StateQuery()


class Session:
    """Create it with a program; close it when it is no longer needed."""

    def __init__(
        self,
        program: Program,
        machine: Machine,
        base: StateReader | None = None,
        block_hash: BlockHashes | None = None,
        *,
        name: str = "",
        tags: Iterable[str] = (),
        spacing: int = KEYFRAME_SPACING,
        keyframe_bytes: int = KEYFRAME_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """``base`` is the pre-state of the program; the session records its reads from it.

        A ``clock`` of the thread's processor time places keyframes by how long a replay takes.

        Raises `InvalidProgram` and, for a transaction the base state does not allow, `InvalidTransaction`.
        """
        self.machine = machine
        self.name = ""
        self.tags: tuple[str, ...] = ()
        self.base = RecordingState(EmptyState() if base is None else base, block_hash)
        self.breakpoints: dict[int, Breakpoint] = {}
        self._conditions: dict[int, Condition] = {}
        self._breakpoint_ids = 0
        self._spacing, self._cap, self._clock = spacing, keyframe_bytes, clock
        self.rename(name, tags)
        self._start(program)

    def _start(self, program: Program) -> None:
        launch = program.launch()
        timeline = Timeline(
            lambda: launch.begin(self.machine, self.base, self.base.block_hash),
            spacing=self._spacing, cap=self._cap, clock=self._clock,
        )  # fmt: skip
        self.program, self.launch, self.timeline = program.storable(), launch, timeline
        self.branches: dict[int, Branch] = {0: Branch(0, None, 0, ())}
        self.branch = 0
        """Id of the current branch."""

    def begin(self, tracer: Tracer | None = None) -> Execution:
        """Another execution of the program at step 0, without edits."""
        return self.launch.begin(self.machine, self.base, self.base.block_hash, tracer)

    def clone(self, spacing: int = KEYFRAME_SPACING, tracer: Tracer | None = None) -> Timeline:
        """A timeline of the current branch at step 0, to look ahead without moving the session; close it."""
        return self.clone_of(self.branches[self.branch], spacing, tracer)

    def clone_of(
        self, branch: Branch, spacing: int = KEYFRAME_SPACING, tracer: Tracer | None = None
    ) -> Timeline:
        """A timeline of any branch at step 0."""
        return Timeline(lambda: self.begin(tracer), branch.edits, spacing=spacing, cap=self._cap)

    # Position

    @property
    def step_index(self) -> int:
        """Executed operations, those of nested frames and failed ones included."""
        return self.timeline.step

    def halt(self) -> HaltState | None:
        """How the run ended, if the session is at its end."""
        outcome = self.timeline.outcome
        if outcome is None:
            return None
        gas_used = None
        if self.launch.transaction is not None:
            journal = self.timeline.execution.journal
            fork = self.launch.environment.fork
            gas_used, _ = gas_of(fork, self.launch.transaction, outcome.gas_left, journal.refund)
        return halt_state(outcome, gas_used)

    def state(self, query: StateQuery = _EVERYTHING) -> State:
        """The state at this position, in pages."""
        last = self.timeline.last_frame()
        return read_state(self.timeline.execution, last, self.halt(), query)

    def digest(self) -> bytes:
        """Digest of the whole state at this position (`debugger.state.state_digest`)."""
        return state_digest(self.timeline.execution)

    def place_digest(self) -> bytes:
        """`digest`, or a digest of less where that takes long: a replay to this position has it too (`is_at`)."""
        execution = self.timeline.execution
        return state_digest(execution) if is_small(execution) else outline_digest(execution)

    def is_at(self, digest: bytes) -> bool:
        """Whether a `digest` or `place_digest` is of this position."""
        return digest == outline_digest(self.timeline.execution) or digest == self.digest()

    def place(self) -> PlaceInCode:
        """The place in the running frame."""
        return read_place(self.timeline.execution, self.timeline.last_frame())

    # Program

    def load(self, program: Program) -> list[Event]:
        """Debug another program from its start; breakpoints stay. Raises `InvalidProgram`, changing nothing."""
        old = self.timeline
        self._start(program)
        old.close()
        return self.stopped("loaded")

    def reset(self) -> list[Event]:
        """Return to step 0 of the loaded program; branches stay and can be checked out."""
        self.switch(0)
        self.timeline.seek(0)
        return self.stopped("reset")

    def close(self) -> None:
        """End the session."""
        self.timeline.close()

    def rename(self, name: str | None = None, tags: Iterable[str] | None = None) -> list[Event]:
        """Set the name, the tags or both."""
        name = self.name if name is None else name
        chosen = self.tags if tags is None else tuple(tags)
        if max(map(len, (name, *chosen))) > NAME_CHARACTERS or len(chosen) > TAGS:
            raise SessionLimitReached(
                f"names have at most {NAME_CHARACTERS} characters, sessions {TAGS} tags"
            )
        self.name, self.tags = name, chosen
        return [Renamed(name, chosen)]

    # Moving (`debugger.moves`)

    def stopped(self, reason: str, breakpoints: tuple[int, ...] = ()) -> list[Event]:
        """The event of a move that ended here."""
        halt = self.halt()
        if halt is not None and reason in ("step", "limit", "paused"):
            reason = "halt"
        return [Stopped(self.step_index, reason, breakpoints, halt)]

    # Breakpoints

    def active(self) -> list[Condition]:
        """Conditions of the enabled breakpoints."""
        return [self._conditions[b.id] for b in self.breakpoints.values() if b.enabled]

    def set_breakpoint(self, point: Breakpoint) -> list[Event]:
        """Add a breakpoint (id 0: it gets one) or replace the one with its id. Raises `InvalidBreakpoint`."""
        if point.id and point.id not in self.breakpoints:
            raise SessionNotFound(f"no breakpoint {point.id}")
        if not point.id:
            if len(self.breakpoints) >= BREAKPOINTS:
                raise SessionLimitReached(f"a session has at most {BREAKPOINTS} breakpoints")
            point = msgspec.structs.replace(point, id=self._breakpoint_ids + 1)
        numbers = {"slot": point.slot, "offset": point.offset, "length": point.length}
        safe = {name: storable(number) for name, number in numbers.items() if number is not None}
        point = msgspec.structs.replace(point, **safe)
        condition = Condition(point)
        self._breakpoint_ids = max(self._breakpoint_ids, point.id)
        self.breakpoints[point.id], self._conditions[point.id] = point, condition
        return [BreakpointSet(point)]

    def remove_breakpoint(self, id: int) -> list[Event]:  # noqa: A002
        """Remove one. Raises `SessionNotFound`."""
        if id not in self.breakpoints:
            raise SessionNotFound(f"no breakpoint {id}")
        del self.breakpoints[id], self._conditions[id]
        return [BreakpointRemoved(id)]

    def put_breakpoints(self, points: Iterable[Breakpoint], given: int) -> None:
        """Restore the breakpoints of a record with their ids; ``given`` is the highest id ever given."""
        for point in points:
            self._conditions[point.id] = Condition(point)
            self.breakpoints[point.id] = point
        self._breakpoint_ids = max((given, *self.breakpoints))

    @property
    def breakpoint_ids(self) -> int:
        """The highest breakpoint id ever given."""
        return self._breakpoint_ids

    def holding(self) -> tuple[int, ...]:
        """Ids of the breakpoints that hold at this position, as far as the position alone shows."""
        return hits_at_start(self.timeline, self.active())

    # Edits and branches

    def edit(self, edit: Edit) -> list[Event]:
        """Apply an edit at the position, on a new branch unless the newest began here. Raises `InvalidEdit`."""
        step, current = self.step_index, self.branches[self.branch]
        kept = tuple(e for e in current.edits if e.step <= step)
        if len(kept) >= EDITS:
            raise SessionLimitReached(f"a branch has at most {EDITS} edits")
        is_extended = current.id == max(self.branches) != 0 and current.step == step and kept == current.edits
        if not is_extended and len(self.branches) >= BRANCHES:
            raise SessionLimitReached(f"a session has at most {BRANCHES} branches")
        edit = edit.at(step)
        self.timeline.add_edit(edit)
        if is_extended:
            branch = msgspec.structs.replace(current, edits=(*kept, edit))
        else:
            branch = Branch(max(self.branches) + 1, current.id, step, (*kept, edit))
        self.branches[branch.id] = branch
        self.branch = branch.id
        return [Branched(branch), *self.stopped("edit")]

    def switch(self, branch: int) -> None:
        """Switch to another branch of the run, at the last keyframe that both share."""
        self.branch = branch
        self.timeline.replace_edits(self.branches[branch].edits, self.begin)
