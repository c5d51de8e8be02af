"""Analysed code: padded bytes and valid jump destinations, and a bounded cache of both by hash."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

from chain.lru import Lru
from chain.types import Hash32
from vm.delegation import delegation_target
from vm.limits import CODE_CACHE_BYTES, CODE_CACHE_ENTRIES

PADDING: Final = bytes(40)
"""Zeros after the code: STOP at its end, and room for a PUSH32 to read past it."""

_Bytes = bytes  # the type, in a class with an attribute of that name
_BYTES_HEADER: Final = bytes.__basicsize__ - 1


def address_of(data: bytes) -> int:
    """Where the bytes lie in memory. They must be kept alive for as long as the address is used."""
    return id(data) + _BYTES_HEADER


def _check_layout() -> None:
    """`address_of` rests on how CPython lays out ``bytes``; refuse to run where that differs."""
    probe = b"zvmd reads this back"
    assert ctypes.string_at(address_of(probe), len(probe)) == probe, "unknown layout of bytes objects"


_check_layout()


class Code:
    """Analysed code, immutable and shared by all frames that run it."""

    __slots__ = ("__weakref__", "address", "delegate", "jump_map", "jumps", "length", "padded")

    def __init__(self, code: bytes, map_jumps: Callable[[int, int, int], None]) -> None:
        self.length = len(code)
        self.padded = code + PADDING
        """The only copy of the code."""
        self.address = address_of(self.padded)
        self.jumps = ctypes.create_string_buffer(self.length + 1)
        self.jump_map = ctypes.addressof(self.jumps)
        self.delegate = delegation_target(code)
        """The account whose code runs in place of this (EIP-7702); ignored before Prague."""
        map_jumps(self.address, self.length, self.jump_map)

    @property
    def bytes(self) -> _Bytes:
        """The code; every use makes a copy. A byte of it is read from ``padded``."""
        return self.padded[: self.length]

    def is_jump_destination(self, pc: int) -> bool:
        """Whether a jump may land at ``pc``."""
        return 0 <= pc < self.length and self.jumps[pc] == b"\x01"


class CodeCache:
    """Analysed code by code hash, least recently used forgotten first. Thread safe."""

    def __init__(self, map_jumps: Callable[[int, int, int], None]) -> None:
        self._map_jumps = map_jumps
        self._entries: Lru[Hash32, Code] = Lru(CODE_CACHE_BYTES, lambda code: 2 * code.length, CODE_CACHE_ENTRIES)

    def get(self, code_hash: Hash32) -> Code | None:
        """The code if it is known."""
        return self._entries.get(code_hash)

    def add(self, code_hash: Hash32, code: bytes) -> Code:
        """Analyse code and cache it."""
        analysed = Code(code, self._map_jumps)
        if self._entries.get(code_hash) is None:  # what is known of a running code stays with it
            self._entries.put(code_hash, analysed)
        return analysed

    def forget(self, is_cold: Callable[[Code], bool]) -> None:
        """Drop what ``is_cold`` accepts; it is analysed again when it is called next."""
        self._entries.drop(lambda _, code: is_cold(code))

    def analyse(self, code: bytes) -> Code:
        """Analyse code that runs once, such as init code."""
        return Code(code, self._map_jumps)
