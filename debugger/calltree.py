"""The call tree of a session's whole run: every message, its steps and its gas."""

from __future__ import annotations

from typing import Final

import msgspec

from chain.console_log import CONSOLE, shown
from chain.receipts import Log
from debugger.hex import hex_of, word_text
from debugger.limits import CALL_NODES, REPLAY_STEPS
from debugger.outcome import HaltState, halt_state
from debugger.session import Session
from debugger.slices import Slices, finish
from vm.evm.execution import Execution
from vm.evm.trace import Tracer
from vm.message import Message, Outcome

CONSOLE_CHARACTERS: Final = 1_000
"""Most text that is kept of one message's console.log; the rest is cut."""


class CallNode(msgspec.Struct, rename="camel"):
    """One message call or creation."""

    index: int
    """Index in the list, which is in order of beginning."""
    parent: int | None
    depth: int
    kind: str
    caller: str
    address: str
    code_address: str
    value: str
    gas_given: int
    calldata_size: int
    first_step: int
    """Step of its first operation."""
    end_step: int | None = None
    """Step after its last operation; None if the run was not followed to there."""
    gas_used: int = 0
    """Gas used by the message, including its calls."""
    gas_own: int = 0
    """Gas used by the message itself, without its calls."""
    logs: int = 0
    """Logs emitted by the message itself, including reverted ones."""
    console: str | None = None
    """Its output of console.log."""
    halt: HaltState | None = None
    error: str | None = None
    """Geth's error message; also set for a call that fails before it begins."""


class CallTree(msgspec.Struct, rename="camel"):
    """The messages of a run."""

    nodes: list[CallNode]
    omitted: int
    """Number of messages beyond the limit; only their callers include their gas."""
    steps: int
    has_ended: bool


class _Recorder(Tracer):
    """Builds the list."""

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.nodes: list[CallNode] = []
        self.omitted = 0
        self._open: list[CallNode | None] = []

    def _now(self) -> int:
        return 0 if self.execution is None else self.execution.steps

    def enter(self, message: Message) -> None:
        """A node begins."""
        parent = next((node.index for node in reversed(self._open) if node is not None), None)
        if len(self.nodes) >= CALL_NODES:
            self.omitted += 1
            self._open.append(None)
            return
        node = CallNode(
            len(self.nodes),
            parent,
            message.depth + 1,
            message.kind.name.lower(),
            hex_of(message.caller),
            hex_of(message.to),
            hex_of(message.code_address),
            word_text(message.value),
            message.gas,
            len(message.data),
            self._now(),
        )
        if message.to == CONSOLE:
            node.console = shown(message.data)[:CONSOLE_CHARACTERS]
        self.nodes.append(node)
        self._open.append(node)

    def leave(self, message: Message, outcome: Outcome) -> None:
        """The node ends, perhaps before it began."""
        node = self._open.pop()
        used = message.gas - outcome.gas_left
        above = next((n for n in reversed(self._open) if n is not None), None)
        if node is None:
            return
        node.end_step = self._now()
        node.gas_used = used
        node.gas_own += used
        node.halt = halt_state(outcome)
        node.error = outcome.fault or None
        if above is not None:
            above.gas_own -= used

    def log(self, log: Log, position: int) -> None:  # noqa: ARG002
        """Count the log for the message that emitted it."""
        if self._open and (node := self._open[-1]) is not None:
            node.logs += 1


def call_tree(session: Session, limit: int | None = None) -> CallTree:
    """The tree of the current branch's run, followed for ``limit`` steps; the session does not move."""
    return finish(call_tree_slices(session, REPLAY_STEPS if limit is None else limit))


def call_tree_slices(session: Session, limit: int) -> Slices[CallTree]:
    """`call_tree` in slices: others may work after every ``yield``."""
    recorder = _Recorder()
    timeline = session.clone(tracer=recorder)
    recorder.execution = timeline.execution
    try:
        yield from timeline.advance(limit)
        return CallTree(recorder.nodes, recorder.omitted, timeline.step, timeline.outcome is not None)
    finally:
        timeline.close()
