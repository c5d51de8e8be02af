"""The accounts native code may call without Python, and the frames it began for them, as Python sees them."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from chain.types import Address
from vm.code import Code
from vm.evm.host.calls import message_of
from vm.evm.jit.maps import Maps
from vm.evm.layout import CALLEE_BYTES, CALLEE_FIELDS, CALLEES_MAX, Field, Ledger
from vm.message import CREATES, CallKind

if TYPE_CHECKING:
    from vm.evm.execution import Execution
    from vm.evm.frame import Frame
    from vm.evm.ledger import SlotLedger
    from vm.journal import Journal

_ENTRY: Final = struct.Struct(f"<20s12xQ{len(CALLEE_FIELDS)}Q")
_NOBODY: Final = bytes(CALLEES_MAX * CALLEE_BYTES)


class _Known(NamedTuple):
    address: Address
    code: Code
    maps: Maps | None
    """Held for as long as native code may enter them."""


class Callees:
    """Of one ledger. An account is in it while it is warm and its code, tag and completeness are as they were."""

    __slots__ = ("_called", "_known", "_ledger", "_view")

    def __init__(self, ledger: SlotLedger) -> None:
        self._ledger = ledger
        self._view = ledger.view[Ledger.CALLEES : Ledger.INDEX]
        self._known: dict[Address, _Known] = {}
        self._called: set[Address] = set()
        """What Python has called once."""

    def consider(self, run: Execution, frame: Frame) -> None:
        """Let native code call the account whose code the frame runs, if that is plain from now on."""
        message = frame.message
        address = message.code_address
        if (
            self._is_worthwhile(address)
            and message.kind not in CREATES
            and (frame.maps is not None or run.engine.tier is None)  # else the tier is still counting calls
            and (not run.has_access_lists or run.journal.is_warm_account(address))
            and run.code_of(address) is frame.code
        ):
            self.add(frame)

    def _is_worthwhile(self, address: Address) -> bool:
        """Whether to `add` an account that Python calls: the second time, as most are called once."""
        if address in self._known:
            return False
        if address in self._called:
            return True
        self._called.add(address)
        return False

    def add(self, frame: Frame) -> None:
        """Let native code call the account whose code the frame runs."""
        address, words = frame.message.code_address, frame.words
        self._known[address] = _Known(address, frame.code, frame.maps)
        _, tag, complete, *_ = self._ledger.registers(address)
        own = {Field.STORAGE_TAG: tag, Field.COMPLETE: complete}
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

    def meet(self, frames: list[Frame], chain: list[Frame], journal: Journal) -> None:
        """Make ``frames`` the ones that run now: native code has begun and ended some of the chain."""
        known = depth = self._ledger.header[Ledger.DEPTH // 8]
        while not chain[known - 1].words[Field.IS_KNOWN]:
            known -= 1
        del frames[known:]
        begun = list(self._known.values())
        for frame in chain[known:depth]:
            words = frame.words
            address, frame.code, frame.maps = begun[words[Field.CALLEE] - 1]
            data = ctypes.string_at(words[Field.CALLDATA], words[Field.CALLDATA_LENGTH])
            frame.message = message_of(
                CallKind(words[Field.KIND]), frames[-1].message, address, 0, data, words[Field.GAS]
            )
            frame.checkpoint = journal.checkpoint()
            frame.returndata = b""
            words[Field.IS_KNOWN] = 1
            frames.append(frame)
