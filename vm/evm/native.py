"""From IR text to running machine code, through an object cache that never runs bytes it did not write."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from llvmlite import binding as llvm

from chain.forks import Fork
from vm.errors import NativeCodeUnavailable
from vm.evm.interpreter import EXPORTS, interpreter_ir

_DIGEST_BYTES: Final = 32
_OPTIMISATION: Final = 2

Enter = Callable[[int], int]
"""Run the frame at this address until it exits; releases the GIL."""


class ObjectCache(Protocol):
    """Where compiled objects are kept between runs of the daemon."""

    def get(self, key: str) -> bytes | None:
        """The bytes put under the key, or None. What comes back is checked before use."""

    def put(self, key: str, data: bytes) -> None:
        """Keep the bytes. May forget them at any time."""


class Interpreter(NamedTuple):
    """Machine code of one fork's interpreter."""

    fork: Fork
    enter: Enter
    plain_table: int
    """Address of the table that just runs."""
    step_table: int
    """Address of the table that counts steps."""
    map_jumps: Callable[[int, int, int], None]
    """``map_jumps(code, length, map)``: mark jump destinations."""
    keep: tuple[Any, ...]
    """What the code's memory hangs on."""


_lock = threading.Lock()
_loaded: dict[Fork, Interpreter] = {}
_engine: tuple[Any, Any] | None = None


def compiler() -> tuple[Any, Any]:
    """The process's target machine and linker; both are costly to make."""
    global _engine
    if _engine is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=_OPTIMISATION,
            reloc="pic",  # others make the loader abort the process
            codemodel="default",
        )
        _engine = machine, llvm.create_lljit_compiler(machine)
    return _engine


def compile_object(ir: str) -> bytes:
    """Machine code of a module's text for this computer. Raises `NativeCodeUnavailable`."""
    machine, _ = compiler()
    try:
        module = llvm.parse_assembly(ir)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise NativeCodeUnavailable(str(error)[:500]) from error
    options = llvm.create_pipeline_tuning_options(speed_level=_OPTIMISATION)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def object_key(ir: str, name: str) -> str:
    """Cache key: all that decides the machine code. The text stands for emitters, fork and layout."""
    parts = (
        name,
        ir,
        ".".join(map(str, llvm.llvm_version_info)),
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        str(_OPTIMISATION),
    )
    return f"{name}-" + hashlib.blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()


def _seal(key: str, code: bytes) -> bytes:
    return hashlib.blake2b(code, key=key.encode()[:64], digest_size=_DIGEST_BYTES).digest() + code


def object_for(ir: str, name: str, cache: ObjectCache | None) -> bytes:
    """The object of this IR, from the cache if an intact one is there."""
    key = object_key(ir, name)
    stored = cache.get(key) if cache is not None else None
    if stored is not None and _seal(key, stored[_DIGEST_BYTES:]) == stored:
        return stored[_DIGEST_BYTES:]
    code = compile_object(ir)
    if cache is not None:
        cache.put(key, _seal(key, code))
    return code


def _link(code: bytes, name: str) -> tuple[Any, tuple[int, ...]]:
    """Load an object: what keeps it alive, and the addresses it exports."""
    _, linker = compiler()
    library = (
        llvm.JITLibraryBuilder()
        .add_object_img(code)
        .add_current_process()
        .export_symbol("exports")
        .link(linker, name)
    )
    table = (ctypes.c_uint64 * len(EXPORTS)).from_address(library["exports"])
    return library, tuple(table)


def load_interpreter(fork: Fork, cache: ObjectCache | None = None) -> Interpreter:
    """The interpreter of a fork, built at most once in a process."""
    with _lock:
        if fork not in _loaded:
            name = f"interpreter-{fork.name.lower()}"
            library, (enter, plain, step, map_jumps) = _link(
                object_for(interpreter_ir(fork), name, cache), name
            )
            _loaded[fork] = Interpreter(
                fork,
                ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(enter),
                plain,
                step,
                ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)(map_jumps),
                (library,),
            )
        return _loaded[fork]
