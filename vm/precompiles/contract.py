"""The interface of a precompiled contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from chain.brief import before_long_work
from vm.errors import PrecompileUnavailable


@dataclass(frozen=True, slots=True)
class Precompile:
    """A contract implemented by the client."""

    name: str
    gas: Callable[[bytes], int]
    """Gas for this input; may be above any limit for hostile lengths, so charge it before `run`."""
    run: Callable[[bytes], bytes]
    """Output for this input. Raises `vm.errors.PrecompileError`, or `vm.errors.PrecompileUnavailable`."""


@cache
def native(module: str, name: str, address: int) -> Any:
    """The native library of a contract, loaded when first needed. Raises `PrecompileUnavailable`."""
    before_long_work()
    try:
        return import_module(module)
    except ImportError:
        raise PrecompileUnavailable(name, address) from None


def padded(data: bytes, offset: int, length: int) -> bytes:
    """A slice of the input, which is extended with zeros as needed."""
    return data[offset : offset + length].ljust(length, b"\0")


def word(data: bytes, offset: int) -> int:
    """The 32-byte big-endian integer at the offset."""
    return int.from_bytes(padded(data, offset, 32), "big")
