"""How often a contract's code ran under one fork, and how far its tier has come with compiling it."""

from __future__ import annotations

import weakref
from typing import Final

from chain.hashing import keccak256
from chain.types import Hash32
from vm.code import Code
from vm.evm.jit.entry_table import EntryTable

COUNTED_FROM_CALL: Final = 2
CALLS_BETWEEN_LOOKS_MAX: Final = 512
ROUNDS_MAX: Final = 6
"""Objects per contract: later ones have what became hot later."""
FAILURES_MAX: Final = 3
"""Times a contract is given to the compiling process again after that was lost."""
_NEVER: Final = 1 << 62


class Profile:
    """The profile of one code. Its tier owns it, drops it with the code, and holds its lock where a method says so."""

    __slots__ = (
        *("_code", "_code_hash", "_counted", "_failures", "_is_spread", "_next_look"),
        *("calls", "has_whole", "is_waiting", "rounds", "table"),
    )

    def __init__(self, code: weakref.ref[Code]) -> None:
        self._code = code  # kept so that its callback is called
        self._code_hash: Hash32 | None = None
        self.cool()

    def cool(self) -> None:
        """Reset: nothing counted, nothing compiled."""
        self.calls = 0
        """Lost updates are accepted."""
        self._next_look = COUNTED_FROM_CALL
        """The number of calls at which the counts are looked at again."""
        self.table: EntryTable | None = None
        """None until jumps are counted."""
        self.rounds = 0
        """Objects compiled."""
        self.has_whole = False
        """The whole contract is among them."""
        self._failures = 0
        """Times it was not compiled."""
        self.is_waiting = False
        """In the compiler's queue."""
        self._is_spread = False
        self._counted: dict[int, int] = {}
        """The counts at the last compilation."""

    def code_hash_of(self, code: Code) -> Hash32:
        """Keccak-256 of the code, which is the one of this profile; computed once. In the compiler's thread."""
        if self._code_hash is None:
            self._code_hash = keccak256(code.bytes)
        return self._code_hash

    # Looking

    def count_call(self) -> bool:
        """Count one more call; whether the counts are to be looked at."""
        self.calls += 1
        return self.calls >= self._next_look

    def begin_look(self) -> bool:
        """Plan the next look, later the more calls there are; False if another thread has. The tier's lock is held."""
        if self.calls < self._next_look:
            return False
        self._next_look = self.calls + min(max(1, self.calls // 8), CALLS_BETWEEN_LOOKS_MAX)
        return True

    def never_look(self) -> None:
        """The code cannot be compiled."""
        self._next_look = _NEVER

    def begin_counting(self, table: EntryTable) -> None:
        """Count the jumps in the table from now on."""
        self.table = table

    def counts_since(self, counts: dict[int, int]) -> dict[int, int]:
        """What has been added to the counts of jumps, by index, since `keep_counts`."""
        return {index: n - self._counted.get(index, 0) for index, n in counts.items()}

    def keep_counts(self, counts: dict[int, int]) -> None:
        """The counts that decide what is compiled next."""
        self._counted = counts

    def find_spread(self) -> None:
        """The counts are spread over so many jumps that none is hot."""
        self._is_spread = True

    @property
    def counts_in_vain(self) -> bool:
        """Counting tells nothing any more, and where it is spread it costs several times what interpreting does."""
        return self.is_finished or (self.is_waiting and self._is_spread)

    # Compiling

    def set_waiting(self, is_waiting: bool) -> None:
        """Whether the compiler has a request of this code."""
        self.is_waiting = is_waiting

    @property
    def is_finished(self) -> bool:
        """No more of it will be compiled."""
        return self.rounds >= ROUNDS_MAX

    def end_round(self) -> None:
        """One more object is there."""
        self.rounds += 1

    def take_whole(self) -> None:
        """The whole contract has been compiled."""
        self.has_whole = True

    def give_up(self) -> None:
        """Compile no more of it."""
        self.rounds = ROUNDS_MAX

    def fail(self, may_retry: bool) -> None:
        """It was not compiled; the last time if it may not be tried again, or has been too often."""
        self._failures += 1
        if not may_retry or self._failures >= FAILURES_MAX:
            self.give_up()
