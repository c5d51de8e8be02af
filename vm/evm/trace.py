"""The events that a tracer receives. Without a tracer they cost nothing."""

from __future__ import annotations

from chain.receipts import Log
from chain.types import Address
from vm.evm.frame import Frame
from vm.message import Message, Outcome


class Tracer:
    """Receives the events of one execution; a subclass overrides the methods it needs.

    The order of events is that of geth's ``core/vm/evm.go``: a message that fails before it begins, for depth,
    balance or nonce, is entered and left too.
    """

    hears_steps = False
    """Whether `step` is called. If not, opcodes run natively between the other events."""

    def enter(self, message: Message) -> None:
        """A message begins. For creations ``to`` is the new address."""

    def step(self, frame: Frame) -> None:
        """The opcode at ``frame.pc`` is about to run (EIP-3155). Read the live frame, keep and change nothing."""

    def selfdestruct(self, owner: Address, heir: Address, balance: int) -> None:
        """SELFDESTRUCT ran in the running message and gave ``balance`` wei to the heir."""

    def leave(self, message: Message, outcome: Outcome) -> None:
        """The message ended."""

    def log(self, log: Log, position: int) -> None:
        """A log was emitted, the transaction's ``position``-th that is not undone yet. It is void if a frame fails."""
