"""What a tracer is told. Without one nothing here costs anything: tracing runs through the step table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from chain.receipts import Log
from vm.message import Message, Outcome

if TYPE_CHECKING:
    from vm.evm.frame import Frame


class Tracer(Protocol):
    """Listens to one execution. The frame is live: read what is wanted, keep no reference, change nothing."""

    def enter(self, message: Message) -> None:
        """A message begins. For creations ``to`` is the new address."""

    def step(self, frame: Frame) -> None:
        """The opcode at ``frame.pc`` is about to run: nothing of it has happened yet (EIP-3155)."""

    def leave(self, message: Message, outcome: Outcome) -> None:
        """The message ended."""

    def log(self, log: Log) -> None:
        """A log was emitted; it is void if a frame around it fails."""
