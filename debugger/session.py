"""A debug session: one program, a position in its run, breakpoints, and branches made by edits.

A pure state machine: commands are methods that answer with events (`debugger.events`), and nothing happens in
between. Not for several threads at once, except `pause`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final

import msgspec

from chain.state import BlockHashes, StateReader
from debugger.base_state import EmptyState, RecordingState
from debugger.breakpoints import Breakpoint, Condition
from debugger.edits import Edit
from debugger.errors import InvalidProgram, SessionLimitReached, SessionNotFound, StepOutOfRange
from debugger.events import (
    Branch,
    Branched,
    BreakpointRemoved,
    BreakpointSet,
    Event,
    Renamed,
    Running,
    Stopped,
)
from debugger.halts import HaltState, halt_state
from debugger.hunt import Hit, Hunt, hits_at_start
from debugger.limits import (
    BRANCHES,
    BREAKPOINTS,
    EDITS,
    KEYFRAME_BYTES,
    KEYFRAME_SPACING,
    NAME_CHARACTERS,
    RUN_SLICE,
    RUN_SLICE_CHECKED,
    TAGS,
)
from debugger.program import Program
from debugger.slices import (
    Slices,
    WantsPause,
    finish,
    out_back_slices,
    out_slices,
    over_back_slices,
    over_slices,
    reverse_slices,
    run_slices,
    seek_slices,
    step_slices,
)
from debugger.state import State, StateQuery, read_state, state_digest
from debugger.timeline import Timeline
from debugger.words import storable
from vm.evm.execution import Execution
from vm.machine import Machine
from vm.trace import Tracer
from vm.transaction import gas_of

_EVERYTHING: Final = StateQuery()
Moves = Generator[None, None, list[Event]]
"""A move of a session in slices."""


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
    ) -> None:
        """``base`` is the state the program starts from; the session remembers all it reads of it.

        Raises `InvalidProgram` and, for a transaction the base state does not allow, `InvalidTransaction`.
        """
        self.machine = machine
        self.name = ""
        self.tags: tuple[str, ...] = ()
        self.base = RecordingState(EmptyState() if base is None else base, block_hash)
        self.breakpoints: dict[int, Breakpoint] = {}
        self.is_running = False
        """Between `toggle_run_pause` and the next stop a driver calls `run_slice`."""
        self._conditions: dict[int, Condition] = {}
        self._breakpoint_ids = 0
        self._spacing, self._cap = spacing, keyframe_bytes
        self._pause_wanted = False
        self._run_began = -1
        """Step where `toggle_run_pause` began the run."""
        self.rename(name, tags)
        self._start(program)

    def _start(self, program: Program) -> None:
        launch = program.launch()
        timeline = Timeline(
            lambda: launch.begin(self.machine, self.base, self.base.block_hash), spacing=self._spacing, cap=self._cap
        )
        self.program, self.launch, self.timeline = program.storable(), launch, timeline
        self.branches: dict[int, Branch] = {0: Branch(0, None, 0, ())}
        self.branch = 0
        """Id of the current branch."""

    def begin(self, tracer: Tracer | None = None) -> Execution:
        """A further execution of the program at step 0, without edits."""
        return self.launch.begin(self.machine, self.base, self.base.block_hash, tracer)

    def twin(self, spacing: int = KEYFRAME_SPACING, tracer: Tracer | None = None) -> Timeline:
        """A further timeline of the current branch at step 0; the session does not move."""
        return self.twin_of(self.branches[self.branch], spacing, tracer)

    def twin_of(
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

    def length(self) -> int:
        """Steps of the whole run. Runs ahead and returns."""
        here = self.step_index
        self.timeline.to_end()
        end = self.step_index
        self.timeline.seek(here)
        return end

    # Program

    def load(self, program: Program) -> list[Event]:
        """Debug another program from its start; breakpoints stay. Raises `InvalidProgram`, changing nothing."""
        old = self.timeline
        self._start(program)
        old.close()
        return self._stopped("loaded")

    def reset(self) -> list[Event]:
        """Return to step 0 of the program as it was loaded; branches stay to be checked out."""
        self.is_running = False
        self._switch(self.branches[0])
        self.timeline.seek(0)
        return self._stopped("reset")

    def close(self) -> None:
        """End the session."""
        self.timeline.close()

    def rename(self, name: str | None = None, tags: Iterable[str] | None = None) -> list[Event]:
        """Set name and tags, each if given."""
        name = self.name if name is None else name
        chosen = self.tags if tags is None else tuple(tags)
        if max(map(len, (name, *chosen))) > NAME_CHARACTERS or len(chosen) > TAGS:
            raise SessionLimitReached(
                f"names have at most {NAME_CHARACTERS} characters, sessions {TAGS} tags"
            )
        self.name, self.tags = name, chosen
        return [Renamed(name, chosen)]

    # Moving

    def sliced(self, slices: Slices) -> Moves:
        """A move of `debugger.slices` with its events; the caller may do something else after every ``yield``."""
        self._pause_wanted = self.is_running = False
        reached = yield from slices
        return self._stopped(reached.reason, reached.breakpoints)

    def _at_once(self, slices: Slices) -> list[Event]:
        return finish(self.sliced(slices))

    def _is_pause_wanted(self) -> bool:
        return self._pause_wanted

    def step(self, count: int = 1) -> list[Event]:
        """Execute operations, entering calls; fewer if the run ends."""
        return self._at_once(step_slices(self.timeline, count, self._is_pause_wanted))

    def step_back(self, count: int = 1) -> list[Event]:
        """Undo operations, as many as there are."""
        if count < 0:
            raise InvalidProgram(f"a number of steps is not negative: {count}")
        self.timeline.seek(max(0, self.step_index - count))
        return self._stopped("step")

    def seek(self, step: int) -> list[Event]:
        """Move to a step. Raises `StepOutOfRange` if the run is shorter."""
        return self._at_once(seek_slices(self.timeline, step, self._is_pause_wanted))

    def to_end(self) -> list[Event]:
        """Run to the end past all breakpoints."""
        self.timeline.to_end()
        return self._stopped("seek")

    def step_over(self, limit: int | None = None) -> list[Event]:
        """Execute an operation and all that it calls, unless a breakpoint comes first."""
        return self._at_once(over_slices(self.timeline, self.active(), limit, self._is_pause_wanted))

    def step_out(self, limit: int | None = None) -> list[Event]:
        """Run until the caller of this frame goes on, unless a breakpoint comes first."""
        return self._at_once(out_slices(self.timeline, self.active(), limit, self._is_pause_wanted))

    def step_over_back(self) -> list[Event]:
        """Undo an operation and all that it called, unless a breakpoint comes first."""
        return self._at_once(over_back_slices(self.timeline, self.active(), self._is_pause_wanted))

    def step_out_back(self) -> list[Event]:
        """Return to the operation that called this frame, unless a breakpoint comes first; from the outermost to 0."""
        return self._at_once(out_back_slices(self.timeline, self.active(), self._is_pause_wanted))

    def run(self, limit: int | None = None) -> list[Event]:
        """Run to a breakpoint, the end, a `pause`, or for ``limit`` steps."""
        return self._at_once(run_slices(self.timeline, self.active(), limit, None, self._is_pause_wanted))

    def reverse_run(self) -> list[Event]:
        """Run backwards to the last breakpoint before this position, or to the start."""
        return self._at_once(reverse_slices(self.timeline, self.active(), self._is_pause_wanted))

    def toggle_run_pause(self) -> bool:
        """Begin or stop running; a driver calls `run_slice` while it is true."""
        self.is_running = not self.is_running and self.timeline.outcome is None
        self._run_began = self.step_index
        return self.is_running

    def run_slice(self, limit: int = RUN_SLICE) -> list[Event]:
        """Go on with a run for a bounded number of steps; `Running` if there is more to do."""
        if not self.is_running:
            return self._stopped("paused")
        is_later = self.step_index != self._run_began
        hunt = Hunt(self.timeline, self.active(), includes_start=is_later)
        hits = hunt.forward(min(limit, RUN_SLICE_CHECKED) if hunt.looks_at_every_step else limit)
        if hits:
            return self._hit(hits)
        if self.timeline.outcome is not None:
            self.is_running = False
            return self._stopped("halt")
        return [Running(self.step_index)]

    def pause(self) -> None:
        """Have a `run` in another thread stop at its next slice."""
        self._pause_wanted = True

    def _hit(self, hits: list[Hit]) -> list[Event]:
        self.is_running = False
        if self.step_index != hits[0].step:
            self.timeline.seek(hits[0].step)
        return self._stopped("breakpoint", hits[0].ids)

    def _stopped(self, reason: str, breakpoints: tuple[int, ...] = ()) -> list[Event]:
        halt = self.halt()
        if halt is not None and reason in ("step", "limit", "paused"):
            reason = "halt"
        return [Stopped(self.step_index, reason, breakpoints, halt)]

    # Breakpoints

    def active(self) -> list[Condition]:
        """Conditions of the breakpoints that are enabled."""
        return [self._conditions[b.id] for b in self.breakpoints.values() if b.enabled]

    def set_breakpoint(self, point: Breakpoint) -> list[Event]:
        """Add one (id 0: it is given one) or replace the one with its id. Raises `InvalidBreakpoint`."""
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
        """Bring back the breakpoints of a record with their ids; ``given`` is the highest id ever given."""
        for point in points:
            self._conditions[point.id] = Condition(point)
            self.breakpoints[point.id] = point
        self._breakpoint_ids = max((given, *self.breakpoints))

    @property
    def breakpoint_ids(self) -> int:
        """The highest breakpoint id ever given."""
        return self._breakpoint_ids

    def holding(self) -> tuple[int, ...]:
        """Ids of the breakpoints that hold at this very position, as far as it alone tells."""
        return hits_at_start(self.timeline, self.active())

    # Edits and branches

    def edit(self, edit: Edit) -> list[Event]:
        """Change the position, on a new branch unless the newest began right here. Raises `InvalidEdit`."""
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
        return [Branched(branch), *self._stopped("edit")]

    def checkout(self, branch: int, step: int | None = None) -> list[Event]:
        """Go to a branch, at a step or where it left its parent. Raises `SessionNotFound`, `StepOutOfRange`."""
        return finish(self.checkout_slices(branch, step, self._is_pause_wanted))

    def checkout_slices(self, branch: int, step: int | None, wants_pause: WantsPause) -> Moves:
        """`checkout` in slices: others may work after every ``yield``; a pause ends it on the branch, where it got."""
        if branch not in self.branches:
            raise SessionNotFound(f"no branch {branch}")
        chosen = self.branches[branch]
        before, position = self.branches[self.branch], self.step_index
        self._pause_wanted = False
        self._switch(chosen)
        try:
            yield from seek_slices(self.timeline, chosen.step if step is None else step, wants_pause)
        except StepOutOfRange:
            self._switch(before)
            self.timeline.seek(position)
            raise
        return self._stopped("branch")

    def _switch(self, branch: Branch) -> None:
        self.branch = branch.id
        self.timeline.replace_edits(branch.edits, self.begin)
