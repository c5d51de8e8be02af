"""SLOAD, SSTORE, TLOAD, TSTORE. What the table of warm slots lacks is left to Python."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import SlotEntry
from vm.message import Halt


@opcode("SLOAD")
def _sload(c: Emitter) -> None:
    slot = c.pop()
    entry = c.let(f"call ptr @slot_entry(ptr %frame, i256 {slot})")
    c.host_unless(c.let(f"call i1 @slot_known(ptr %frame, ptr {entry}, i256 {slot})"))
    at = c.let(f"getelementptr i8, ptr {entry}, i64 {int(SlotEntry.VALUE)}")
    c.push(c.let(f"load i256, ptr {at}, align 32"))


@opcode("SSTORE")
def _sstore(c: Emitter) -> None:
    c.require_not_static()
    slot, value = c.pop(), c.pop()
    if c.fork < Fork.BERLIN:
        c.let(f"call ptr @slot_entry(ptr %frame, i256 {slot})")
        c.host()
        return
    left = c.let(f"call i64 @store_known(ptr %frame, i256 {slot}, i256 {value}, i64 {c.gas})")
    c.host_unless(c.let(f"icmp ne i64 {left}, -2"))
    c.require(c.let(f"icmp sge i64 {left}, 0"), Halt.OUT_OF_GAS)
    c.gas = left


@opcode("TLOAD")
def _tload(c: Emitter) -> None:
    c.host()


@opcode("TSTORE")
def _tstore(c: Emitter) -> None:
    c.require_not_static()
    c.host()
