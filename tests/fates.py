"""What may happen between transactions, in any order, and a life lived by it: no answered hash is ever lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from hypothesis import strategies as st

SENDERS = 2
SENDER = st.integers(0, SENDERS - 1)
SENDS = st.tuples(st.just("send"), st.lists(st.tuples(SENDER, st.integers(1, 3)), min_size=1, max_size=6))
"""Senders by their number, with a tip in gwei; the node chooses the nonces."""
REPLACES = st.tuples(st.just("replace"), st.tuples(SENDER, st.integers(0, 3), st.integers(1, 9)))
"""A sender, how far the nonce is ahead of its account's, and a tip in gwei."""


def others(*names: str) -> st.SearchStrategy[tuple[str, int]]:
    """Everything else, by its name, with a number that chooses among what there is."""
    return st.tuples(st.sampled_from(names), st.integers(0, 3))


class Life(Protocol):
    """A node, and whoever sends to it."""

    def send(self, sends: list[tuple[int, int]]) -> None: ...

    def replace(self, which: tuple[int, int, int]) -> None: ...

    def other(self, name: str, number: int) -> None: ...


def act(life: Life, name: str, argument: object) -> None:
    """One of the things above."""
    if name == "send":
        life.send(argument)  # type: ignore[arg-type]
    elif name == "replace":
        life.replace(argument)  # type: ignore[arg-type]
    else:
        life.other(name, argument)  # type: ignore[arg-type]


def check_successive(given: Mapping[object, Iterable[int]], waited: Collection[tuple[object, int]]) -> None:
    """Nonces that the node chose, by sender: each once, and none left out but those that waited behind a gap."""
    for sender, chosen in given.items():
        nonces = sorted(chosen)
        assert len(nonces) == len(set(nonces))
        skipped = set(range(nonces[0], nonces[-1])) - set(nonces)
        assert {(sender, nonce) for nonce in skipped} <= set(waited)
