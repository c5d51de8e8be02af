"""Work in slices: a generator that lets others have the thread at every ``yield``, and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]
WantsPause = Callable[[], bool]
"""Whether work that takes long is to end early. Asked between slices."""


def never() -> bool:
    """No pause is wanted."""
    return False


def finish(work: Slices[T]) -> T:
    """Carry something out in one piece; its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def one_slice(operation: Callable[..., T]) -> Callable[..., Slices[T]]:
    """A short operation in the form of sliced work, which no pause ends early."""

    def work(*arguments: Any, wants_pause: WantsPause = never) -> Slices[T]:  # noqa: ARG001 (the form of all work)
        yield from ()
        return operation(*arguments)

    return work
