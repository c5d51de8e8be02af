"""A run that can go to any of its steps: a live execution, keyframes before it, and native replay between them.

A `Timeline` owns its execution and its keyframes. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from debugger.edits import Edit, apply_edit
from debugger.errors import StepOutOfRange
from debugger.keyframes import Keyframes, WayBack
from debugger.limits import (
    JOURNAL_SHARE,
    KEYFRAME_BYTES,
    KEYFRAME_NEAR,
    KEYFRAME_SECONDS,
    KEYFRAME_SPACING,
    KEYFRAME_STEPS,
    RUN_SLICE,
)
from debugger.position import FrameView
from debugger.slices import Slices, WantsPause, finish, never
from vm.evm.execution import Execution
from vm.evm.snapshot import restore_snapshot, take_snapshot
from vm.evm.watch import TraceDigest, Watch
from vm.message import Outcome

Clock = Callable[[], float]
"""Seconds of processor time of the calling thread, from any beginning."""

_FAR = 1 << 62


class _Pace:
    """How far apart keyframes are: a number of steps, and less where operations take long.

    Without a clock every keyframe holds the journal's content.
    """

    def __init__(self, spacing: int, clock: Clock | None) -> None:
        self._spacing = spacing
        self._fraction = spacing if clock is None else max(1, spacing // 8)
        """Steps between keyframes where these cost less than what is run between them."""
        self._clock = clock
        self._stride = spacing if clock is None else min(spacing, 16 * KEYFRAME_STEPS)
        self._since = self._since_content = self._keyframe = self._content = 0.0
        """Seconds since the last keyframe and the last with content; what the last of each took."""

    def now(self) -> float:
        return 0.0 if self._clock is None else self._clock()

    def stop_after(self, step: int) -> int:
        """Where to look again whether a keyframe is due."""
        return min(step - step % self._fraction + self._fraction, step + self._stride)

    def ran(self, steps: int, began: float) -> None:
        """So many steps were run since a time."""
        took = self.now() - began
        self._since += took
        self._since_content += took
        if took > KEYFRAME_SECONDS or 2 * steps >= self._stride:
            wanted = int(steps * KEYFRAME_SECONDS / took) if took > 0 else self._spacing
            bounded = min(max(wanted, self._stride // 4, KEYFRAME_STEPS), 4 * self._stride, self._spacing)
            self._stride = self._spacing if self._clock is None else bounded

    def is_due(self, step: int) -> bool:
        """Whether a keyframe is wanted here."""
        if step % self._spacing == 0:
            return True
        if self._clock is None:
            return False
        if step % self._fraction == 0 and self._since >= self._keyframe:
            return True
        return self._since >= max(KEYFRAME_SECONDS / 2, 2 * self._keyframe)

    @property
    def wants_content(self) -> bool:
        """Whether it is worth keeping the journal's content."""
        return self._clock is None or self._since_content >= JOURNAL_SHARE * self._content

    def kept(self, began: float, *, has_content: bool, is_whole: bool) -> None:
        """A keyframe was made since a time; it is whole if there was room for the content it had."""
        took = self.now() - began
        self._since = 0.0
        if has_content:
            self._since_content = 0.0
            self._content = took if is_whole else max(took, 2 * self._content)
        else:
            self._keyframe = took

    def passed(self) -> None:
        """The timeline is at a keyframe."""
        self._since = 0.0


class Timeline:
    """Moves an execution forwards and backwards. Edits are part of the run: replay applies them at their steps."""

    def __init__(
        self,
        begin: Callable[[], Execution],
        edits: Sequence[Edit] = (),
        *,
        spacing: int = KEYFRAME_SPACING,
        cap: int = KEYFRAME_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """``begin`` returns a new execution at step 0; ``edits`` ascend by step.

        Keyframes are ``spacing`` steps apart; with a ``clock``, as close as keeps replays short.
        """
        self.execution = begin()
        self.keyframes = Keyframes(cap)
        self._pace = _Pace(spacing, clock)
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
        execution, pace = self.execution, self._pace
        goal = execution.steps + count
        while execution.steps < goal and execution.outcome is None:
            at, known = execution.steps, self.keyframes.after(execution.steps)
            stop = min(goal, pace.stop_after(at), self._next_edit(at), _FAR if known is None else known)
            began = pace.now()
            execution.step(stop - at, mode)
            pace.ran(execution.steps - at, began)
            if self.outcome is not None:
                break
            if execution.steps > at:
                self._apply_here(self._edits)
                self._keep_here()
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
        before, keyframes = self.step, self.keyframes
        if step == before:
            return True
        is_back = step < before
        way = keyframes.way_back(step, self.execution.journal)
        nearest = way.snapshot.steps
        is_far = step - max(nearest, 0 if is_back else before) > RUN_SLICE
        began = WayBack(take_snapshot(self.execution, keyframes.at_or_before(before))) if is_far else None
        if is_back or nearest > before:
            self._return_by(way)
        has_arrived = True
        if is_back and step - nearest > 2 * KEYFRAME_NEAR:
            has_arrived = yield from self.advance(step - KEYFRAME_NEAR, wants_pause)
            if has_arrived:
                self._keep()
        if has_arrived:
            has_arrived = yield from self.advance(step, wants_pause)
        if not has_arrived:
            if is_back:
                self._give_up(before, began)
            return False
        if self.step != step:
            end = self.step
            self._give_up(before, began)
            raise StepOutOfRange(f"the run ends at step {end}")
        return True

    def _give_up(self, step: int, began: WayBack | None) -> None:
        """Go back to the start of a move that did not arrive."""
        if began is None:
            self.seek(step)
        else:
            self._return_by(began)

    def rewind_to_keyframe(self, before: int) -> int:
        """Move to the last keyframe before a step, which is not 0; returns that keyframe's step."""
        self._restore(before - 1)
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
            self._restore(first)
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

    def _keep_here(self) -> None:
        """Keep a keyframe if one is due; one of an earlier run that no way leads to is replaced."""
        step, keyframes = self.step, self.keyframes
        if step not in keyframes:
            if self._pace.is_due(step):
                self._keep()
        elif keyframes.way_back(step, self.execution.journal).snapshot.steps == step:
            self._pace.passed()
        else:
            self._keep()

    def _keep(self) -> None:
        pace, keyframes = self._pace, self.keyframes
        began = pace.now()
        if len(keyframes):
            near, whole = keyframes.at_or_before(self.step), keyframes.whole_at_or_before(self.step)
            light = not pace.wants_content
            snapshot = take_snapshot(self.execution, near, content=whole.journal, light=light)
        else:
            snapshot = take_snapshot(self.execution)
        keyframes.add(snapshot)
        pace.kept(began, has_content=snapshot.journal is not None, is_whole=keyframes.is_whole(self.step))

    def _restore(self, step: int) -> None:
        """Go to the last keyframe that is not later than a step."""
        self._return_by(self.keyframes.way_back(step, self.execution.journal))

    def _return_by(self, way: WayBack) -> None:
        restore_snapshot(self.execution, *way)
        self._pace.passed()
