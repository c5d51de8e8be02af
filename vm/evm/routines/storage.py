"""SLOAD, SSTORE, TLOAD and TSTORE in native code: the table of slots, their gas, and undoing what a frame did.

Python only brings in slots that the table lacks (`vm.evm.host.storage`); paying for cold ones, the refund and what
undoes a change are kept here, in the native state.
"""

from __future__ import annotations

from itertools import product

from chain.gas_schedule import GasSchedule, StorageCosts, StorageStatus, storage_status
from vm.evm.convention import get_field, set_field
from vm.evm.layout import CELL_BITS, SLOT_BYTES, SLOTS_MAX, UNDO_BYTES, UNDO_MAX, Field, Slot, StateBlock, UndoRecord
from vm.ir.builder import Builder

HASH_FACTOR = 0x9E3779B97F4A7C15
_CELL_MASK = (1 << CELL_BITS) - 1
OUT_OF_GAS, LACKING = -1, -2
"""What a routine returns instead of the gas left: too little, or the slot must be brought in first."""

_COMPARED = (
    *(("new", "current"), ("current", "original"), ("new", "original")),
    *(("original", "zero"), ("current", "zero"), ("new", "zero")),
)
"""Pairs of an SSTORE's words. Which of them are equal, a bit for each from the lowest, is the status of the slot."""


def ir(gas: GasSchedule) -> str:
    """All of it under a fork's prices."""
    transient = _store_transient() if "TSTORE" in gas.opcodes else ""
    table = _price_table(gas.sstore)
    return table + _find_slot() + _remember_slot() + _undo() + _load_slot(gas) + _store_slot(gas) + transient


def _record(b: Builder, block: str, area: StateBlock, number: str, size: int) -> str:
    """Address of a record of ``size`` bytes, by its number, in an area of the native state."""
    distance = b.let(f"mul i64 {number}, {size}")
    return b.at(b.at(block, area), distance)


def _find_slot() -> str:
    """``@find_slot``: the entry of a slot of this frame's account, %kind 1 for a transient one.

    Null if the table lacks it, and is not known to lack only zeros, or is full.
    """
    b = Builder()
    b.place("start")
    tag = b.let(f"add i64 {get_field(b, Field.STORAGE_TAG)}, %kind")
    low, high = b.let("trunc i256 %key to i64"), b.let(f"trunc i256 {b.let('lshr i256 %key, 192')} to i64")
    mixed = b.let(f"add i64 {b.let(f'xor i64 {low}, {high}')}, {tag}")
    first = b.let(f"lshr i64 {b.let(f'mul i64 {mixed}, {HASH_FACTOR}')}, {64 - CELL_BITS}")
    slots_at = b.at("%block", StateBlock.SLOTS)
    slots = b.load("i64", slots_at)
    index = b.at("%block", StateBlock.INDEX)
    b.go("probe")
    b.place("probe")
    cell = b.choose("i64", ((first, "start"), ("%next", "onward")))
    cell_at = b.element("i32", index, cell)
    number = b.let(f"zext i32 {b.load('i32', cell_at)} to i64")
    b.branch(b.let(f"icmp ult i64 {number}, {slots}"), "look", "free")
    b.place("look")
    entry = _record(b, "%block", StateBlock.ENTRIES, number, SLOT_BYTES)
    b.branch(b.let(f"icmp eq i64 {b.get('i64', entry, Slot.CELL)}, {cell}"), "taken", "free")
    b.place("taken")
    same_tag = b.let(f"icmp eq i64 {b.get('i64', entry, Slot.TAG)}, {tag}")
    same_key = b.let(f"icmp eq i256 {b.get('i256', entry, Slot.KEY)}, %key")
    b.branch(b.let(f"and i1 {same_tag}, {same_key}"), "found", "onward")
    b.place("onward")
    b.do(f"%next = and i64 {b.let(f'add i64 {cell}, 1')}, {_CELL_MASK}")
    b.go("probe")
    b.place("found")
    b.do(f"ret ptr {entry}")
    b.place("free")
    set_field(b, Field.FREE_CELL, cell)
    is_known = b.let(f"icmp ugt i64 {get_field(b, Field.COMPLETE)}, %kind")
    has_room = b.let(f"icmp ult i64 {slots}, {SLOTS_MAX}")
    b.branch(b.let(f"and i1 {is_known}, {has_room}"), "insert", "lacking")
    b.place("insert")
    new = _record(b, "%block", StateBlock.ENTRIES, slots, SLOT_BYTES)
    for kind, place, value in (
        *(("i64", Slot.TAG, tag), ("i64", Slot.UNDO, 0), ("i64", Slot.CELL, cell), ("i64", Slot.COLD, 1)),
        *(("i256", Slot.KEY, "%key"), ("i256", Slot.VALUE, 0), ("i256", Slot.ORIGINAL, 0)),
    ):
        b.put(kind, value, new, place)
    b.store("i32", b.let(f"trunc i64 {slots} to i32"), cell_at)
    b.store("i64", b.let(f"add i64 {slots}, 1"), slots_at)
    b.do(f"ret ptr {new}")
    b.place("lacking")
    b.do("ret ptr null")
    return b.function("define internal ptr @find_slot(ptr %frame, ptr %block, i256 %key, i64 %kind) noinline nounwind")


def _remember_slot() -> str:
    """``@remember_slot``: keep what undoes a change of the entry, once a frame; false if there is no room."""
    b = Builder()
    b.place("start")
    mark, last_at = get_field(b, Field.UNDO_MARK), b.at("%entry", Slot.UNDO)
    last = b.load("i64", last_at)
    b.branch(b.let(f"icmp ugt i64 {last}, {mark}"), "done", "first")
    b.place("first")
    count_at = b.at("%block", StateBlock.UNDO)
    count = b.load("i64", count_at)
    b.branch(b.let(f"icmp ult i64 {count}, {UNDO_MAX}"), "keep", "done")
    b.place("keep")
    change = _record(b, "%block", StateBlock.CHANGES, count, UNDO_BYTES)
    b.put("ptr", "%entry", change, UndoRecord.ENTRY)
    b.put("i64", last, change, UndoRecord.UNDO)
    b.put("i64", b.get("i64", "%entry", Slot.COLD), change, UndoRecord.COLD)
    b.put("i256", b.get("i256", "%entry", Slot.VALUE), change, UndoRecord.VALUE)
    more = b.let(f"add i64 {count}, 1")
    b.store("i64", more, count_at)
    b.store("i64", more, last_at)
    b.go("done")
    b.place("done")
    kept = b.choose("i1", (("true", "start"), ("false", "first"), ("true", "keep")))
    b.do(f"ret i1 {kept}")
    return b.function("define internal i1 @remember_slot(ptr %frame, ptr %block, ptr %entry) alwaysinline nounwind")


def _undo() -> str:
    """``@undo``: undo what happened since the frame began."""
    b = Builder()
    b.place("start")
    block, mark = get_field(b, Field.STATE, "ptr"), get_field(b, Field.UNDO_MARK)
    b.put("i64", get_field(b, Field.LOG_MARK), block, StateBlock.LOGS_END)
    b.put("i64", get_field(b, Field.REFUND_MARK), block, StateBlock.REFUND)
    count_at = b.at(block, StateBlock.UNDO)
    count = b.load("i64", count_at)
    b.store("i64", mark, count_at)
    b.go("loop")
    b.place("loop")
    left = b.choose("i64", ((count, "start"), ("%this", "back")))
    b.branch(b.let(f"icmp ugt i64 {left}, {mark}"), "back", "done")
    b.place("back")
    b.do(f"%this = sub i64 {left}, 1")
    change = _record(b, block, StateBlock.CHANGES, "%this", UNDO_BYTES)
    entry = b.get("ptr", change, UndoRecord.ENTRY)
    for kind, kept, place in (
        *(("i64", UndoRecord.UNDO, Slot.UNDO), ("i64", UndoRecord.COLD, Slot.COLD)),
        ("i256", UndoRecord.VALUE, Slot.VALUE),
    ):
        b.put(kind, b.get(kind, change, kept), entry, place)
    b.go("loop")
    b.place("done")
    b.do("ret void")
    return b.function("define void @undo(ptr %frame) nounwind")


def _find(b: Builder, kind: str) -> tuple[str, str]:
    """The native state and the slot's entry, which the frame gets; leaves the routine where there is none."""
    block = get_field(b, Field.STATE, "ptr")
    entry = b.let(f"call ptr @find_slot(ptr %frame, ptr {block}, i256 %key, i64 {kind})")
    b.branch(b.let(f"icmp eq ptr {entry}, null"), "lacking", "present")
    b.place("lacking")
    b.do(f"ret i64 {LACKING}")
    b.place("present")
    set_field(b, Field.STORAGE_ENTRY, entry, "ptr")
    return block, entry


def _remember(b: Builder, block: str, entry: str) -> None:
    """Keep what undoes the change that follows; leaves the routine where there is no room."""
    kept = b.let(f"call i1 @remember_slot(ptr %frame, ptr {block}, ptr {entry})")
    b.branch(kept, "change", "lacking")
    b.place("change")


def _routine(b: Builder, name: str, parameters: str) -> str:
    return b.function(
        f"define internal i64 @{name}(ptr %frame, i256 %key, {parameters}, i64 %gas) noinline nounwind"
    )


def _load_slot(gas: GasSchedule) -> str:
    """``@load_slot``: gas left, with the entry in the frame; `OUT_OF_GAS` or `LACKING`."""
    b = Builder()
    block, entry = _find(b, "%kind")
    cold_at = b.at(entry, Slot.COLD)
    b.branch(b.let(f"icmp ne i64 {b.load('i64', cold_at)}, 0"), "pay", "known")
    b.place("known")
    b.do("ret i64 %gas")
    b.place("pay")
    b.branch(b.let(f"icmp uge i64 %gas, {gas.cold_slot_extra}"), "keep", "poor")
    b.place("keep")
    _remember(b, block, entry)
    b.store("i64", 0, cold_at)
    b.do(f"ret i64 {b.let(f'sub i64 %gas, {gas.cold_slot_extra}')}")
    b.place("poor")
    b.do(f"ret i64 {OUT_OF_GAS}")
    return _routine(b, "load_slot", "i64 %kind")


def _price_table(costs: StorageCosts) -> str:
    """``@sstore_costs``: gas and refund by the bits of `_COMPARED`. Bits that no three words have are never read."""
    entries = [costs[StorageStatus.ASSIGNED]] * (1 << len(_COMPARED))
    for original, current, new in product(range(4), repeat=3):
        words = {"original": original, "current": current, "new": new, "zero": 0}
        place = sum((words[a] == words[b]) << bit for bit, (a, b) in enumerate(_COMPARED))
        entries[place] = costs[storage_status(original, current, new)]
    listed = ", ".join(f"{{i64, i64}} {{i64 {cost.gas}, i64 {cost.refund}}}" for cost in entries)
    return f"@sstore_costs = internal constant [{len(entries)} x {{i64, i64}}] [{listed}]\n"


def _price(b: Builder, original: str, current: str) -> tuple[str, str]:
    """Gas and refund of writing ``%new`` over the current value."""
    words = {"original": original, "current": current, "new": "%new", "zero": "0"}
    place = "0"
    for bit, (left, right) in enumerate(_COMPARED):
        is_same = b.let(f"icmp eq i256 {words[left]}, {words[right]}")
        raised = b.let(f"select i1 {is_same}, i64 {1 << bit}, i64 0")
        place = b.let(f"or i64 {place}, {raised}")
    cost = b.element("{i64, i64}", "@sstore_costs", place)
    return b.load("i64", cost), b.get("i64", cost, 8)


def _store_slot(gas: GasSchedule) -> str:
    """``@store_slot``: like ``@load_slot`` for a new value."""
    b = Builder()
    block, entry = _find(b, "0")
    b.branch(b.let(f"icmp sgt i64 %gas, {gas.sstore_sentry}"), "look", "poor")
    b.place("look")
    cold_at, value_at = b.at(entry, Slot.COLD), b.at(entry, Slot.VALUE)
    extra = b.let(f"mul i64 {b.load('i64', cold_at)}, {gas.cold_slot}")
    cost, refund = _price(b, b.get("i256", entry, Slot.ORIGINAL), b.load("i256", value_at))
    price = b.let(f"add i64 {cost}, {extra}")
    b.branch(b.let(f"icmp uge i64 %gas, {price}"), "keep", "poor")
    b.place("keep")
    _remember(b, block, entry)
    refund_at = b.at(block, StateBlock.REFUND)
    b.store("i64", b.let(f"add i64 {b.load('i64', refund_at)}, {refund}"), refund_at)
    b.store("i256", "%new", value_at)
    b.store("i64", 0, cold_at)
    b.do(f"ret i64 {b.let(f'sub i64 %gas, {price}')}")
    b.place("poor")
    b.do(f"ret i64 {OUT_OF_GAS}")
    return _routine(b, "store_slot", "i256 %new")


def _store_transient() -> str:
    """``@store_transient``: gas left, or `LACKING`."""
    b = Builder()
    block, entry = _find(b, "1")
    _remember(b, block, entry)
    b.put("i256", "%new", entry, Slot.VALUE)
    b.do("ret i64 %gas")
    return _routine(b, "store_transient", "i256 %new")
