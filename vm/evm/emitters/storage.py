"""SLOAD, SSTORE, TLOAD, TSTORE. Slots that the table lacks are brought in by Python."""

from __future__ import annotations

from vm.evm.builder import Emitter, Value
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Exit, Field, Slot


def _load(c: Emitter, kind: int, lacking: Exit) -> None:
    key = c.pop()
    c.settle(c.let(f"call i64 @load_slot(ptr %frame, i256 {key}, i64 {kind}, i64 {c.gas})"), lacking)
    entry = c.let(f"load ptr, ptr {c.field_pointer(Field.STORAGE_ENTRY)}")
    at = c.let(f"getelementptr i8, ptr {entry}, i64 {int(Slot.VALUE)}")
    c.push(c.let(f"load i256, ptr {at}, align 32"))


def _store(c: Emitter, routine: str, lacking: Exit) -> None:
    c.require_not_static()
    key: Value = c.pop()
    value = c.pop()
    c.settle(c.let(f"call i64 @{routine}(ptr %frame, i256 {key}, i256 {value}, i64 {c.gas})"), lacking)


@opcode("SLOAD")
def _sload(c: Emitter) -> None:
    _load(c, 0, Exit.SLOT)


@opcode("SSTORE")
def _sstore(c: Emitter) -> None:
    _store(c, "store_slot", Exit.SLOT)


@opcode("TLOAD")
def _tload(c: Emitter) -> None:
    _load(c, 1, Exit.TRANSIENT)


@opcode("TSTORE")
def _tstore(c: Emitter) -> None:
    _store(c, "store_transient", Exit.TRANSIENT)
