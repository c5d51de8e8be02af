"""SLOAD, SSTORE, TLOAD and TSTORE in native code: the table of slots, their gas, and undoing what a frame did.

Python only brings in slots that the table lacks (`vm.evm.host.storage`); paying for cold ones, the refund and what
undoes a change are kept here, in the ledger.
"""

from __future__ import annotations

from itertools import product

from chain.gas_schedule import GasSchedule, StorageCosts, StorageStatus, storage_status
from vm.evm.convention import load_field, store_field
from vm.evm.layout import (
    CELL_BITS,
    SLOT_BYTES,
    SLOTS_MAX,
    UNDO_BYTES,
    UNDO_MAX,
    Change,
    Field,
    Slot,
    StateBlock,
)

HASH_FACTOR = 0x9E3779B97F4A7C15
_CELL_MASK = (1 << CELL_BITS) - 1


def _at(name: str, pointer: str, offset: int) -> str:
    return f"  %{name} = getelementptr i8, ptr {pointer}, i64 {int(offset)}\n"


def _load(name: str, pointer: str, offset: int, kind: str = "i64") -> str:
    aligned = ", align 32" if kind == "i256" else ""
    return _at(f"{name}.at", pointer, offset) + f"  %{name} = load {kind}, ptr %{name}.at{aligned}\n"


def _put(name: str, pointer: str, offset: int, value: str, kind: str = "i64") -> str:
    aligned = ", align 32" if kind == "i256" else ""
    return _at(name, pointer, offset) + f"  store {kind} {value}, ptr %{name}{aligned}\n"


_FIND = f"""
; The entry of a slot of this frame's account, %kind 1 for a transient one; null if the table lacks it.
define internal ptr @find_slot(ptr %frame, ptr %ledger, i256 %key, i64 %kind) noinline nounwind {{
start:
{load_field(Field.STORAGE_TAG)}
  %tag = add i64 %STORAGE_TAG, %kind
  %low = trunc i256 %key to i64
  %high.wide = lshr i256 %key, 192
  %high = trunc i256 %high.wide to i64
  %mixed = xor i64 %low, %high
  %tagged = add i64 %mixed, %tag
  %hash = mul i64 %tagged, {HASH_FACTOR}
  %first = lshr i64 %hash, {64 - CELL_BITS}
{_load("slots", "%ledger", StateBlock.SLOTS)}{_at("index", "%ledger", StateBlock.INDEX)}
  br label %probe
probe:
  %cell = phi i64 [ %first, %start ], [ %next, %onward ]
  %cell.at = getelementptr i32, ptr %index, i64 %cell
  %short = load i32, ptr %cell.at
  %number = zext i32 %short to i64
  %begun = icmp ult i64 %number, %slots
  br i1 %begun, label %look, label %free
look:
  %distance = mul i64 %number, {SLOT_BYTES}
{_at("entries", "%ledger", StateBlock.ENTRIES)}
  %entry = getelementptr i8, ptr %entries, i64 %distance
{_load("owner", "%entry", Slot.CELL)}
  %mine = icmp eq i64 %owner, %cell
  br i1 %mine, label %taken, label %free
taken:
{_load("its.tag", "%entry", Slot.TAG)}{_load("its.key", "%entry", Slot.KEY, "i256")}
  %same.tag = icmp eq i64 %its.tag, %tag
  %same.key = icmp eq i256 %its.key, %key
  %same = and i1 %same.tag, %same.key
  br i1 %same, label %found, label %onward
onward:
  %after = add i64 %cell, 1
  %next = and i64 %after, {_CELL_MASK}
  br label %probe
found:
  ret ptr %entry
free:
{store_field(Field.FREE_CELL, "%cell")}{load_field(Field.COMPLETE)}
  %is.known = icmp ugt i64 %COMPLETE, %kind
  %has.room = icmp ult i64 %slots, {SLOTS_MAX}
  %inserts = and i1 %is.known, %has.room
  br i1 %inserts, label %insert, label %lacking
insert:
  %offset = mul i64 %slots, {SLOT_BYTES}
{_at("room", "%ledger", StateBlock.ENTRIES)}
  %new = getelementptr i8, ptr %room, i64 %offset
{_put("new.tag", "%new", Slot.TAG, "%tag")}{_put("new.undo", "%new", Slot.UNDO, "0")}
{_put("new.cell", "%new", Slot.CELL, "%cell")}{_put("new.cold", "%new", Slot.COLD, "1")}
{_put("new.key", "%new", Slot.KEY, "%key", "i256")}{_put("new.value", "%new", Slot.VALUE, "0", "i256")}
{_put("new.original", "%new", Slot.ORIGINAL, "0", "i256")}
  %new.short = trunc i64 %slots to i32
  store i32 %new.short, ptr %cell.at
  %more = add i64 %slots, 1
  store i64 %more, ptr %slots.at
  ret ptr %new
lacking:
  ret ptr null
}}
"""

_REMEMBER = f"""
; Keep what undoes a change of the entry, once a frame; false if there is no room.
define internal i1 @remember_slot(ptr %frame, ptr %ledger, ptr %entry) alwaysinline nounwind {{
start:
{load_field(Field.UNDO_MARK)}{_load("last", "%entry", Slot.UNDO)}
  %known = icmp ugt i64 %last, %UNDO_MARK
  br i1 %known, label %done, label %first
first:
{_load("count", "%ledger", StateBlock.UNDO)}
  %room = icmp ult i64 %count, {UNDO_MAX}
  br i1 %room, label %keep, label %done
keep:
  %distance = mul i64 %count, {UNDO_BYTES}
{_at("changes", "%ledger", StateBlock.CHANGES)}
  %change = getelementptr i8, ptr %changes, i64 %distance
  store ptr %entry, ptr %change
{_put("kept.undo", "%change", Change.UNDO, "%last")}{_load("cold", "%entry", Slot.COLD)}
{_put("kept.cold", "%change", Change.COLD, "%cold")}{_load("value", "%entry", Slot.VALUE, "i256")}
{_put("kept.value", "%change", Change.VALUE, "%value", "i256")}
  %more = add i64 %count, 1
  store i64 %more, ptr %count.at
  store i64 %more, ptr %last.at
  br label %done
done:
  %kept = phi i1 [ true, %start ], [ false, %first ], [ true, %keep ]
  ret i1 %kept
}}
"""

_UNDO = f"""
; Undo what happened since the frame began.
define void @undo(ptr %frame) nounwind {{
start:
{load_field(Field.LEDGER, "ptr")}{load_field(Field.UNDO_MARK)}
{load_field(Field.LOG_MARK)}{load_field(Field.REFUND_MARK)}
{_put("logs", "%LEDGER", StateBlock.LOGS_END, "%LOG_MARK")}
{_put("refund", "%LEDGER", StateBlock.REFUND, "%REFUND_MARK")}
{_load("count", "%LEDGER", StateBlock.UNDO)}
  store i64 %UNDO_MARK, ptr %count.at
{_at("changes", "%LEDGER", StateBlock.CHANGES)}
  br label %loop
loop:
  %left = phi i64 [ %count, %start ], [ %this, %back ]
  %more = icmp ugt i64 %left, %UNDO_MARK
  br i1 %more, label %back, label %done
back:
  %this = sub i64 %left, 1
  %distance = mul i64 %this, {UNDO_BYTES}
  %change = getelementptr i8, ptr %changes, i64 %distance
  %entry = load ptr, ptr %change
{_load("undo", "%change", Change.UNDO)}{_load("cold", "%change", Change.COLD)}
{_load("value", "%change", Change.VALUE, "i256")}
{_put("to.undo", "%entry", Slot.UNDO, "%undo")}{_put("to.cold", "%entry", Slot.COLD, "%cold")}
{_put("to.value", "%entry", Slot.VALUE, "%value", "i256")}
  br label %loop
done:
  ret void
}}
"""


def _begin(name: str, parameters: str, kind: str) -> str:
    """Find the ``%entry`` and what it costs besides if it is cold; -2 where the table lacks it."""
    return f"""
define internal i64 @{name}(ptr %frame, i256 %key, {parameters}i64 %gas) noinline nounwind {{
start:
{load_field(Field.LEDGER, "ptr")}
  %entry = call ptr @find_slot(ptr %frame, ptr %LEDGER, i256 %key, i64 {kind})
  %lacks = icmp eq ptr %entry, null
  br i1 %lacks, label %absent, label %present
absent:
  ret i64 -2
present:
{_put("entry.to", "%frame", 8 * Field.STORAGE_ENTRY, "%entry", "ptr")}
"""


_POOR = "poor:\n  ret i64 -1\n}\n"


_KEEP = """
  %kept = call i1 @remember_slot(ptr %frame, ptr %LEDGER, ptr %entry)
  br i1 %kept, label %do, label %absent
do:
"""


def _loading(gas: GasSchedule) -> str:
    """``@load_slot``: gas left, the entry in the frame; -1 out of gas, -2 to be brought in by Python."""
    return (
        _begin("load_slot", "i64 %kind, ", "%kind")
        + _load("cold", "%entry", Slot.COLD)
        + f"""
  %is.cold = icmp ne i64 %cold, 0
  br i1 %is.cold, label %pay, label %known
known:
  ret i64 %gas
pay:
  %enough = icmp uge i64 %gas, {gas.cold_slot_extra}
  br i1 %enough, label %keep, label %poor
keep:
{_KEEP}  store i64 0, ptr %cold.at
  %left = sub i64 %gas, {gas.cold_slot_extra}
  ret i64 %left
{_POOR}"""
    )


_VALUES = _load("value", "%entry", Slot.VALUE, "i256") + _load("original", "%entry", Slot.ORIGINAL, "i256")


_COMPARED = (
    *(("new", "value"), ("value", "original"), ("new", "original")),
    *(("original", "zero"), ("value", "zero"), ("new", "zero")),
)
"""Pairs of an SSTORE's words. Which of them are equal, a bit for each from the lowest, is the status of the slot."""


def _price_table(costs: StorageCosts) -> str:
    """``@sstore_costs``: gas and refund by the bits of `_COMPARED`. Bits that no three words have are never read."""
    entries = [costs[StorageStatus.ASSIGNED]] * (1 << len(_COMPARED))
    for original, value, new in product(range(4), repeat=3):
        words = {"original": original, "value": value, "new": new, "zero": 0}
        place = sum((words[a] == words[b]) << bit for bit, (a, b) in enumerate(_COMPARED))
        entries[place] = costs[storage_status(original, value, new)]
    listed = ", ".join(f"{{i64, i64}} {{i64 {cost.gas}, i64 {cost.refund}}}" for cost in entries)
    return f"@sstore_costs = internal constant [{len(entries)} x {{i64, i64}}] [{listed}]\n"


def _price() -> str:
    """``%cost`` and ``%refund`` of writing ``%new`` over ``%value``."""
    text, place = "", "0"
    for bit, pair in enumerate(_COMPARED):
        a, b = ("0" if word == "zero" else f"%{word}" for word in pair)
        text += f"  %same.{bit} = icmp eq i256 {a}, {b}\n  %bit.{bit} = zext i1 %same.{bit} to i64\n"
        text += f"  %up.{bit} = shl i64 %bit.{bit}, {bit}\n  %place.{bit} = or i64 {place}, %up.{bit}\n"
        place = f"%place.{bit}"
    return (
        text + f"  %cost.at = getelementptr {{i64, i64}}, ptr @sstore_costs, i64 {place}\n"
        "  %cost = load i64, ptr %cost.at\n"
        "  %refund.at = getelementptr i8, ptr %cost.at, i64 8\n  %refund = load i64, ptr %refund.at\n"
    )


def _storing(gas: GasSchedule) -> str:
    """``@store_slot``: like ``@load_slot`` for a new value."""
    return (
        _price_table(gas.sstore)
        + _begin("store_slot", "i256 %new, ", "0")
        + f"  %above = icmp sgt i64 %gas, {gas.sstore_sentry}\n  br i1 %above, label %look, label %poor\nlook:\n"
        + _load("cold", "%entry", Slot.COLD)
        + _VALUES
        + _price()
        + f"""
  %extra = mul i64 %cold, {gas.cold_slot}
  %price = add i64 %cost, %extra
  %enough = icmp uge i64 %gas, %price
  br i1 %enough, label %keep, label %poor
keep:
{_KEEP}
{_load("refund.now", "%LEDGER", StateBlock.REFUND)}
  %refund.after = add i64 %refund.now, %refund
  store i64 %refund.after, ptr %refund.now.at
  store i256 %new, ptr %value.at, align 32
  store i64 0, ptr %cold.at
  %left = sub i64 %gas, %price
  ret i64 %left
{_POOR}"""
    )


def _storing_transient() -> str:
    """``@store_transient``: gas left, -2 to be brought in by Python."""
    return (
        _begin("store_transient", "i256 %new, ", "1")
        + _KEEP
        + _put("value.at", "%entry", Slot.VALUE, "%new", "i256")
        + "  ret i64 %gas\n}\n"
    )


def ir(gas: GasSchedule) -> str:
    """All of it under a fork's prices."""
    transient = _storing_transient() if "TSTORE" in gas.opcodes else ""
    return _FIND + _REMEMBER + _UNDO + _loading(gas) + _storing(gas) + transient
