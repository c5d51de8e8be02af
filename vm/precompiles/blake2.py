"""The BLAKE2b compression function F (EIP-152), in machine code of our own: libraries hold the GIL for all rounds."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from chain.gas_schedule import Price
from vm.errors import PrecompileError
from vm.evm.native import load_library
from vm.interruption import checkpoint

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
    run = _library().rounds
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


class _Library(NamedTuple):
    rounds: Callable[[Any, bytes, int, int], int]
    """``rounds(v, m, number, count)`` begins with the row of `_SIGMA` of that number and returns the next one's."""
    keep: Any
    """What the code's memory hangs on."""


_lock = threading.Lock()


@cache
def _loaded() -> _Library:
    keep, at = load_library(_ir(), "blake2", ("rounds",))
    word = ctypes.c_uint64
    return _Library(ctypes.CFUNCTYPE(word, ctypes.c_void_p, ctypes.c_char_p, word, word)(at["rounds"]), keep)


@cache
def _library() -> _Library:
    with _lock:  # two threads may ask first
        return _loaded()


_ROW: Final = "<4 x i64>"


def _gather(name: str, first: int, step: int) -> str:
    """Four words of the message: entries ``first``, ``first + step`` ... of the round's row."""
    text, before = "", "poison"
    for lane in range(4):
        at = f"{name}{lane}"
        text += (
            f"  %{at}.s = getelementptr i8, ptr %row, i64 {first + step * lane}\n  %{at}.i = load i8, ptr %{at}.s\n"
            f"  %{at}.n = zext i8 %{at}.i to i64\n  %{at}.p = getelementptr i64, ptr %m, i64 %{at}.n\n"
            f"  %{at}.w = load i64, ptr %{at}.p, align 1\n"
            f"  %{at} = insertelement {_ROW} {before}, i64 %{at}.w, i32 {lane}\n"
        )
        before = f"%{at}"
    return text


def _half(name: str, rows: tuple[str, str, str, str], first: int) -> tuple[str, tuple[str, str, str, str]]:
    """The mixing function on four columns at once, with 8 words of the message (RFC 7693, 3.1)."""
    a, b, c, d = rows
    text = _gather(f"{name}x", first, 2) + _gather(f"{name}y", first + 1, 2)
    for part, word, turn_d, turn_b in (("1", "x", 32, 24), ("2", "y", 16, 63)):
        p = f"%{name}{part}"
        text += f"  {p}s = add {_ROW} {a}, {b}\n  {p}a = add {_ROW} {p}s, %{name}{word}3\n"
        text += f"  {p}e = xor {_ROW} {d}, {p}a\n{_turn(f'{p}d', f'{p}e', turn_d)}"
        text += f"  {p}c = add {_ROW} {c}, {p}d\n  {p}f = xor {_ROW} {b}, {p}c\n{_turn(f'{p}b', f'{p}f', turn_b)}"
        a, b, c, d = f"{p}a", f"{p}b", f"{p}c", f"{p}d"
    return text, (a, b, c, d)


def _turn(name: str, value: str, bits: int) -> str:
    return f"  {name} = call {_ROW} @llvm.fshr.v4i64({_ROW} {value}, {_ROW} {value}, {_ROW} splat (i64 {bits}))\n"


def _shift(name: str, value: str, by: int) -> str:
    order = ", ".join(f"i32 {(lane + by) % 4}" for lane in range(4))
    return f"  {name} = shufflevector {_ROW} {value}, {_ROW} poison, <4 x i32> <{order}>\n"


def _ir() -> str:
    """The module's text."""
    columns, (a, b, c, d) = _half("k", ("%a", "%b", "%c", "%d"), 0)
    diagonals, (a, b, c, d) = _half("g", (a, "%b.g", "%c.g", "%d.g"), 8)
    sigma = ", ".join(f"i8 {entry}" for row in _SIGMA for entry in row)
    load = "".join(
        f"  %{name}.at = getelementptr i8, ptr %v, i64 {32 * place}\n"
        f"  %{name}.0 = load {_ROW}, ptr %{name}.at, align 1\n"
        for place, name in enumerate("abcd")
    )
    ends = {"a": a, "b": "%b.k", "c": "%c.k", "d": "%d.k"}
    phis = "".join(f"  %{name} = phi {_ROW} [ %{name}.0, %entry ], [ {end}, %loop ]\n" for name, end in ends.items())
    stores = "".join(f"  store {_ROW} {end}, ptr %{name}.at, align 1\n" for name, end in ends.items())
    return (
        f"declare {_ROW} @llvm.fshr.v4i64({_ROW}, {_ROW}, {_ROW})\n"
        f"@sigma = internal constant [{16 * len(_SIGMA)} x i8] [{sigma}]\n"
        "define i64 @rounds(ptr %v, ptr %m, i64 %number, i64 %count) nounwind {\nentry:\n"
        f"{load}  br label %loop\nloop:\n{phis}"
        "  %which = phi i64 [ %number, %entry ], [ %next, %loop ]\n"
        "  %left = phi i64 [ %count, %entry ], [ %fewer, %loop ]\n"
        "  %place = mul i64 %which, 16\n  %row = getelementptr i8, ptr @sigma, i64 %place\n"
        + columns
        + "".join(_shift(f"%{n}.g", v, by) for n, v, by in (("b", "%k2b", 1), ("c", "%k2c", 2), ("d", "%k2d", 3)))
        + diagonals
        + "".join(_shift(f"%{n}.k", v, by) for n, v, by in (("b", b, 3), ("c", c, 2), ("d", d, 1)))
        + f"  %after = add i64 %which, 1\n  %is.last = icmp eq i64 %after, {len(_SIGMA)}\n"
        "  %next = select i1 %is.last, i64 0, i64 %after\n  %fewer = sub i64 %left, 1\n"
        "  %more = icmp ne i64 %fewer, 0\n  br i1 %more, label %loop, label %done\ndone:\n"
        f"{stores}  ret i64 %next\n}}\n@exports = constant [1 x ptr] [ptr @rounds]\n"
    )
