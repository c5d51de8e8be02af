"""Comparing runs: the first step at which two sessions differ, with what led there.

Runs are compared natively by trace digests, chunk by chunk, and a chunk that differs is bisected; what a digest
does not cover (memory, return data) is compared where chunks end.
"""

from __future__ import annotations

import msgspec

from debugger.halts import HaltState, halt_state
from debugger.limits import DIFF_CHUNK, DIFF_CONTEXT
from debugger.position import FrameView
from debugger.session import Session
from debugger.state import opcode_name
from debugger.timeline import Timeline
from debugger.words import hex_of, word_text
from vm.evm.watch import TraceDigest

_MEMORY_SHOWN = 64


class StepLine(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one side was about to do at a step."""

    step: int
    pc: int
    opcode: str
    gas: int
    depth: int
    address: str
    stack: list[str]
    """The top last."""
    memory_size: int
    halt: HaltState | None = None


class Divergence(msgspec.Struct, frozen=True, rename="camel"):
    """The first step at which the sides differ, before it is executed."""

    step: int
    fields: list[str]
    """What differs: pc, opcode, gas, depth, stack, memory, returnData, logs, halt."""
    left: StepLine
    right: StepLine
    before: list[StepLine]
    """Steps that led there, the same on both sides except perhaps for gas."""
    notes: list[str]
    """Where in stack or memory the first difference is."""


class Comparison(msgspec.Struct, frozen=True, rename="camel"):
    """What comparing gave."""

    is_equal: bool
    steps: int
    """Steps that are the same on both sides."""
    has_ended: bool
    """Both runs were followed to their ends, or to where they differ."""
    divergence: Divergence | None


class _Side:
    """One timeline with a trace digest that goes along."""

    def __init__(self, session: Session, with_gas: bool) -> None:
        self.timeline: Timeline = session.twin(spacing=DIFF_CHUNK)
        self.digest = TraceDigest(with_gas)

    def forward(self, count: int) -> None:
        self.timeline.forward(count, self.digest)

    def back_to(self, step: int, digest: int) -> None:
        self.timeline.seek(step)
        self.digest.value = digest


def compare(
    left: Session,
    right: Session,
    *,
    ignoring_gas: bool = False,
    limit: int | None = None,
) -> Comparison:
    """Compare the current branches from step 0 on, for ``limit`` steps at most; the sessions do not move."""
    sides = _Side(left, not ignoring_gas), _Side(right, not ignoring_gas)
    try:
        return _compare(sides[0], sides[1], not ignoring_gas, limit)
    finally:
        for side in sides:
            side.timeline.close()


def _compare(a: _Side, b: _Side, with_gas: bool, limit: int | None) -> Comparison:
    start = 0
    known = 0
    if _differ(a, b, with_gas):
        return _report(a, b, 0, with_gas)
    while a.timeline.outcome is None and (limit is None or start < limit):
        count = DIFF_CHUNK - start % DIFF_CHUNK
        if limit is not None:
            count = min(count, limit - start)
        a.forward(count)
        b.forward(count)
        if _differ(a, b, with_gas):
            low, high = start, start + count
            while high - low > 1:
                middle = (low + high) // 2
                for side in (a, b):
                    side.back_to(start, known)
                    side.forward(middle - start)
                if _differ(a, b, with_gas):
                    high = middle
                else:
                    low = middle
            return _report(a, b, high, with_gas)
        start, known = a.timeline.step, a.digest.value
    return Comparison(True, start, a.timeline.outcome is not None, None)


def _differ(a: _Side, b: _Side, with_gas: bool) -> bool:
    if a.timeline.step != b.timeline.step or a.digest.value != b.digest.value:
        return True
    return bool(_fields(a.timeline, b.timeline, with_gas))


def _fields(a: Timeline, b: Timeline, with_gas: bool) -> list[str]:
    """Names of what differs at the two positions."""
    fields = []
    ours, theirs = a.execution.journal.logs, b.execution.journal.logs
    if len(ours) != len(theirs) or [log[1:] for log in ours] != [log[1:] for log in theirs]:
        fields.append("logs")
    if a.outcome is not None or b.outcome is not None:
        one, two = a.outcome, b.outcome
        if one is None or two is None or (one.halt, one.output) != (two.halt, two.output):
            fields.append("halt")
        elif with_gas and one.gas_left != two.gas_left:
            fields.append("gas")
        return fields
    x, y = FrameView.of(a.execution.frames[-1]), FrameView.of(b.execution.frames[-1])
    pairs = {
        "pc": (x.pc, y.pc),
        "opcode": (x.op, y.op),
        "gas": (x.gas, y.gas) if with_gas else (0, 0),
        "depth": (len(a.execution.frames), len(b.execution.frames)),
        "stack": (x.stack, y.stack),
        "memory": (x.memory, y.memory),
        "returnData": (x.returndata, y.returndata),
    }
    return [name for name, (one, two) in pairs.items() if one != two] + fields


def step_line(timeline: Timeline) -> StepLine:
    """What the timeline stands before."""
    execution = timeline.execution
    if execution.outcome is not None:
        halt = halt_state(execution.outcome)
        return StepLine(timeline.step, 0, "", execution.outcome.gas_left, 0, "0x", [], 0, halt)
    view = FrameView.of(execution.frames[-1])
    return StepLine(
        timeline.step,
        view.pc,
        opcode_name(view.op, execution.fork),
        view.gas,
        len(execution.frames),
        hex_of(view.message.to),
        [word_text(word) for word in view.words],
        len(view.memory),
    )


def _report(a: _Side, b: _Side, step: int, with_gas: bool) -> Comparison:
    """Both sides brought to the first difference; a side that ended earlier stands at its end."""
    for side in (a, b):
        side.timeline.seek(0)
        side.timeline.forward(max(0, step - DIFF_CONTEXT))
    before = []
    while a.timeline.step < step and a.timeline.outcome is None and b.timeline.outcome is None:
        before.append(step_line(a.timeline))
        a.timeline.forward(1)
        b.timeline.forward(1)
    fields = _fields(a.timeline, b.timeline, with_gas) or ["trace"]
    notes = _notes(a.timeline, b.timeline, fields)
    divergence = Divergence(step, fields, step_line(a.timeline), step_line(b.timeline), before, notes)
    return Comparison(False, step, True, divergence)


def _notes(a: Timeline, b: Timeline, fields: list[str]) -> list[str]:
    if a.outcome is not None or b.outcome is not None:
        return []
    x, y = FrameView.of(a.execution.frames[-1]), FrameView.of(b.execution.frames[-1])
    notes = []
    if "stack" in fields:
        ours, theirs = x.words, y.words
        at = next(
            (i for i, (p, q) in enumerate(zip(ours, theirs, strict=False)) if p != q),
            min(len(ours), len(theirs)),
        )
        notes.append(f"stack word {at} from the bottom of {len(ours)} and {len(theirs)}")
    if "memory" in fields:
        size = min(len(x.memory), len(y.memory))
        at = next((i for i in range(size) if x.memory[i] != y.memory[i]), size)
        at -= at % 32
        one, two = x.memory[at : at + _MEMORY_SHOWN], y.memory[at : at + _MEMORY_SHOWN]
        notes.append(f"memory from {at}: {hex_of(one)} and {hex_of(two)}")
    return notes
