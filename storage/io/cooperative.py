"""Lets background work share the interpreter with the writer: in slices, with a rest after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")

SLICE_SECONDS = 0.0002
"""Python runs one thread at a time: what others wait for this one, at most, beside single calls that take longer."""
REST_SECONDS = 0.0003
"""A busy writer keeps the interpreter for a switch interval anyway; this is what it gets beyond that."""


class Pace(Protocol):
    """Iterates over items and decides what happens between two of them."""

    def __call__(self, items: Iterable[T]) -> Iterable[T]:
        """The items."""


def at_once(items: Iterable[T]) -> Iterable[T]:
    """No rests: for start and stop, when nobody waits for the interpreter."""
    return items


class Slices:
    """Rests after each slice. For one thread; nested loops share the slices."""

    def __init__(
        self, now: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._until = now() + SLICE_SECONDS

    def __call__(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with rests between them."""
        for item in items:
            if self._now() >= self._until:
                self._sleep(REST_SECONDS)
                self._until = self._now() + SLICE_SECONDS
            yield item
