"""A run that can go to any of its steps: a live execution, keyframes before it, and native replay between them.

A `Timeline` owns its execution and its keyframes. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from debugger.edits import Edit, apply_edit
from debugger.errors import StepOutOfRange
from debugger.keyframes import Keyframes
from debugger.limits import KEYFRAME_BYTES, KEYFRAME_NEAR, KEYFRAME_SPACING, RUN_SLICE
from debugger.position import FrameView
from debugger.slices import Slices, WantsPause, finish, never
from vm.evm.execution import Execution
from vm.evm.snapshot import ExecutionSnapshot, restore_snapshot, take_snapshot
from vm.evm.watch import TraceDigest, Watch
from vm.message import Outcome

_FAR = 1 << 62


class Timeline:
    """Moves an execution forwards and backwards. Edits are part of the run: replay applies them at their steps."""

    def __init__(
        self,
        begin: Callable[[], Execution],
        edits: Sequence[Edit] = (),
        *,
        spacing: int = KEYFRAME_SPACING,
        cap: int = KEYFRAME_BYTES,
    ) -> None:
        """``begin`` returns a new execution at step 0; ``edits`` ascend by step."""
        self.execution = begin()
        self.keyframes = Keyframes(cap)
        self._spacing = spacing
        self._edits: tuple[Edit, ...] = ()
        self._last: FrameView | None = None
        self._apply_here(tuple(edits))
        self._edits = tuple(edits)
        self._keep()

    # Position

    @property
    def step(self) -> int:
        """Operations executed."""
        return self.execution.steps

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended, if the timeline is at its end."""
        return self.execution.outcome

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits of this run, also later ones."""
        return self._edits

    def last_frame(self) -> FrameView | None:
        """At the end: the outermost frame before its last opcode. None if nothing was executed."""
        if self.outcome is not None and self._last is None and self.step:
            end = self.step
            self.seek(end - 1)
            self._last = FrameView.of(self.execution.frames[0])
            self.forward(1)
        return self._last

    # Moving

    def forward(self, count: int, mode: Watch | TraceDigest | None = None) -> bool:
        """Run up to ``count`` operations; whether ``mode`` stopped it before the end of all."""
        execution = self.execution
        goal = execution.steps + count
        while execution.steps < goal and execution.outcome is None:
            at = execution.steps
            stop = min(goal, at - at % self._spacing + self._spacing, self._next_edit(at))
            execution.step(stop - at, mode)
            if self.outcome is not None:
                break
            if execution.steps > at:
                self._apply_here(self._edits)
                if execution.steps % self._spacing == 0 and execution.steps not in self.keyframes:
                    self._keep()
            if execution.steps < stop or (isinstance(mode, Watch) and mode.has_stopped):
                return True
        return False

    def advance(self, step: int, wants_pause: WantsPause = never) -> Slices[bool]:
        """Run on to a step or to the end, past all breakpoints; whether it arrived, or else was paused."""
        while self.step < step and self.outcome is None:
            self.forward(min(RUN_SLICE, step - self.step))
            if self.step < step and self.outcome is None:
                if wants_pause():
                    return False
                yield
        return True

    def seek(self, step: int) -> None:
        """`seeking` in one piece: for steps near a keyframe, and for timelines that nobody waits for."""
        finish(self.seeking(step))

    def seeking(self, step: int, wants_pause: WantsPause = never) -> Slices[bool]:
        """Go to a step; returns whether it arrived. A pause ends a forward move early, and a backward one at its start.

        Raises `StepOutOfRange`, back where it began, if the run is shorter.
        """
        if step < 0:
            raise StepOutOfRange("steps begin at 0")
        before, nearest = self.step, self.keyframes.at_or_before(step)
        is_back = step < before
        is_far = step - max(nearest.steps, 0 if is_back else before) > RUN_SLICE
        began = take_snapshot(self.execution, self.keyframes.at_or_before(before)) if is_far else None
        if is_back or nearest.steps > before:
            restore_snapshot(self.execution, nearest)
        has_arrived = True
        if is_back and step - nearest.steps > 2 * KEYFRAME_NEAR:
            has_arrived = yield from self.advance(step - KEYFRAME_NEAR, wants_pause)
            if has_arrived:
                self._keep()
        if has_arrived:
            has_arrived = yield from self.advance(step, wants_pause)
        if not has_arrived:
            if is_back:
                self._return(before, began)
            return False
        if self.step != step:
            end = self.step
            self._return(before, began)
            raise StepOutOfRange(f"the run ends at step {end}")
        return True

    def _return(self, step: int, snapshot: ExecutionSnapshot | None) -> None:
        """Go back to the start of a move that did not arrive."""
        if snapshot is None:
            self.seek(step)
        else:
            restore_snapshot(self.execution, snapshot)

    def rewind_to_keyframe(self, before: int) -> int:
        """Move to the last keyframe before a step, which is not 0; returns that keyframe's step."""
        self._restore(self.keyframes.at_or_before(before - 1).steps)
        return self.step

    def close(self) -> None:
        """Free the frames' memory."""
        self.execution.close()

    # Edits

    def add_edit(self, edit: Edit) -> None:
        """Apply an edit; later edits are dropped. Raises `InvalidEdit` with nothing changed."""
        assert edit.step == self.step
        apply_edit(self.execution, edit)
        self._last = None
        self._edits = (*(e for e in self._edits if e.step <= self.step), edit)
        self.keyframes.drop_from(self.step)
        self._keep()

    def replace_edits(self, edits: Sequence[Edit], begin: Callable[[], Execution]) -> None:
        """Switch to the run with other edits, at the last keyframe that both runs share."""
        old, new = self._edits, tuple(edits)
        same = 0
        while same < min(len(old), len(new)) and old[same] == new[same]:
            same += 1
        if same == len(old) == len(new):
            return
        first = min(e.step for e in (*old[same:], *new[same:]))
        self._last = None
        self._edits = new
        self.keyframes.drop_from(first)
        if len(self.keyframes):
            self._restore(self.keyframes.at_or_before(first).steps)
            return
        self.execution.close()
        self.execution = begin()
        self._apply_here(new)
        self._keep()

    def _apply_here(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            if edit.step == self.execution.steps and self.execution.outcome is None:
                apply_edit(self.execution, edit)

    def _next_edit(self, after: int) -> int:
        return min((edit.step for edit in self._edits if edit.step > after), default=_FAR)

    # Keyframes

    def _keep(self) -> None:
        near = self.keyframes.at_or_before(self.step) if len(self.keyframes) else None
        self.keyframes.add(take_snapshot(self.execution, near))

    def _restore(self, step: int) -> None:
        restore_snapshot(self.execution, self.keyframes.at_or_before(step))
