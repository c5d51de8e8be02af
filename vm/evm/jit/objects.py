"""Objects of contracts: their keys in the cache, and from an object to functions that can be entered."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import Final, NamedTuple

from chain.forks import Fork
from chain.types import Hash32
from vm.evm.interpreter import interpreter_ir
from vm.evm.native import Interpreter
from vm.ir.image import load as load_image
from vm.ir.loader import compiled_for

FORMAT: Final = 2
"""Raised when what an object exports changes its meaning."""

LEVEL: Final = 1
"""LLVM's level of code generation: see docs/design/0010-jit.md for what each costs and gives."""

EAGER_LEVEL: Final = 0
"""The same where the caller waits for it."""

_PAIR: Final = 16


class Loaded(NamedTuple):
    """Functions of one object in memory."""

    functions: dict[int, int]
    """Index -> address."""
    library: object
    """Keeps them there."""


def load(code: bytes, interpreter: Interpreter) -> Loaded:
    """Bring an object, an image, into memory. It must be one this computer and version compiled: see `object_key`.

    Raises `NativeCodeUnavailable`.
    """
    library = load_image(code, interpreter.symbols)
    length = ctypes.c_uint64.from_address(library.exports).value
    words = (ctypes.c_uint64 * (2 * length)).from_address(library.exports + _PAIR)[:]
    return Loaded(dict(zip(words[::2], words[1::2], strict=True)), library.keep)


@cache
def fingerprint(fork: Fork, compiler_digest: bytes) -> bytes:
    """Stands for everything but the contract that decides an object: emitters, layout, LLVM, CPU, format.

    The first time takes milliseconds.
    """
    digest = hashlib.blake2b(digest_size=20)
    parts = [
        interpreter_ir(fork),
        *compiled_for(),
        str(FORMAT),
        compiler_digest.hex(),
    ]
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def whole_kind(level: int) -> str:
    """The ``kind`` of `object_key` for a whole contract, at LLVM's level of code generation."""
    return f"whole{level}"


def object_key(code_hash: Hash32, fork: Fork, kind: str, compiler_digest: bytes) -> str:
    """Cache key of a contract's object; ``kind`` tells whole contracts from their hot parts.

    ``compiler_digest`` differs between versions of `vm.evm.jit` that may compile the same code differently.
    """
    digest = hashlib.blake2b(code_hash, key=fingerprint(fork, compiler_digest), digest_size=20)
    return f"jit-{kind}-{fork.name.lower()}-{digest.hexdigest()}"
