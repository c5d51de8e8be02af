"""From IR text to running machine code, through an object cache that never runs bytes it did not write."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from functools import cache as cached
from itertools import count
from typing import Any, Final, NamedTuple, Protocol

from llvmlite import binding as llvm

from vm.errors import NativeCodeUnavailable

OPTIMISED: Final = 2
"""LLVM's level of code generation for what is compiled once a version: interpreters and libraries."""
_DIGEST_BYTES: Final = 32


class ObjectCache(Protocol):
    """Where compiled objects are kept between runs of the daemon."""

    def get(self, key: str) -> bytes | None:
        """The bytes put under the key, or None. What comes back is checked before use."""

    def put(self, key: str, data: bytes) -> None:
        """Keep the bytes. May forget them at any time."""


class Library(NamedTuple):
    """A linked object."""

    exports: int
    """Address of its ``@exports``."""
    keep: Any
    """What the code's memory hangs on."""


_loading = threading.Lock()
"""Held while a library is looked for, compiled and loaded: no two threads compile the same."""
_libraries: dict[str, Library] = {}
"""By name. Written by `load_library` only."""
_making_linker = threading.Lock()
_machines = threading.local()
_numbers = count(1)
_cache: ObjectCache | None = None
"""The process's: set by the caller that loads an interpreter, used for all libraries. Written by `use_cache` only."""


def use_cache(cache: ObjectCache | None) -> None:
    """Keep libraries in this cache from now on; None changes nothing."""
    global _cache
    if cache is not None:
        _cache = cache


@cached
def _initialised() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _linker() -> Any:
    """The process's; costly to make."""
    with _making_linker:
        return _made_linker()


@cached
def _made_linker() -> Any:
    _require_executable_memory()
    # Its other linker maps each section by itself, and aborts the process where two come to lie too far apart to refer
    # to each other. This one maps an object as a whole.
    return llvm.create_lljit_compiler(_new_target_machine(OPTIMISED), use_jit_link=True)


def _require_executable_memory() -> None:
    """Raise `NativeCodeUnavailable` where memory may not become executable: the linker would abort the process."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    first = ctypes.c_char.from_buffer(page)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        wanted = mmap.PROT_READ | mmap.PROT_EXEC
        if libc.mprotect(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(mmap.PAGESIZE), wanted):
            reason = os.strerror(ctypes.get_errno())
            raise NativeCodeUnavailable(f"memory cannot be made executable: {reason}")
    finally:
        del first
        page.close()


def target_machine(level: int = OPTIMISED) -> Any:
    """This thread's target machine at a level of code generation: costly to make and not to be shared."""
    machines = _machines.__dict__
    key = f"level{level}"
    if key not in machines:
        machines[key] = _new_target_machine(level)
    return machines[key]


def _new_target_machine(level: int) -> Any:
    _initialised()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
        reloc="pic",  # other code has to lie near what it calls
        codemodel="default",
    )


def parse(ir: str, machine: Any) -> Any:
    """The checked module of a text, for a target machine. Raises `NativeCodeUnavailable`."""
    try:
        module = llvm.parse_assembly(ir)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise NativeCodeUnavailable(str(error)[:500]) from error
    return module


def compile_object(ir: str) -> bytes:
    """Optimised machine code of a module's text for this computer. Raises `NativeCodeUnavailable`."""
    machine = target_machine()
    module = parse(ir, machine)
    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISED)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def compile_quickly(ir: str, level: int) -> bytes:
    """Machine code of a text whose instructions are used as they are. Raises `NativeCodeUnavailable`."""
    machine = target_machine(level)
    return bytes(machine.emit_object(parse(ir, machine)))


def compiled_for() -> tuple[str, ...]:
    """What decides machine code besides the text: LLVM's version, and this computer."""
    return (
        ".".join(map(str, llvm.llvm_version_info)),
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )


def object_key(ir: str, name: str) -> str:
    """Cache key: all that decides the machine code. The text stands for emitters, fork and layout."""
    parts = (name, ir, *compiled_for(), str(OPTIMISED))
    return f"{name}-" + hashlib.blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()


def seal(key: str, code: bytes) -> bytes:
    """The object with the digest that ties it to its key."""
    return hashlib.blake2b(code, key=key.encode()[:64], digest_size=_DIGEST_BYTES).digest() + code


def unseal(key: str, stored: bytes) -> bytes | None:
    """The object that was sealed under this key; None if these bytes are damaged or another's."""
    code = stored[_DIGEST_BYTES:]
    return code if hmac.compare_digest(seal(key, code), stored) else None


def object_for(ir: str, name: str, cache: ObjectCache | None) -> bytes:
    """The object of this IR, from the cache if an intact one is there. Raises `NativeCodeUnavailable`."""
    key = object_key(ir, name)
    stored = cache.get(key) if cache is not None else None
    found = unseal(key, stored) if stored is not None else None
    if found is not None:
        return found
    code = compile_object(ir)
    if cache is not None:
        cache.put(key, seal(key, code))
    return code


def link(code: bytes, name: str, symbols: Mapping[str, int] | None = None) -> Library:
    """Load an object that exports ``@exports``, with addresses of what it declares. Raises `NativeCodeUnavailable`.

    The bytes must come from this computer's compiler or out of `unseal`.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol("exports")
    for symbol, address in (symbols or {}).items():
        builder.import_symbol(symbol, address)
    try:
        library = builder.link(_linker(), f"{name}-{next(_numbers)}")  # the linker wants each name once
    except RuntimeError as error:
        raise NativeCodeUnavailable(f"machine code cannot be loaded: {error}"[:500]) from error
    return Library(library["exports"], library)


def load_library(name: str, text: Callable[[], str], exported: tuple[str, ...]) -> dict[str, int]:
    """Addresses, by name, of the functions and tables of a module; it is loaded once in a process and never unloaded.

    ``text`` makes the IR, which lists what is ``exported`` in ``@exports``, in the same order. Raises
    `NativeCodeUnavailable`.
    """
    with _loading:
        library = _libraries.get(name)
        if library is None:
            library = _libraries[name] = link(object_for(text(), name, _cache), name)
    table = (ctypes.c_uint64 * len(exported)).from_address(library.exports)
    return dict(zip(exported, table, strict=True))
