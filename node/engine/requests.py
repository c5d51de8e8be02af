"""Requests to the writer: plain data, each with a callback for the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from node.engine.drafts import Offered
from storage.sessions.records import Kept, SessionPosition


@dataclass(slots=True, eq=False)
class WriterRequest:
    """A request; ``done`` is called once, on the committer thread, when its answer is durable."""

    done: Callable[[object], None]
    """Called with the answer or the exception."""


@dataclass(slots=True, eq=False)
class Submit(WriterRequest):
    """Add a transaction to the pool."""

    transaction: Offered
    """A draft gets the sender's next nonce when its turn comes, after all earlier requests."""
    wait_mined: bool = False
    wait_durable: bool = True
    """Whether the answer waits for the disk. If not, it comes once the pool has it, and a crash may lose it."""
    body: object = None
    """The batch it came in: with instant sealing, neighbours of one batch share a block. None: no batch."""

    def shares_block(self, following: WriterRequest | None) -> bool:
        """Whether the next request of the turn came in the same body."""
        return self.body is not None and isinstance(following, Submit) and following.body is self.body


@dataclass(slots=True, eq=False)
class Mine(WriterRequest):
    """Seal blocks whether or not transactions wait."""

    count: int = 1
    interval_seconds: int = 0
    key: str = ""
    """Idempotency key: a later request with it gets the same answer, and nothing is done. Empty for none."""


@dataclass(slots=True, eq=False)
class Control(WriterRequest):
    """Change a chain setting, which survives crashes."""

    name: str
    value: object
    key: str = ""
    """As in `Mine`."""


@dataclass(slots=True, eq=False)
class KeepSession(WriterRequest):
    """Log a debug session after a command."""

    session: int
    change: Kept | SessionPosition | None
    """The whole session, its new position, or None for a closed one."""


@dataclass(slots=True, eq=False)
class KeepTemplate(WriterRequest):
    """Log a user's template."""

    name: str
    content: bytes | None
    """None removes it."""


@dataclass(slots=True, eq=False)
class Freeze(WriterRequest):
    """Freeze the newest state for a checkpoint; answered with its block number once that block is durable."""


@dataclass(slots=True, eq=False)
class Cheat(WriterRequest):
    """Execute a development call."""

    name: str
    """Key of `node.engine.cheats.CHEATS`."""
    arguments: tuple[Any, ...] = ()
    key: str = ""
    """Idempotency key: a later request with it gets the same answer, and nothing is done. Empty for none."""


GOES_BACK = frozenset(("revert", "roll_back", "reset"))
"""Development calls that rewind the chain."""
ALONE = GOES_BACK | {"snapshot"}
"""Development calls that run alone, after everything before them is durable and published."""


def is_alone(request: WriterRequest) -> bool:
    """Whether it has to run alone: nothing else in its turn, and all earlier turns committed."""
    return isinstance(request, Cheat) and request.name in ALONE


def goes_back(request: WriterRequest) -> bool:
    """Whether it may remove blocks from the chain; it `is_alone` then."""
    return isinstance(request, Cheat) and request.name in GOES_BACK


def parts(requests: list[WriterRequest]) -> Iterator[list[WriterRequest]]:
    """Split requests in order, so that each that must run alone has its own part."""
    for _, part in groupby(enumerate(requests), lambda item: item[0] if is_alone(item[1]) else -1):
        yield [request for _, request in part]
