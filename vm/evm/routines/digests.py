"""KECCAK256 with a memory for two words: where a mapping's key is used twice, the second time costs a comparison.

A contract that reads and writes ``balances[a]`` hashes the same 64 bytes for each. The hash depends on nothing else, so
what one execution of a thread has learned the next ones use too. Two inputs of the same place replace each other.
"""

from __future__ import annotations

from typing import Final

from vm.evm.convention import get_field
from vm.evm.layout import DIGEST_BITS, DIGEST_BYTES, Digest, Field, StateBlock
from vm.ir.builder import Builder

_LANES: Final = 8
_ODD: Final = (
    0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
    0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3,
)  # fmt: skip
"""Multipliers of the lanes: inputs differ in few bytes, anywhere."""


def ir() -> str:
    """``@digest(frame, data, length)``: as ``@keccak256(data, length)``."""
    b = Builder()
    b.place("entry")
    b.branch(b.let(f"icmp eq i64 %length, {8 * _LANES}"), "look", "other")
    b.place("other")
    b.do(f"ret i256 {b.let('tail call i256 @keccak256(ptr %data, i64 %length)')}")
    b.place("look")
    given = b.let("load i512, ptr %data, align 1")
    mixed = "0"
    for lane, odd in enumerate(_ODD):
        word = b.let(f"load i64, ptr {b.at('%data', 8 * lane)}, align 1")
        mixed = b.let(f"xor i64 {mixed}, {b.let(f'mul i64 {word}, {odd}')}")
    folded = b.let(f"xor i64 {mixed}, {b.let(f'lshr i64 {mixed}, 32')}")
    place = b.let(f"lshr i64 {b.let(f'mul i64 {folded}, {_ODD[0]}')}, {64 - DIGEST_BITS}")
    known = b.at(b.at(get_field(b, Field.STATE, "ptr"), StateBlock.DIGESTS), b.let(f"mul i64 {place}, {DIGEST_BYTES}"))
    same = b.let(f"icmp eq i512 {given}, {b.let(f'load i512, ptr {known}, align 64')}")
    is_known = b.let(f"icmp ne i64 {b.get('i64', known, Digest.IS_KNOWN)}, 0")
    b.branch(b.let(f"and i1 {same}, {is_known}"), "found", "missing")
    b.place("found")
    b.do(f"ret i256 {b.get('i256', known, Digest.VALUE)}")
    b.place("missing")
    value = b.let("call i256 @keccak256(ptr %data, i64 %length)")
    b.do(f"store i512 {given}, ptr {known}, align 64")
    b.put("i256", value, known, Digest.VALUE)
    b.put("i64", 1, known, Digest.IS_KNOWN)
    b.do(f"ret i256 {value}")
    return b.function("define internal i256 @digest(ptr %frame, ptr %data, i64 %length) noinline nounwind")
