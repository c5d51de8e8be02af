"""Sliced work: a generator that lets other work use the thread at every ``yield``, and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]
WantsPause = Callable[[], bool]
"""Whether long work should end early. Called between slices."""


def never() -> bool:
    """A `WantsPause` that never asks for a pause."""
    return False


def finish(work: Slices[T]) -> T:
    """Run sliced work without interruption; returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def one_slice(operation: Callable[..., T]) -> Callable[..., Slices[T]]:
    """A short operation as sliced work of one slice."""

    def work(*arguments: Any, wants_pause: WantsPause = never) -> Slices[T]:  # noqa: ARG001 (the form of all work)
        yield from ()
        return operation(*arguments)

    return work
