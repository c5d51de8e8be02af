"""EIP-3155 lines of a stretch of a session's run: one JSON object per operation, a summary when it ends.

The lines are those of the execution specification's tool, as `zvmd statetest --trace` writes them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

import msgspec

from debugger.limits import TRACE_LINES
from debugger.session import Session
from debugger.slices import finish, seek_slices
from debugger.timeline import Timeline
from vm.evm.layout import Field
from vm.message import Halt
from vm.pricing import Pricing

_MAX_COST: Final = 2**64 - 1
"""A price above is left out: numbers of EIP-3155 have 64 bits."""

_ERRORS: Final = {
    Halt.OUT_OF_GAS: "OutOfGasError",
    Halt.STACK_UNDERFLOW: "StackUnderflowError",
    Halt.STACK_OVERFLOW: "StackOverflowError",
    Halt.INVALID_JUMP: "InvalidJumpDestError",
    Halt.INVALID_OPCODE: "InvalidOpcode",
    Halt.STATIC_VIOLATION: "WriteInStaticContext",
    Halt.RETURN_DATA_OUT_OF_BOUNDS: "OutOfBoundsRead",
}
"""How lines name what ends a frame."""


class TracePage(msgspec.Struct, frozen=True):
    """Lines of the operations from ``start`` up to ``stop``, where the next page begins."""

    start: int
    stop: int
    lines: list[str]
    has_ended: bool
    """The run ends at ``stop``, and the last line is the summary."""


def trace_page(
    session: Session, start: int = 0, limit: int = TRACE_LINES, *, memory: bool = False
) -> TracePage:
    """A page of the current branch's trace; the session does not move. Raises `StepOutOfRange`."""
    return finish(trace_slices(session, start, limit, memory=memory))


def trace_slices(
    session: Session, start: int, limit: int, *, memory: bool = False
) -> Generator[None, None, TracePage]:
    """`trace_page` in slices: others may work after every ``yield``."""
    timeline = session.twin()
    try:
        yield from seek_slices(timeline, start, lambda: False)
        writer = _Writer(timeline, memory)
        lines = []
        for _ in range(min(limit, TRACE_LINES)):
            if timeline.outcome is not None:
                break
            lines += writer.line()
            timeline.forward(1)
        has_ended = timeline.outcome is not None
        if has_ended:
            lines.append(_summary(session, timeline))
        return TracePage(start, timeline.step, lines, has_ended)
    finally:
        timeline.close()


def trace_lines(session: Session, *, memory: bool = False) -> Iterator[str]:
    """All lines of the current branch's run, as they come; the session does not move."""
    timeline = session.twin()
    try:
        writer = _Writer(timeline, memory)
        while timeline.outcome is None:
            yield from writer.line()
            timeline.forward(1)
        yield _summary(session, timeline)
    finally:
        timeline.close()


class _Writer:
    """Writes the line of a timeline's position."""

    def __init__(self, timeline: Timeline, memory: bool) -> None:
        self._timeline = timeline
        self._memory = memory
        self._pricing = Pricing(timeline.execution.fork, timeline.execution.journal)

    def line(self) -> list[str]:
        """The line; none for an account without code, whose implicit STOP is no operation of the trace."""
        execution = self._timeline.execution
        frame = execution.frames[-1]
        if not frame.code.length:
            return []
        prospect = self._pricing.look(frame)
        row, failure = prospect.opcode, prospect.failure
        size = frame.words[Field.MEMORY_SIZE]
        line: dict[str, Any] = {"pc": frame.pc, "op": prospect.byte, "gas": hex(frame.gas)}
        if prospect.gas <= _MAX_COST:
            line["gasCost"] = hex(prospect.gas)
        if self._memory and size:
            line["memory"] = "0x" + frame.memory_bytes().hex()
        line |= {
            "memSize": size,
            "stack": [hex(word) for word in frame.stack()],
            "returnData": "0x" + frame.returndata.hex(),
            "depth": frame.message.depth + 1,
            "refund": execution.journal.refund + prospect.refund,
            "opName": "InvalidOpcode" if row is None else row.name,
        }
        if failure is not None:
            line["error"] = _ERRORS[failure]
        elif row is not None and row.name == "REVERT":
            line["error"] = "Revert"
        return [_encode(line)]


def _summary(session: Session, timeline: Timeline) -> str:
    outcome, launch = timeline.outcome, session.launch
    assert outcome is not None
    gas = launch.gas if launch.transaction is None else launch.transaction.gas_limit
    return _encode(
        {
            "output": outcome.output.hex(),
            "gasUsed": hex(gas - outcome.gas_left),
            "pass": outcome.success,
            "fork": launch.environment.fork.name.title(),
        }
    )


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()
