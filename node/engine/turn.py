"""The result of one step of the writer: a value that the committer carries out."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain.errors import ZvmdError
from node.engine.logged_chain import Ended, GoBack
from node.engine.pool import PooledTransaction
from node.engine.requests import Freeze, WriterRequest
from storage.appending import NewRecord
from storage.applied import Head
from storage.sealed import SealedBlock


@dataclass(slots=True)
class Turn:
    """One turn; its fields are in the order in which they must be carried out."""

    lsn: int
    """LSN of the newest record: the log must be durable up to here before anything except ``accepted`` is done."""
    head: Head
    """What readers see afterwards, unless the chain is rewound."""
    records: list[NewRecord] = field(default_factory=list)
    """Records to append to the log."""
    accepted: list[tuple[WriterRequest, object]] = field(default_factory=list)
    """Answers of requests that do not wait for the disk."""
    back: GoBack | None = None
    """A rewind of the chain, executed before the fields below."""
    sealed: list[SealedBlock] = field(default_factory=list)
    """New blocks."""
    admitted: list[PooledTransaction] = field(default_factory=list)
    """Transactions that entered the pool; blocks of this turn may already contain them."""
    ended: Ended = field(default_factory=list)
    """Transactions that left the pool but not into a block, with their fates."""
    answers: list[tuple[WriterRequest, object]] = field(default_factory=list)
    """Answers, or exceptions, of requests that wait for the disk."""

    def give_up_waiting(self, error: ZvmdError) -> None:
        """Answer the requests that wait for the disk with an error now, except a checkpoint."""
        for request, _ in self.answers:
            if not isinstance(request, Freeze):
                request.done(error)
        self.answers = [answered for answered in self.answers if isinstance(answered[0], Freeze)]

    def goes_on(self, before: Turn) -> None:
        """Merge with the turn before, which rewound the chain: both are answered together."""
        self.ended = before.ended + self.ended
        self.answers = before.answers + self.answers
