"""The machine code of alt_bn128 as Python functions of integers; loaded when first needed in a process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from vm.interruption import checkpoint
from vm.ir.builder import declared_exports
from vm.ir.loader import load_library
from vm.precompiles.bn254_native import ate, base_field, curve, tower
from vm.precompiles.bn254_native.ate import PAIR, TWIST
from vm.precompiles.bn254_native.elements import FP12, G1, G2

_EXPORTS: Final = ("g1_sum", "g2_check", "one", "multiply", "is_one")
PAIRS_AT_ONCE: Final = 32
"""Some 10 milliseconds; between two such runs a call can be stopped."""


class _Library(NamedTuple):
    g1_sum: Callable[[Any, bytes, bytes], None]
    g2_check: Callable[[Any], int]
    one: Callable[[Any], None]
    multiply: Callable[[Any, Any, int], None]
    is_one: Callable[[Any], int]


def ir() -> str:
    """The text of the whole module."""
    return "".join(
        (
            base_field.functions(),
            curve.functions(G1),
            curve.sum_of_two_multiples(),
            tower.functions(),
            curve.functions(G2),
            ate.functions(),
            declared_exports(_EXPORTS),
        )
    )


@cache
def _library() -> _Library:
    at = load_library("bn254", ir, _EXPORTS)
    pointer, data, word = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
    return _Library(
        ctypes.CFUNCTYPE(None, pointer, data, data)(at["g1_sum"]),
        ctypes.CFUNCTYPE(word, pointer)(at["g2_check"]),
        ctypes.CFUNCTYPE(None, pointer)(at["one"]),
        ctypes.CFUNCTYPE(None, pointer, pointer, word)(at["multiply"]),
        ctypes.CFUNCTYPE(word, pointer)(at["is_one"]),
    )


def g1_sum(points: bytes, multipliers: bytes) -> bytes:
    """See `vm.precompiles.bn254_native.curve.sum_of_two_multiples`. Raises `NativeCodeUnavailable`."""
    out = ctypes.create_string_buffer(G1.size_bytes)
    _library().g1_sum(out, points, multipliers)
    return out.raw


def is_in_subgroup(point: bytes) -> bool:
    """Whether a point of the twist, four integers, is in G2. Raises `NativeCodeUnavailable`."""
    return bool(_library().g2_check(ctypes.create_string_buffer(point, TWIST.size_bytes)))


def product_is_one(pairs: list[bytes]) -> bool:
    """Whether the pairings' product is one; a pair is six integers, no point at infinity.

    May be stopped (`vm.interruption`). Raises `NativeCodeUnavailable`.
    """
    library, total = _library(), ctypes.create_string_buffer(FP12.size_bytes)
    library.one(total)
    for at in range(0, len(pairs), PAIRS_AT_ONCE):
        checkpoint()
        part = pairs[at : at + PAIRS_AT_ONCE]
        records = b"".join(pair.ljust(PAIR.size_bytes, b"\0") for pair in part)
        library.multiply(total, ctypes.create_string_buffer(records, len(records)), len(part))
    return not pairs or bool(library.is_one(total))
