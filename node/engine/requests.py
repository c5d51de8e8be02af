"""What the writer may be asked to do: plain data, each with a callback for the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from node.engine.completion import Offered
from storage.sessions.records import Kept, Place


@dataclass(slots=True, eq=False)
class Request:
    """Something the writer shall do; ``done`` is called once, on the committer thread, when its answer is durable."""

    done: Callable[[object], None]
    """Gets the answer, or the exception."""


@dataclass(slots=True, eq=False)
class Submit(Request):
    """Take a transaction."""

    transaction: Offered
    """A draft gets the sender's next nonce when the writer comes to it, after all that came before."""
    wait_mined: bool = False
    wait_durable: bool = True
    """False: answered as soon as the pool has it; a crash may lose it."""
    body: object = None
    """What it came in: with instant sealing, neighbours of one batch share a block. None: it came alone."""

    def shares_block(self, following: Request | None) -> bool:
        """Whether the next request of the turn came in the same body."""
        return self.body is not None and isinstance(following, Submit) and following.body is self.body


@dataclass(slots=True, eq=False)
class Mine(Request):
    """Seal blocks whether or not transactions wait."""

    count: int = 1
    interval_seconds: int = 0
    key: str = ""
    """The same key later gets the same answer and nothing is done again; empty: no key."""


@dataclass(slots=True, eq=False)
class Control(Request):
    """Change a setting that survives crashes."""

    name: str
    value: object
    key: str = ""
    """As in `Mine`."""


@dataclass(slots=True, eq=False)
class KeepSession(Request):
    """Keep a debug session as it is after a command."""

    session: int
    change: Kept | Place | None
    """The whole, where it stands now, or None: it is closed."""


@dataclass(slots=True, eq=False)
class KeepTemplate(Request):
    """Keep a user's template."""

    name: str
    content: bytes | None
    """None: it is removed."""


@dataclass(slots=True, eq=False)
class Freeze(Request):
    """Freeze the newest state for a checkpoint; answered, with the block number, when that block is durable."""


@dataclass(slots=True, eq=False)
class Cheat(Request):
    """Do a development call."""

    name: str
    """Of `node.engine.cheats.CHEATS`."""
    arguments: tuple[Any, ...] = ()
    key: str = ""
    """The same key later gets the same answer and nothing is done again; empty: no key."""


GOES_BACK = frozenset(("revert", "roll_back", "reset"))
"""Development calls that bring the chain back."""
ALONE = GOES_BACK | {"snapshot"}
"""Development calls that wait until everything before them is durable and shown; nothing new begins with them."""


def is_alone(request: Request) -> bool:
    """Nothing may be under way before it, and nothing new begins with it."""
    return isinstance(request, Cheat) and request.name in ALONE


def goes_back(request: Request) -> bool:
    """It may take blocks out of the chain; it `is_alone` then."""
    return isinstance(request, Cheat) and request.name in GOES_BACK


def parts(requests: list[Request]) -> Iterator[list[Request]]:
    """In order, each that must be alone in a part of its own."""
    for _, part in groupby(enumerate(requests), lambda item: item[0] if is_alone(item[1]) else -1):
        yield [request for _, request in part]
