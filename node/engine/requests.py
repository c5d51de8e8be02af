"""What the writer is asked for, in its plainest form, and development calls, some of which it does alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from node.engine.cheats import ALONE


@dataclass(slots=True, eq=False)
class Request:
    """Something the writer shall do; ``done`` is called once, on the committer thread, when its answer is durable."""

    done: Callable[[object], None]
    """Gets the answer, or the exception."""


@dataclass(slots=True, eq=False)
class Cheat(Request):
    """Do a development call."""

    name: str
    """Of `node.engine.cheats.CHEATS`."""
    arguments: tuple[Any, ...] = ()
    key: str = ""
    """The same key later gets the same answer and nothing is done again; empty: no key."""


def is_alone(request: Request) -> bool:
    """Nothing may be under way before it, and nothing new begins with it."""
    return isinstance(request, Cheat) and request.name in ALONE


def parts(requests: list[Request]) -> Iterator[list[Request]]:
    """In order, each that must be alone in a part of its own."""
    for _, part in groupby(enumerate(requests), lambda item: item[0] if is_alone(item[1]) else -1):
        yield [request for _, request in part]
