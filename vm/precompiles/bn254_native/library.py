"""The machine code of alt_bn128 as Python functions of integers; loaded when first needed in a process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from vm.ir.builder import declared_exports
from vm.ir.loader import load_library
from vm.precompiles.bn254_native import ate, base_field, curve, tower
from vm.precompiles.bn254_native.ate import PAIR, TWIST
from vm.precompiles.bn254_native.elements import G1, G2

_EXPORTS: Final = ("g1_sum", "g2_check", "pairing")


class _Library(NamedTuple):
    g1_sum: Callable[[Any, bytes, bytes], None]
    g2_check: Callable[[Any], int]
    pairing: Callable[[Any, int], int]


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
        ctypes.CFUNCTYPE(word, pointer, word)(at["pairing"]),
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

    Raises `NativeCodeUnavailable`.
    """
    if not pairs:
        return True
    records = b"".join(pair.ljust(PAIR.size_bytes, b"\0") for pair in pairs)
    return bool(_library().pairing(ctypes.create_string_buffer(records, len(records)), len(pairs)))
