"""The accounts native code may call without Python, and the frames it began for them, as Python sees them."""

from __future__ import annotations

import ctypes
import struct
from typing import Final, NamedTuple

from chain.types import Address
from vm.code import Code
from vm.evm.frame import Frame
from vm.evm.jit.entry_table import EntryTable
from vm.evm.layout import CALLEE_BYTES, CALLEE_FIELDS, CALLEES_MAX, Field
from vm.message import CallKind

_ENTRY: Final = struct.Struct(f"<20s12xQ{len(CALLEE_FIELDS)}Q")
_NOBODY: Final = bytes(CALLEES_MAX * CALLEE_BYTES)


class _Known(NamedTuple):
    address: Address
    code: Code
    entry_table: EntryTable | None
    """Held for as long as native code may enter it."""


class Callees:
    """The callees of one block of native state, which owns them.

    An account is in it while it is warm and its code, tag and completeness are as they were.
    """

    __slots__ = ("_called", "_known", "_view")

    def __init__(self, view: memoryview) -> None:
        """``view`` is the part of the block from `StateBlock.CALLEES` on."""
        self._view = view
        self._known: dict[Address, _Known] = {}
        self._called: set[Address] = set()
        """What Python has called once."""

    def is_worthwhile(self, address: Address) -> bool:
        """Whether to `add` an account that Python calls: the second time, as most are called once."""
        if address in self._known:
            return False
        if address in self._called:
            return True
        self._called.add(address)
        return False

    def add(self, frame: Frame, tag: int, is_complete: bool) -> None:
        """Let native code call the account whose code the frame runs; its storage has the ``tag``."""
        address, words = frame.message.code_address, frame.words
        self._known[address] = _Known(address, frame.code, frame.entry_table)
        own = {Field.STORAGE_TAG: tag, Field.COMPLETE: is_complete}
        _ENTRY.pack_into(
            self._view,
            CALLEE_BYTES * (address[-1] % CALLEES_MAX),
            address[::-1],
            len(self._known),
            *[own[field] if field in own else words[field] for field in CALLEE_FIELDS],
        )

    def clear(self) -> None:
        """Leave every call to Python first. Python must have met all frames."""
        if self._known:
            self._view[:] = _NOBODY
            self._known.clear()
        self._called.clear()

    def meet(self, frames: list[Frame], chain: list[Frame], checkpoint: int) -> None:
        """Make ``frames`` the same as ``chain``, whose last ones native code may have begun.

        ``checkpoint`` is the journal's now: it has no changes of frames that Python has not met.
        """
        known = len(chain)
        while not chain[known - 1].words[Field.IS_KNOWN]:
            known -= 1
        del frames[known:]
        begun = list(self._known.values())
        for frame in chain[known:]:
            words = frame.words
            address, frame.code, frame.entry_table = begun[words[Field.CALLEE] - 1]
            data = ctypes.string_at(words[Field.CALLDATA], words[Field.CALLDATA_LENGTH])
            caller = frames[-1].message
            frame.message = caller.child(CallKind(words[Field.KIND]), address, 0, data, words[Field.GAS])
            frame.checkpoint = checkpoint
            frame.returndata = b""
            words[Field.IS_KNOWN] = 1
            frames.append(frame)
