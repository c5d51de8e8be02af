"""Comparing runs: the first step at which two sessions differ, with what led there.

Runs are compared natively, chunk by chunk, by digests of everything they do (`debugger.trace_digest`), and a chunk that
differs is bisected. Where an edit changes a run, the two states are compared directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from chain.types import Address
from debugger.hex import hex_of, word_text
from debugger.limits import DIFF_CHUNK, DIFF_CONTEXT
from debugger.outcome import HaltState, halt_state
from debugger.position import FrameView
from debugger.session import Session
from debugger.slices import Slices, WantsPause, finish, never
from debugger.state import opcode_name
from debugger.timeline import Timeline
from debugger.trace_digest import Side
from vm.evm.execution import Execution

_MEMORY_SHOWN = 64


class StepLine(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The operation that one side was about to execute at a step."""

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
    """What differs: pc, opcode, gas, depth, stack, memory, returnData, storage, logs, halt, or outer frame (an edit
    changed what is not running or transient storage)."""
    left: StepLine
    right: StepLine
    before: list[StepLine]
    """The preceding steps, which are the same on both sides except perhaps for gas."""
    notes: list[str]
    """The place of the first difference in stack or memory."""


class Comparison(msgspec.Struct, frozen=True, rename="camel"):
    """The result of a comparison."""

    is_equal: bool
    steps: int
    """Number of equal steps."""
    has_ended: bool
    """Whether both runs were followed to their ends, or to a difference."""
    divergence: Divergence | None


def compare(
    left: Session,
    right: Session,
    *,
    ignoring_gas: bool = False,
    limit: int | None = None,
) -> Comparison:
    """Compare the current branches from step 0 on, for ``limit`` steps at most; the sessions do not move."""
    return finish(compare_slices(left, right, ignoring_gas=ignoring_gas, limit=limit))


def compare_slices(
    left: Session,
    right: Session,
    *,
    ignoring_gas: bool = False,
    limit: int | None = None,
    wants_pause: WantsPause = never,
) -> Slices[Comparison]:
    """`compare` in slices: others may work after every ``yield``; a pause ends it early."""
    sides: list[Side] = []
    try:
        sides.extend(Side(session, not ignoring_gas) for session in (left, right))
        found = yield from _compare(sides[0], sides[1], not ignoring_gas, limit, wants_pause)
        return found
    finally:
        for side in sides:
            side.timeline.close()


def _compare(
    a: Side, b: Side, with_gas: bool, limit: int | None, wants_pause: WantsPause
) -> Slices[Comparison]:
    start = 0
    known = 0
    edits = sorted({edit.step for side in (a, b) for edit in side.timeline.edits})
    if _differ(a, b, with_gas) or (0 in edits and _states_differ(a, b)):
        return _report(a, b, 0, with_gas)
    while a.timeline.outcome is None and (limit is None or start < limit):
        count = min(DIFF_CHUNK - start % DIFF_CHUNK, next((e - start for e in edits if e > start), DIFF_CHUNK))
        if limit is not None:
            count = min(count, limit - start)
        a.forward(count)
        b.forward(count)
        if _differ(a, b, with_gas):
            return _report(a, b, _first(a, b, start, count, known, with_gas), with_gas)
        # The digests see the stack only, and an edit's change may not be on it.
        if a.timeline.step in edits and _states_differ(a, b):
            return _report(a, b, a.timeline.step, with_gas)
        start, known = a.timeline.step, a.value
        yield
        if wants_pause():
            break
    return Comparison(True, start, a.timeline.outcome is not None, None)


def _first(a: Side, b: Side, start: int, count: int, known: int, with_gas: bool) -> int:
    """The first step after ``start`` at which the sides differ; they are equal there, with digest ``known``."""
    low, high = start, start + count
    while high - low > 1:
        middle = (low + high) // 2
        for side in (a, b):
            side.back_to(low, known)
            side.forward(middle - low)
        if _differ(a, b, with_gas):
            high = middle
        else:
            low, known = middle, a.value
    return high


def _states_differ(a: Side, b: Side) -> bool:
    """Whether frames, storage or transient storage, which edits can change, differ at this position."""
    one, two = a.timeline.execution, b.timeline.execution
    if [FrameView.of(frame).contents for frame in one.frames] != [FrameView.of(f).contents for f in two.frames]:
        return True
    return next(_different_slots(one, two), None) is not None or one.journal.transients() != two.journal.transients()


def _different_slots(one: Execution, two: Execution) -> Iterator[tuple[Address, int, int, int]]:
    """Slots that one of the runs has accessed, and their values, where they differ."""
    addresses: set[Address] = set()
    for execution in (one, two):
        addresses |= {*execution.journal.delta().storage, *(frame.message.to for frame in execution.frames)}
    for address in sorted(addresses):
        for slot in sorted({*one.journal.known_storage(address), *two.journal.known_storage(address)}):
            ours, theirs = one.journal.storage(address, slot), two.journal.storage(address, slot)
            if ours != theirs:
                yield address, slot, ours, theirs


def _differ(a: Side, b: Side, with_gas: bool) -> bool:
    if a.timeline.step != b.timeline.step or a.value != b.value:
        return True
    return bool(_fields(a.timeline, b.timeline, with_gas))


def _fields(a: Timeline, b: Timeline, with_gas: bool) -> list[str]:
    """Names of the fields that differ at the two positions."""
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
    """The operation that the timeline is about to execute."""
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


def _report(a: Side, b: Side, step: int, with_gas: bool) -> Comparison:
    """Move both sides to the first difference; a side that ends earlier stays at its end."""
    for side in (a, b):
        side.back_to(max(0, step - DIFF_CONTEXT), 0)
    before = []
    while a.timeline.step < step and a.timeline.outcome is None and b.timeline.outcome is None:
        before.append(step_line(a.timeline))
        a.forward(1)
        b.forward(1)
    fields = _fields(a.timeline, b.timeline, with_gas)
    notes = _notes(a.timeline, b.timeline, fields)
    held = [(side.last_seen[2] if side.last_seen[0] == step - 1 else "") for side in (a, b)]
    if held[0] != held[1]:
        fields.append("storage")
        notes += [f"on the {name}, {text}" for name, text in zip(("left", "right"), held, strict=True) if text]
    for address, slot, *values in islice(_different_slots(a.timeline.execution, b.timeline.execution), 1):
        notes.append(f"slot {slot:#x} of {hex_of(address)}: {values[0]:#x} and {values[1]:#x}")
        fields += ["storage"] * ("storage" not in fields)
    fields = fields or ["outer frame"]
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
