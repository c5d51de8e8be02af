"""Dispatch tables of one thread: copies that `halt` overwrites, so that code running through them leaves."""

from __future__ import annotations

import ctypes
from typing import Final

from vm.evm.convention import TABLE_ENTRIES, TABLE_WORDS
from vm.evm.native import Interpreter

_WORD: Final = 8


class Tables:
    """The plain and the jit table of one fork, for the executions of one thread."""

    __slots__ = ("_copy", "_is_halted", "_originals", "_stop", "jit", "plain")

    def __init__(self, interpreter: Interpreter) -> None:
        self._originals = b"".join(
            ctypes.string_at(address, _WORD * TABLE_WORDS)
            for address in (interpreter.plain_table, interpreter.jit_table)
        )
        self._copy = (ctypes.c_uint64 * (2 * TABLE_WORDS)).from_buffer_copy(self._originals)
        self._stop = interpreter.defaults.stop
        self._is_halted = False
        self.plain = ctypes.addressof(self._copy)
        """Address of the table that just runs."""
        self.jit = self.plain + _WORD * TABLE_WORDS
        """Address of the table that enters compiled code at JUMPDESTs."""

    def halt(self) -> None:
        """Have what runs leave with `Exit.STOPPED`. Any thread: each word is stored at once."""
        self._is_halted = True
        for first in (0, TABLE_WORDS):
            self._copy[first + TABLE_ENTRIES] = 1
            for entry in range(first, first + TABLE_ENTRIES):
                self._copy[entry] = self._stop

    def restore(self) -> None:
        """Ready for the next execution. The thread that owns the tables."""
        if self._is_halted:
            ctypes.memmove(self._copy, self._originals, len(self._originals))
            self._is_halted = False
