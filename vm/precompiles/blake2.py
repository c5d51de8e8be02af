"""The BLAKE2b compression function F (EIP-152), in machine code of our own: libraries hold the GIL for all rounds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from chain.gas_schedule import Price
from vm.errors import PrecompileError
from vm.interruption import checkpoint
from vm.ir.builder import Builder, declared_exports
from vm.ir.loader import load_library

_INPUT_BYTES: Final = 213
_ROUNDS_AT_ONCE: Final = 1 << 20
"""Some 20 milliseconds; between two such runs the call can be stopped."""
_STATE, _MESSAGE, _OFFSETS, _FINAL = slice(4, 68), slice(68, 196), slice(196, 212), 212
_WORD: Final = 8
_IV: Final = int.from_bytes(
    b"".join(
        word.to_bytes(_WORD, "little")
        for word in (
            *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
            *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
        )
    ),
    "little",
)
_SIGMA: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
"""Which word of the message each step takes (RFC 7693, 2.7)."""


def gas(price: Price, data: bytes) -> int:
    """Paid for each round; none of an input that will be refused."""
    rounds = int.from_bytes(data[:4], "big") if len(data) == _INPUT_BYTES else 0
    return price.base + price.each * rounds


def blake2f(data: bytes) -> bytes:
    """The state after ``rounds`` rounds: rounds, h[8], m[16], t[2], final flag. May be stopped (`vm.interruption`)."""
    if len(data) != _INPUT_BYTES:
        raise PrecompileError("invalid input length")
    if data[_FINAL] not in (0, 1):
        raise PrecompileError("invalid final flag")
    tail = _IV ^ int.from_bytes(data[_OFFSETS], "little") << 256
    if data[_FINAL]:
        tail ^= (2**64 - 1) << 384
    words = ctypes.create_string_buffer(data[_STATE] + tail.to_bytes(64, "little"), 128)
    run = _rounds()
    left, number = int.from_bytes(data[:4], "big"), 0
    while left:
        count = min(left, _ROUNDS_AT_ONCE)
        number = run(words, data[_MESSAGE], number, count)
        left -= count
        if left:
            checkpoint()
    after = words.raw
    state, first, second = (int.from_bytes(part, "little") for part in (data[_STATE], after[:64], after[64:]))
    return (state ^ first ^ second).to_bytes(64, "little")


@cache
def _rounds() -> Callable[[Any, bytes, int, int], int]:
    """``rounds(v, m, number, count)`` begins with the row of `_SIGMA` of that number and returns the next one's."""
    word = ctypes.c_uint64
    address = load_library("blake2", _ir, ("rounds",))["rounds"]
    return ctypes.CFUNCTYPE(word, ctypes.c_void_p, ctypes.c_char_p, word, word)(address)


_ROW: Final = "<4 x i64>"
_Rows = tuple[str, str, str, str]
"""The state by rows: four SSA values of four words each."""


def _gather(b: Builder, row: str, first: int, step: int) -> str:
    """Four words of the message: entries ``first``, ``first + step`` ... of the round's row of `_SIGMA`."""
    words = "poison"
    for lane in range(4):
        entry = b.load("i8", b.at(row, first + step * lane))
        place = b.element("i64", "%m", b.let(f"zext i8 {entry} to i64"))
        word = b.let(f"load i64, ptr {place}, align 1")
        words = b.let(f"insertelement {_ROW} {words}, i64 {word}, i32 {lane}")
    return words


def _mix(b: Builder, rows: _Rows, row: str, first: int) -> _Rows:
    """The mixing function on four columns at once, with 8 words of the message (RFC 7693, 3.1)."""
    v0, v1, v2, v3 = rows
    x, y = _gather(b, row, first, 2), _gather(b, row, first + 1, 2)
    for word, turn_v3, turn_v1 in ((x, 32, 24), (y, 16, 63)):
        v0 = b.let(f"add {_ROW} {b.let(f'add {_ROW} {v0}, {v1}')}, {word}")
        v3 = _turn(b, b.let(f"xor {_ROW} {v3}, {v0}"), turn_v3)
        v2 = b.let(f"add {_ROW} {v2}, {v3}")
        v1 = _turn(b, b.let(f"xor {_ROW} {v1}, {v2}"), turn_v1)
    return v0, v1, v2, v3


def _turn(b: Builder, value: str, bits: int) -> str:
    return b.let(f"call {_ROW} @llvm.fshr.v4i64({_ROW} {value}, {_ROW} {value}, {_ROW} splat (i64 {bits}))")


def _shifted(b: Builder, rows: _Rows, by: tuple[int, int, int]) -> _Rows:
    """Rows 1 to 3 turned by so many lanes: diagonals become columns, and back."""
    first, *others = rows
    turned = []
    for value, lanes in zip(others, by, strict=True):
        order = ", ".join(f"i32 {(lane + lanes) % 4}" for lane in range(4))
        turned.append(b.let(f"shufflevector {_ROW} {value}, {_ROW} poison, <4 x i32> <{order}>"))
    return first, turned[0], turned[1], turned[2]


def _ir() -> str:
    """The module's text."""
    b = Builder()
    b.place("start")
    places = [b.at("%v", 32 * row) for row in range(4)]
    before = [b.let(f"load {_ROW}, ptr {place}, align 1") for place in places]
    b.go("loop")
    b.place("loop")
    v0, v1, v2, v3 = (
        b.choose(_ROW, ((value, "start"), (f"%after{row}", "loop"))) for row, value in enumerate(before)
    )
    number = b.choose("i64", (("%number", "start"), ("%next", "loop")))
    left = b.choose("i64", (("%count", "start"), ("%fewer", "loop")))
    sigma = b.at("@sigma", b.let(f"mul i64 {number}, 16"))
    rows = _shifted(b, _mix(b, (v0, v1, v2, v3), sigma, 0), (1, 2, 3))
    rows = _shifted(b, _mix(b, rows, sigma, 8), (3, 2, 1))
    for row, value in enumerate(rows):
        b.do(f"%after{row} = add {_ROW} {value}, zeroinitializer")
    following = b.let(f"add i64 {number}, 1")
    is_last = b.let(f"icmp eq i64 {following}, {len(_SIGMA)}")
    b.do(f"%next = select i1 {is_last}, i64 0, i64 {following}")
    b.do(f"%fewer = sub i64 {left}, 1")
    b.branch(b.let("icmp ne i64 %fewer, 0"), "loop", "done")
    b.place("done")
    for row, place in enumerate(places):
        b.do(f"store {_ROW} %after{row}, ptr {place}, align 1")
    b.do("ret i64 %next")
    entries = ", ".join(f"i8 {entry}" for row in _SIGMA for entry in row)
    return (
        f"declare {_ROW} @llvm.fshr.v4i64({_ROW}, {_ROW}, {_ROW})\n"
        f"@sigma = internal constant [{16 * len(_SIGMA)} x i8] [{entries}]\n"
        + b.function("define i64 @rounds(ptr %v, ptr %m, i64 %number, i64 %count) nounwind")
        + declared_exports(("rounds",))
    )
