"""The block of native memory in which native code keeps storage, transient storage, refund and logs.

It is ahead of the journal while an execution runs. `flush_to_journal` brings the journal up to date, at the latest when
the execution ends or somebody may look; as the journal's checkpoints nest, each frame's changes go where its journal
entries are.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final, NamedTuple

from chain.types import Address, Hash32
from vm.code import address_of
from vm.evm.frame import Frame, NativeStateRegisters
from vm.evm.layout import (
    ALIGNMENT,
    BLOCK_HASH_BYTES,
    SLOT_BYTES,
    SLOTS_MAX,
    UNDO_BYTES,
    UNDO_MAX,
    Field,
    Slot,
    StateBlock,
)
from vm.evm.memory_port import Allocate
from vm.evm.native_state.callees import Callees
from vm.evm.native_state.changes import NativeChanges
from vm.evm.native_state.logs import NativeLogs
from vm.journal import Journal
from vm.limits import BLOCK_HASH_WINDOW

LOADS_BEFORE_ASKING: Final = 16
"""Slots of an account brought in one by one before the state is asked whether it has any storage below."""

_ENTRY: Final = struct.Struct("<QQQQ32s32s32s")
_HASH: Final = struct.Struct("<Q24x32s")
_PLACE: Final = struct.Struct(f"<Q{UNDO_BYTES - 8}x")
_SLOTS, _UNDO, _LOGS_END, _REFUND, _DEPTH, _BLOB_HASHES, _BLOB_COUNT, _BALANCE_TAG = (
    offset // 8
    for offset in (
        *(StateBlock.SLOTS, StateBlock.UNDO, StateBlock.LOGS_END, StateBlock.REFUND, StateBlock.DEPTH),
        *(StateBlock.BLOB_HASHES, StateBlock.BLOB_COUNT, StateBlock.BALANCE_TAG),
    )
)
_ENTRIES: Final = int(StateBlock.ENTRIES)
_CHANGES: Final = int(StateBlock.CHANGES)
_LOGS: Final = int(StateBlock.LOGS)
_HASHES: Final = int(StateBlock.BLOCK_HASHES)
_ENTRY_UNDO: Final = int(Slot.UNDO)
_MARKS: Final = slice(Field.UNDO_MARK, Field.REFUND_MARK + 1)
_ZERO: Final = bytes(8)
_SIGN: Final = 1 << 63
assert (_ENTRY.size, _HASH.size) == (SLOT_BYTES, BLOCK_HASH_BYTES)


class _Position(NamedTuple):
    """How much of the state block was used: changes, bytes of logs, refund."""

    changes: int
    logs: int
    refund: int


def _mark(frame: Frame) -> _Position:
    changes, logs, refund = frame.words[_MARKS]
    return _Position(changes, logs, (refund ^ _SIGN) - _SIGN)


class NativeState:
    """One block of native memory, used by one execution after the other."""

    __slots__ = (
        "_addresses",
        "_blob_hashes",
        "_buffer",
        "_cells",
        "_complete",
        "_knows_hashes",
        "_loads",
        "_tags",
        "address",
        "callees",
        "header",
        "view",
    )

    def __init__(self, allocate: Allocate) -> None:
        self._buffer = allocate(StateBlock.END, ALIGNMENT)
        self.address = ctypes.addressof(self._buffer)
        self.view = memoryview(self._buffer).cast("B")
        self.header = self.view[: StateBlock.INDEX].cast("q")
        self._cells = self.view[StateBlock.INDEX : StateBlock.ENTRIES].cast("I")
        self.callees = Callees(self.view[StateBlock.CALLEES : StateBlock.INDEX])
        self._tags: dict[Address, int] = {}
        self._addresses: list[Address] = []
        """By half the tag; an account may have had several."""
        self._loads: dict[int, int] = {}
        """Slots brought in by tag."""
        self._complete: set[int] = set()
        """Tags of accounts whose other slots are all zero and cold."""
        self._knows_hashes = False
        self._blob_hashes = bytes(32)
        self.header[_BLOB_HASHES] = address_of(self._blob_hashes)

    def begin(self, hashes: tuple[Hash32, ...]) -> None:
        """Another execution, of a transaction with these blob hashes."""
        if self._knows_hashes:
            self.view[_HASHES : StateBlock.DIGESTS] = bytes(StateBlock.DIGESTS - _HASHES)
            self._knows_hashes = False
        if hashes or self.header[_BLOB_COUNT]:
            self._blob_hashes = b"".join((bytes(32), *(digest[::-1] for digest in hashes)))
            self.header[_BLOB_HASHES] = address_of(self._blob_hashes)
            self.header[_BLOB_COUNT] = len(hashes)

    def tag(self, address: Address) -> int:
        """The tag of an account's storage slots; the next one is that of its transient slots."""
        tag = self._tags.get(address)
        if tag is None:
            tag = self._tags[address] = 2 * len(self._addresses)
            self._addresses.append(address)
        return tag

    def registers(self, address: Address) -> NativeStateRegisters:
        """For a frame of the account that begins now."""
        tag, header = self.tag(address), self.header
        complete = tag in self._complete
        return self.address, tag, complete, header[_UNDO], header[_LOGS_END], header[_REFUND]

    def let_call(self, frame: Frame) -> None:
        """Have native code call the account whose code the frame runs."""
        tag = self.tag(frame.message.code_address)
        self.callees.add(frame, tag, tag in self._complete)

    def meet_frames(self, frames: list[Frame], chain: list[Frame], journal: Journal) -> None:
        """Make ``frames`` those that run now, after native code has begun and ended some of the ``chain``."""
        self.callees.meet(frames, chain[: self.header[_DEPTH]], journal.checkpoint())

    def know_hash(self, number: int, word: bytes) -> None:
        """The hash of one of the last blocks, until another execution begins."""
        _HASH.pack_into(
            self.view, _HASHES + BLOCK_HASH_BYTES * (number % BLOCK_HASH_WINDOW), number + 1, word
        )
        self._knows_hashes = True

    def know_balance(self, frame: Frame, word: bytes) -> None:
        """The balance of the running frame's account, until `forget_balance`."""
        self.header[_BALANCE_TAG] = frame.words[Field.STORAGE_TAG]
        self.view[StateBlock.BALANCE : StateBlock.BALANCE + 32] = word

    def forget_balance(self) -> None:
        """Python begins or ends a message: what native code calls itself moves no value."""
        self.header[_BALANCE_TAG] = -1

    @property
    def is_full(self) -> bool:
        """No room for another slot or change."""
        return self.header[_SLOTS] >= SLOTS_MAX or self.header[_UNDO] >= UNDO_MAX

    def bring_in(self, frame: Frame, tag: int, key: bytes, value: bytes, original: bytes, cold: bool) -> None:
        """Add a slot that native code looked for in vain; all numbers little-endian."""
        number, cell = self.header[_SLOTS], frame.words[Field.FREE_CELL]
        _ENTRY.pack_into(
            self.view, _ENTRIES + SLOT_BYTES * number, tag, 0, cell, cold, key, value, original
        )
        self._cells[cell] = number
        self.header[_SLOTS] = number + 1

    def count_load(self, frame: Frame, tag: int, journal: Journal) -> None:
        """Find out, once, whether native code may bring in the account's other slots itself: all zero and cold."""
        loads = self._loads[tag] = self._loads.get(tag, 0) + 1
        if loads == LOADS_BEFORE_ASKING and journal.knows_all_slots(frame.message.to, loads):
            self._complete.add(tag)
        if tag in self._complete:
            frame.words[Field.COMPLETE] = 1

    # Going back

    def is_ahead(self, frame: Frame) -> bool:
        """Whether anything happened since the frame began that has not been settled."""
        header = self.header
        return _mark(frame) != (header[_UNDO], header[_LOGS_END], header[_REFUND])

    def forget(self, address: Address) -> None:
        """The account's storage is another from now on; what is in the state block has been settled."""
        self._tags.pop(address, None)
        self.callees.clear()

    def clear(self, frames: list[Frame]) -> None:
        """Bring all slots in again; what is in the state block has been settled."""
        self.forget_balance()
        self.callees.clear()
        if self.header[_SLOTS] or self._loads:  # else no account can be complete
            self.header[_SLOTS] = 0
            self._loads.clear()
            self._complete.clear()
            for frame in frames:
                frame.words[Field.COMPLETE] = 0

    def discard(self) -> None:
        """Forget everything; no frame is left."""
        self.clear([])
        header = self.header
        header[_UNDO] = header[_LOGS_END] = header[_REFUND] = 0
        self._tags.clear()
        self._addresses.clear()

    # Into the journal

    def flush_to_journal(self, journal: Journal, frames: list[Frame]) -> bool:
        """Move all that has happened to the journal, frame by frame; whether there was anything."""
        header = self.header
        if not (header[_UNDO] or header[_LOGS_END]):
            return False
        end = _Position(header[_UNDO], header[_LOGS_END], header[_REFUND])
        if frames:
            self._flush_frames(journal, frames, end)
        else:
            self._drain(journal, _Position(0, 0, 0), end, is_last=True)
        header[_UNDO] = header[_LOGS_END] = header[_REFUND] = 0
        return True

    def _flush_frames(self, journal: Journal, frames: list[Frame], end: _Position) -> None:
        lowest = len(frames) - 1
        while lowest and any(frames[lowest].words[_MARKS]):
            lowest -= 1
        stack = frames[lowest:]
        marks = [_mark(frame) for frame in stack]
        later = [(frame, journal.cut_since(frame.checkpoint)) for frame in reversed(stack[1:])]
        for begin, until in zip(marks, [*marks[1:], end], strict=True):
            self._drain(journal, begin, until, is_last=False)
            if later:
                frame, entries = later.pop()
                frame.checkpoint = journal.rejoin(entries)
        for (place,) in _PLACE.iter_unpack(self.view[_CHANGES : _CHANGES + UNDO_BYTES * end.changes]):
            at = place - self.address + _ENTRY_UNDO
            self.view[at : at + 8] = _ZERO
        for frame in stack:
            frame.words[Field.UNDO_MARK] = frame.words[Field.LOG_MARK] = frame.words[Field.REFUND_MARK] = 0
            frame.words[Field.IS_JOURNALED] = 1

    def _drain(self, journal: Journal, begin: _Position, end: _Position, *, is_last: bool) -> None:
        """What happened between two positions; if that was the last, the journal reads of it what it wants."""
        if end.changes != begin.changes:
            first, until = _CHANGES + UNDO_BYTES * begin.changes, _CHANGES + UNDO_BYTES * end.changes
            changes, entries = self.view[first:until], self.view[_ENTRIES:_CHANGES]
            place = self.address + _ENTRIES
            if is_last:
                entries = entries[: SLOT_BYTES * self.header[_SLOTS]]
                journal.adopt(NativeChanges(tuple(self._addresses), bytes(changes), 1, bytes(entries), place))
            else:
                journal.apply(NativeChanges(self._addresses, changes, begin.changes + 1, entries, place))
        if end.refund != begin.refund:
            journal.add_refund(end.refund - begin.refund)
        if end.logs != begin.logs:
            journal.emit(NativeLogs(bytes(self.view[_LOGS + begin.logs : _LOGS + end.logs])))
