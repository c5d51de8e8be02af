"""The machine code of alt_bn128 as Python functions of integers; loaded when first needed in a process."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from vm.evm.native import load_library
from vm.precompiles.bn254_native import base_field, curve
from vm.precompiles.bn254_native.elements import G1

_EXPORTS: Final = ("g1_sum",)


class _Library(NamedTuple):
    g1_sum: Callable[[Any, bytes, bytes], None]
    keep: Any
    """What the code's memory hangs on."""


def ir() -> str:
    """The text of the whole module."""
    listed = ", ".join(f"ptr @{name}" for name in _EXPORTS)
    return "".join(
        (
            base_field.functions(),
            curve.functions(G1),
            curve.sum_of_two_multiples(),
            f"@exports = constant [{len(_EXPORTS)} x ptr] [{listed}]\n",
        )
    )


_lock = threading.Lock()


@cache
def _loaded() -> _Library:
    keep, at = load_library(ir(), "bn254", _EXPORTS)
    pointer, data = ctypes.c_void_p, ctypes.c_char_p
    return _Library(ctypes.CFUNCTYPE(None, pointer, data, data)(at["g1_sum"]), keep)


def _library() -> _Library:
    with _lock:
        return _loaded()


def g1_sum(points: bytes, multipliers: bytes) -> bytes:
    """See `vm.precompiles.bn254_native.curve.sum_of_two_multiples`. Raises `NativeCodeUnavailable`."""
    out = ctypes.create_string_buffer(G1.size_bytes)
    _library().g1_sum(out, points, multipliers)
    return out.raw
