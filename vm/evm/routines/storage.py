"""Warm SLOAD and SSTORE in native code: lookups in the table of warm slots, and the gas of a store."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm import gas
from vm.evm.layout import SLOT_ENTRY_BYTES, SLOT_INDEX_BITS, Field, SlotEntry, SlotTable

_HASH_FACTOR = 0x9E3779B97F4A7C15
_SLOT_SHIFT = SLOT_ENTRY_BYTES.bit_length() - 1

_LOOKUP = f"""
; The only entry that can hold the slot; leaves its offset in the frame for Python to fill.
define internal ptr @slot_entry(ptr %frame, i256 %slot) alwaysinline nounwind {{
  %tag.at = getelementptr i8, ptr %frame, i64 {8 * Field.STORAGE_TAG}
  %tag = load i64, ptr %tag.at
  %low = trunc i256 %slot to i64
  %high.wide = lshr i256 %slot, 192
  %high = trunc i256 %high.wide to i64
  %mixed = xor i64 %low, %high
  %tagged = add i64 %mixed, %tag
  %hash = mul i64 %tagged, {_HASH_FACTOR}
  %index = lshr i64 %hash, {64 - SLOT_INDEX_BITS}
  %scaled = shl i64 %index, {_SLOT_SHIFT}
  %offset = add i64 %scaled, {int(SlotTable.ENTRIES)}
  %entry.at = getelementptr i8, ptr %frame, i64 {8 * Field.STORAGE_ENTRY}
  store i64 %offset, ptr %entry.at
  %table.at = getelementptr i8, ptr %frame, i64 {8 * Field.WARM_STORAGE}
  %table = load ptr, ptr %table.at
  %entry = getelementptr i8, ptr %table, i64 %offset
  ret ptr %entry
}}

define internal i1 @slot_known(ptr %frame, ptr %entry, i256 %slot) alwaysinline nounwind {{
  %tag.at = getelementptr i8, ptr %frame, i64 {8 * Field.STORAGE_TAG}
  %tag = load i64, ptr %tag.at
  %entry.tag = load i64, ptr %entry
  %mine = icmp eq i64 %tag, %entry.tag
  %slot.at = getelementptr i8, ptr %entry, i64 {int(SlotEntry.SLOT)}
  %entry.slot = load i256, ptr %slot.at, align 32
  %same = icmp eq i256 %slot, %entry.slot
  %known = and i1 %mine, %same
  ret i1 %known
}}
"""


def _store(metering: gas.NetMetering) -> str:
    return f"""
; Gas left after storing to a warm slot that is in the table; -1 out of gas, -2 not in the table.
define internal i64 @store_known(ptr %frame, i256 %slot, i256 %value, i64 %gas) noinline nounwind {{
start:
  %entry = call ptr @slot_entry(ptr %frame, i256 %slot)
  %known = call i1 @slot_known(ptr %frame, ptr %entry, i256 %slot)
  br i1 %known, label %guard, label %unknown
unknown:
  ret i64 -2
guard:
  %above = icmp ugt i64 %gas, {gas.SSTORE_SENTRY}
  br i1 %above, label %look, label %poor
poor:
  ret i64 -1
look:
  %value.at = getelementptr i8, ptr %entry, i64 {int(SlotEntry.VALUE)}
  %original.at = getelementptr i8, ptr %entry, i64 {int(SlotEntry.ORIGINAL)}
  %current = load i256, ptr %value.at, align 32
  %original = load i256, ptr %original.at, align 32
  %unchanged = icmp eq i256 %value, %current
  br i1 %unchanged, label %same, label %change
same:
  %same.left = sub i64 %gas, {metering.no_change}
  ret i64 %same.left
change:
  %is.clean = icmp eq i256 %current, %original
  %was.set = icmp ne i256 %original, 0
  %is.zero = icmp eq i256 %value, 0
  %current.zero = icmp eq i256 %current, 0
  %restores = icmp eq i256 %value, %original
  %first.cost = select i1 %was.set, i64 {metering.reset}, i64 {gas.SSTORE_SET}
  %cost = select i1 %is.clean, i64 %first.cost, i64 {metering.no_change}
  %enough = icmp uge i64 %gas, %cost
  br i1 %enough, label %take, label %poor
"""


def _take(metering: gas.NetMetering) -> str:
    return f"""
take:
  ; Clearing a slot that was set earns; refilling one cleared in this transaction gives that back.
  %clears = and i1 %was.set, %is.zero
  %earned = select i1 %clears, i64 {metering.clear_refund}, i64 0
  %refills = and i1 %was.set, %current.zero
  %given = select i1 %refills, i64 {metering.clear_refund}, i64 0
  %undone.cost = sub i64 %first.cost, {metering.no_change}
  %undone = select i1 %restores, i64 %undone.cost, i64 0
  %balance = sub i64 %earned, %given
  %refund = add i64 %balance, %undone
  %table.at = getelementptr i8, ptr %frame, i64 {8 * Field.WARM_STORAGE}
  %table = load ptr, ptr %table.at
  %refund.at = getelementptr i8, ptr %table, i64 {int(SlotTable.REFUND)}
  %refund.before = load i64, ptr %refund.at
  %refund.after = add i64 %refund.before, %refund
  store i64 %refund.after, ptr %refund.at
  store i256 %value, ptr %value.at, align 32
  %left = sub i64 %gas, %cost
  %dirty.at = getelementptr i8, ptr %entry, i64 {int(SlotEntry.DIRTY)}
  %dirty = load i64, ptr %dirty.at
  %is.dirty = icmp ne i64 %dirty, 0
  br i1 %is.dirty, label %done, label %list
list:
  store i64 1, ptr %dirty.at
  %count = load i64, ptr %table
  %list.at = getelementptr i8, ptr %table, i64 {int(SlotTable.DIRTY_LIST)}
  %place = getelementptr i32, ptr %list.at, i64 %count
  %offset.at = getelementptr i8, ptr %frame, i64 {8 * Field.STORAGE_ENTRY}
  %offset = load i64, ptr %offset.at
  %offset.short = trunc i64 %offset to i32
  store i32 %offset.short, ptr %place
  %count.next = add i64 %count, 1
  store i64 %count.next, ptr %table
  br label %done
done:
  ret i64 %left
}}
"""


def ir(fork: Fork) -> str:
    """`@slot_entry`, `@slot_known`, and from Berlin on `@store_known`."""
    metering = gas.net_metering(fork)
    if metering is None or fork < Fork.BERLIN:
        return _LOOKUP
    return _LOOKUP + _store(metering) + _take(metering)
