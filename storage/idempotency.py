"""Answers to requests with an idempotency key, kept for a day unless there are too many later ones.

A transaction is known by its hash; "mine a block" has no identity of its own. A client that gives it a key may send it
again after a lost answer, over any number of crashes, and gets the first answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

ANSWER = "answer"
"""Name of the COMMAND record that says how a request with a key was answered: [key, time, result]."""
ANSWERS_MAX = 10_000
ANSWER_SECONDS = 24 * 3600
KEY_CHARACTERS_MAX = 128


class Answered(NamedTuple):
    """One answer."""

    at: int
    """Unix seconds."""
    result: Any
    """Numbers, strings, booleans and None only."""


def dump(answers: Iterable[tuple[str, Answered]]) -> list[list[Any]]:
    """For a checkpoint."""
    return [[key, *answered] for key, answered in answers]


class Answers:
    """By key, oldest first. Writer thread only; deterministic: replaying the log gives the same."""

    def __init__(self) -> None:
        self._answers: dict[str, Answered] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answered | None:
        """The answer given to this key."""
        return self._answers.get(key)

    def put(self, key: str, answered: Answered) -> None:
        """Add an answer, and drop those that are too old or too many."""
        self._answers[key] = answered
        for old in list(self._outdated(answered.at)):
            del self._answers[old]

    def _outdated(self, now: int) -> Iterator[str]:
        excess = len(self._answers) - ANSWERS_MAX
        for number, (key, answered) in enumerate(self._answers.items()):
            if number >= excess and answered.at > now - ANSWER_SECONDS:
                return
            yield key

    def items(self) -> list[tuple[str, Answered]]:
        """All answers."""
        return list(self._answers.items())

    def load(self, dumped: list[list[Any]]) -> None:
        """Load the answers of a checkpoint."""
        self._answers = {key: Answered(at, result) for key, at, result in dumped}
