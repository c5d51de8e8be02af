"""One side of a comparison: a run with a digest of everything it does.

The native digest covers the stack, where every computed value appears. Data copied from calldata and code, output of
precompiles, and a slot's value before a write do not appear there; the run stops at such an opcode and mixes the data
in. Two runs that were equal at a step and have equal digests later are equal in stack, memory, return data
and storage at every step between, up to collisions of 64 bits.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from chain.types import Address
from debugger.breakpoints import marks_at
from debugger.limits import DIFF_CHUNK
from debugger.position import CALLS, SSTORE, Position
from debugger.session import Session
from debugger.timeline import Timeline
from vm.evm.execution import Execution
from vm.evm.opcodes import BY_NAME
from vm.evm.watch import TraceDigest
from vm.message import CREATES

_CALLDATACOPY: Final = BY_NAME["CALLDATACOPY"].byte
_CODECOPY: Final = BY_NAME["CODECOPY"].byte
_EXTCODECOPY: Final = BY_NAME["EXTCODECOPY"].byte
_OPCODES: Final = CALLS | {_CALLDATACOPY, _CODECOPY, _EXTCODECOPY, SSTORE}
_ADDRESS_MASK: Final = 2**160 - 1
_NOTHING: Final = (-1, 0, "")


class _Digest(TraceDigest):
    """Adds the output of a call that starts no frame."""

    def __init__(self, with_gas: bool) -> None:
        super().__init__(with_gas, marks_at(_OPCODES))
        self.called = 0
        """Number of frames at a call, until it is known whether the call starts one."""

    def stops(self, execution: Execution) -> bool:
        if self.called:
            if len(execution.frames) == self.called:
                self.mix(_short(execution.frames[-1].returndata))
            self.called = 0
        return False


class Side:
    """A timeline of a session's current branch with its digest; the session does not move."""

    def __init__(self, session: Session, with_gas: bool) -> None:
        self.timeline: Timeline = session.clone(spacing=DIFF_CHUNK)
        self.last_seen: tuple[int, int, str] = _NOTHING
        """What was mixed in last: step of the opcode, opcode, and for storage the slot's value."""
        self._digest = _Digest(with_gas)

    @property
    def value(self) -> int:
        """The digest so far."""
        return self._digest.value

    def forward(self, count: int) -> None:
        """Execute operations, fewer if the run ends."""
        timeline = self.timeline
        goal = timeline.step + count
        while timeline.forward(goal - timeline.step, self._digest) and timeline.step < goal:
            self._look()
            self._digest.skip_mark()

    def back_to(self, step: int, value: int) -> None:
        """Go back to an earlier step, with the digest there."""
        self.timeline.seek(step)
        self._digest.value = value
        self._digest.called = 0

    def _look(self) -> None:
        """Mix in the data that the marked opcode is about to use and that is not on the stack."""
        position = Position(self.timeline.execution)
        op, held = position.op, ""
        if op in CALLS:
            self._digest.called = position.depth
        elif op == SSTORE:
            slot = position.stack(0)
            if slot is not None:
                value = position.storage(slot)
                held = f"slot {slot:#x} held {value:#x} before it was written"
                self._digest.mix(_short(value.to_bytes(32, "big")))
        else:
            self._digest.mix(_short(_copied(position)))
        self.last_seen = position.step, op, held


def _copied(position: Position) -> bytes:
    """The bytes that a copying opcode copies, without zero padding."""
    op, frame = position.op, position.frame
    at = 2 if op == _EXTCODECOPY else 1
    offset, size = position.stack(at), position.stack(at + 1)
    if offset is None or size is None:
        return b""
    if op == _CODECOPY:
        source = frame.code.bytes
    elif op == _EXTCODECOPY:
        address = Address(((position.stack(0) or 0) & _ADDRESS_MASK).to_bytes(20, "big"))
        source = position.execution.journal.code(address)
    else:
        message = frame.message
        source = b"" if message.kind in CREATES else message.data
    return source[offset : offset + size].rstrip(b"\0")


def _short(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
