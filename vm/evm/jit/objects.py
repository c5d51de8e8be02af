"""From a module's text to an object, and from an object to functions that can be entered."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from functools import cache
from itertools import count
from typing import Any, Final, NamedTuple

from llvmlite import binding as llvm

from chain.forks import Fork
from chain.types import Hash32
from vm.evm.interpreter import interpreter_ir
from vm.evm.native import Interpreter, compiler, parse

FORMAT: Final = 1
"""Raised when what an object exports changes its meaning."""

LEVEL: Final = 1
"""LLVM's level of code generation: see docs/design/0010-jit.md for what each costs and gives."""

EAGER_LEVEL: Final = 0
"""The same where the caller waits for it."""

_PAIR: Final = 16

_names = count(1)
_machines = threading.local()


class Loaded(NamedTuple):
    """Functions of one object in memory."""

    functions: dict[int, int]
    """Index -> address."""
    library: object
    """Keeps them there."""


def target_machine(level: int) -> Any:
    """This thread's target machine: costly to make and not to be shared."""
    machines = _machines.__dict__
    key = f"level{level}"
    if key not in machines:
        compiler()  # initialises LLVM
        machines[key] = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=level,
            reloc="pic",  # others make the loader abort the process
            codemodel="default",
        )
    return machines[key]


def compile_module(ir: str, level: int = LEVEL) -> bytes:
    """The object of a module's text. Raises `NativeCodeUnavailable`."""
    machine = target_machine(level)
    return bytes(machine.emit_object(parse(ir, machine)))


def load(code: bytes, interpreter: Interpreter) -> Loaded:
    """Bring an object into memory. It must be one this computer and version compiled: see `object_key`."""
    _, linker = compiler()
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol("exports")
    for name, address in interpreter.symbols.items():
        builder.import_symbol(name, address)
    library = builder.link(linker, f"jit-{next(_names)}")
    table = library["exports"]
    length = ctypes.c_uint64.from_address(table).value
    words = (ctypes.c_uint64 * (2 * length)).from_address(table + _PAIR)[:]
    return Loaded(dict(zip(words[::2], words[1::2], strict=True)), library)


@cache
def _fingerprint(fork: Fork, compiler_digest: bytes) -> bytes:
    """Stands for everything but the contract that decides an object: emitters, layout, LLVM, CPU, format."""
    digest = hashlib.blake2b(digest_size=20)
    parts = [
        interpreter_ir(fork),
        ".".join(map(str, llvm.llvm_version_info)),
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        str(FORMAT),
        compiler_digest.hex(),
    ]
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def object_key(code_hash: Hash32, fork: Fork, kind: str, compiler_digest: bytes) -> str:
    """Cache key of a contract's object; ``kind`` tells whole contracts from their hot parts.

    ``compiler_digest`` differs between versions of `vm.evm.jit` that may compile the same code differently.
    """
    digest = hashlib.blake2b(code_hash, key=_fingerprint(fork, compiler_digest), digest_size=20)
    return f"jit-{kind}-{fork.name.lower()}-{digest.hexdigest()}"
