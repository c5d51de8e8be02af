"""EIP-3155 trace lines of a part of a session's run: one JSON object per operation, and a summary at the end.

The lines are those of the execution specification's tool, as `zvmd statetest --trace` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from debugger.limits import TRACE_LINES, TRACE_SLICE
from debugger.session import Session
from debugger.slices import Slices, finish
from debugger.timeline import Timeline
from vm.eip3155 import encode_line, operation_line
from vm.evm.pricing import Pricing


class TracePage(msgspec.Struct, frozen=True, rename="camel"):
    """Lines of the operations from ``start`` up to ``stop``, where the next page begins."""

    start: int
    stop: int
    lines: list[str]
    has_ended: bool
    """Whether the run ends at ``stop``, and the last line is the summary."""


def trace_page(
    session: Session, start: int = 0, limit: int = TRACE_LINES, *, memory: bool = False
) -> TracePage:
    """A page of the current branch's trace; the session does not move. Raises `StepOutOfRange`."""
    return finish(trace_slices(session, start, limit, memory=memory))


def trace_slices(session: Session, start: int, limit: int, memory: bool = False) -> Slices[TracePage]:
    """`trace_page` in slices: others may work after every ``yield``."""
    timeline = session.clone()
    try:
        yield from timeline.seeking(start)
        lines: list[str] = []
        for line in _operations(timeline, start + min(limit, TRACE_LINES), memory):
            lines.append(line)
            if len(lines) % TRACE_SLICE == 0:
                yield
        has_ended = timeline.outcome is not None
        if has_ended:
            lines.append(_summary(session, timeline))
        return TracePage(start, timeline.step, lines, has_ended)
    finally:
        timeline.close()


def trace_lines(session: Session, *, memory: bool = False) -> Iterator[str]:
    """All lines of the current branch's run, as they come; the session does not move."""
    timeline = session.clone()
    try:
        yield from _operations(timeline, math.inf, memory)
        yield _summary(session, timeline)
    finally:
        timeline.close()


def _operations(timeline: Timeline, stop: float, memory: bool) -> Iterator[str]:
    """Lines of the operations before step ``stop`` or the end; the timeline moves along."""
    execution = timeline.execution
    pricing = Pricing(execution.fork, execution.journal, execution.code_bytes_max)
    while timeline.outcome is None and timeline.step < stop:
        line = operation_line(pricing, timeline.execution.frames[-1], memory=memory)
        if line is not None:
            yield encode_line(line)
        timeline.forward(1)


def _summary(session: Session, timeline: Timeline) -> str:
    outcome, launch = timeline.outcome, session.launch
    assert outcome is not None
    gas = launch.gas if launch.transaction is None else launch.transaction.gas_limit
    return encode_line(
        {
            "output": outcome.output.hex(),
            "gasUsed": hex(gas - outcome.gas_left),
            "pass": outcome.success,
            "fork": launch.environment.fork.name.title(),
        }
    )
