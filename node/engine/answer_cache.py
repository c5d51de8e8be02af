"""Answers of calls, kept for the same call on the same state: pages ask the same again and again.

The key names the block and its state (the position and the rewinds of `Store.published`, which every block, cheat and
revert changes) and has every field of the request. From these follow the environment and the state, hence the answer;
what a key named once is never another state later, so nothing has to be forgotten but for room. Calls on the pending
block, whose time goes on, and calls with overrides or authorizations are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

from chain.lru import Lru
from node.api.types import CallFields, CallResult
from vm.console import ConsoleCalls

ENTRIES_MAX: Final = 10_000
LARGEST_SHARE: Final = 8
"""An answer that would take more than one in so many of the cache's bytes is not kept."""
_ENTRY_BYTES: Final = 1_000
"""What an entry takes besides the bytes below."""
_ITEM_BYTES: Final = 150
"""An item of an access list, or a blob hash."""
_fields_of: Final = attrgetter(*(field.name for field in fields(CallFields)))


class _Answer(NamedTuple):
    result: CallResult
    is_silent: bool
    """It is known that the call logs nothing to the console."""
    size: int


class AnswerCache:
    """Owns the answers. Any thread; lost updates of the counters are accepted."""

    def __init__(self, bytes_max: int) -> None:
        """``bytes_max`` of 0 switches it off."""
        self.bytes_max = bytes_max
        self.hits = 0
        self.misses = 0
        self._answers: Lru[Hashable, _Answer] = Lru(bytes_max, lambda answer: answer.size, ENTRIES_MAX)

    def answer(
        self,
        state: tuple[int, ...],
        call: CallFields,
        run: Callable[[ConsoleCalls | None], CallResult],
        console: ConsoleCalls | None,
    ) -> CallResult:
        """The call's result, from ``run`` if it is not here. ``state`` names block, position and rewinds.

        With ``console`` an answer is used only if the call is known to leave that empty. What ``run`` raises is raised.
        """
        if not self.bytes_max or call.authorization_list is not None:
            return run(console)
        key = (state, _fields_of(call))
        known = self._answers.get(key)
        if known is not None and (console is None or known.is_silent):
            self.hits += 1
            return known.result
        self.misses += 1
        result = run(console)
        size = _ENTRY_BYTES + len(call.data) + len(result.output) + _ITEM_BYTES * _items(call)
        if size * LARGEST_SHARE <= self.bytes_max:
            self._answers.put(key, _Answer(result, console is not None and not console.calls, size))
        return result

    def bound(self) -> tuple[int, int]:
        """Bytes in use, and the most."""
        return self._answers.weight, self.bytes_max

    def status(self) -> dict[str, Any]:
        """For ``zvmd_status``."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "answers": len(self._answers),
            "bytes": self._answers.weight,
            "bytesMax": self.bytes_max,
        }


def _items(call: CallFields) -> int:
    slots = sum(1 + len(slots) for _, slots in call.access_list or ())
    return slots + len(call.blob_versioned_hashes or ())
