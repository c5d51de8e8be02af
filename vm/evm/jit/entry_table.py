"""Where a contract's compiled functions are: by pc an index, by index an address, in memory that native code reads."""

from __future__ import annotations

import ctypes
from typing import Any, Final, NamedTuple

from vm.code import Code
from vm.evm.native import Interpreter
from vm.evm.routines.compiled import DEOPTIMISED, FIRST_INDEX

CODE_BYTES_MAX: Final = 60_000
"""Longer code is never compiled: an index has two bytes."""

_SLACK: Final = 40
"""Entries behind the end of the code, where a pc may come to stand."""


class EntryTableAddresses(NamedTuple):
    """What a frame's registers from TARGETS to PROFILE hold."""

    targets: int
    entries: int
    functions: int
    profile: int


NO_ENTRIES: Final = EntryTableAddresses(0, 0, 0, 0)


class EntryTable:
    """Entries of one contract under one fork. Lives as long as a frame runs in it; so does the machine code it names.

    Functions may be put in while frames run: each is one aligned store.
    """

    __slots__ = (
        "_counters",
        "_entries",
        "_functions",
        "_libraries",
        "_targets",
        "addresses",
        "compiled",
        "compiled_bytes",
        "count",
        "size",
    )

    def __init__(self, code: Code, interpreter: Interpreter) -> None:
        """Nothing compiled, everything counted."""
        self._targets = (ctypes.c_uint16 * (code.length + _SLACK))()
        self._entries = (ctypes.c_uint16 * (code.length + _SLACK))()
        targets, entries = ctypes.addressof(self._targets), ctypes.addressof(self._entries)
        self.count = interpreter.map_entries(code.address, code.length, targets, entries)
        """Indexes given out, the reserved ones included."""
        defaults = interpreter.defaults
        self._functions = (ctypes.c_uint64 * self.count)(
            defaults.bad_jump, *[defaults.interpret] * (self.count - 1)
        )
        self._counters = (ctypes.c_uint32 * self.count)()
        self.size = 4 * (code.length + _SLACK) + 12 * self.count
        """Bytes of the table itself."""
        self._libraries: list[Any] = []
        self.compiled: set[int] = set()
        """Indexes of functions that are compiled."""
        self.compiled_bytes = 0
        self.addresses = EntryTableAddresses(
            targets, entries, ctypes.addressof(self._functions), ctypes.addressof(self._counters)
        )

    def jumpdests(self) -> dict[int, int]:
        """pc -> index of every JUMPDEST."""
        return {pc: index for pc, index in enumerate(self._targets[:]) if index}

    def resume_points(self) -> dict[int, int]:
        """pc -> index of the code's begin and every place after an opcode Python carries out."""
        return {pc: index for pc, index in enumerate(self._entries[:]) if index}

    def install(self, functions: dict[int, int], library: object, size: int) -> None:
        """Let native code enter these functions, index -> address; ``library`` keeps their memory."""
        self._libraries.append(library)
        self.compiled_bytes += size
        for index, address in functions.items():
            if FIRST_INDEX <= index < self.count:
                self._functions[index] = address
                self.compiled.add(index)

    def counts(self) -> dict[int, int]:
        """index -> how often that JUMPDEST was interpreted, where it was."""
        return {i: n for i, n in enumerate(self._counters[:]) if n and i >= FIRST_INDEX}

    @property
    def deoptimised(self) -> int:
        """Times compiled code left something to the interpreter, modulo 2**32."""
        return int(self._counters[DEOPTIMISED])

    @property
    def is_compiled(self) -> bool:
        """Whether any function is compiled."""
        return bool(self._libraries)
