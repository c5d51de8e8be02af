"""What one step of the writer came to: a value, which the committer carries out."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain.errors import ZvmdError
from node.engine.logged_chain import Ended, GoBack
from node.engine.pool import PooledTransaction
from node.engine.requests import Freeze, Request
from storage.appending import NewRecord
from storage.applied import Head
from storage.sealed import SealedBlock


@dataclass(slots=True)
class Turn:
    """In the order in which it has to happen."""

    lsn: int
    """Of the newest record: the log has to be durable up to here before anything but ``accepted`` is done."""
    head: Head
    """What readers see afterwards, unless the chain goes back."""
    records: list[NewRecord] = field(default_factory=list)
    """To be appended to the log."""
    accepted: list[tuple[Request, object]] = field(default_factory=list)
    """Requests that do not wait for the disk, with their answers."""
    back: GoBack | None = None
    """The chain is brought back, before what follows."""
    sealed: list[SealedBlock] = field(default_factory=list)
    """New blocks."""
    admitted: list[PooledTransaction] = field(default_factory=list)
    """What came into the pool; blocks of this turn may have it already."""
    ended: Ended = field(default_factory=list)
    """What left the pool other than into a block, with its fate."""
    answers: list[tuple[Request, object]] = field(default_factory=list)
    """Requests that wait for the disk, with their answers: the exception, if they failed."""

    def give_up_waiting(self, error: ZvmdError) -> None:
        """Answer those who wait for the disk with an error now, a checkpoint excepted."""
        for request, _ in self.answers:
            if not isinstance(request, Freeze):
                request.done(error)
        self.answers = [answered for answered in self.answers if isinstance(answered[0], Freeze)]

    def goes_on(self, before: Turn) -> None:
        """This turn follows one that brought the chain back: both are answered and told together."""
        self.ended = before.ended + self.ended
        self.answers = before.answers + self.answers
