"""How often a contract's code ran under one fork, and what its tier made of that."""

from __future__ import annotations

import weakref

from chain.types import Hash32
from vm.code import Code
from vm.evm.jit.entry_table import EntryTable


class Profile:
    """Of one code; owned by the tier, which drops it with the code (see `vm.evm.jit.tier`)."""

    __slots__ = (
        *("_code", "calls", "code_hash", "counted", "failures", "is_waiting", "next_look", "rounds", "table"),
    )

    def __init__(self, code: weakref.ref[Code], next_look: int) -> None:
        self._code = code  # kept so that its callback is called
        self.code_hash: Hash32 | None = None
        self.cool(next_look)

    def cool(self, next_look: int) -> None:
        """Reset: nothing counted, nothing compiled."""
        self.calls = 0
        self.next_look = next_look
        """The number of calls at which the counts are looked at again."""
        self.table: EntryTable | None = None
        self.rounds = 0
        """Objects compiled."""
        self.failures = 0
        """Times it was not compiled."""
        self.is_waiting = False
        """In the compiler's queue."""
        self.counted: dict[int, int] = {}
        """The counts at the last compilation."""
