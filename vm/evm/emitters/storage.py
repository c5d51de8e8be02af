"""Emitters of SLOAD, SSTORE, TLOAD and TSTORE. Python brings in slots that the native table does not have."""

from __future__ import annotations

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Exit, Field, Slot


def _load(c: Emitter, kind: int, lacking: Exit) -> None:
    # Stack
    key = c.pop()
    # Gas: the routine charges for a cold slot
    c.settle(c.let(f"call i64 @load_slot(ptr %frame, i256 {key}, i64 {kind}, i64 {c.gas})"), lacking)
    # Operation
    entry = c.let(f"load ptr, ptr {c.field_pointer(Field.STORAGE_ENTRY)}")
    at = c.let(f"getelementptr i8, ptr {entry}, i64 {int(Slot.VALUE)}")
    c.push(c.let(f"load i256, ptr {at}, align 32"))


def _store(c: Emitter, routine: str, lacking: Exit) -> None:
    c.require_not_static()
    # Stack
    key, value = c.pop(), c.pop()
    # Gas and operation are the routine's
    c.settle(c.let(f"call i64 @{routine}(ptr %frame, i256 {key}, i256 {value}, i64 {c.gas})"), lacking)


@opcode("SLOAD")
def sload(c: Emitter) -> None:
    """Push a slot of this account's storage."""
    _load(c, 0, Exit.SLOT)


@opcode("SSTORE")
def sstore(c: Emitter) -> None:
    """Write a slot of this account's storage."""
    _store(c, "store_slot", Exit.SLOT)


@opcode("TLOAD")
def tload(c: Emitter) -> None:
    """Push a slot of this account's transient storage (EIP-1153)."""
    _load(c, 1, Exit.TRANSIENT)


@opcode("TSTORE")
def tstore(c: Emitter) -> None:
    """Write a slot of this account's transient storage (EIP-1153)."""
    _store(c, "store_transient", Exit.TRANSIENT)
