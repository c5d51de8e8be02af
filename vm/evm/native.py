"""From IR text to running machine code, through an object cache that never runs bytes it did not write."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from llvmlite import binding as llvm

from chain.forks import Fork
from vm.errors import NativeCodeUnavailable
from vm.evm.interpreter import exports, interpreter_ir
from vm.evm.jit import runtime
from vm.evm.layout import Exit
from vm.message import Halt

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


class Defaults(NamedTuple):
    """Addresses of the functions that stand where nothing is compiled."""

    bad_jump: int
    interpret: int
    stop: int
    """For every opcode of a table whose execution is to end."""


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
    resume: Enter
    """Like ``enter``, but into compiled code where the frame has some."""
    jit_table: int
    """Address of the table that enters compiled code at JUMPDESTs."""
    map_entries: Callable[[int, int, int, int], int]
    """``map_entries(code, length, targets, entries)``: give out indexes (`vm.evm.jit.runtime`)."""
    defaults: Defaults
    undo: Callable[[int], None]
    """``undo(frame)``: take back what the ledger holds since the frame began."""
    symbols: dict[str, int]
    """Addresses of what compiled code may call."""
    keep: tuple[Any, ...]
    """What the code's memory hangs on."""


_lock = threading.Lock()
_loaded: dict[Fork, Interpreter] = {}
_engine: tuple[Any, Any] | None = None
_cache: ObjectCache | None = None
"""Where the interpreters of this process came from; what is not bound to a machine is kept there too."""


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
    """Machine code of a module's text for this computer. Raises `NativeCodeUnavailable`."""
    machine, _ = compiler()
    module = parse(ir, machine)
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


def seal(key: str, code: bytes) -> bytes:
    """The object with the digest that ties it to its key."""
    return hashlib.blake2b(code, key=key.encode()[:64], digest_size=_DIGEST_BYTES).digest() + code


def unseal(key: str, stored: bytes) -> bytes | None:
    """The object that was sealed under this key; None if these bytes are damaged or another's."""
    code = stored[_DIGEST_BYTES:]
    return code if hmac.compare_digest(seal(key, code), stored) else None


def object_for(ir: str, name: str, cache: ObjectCache | None) -> bytes:
    """The object of this IR, from the cache if an intact one is there."""
    key = object_key(ir, name)
    stored = cache.get(key) if cache is not None else None
    found = unseal(key, stored) if stored is not None else None
    if found is not None:
        return found
    code = compile_object(ir)
    if cache is not None:
        cache.put(key, seal(key, code))
    return code


def _link(code: bytes, name: str, exported: tuple[str, ...]) -> tuple[Any, dict[str, int]]:
    """Load an object: what keeps it alive, and the addresses it exports by name. Raises `NativeCodeUnavailable`."""
    _, linker = compiler()
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol("exports")
    try:
        library = builder.link(linker, name)
    except RuntimeError as error:
        raise NativeCodeUnavailable(f"machine code cannot be loaded: {error}"[:500]) from error
    table = (ctypes.c_uint64 * len(exported)).from_address(library["exports"])
    return library, dict(zip(exported, table, strict=True))


def _load(fork: Fork, cache: ObjectCache | None) -> Interpreter:
    name = f"interpreter-{fork.name.lower()}"
    library, at = _link(object_for(interpreter_ir(fork), name, cache), name, exports(fork))
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
    pointer, word = ctypes.c_void_p, ctypes.c_uint64
    return Interpreter(
        fork=fork,
        enter=run(at["enter"]),
        plain_table=at["plain"],
        step_table=at["step"],
        map_jumps=ctypes.CFUNCTYPE(None, pointer, word, pointer)(at["map_jumps"]),
        resume=run(at["resume"]),
        jit_table=at["jit"],
        map_entries=ctypes.CFUNCTYPE(word, pointer, word, pointer, pointer)(at["map_entries"]),
        defaults=Defaults(at[f"exit{int(Halt.INVALID_JUMP)}"], at["interpret"], at[f"exit{int(Exit.STOPPED)}"]),
        undo=ctypes.CFUNCTYPE(None, pointer)(at["undo"]),
        symbols={name: at[name] for name in runtime.symbols(fork)},
        keep=(library,),
    )


def load_interpreter(fork: Fork, cache: ObjectCache | None = None) -> Interpreter:
    """The interpreter of a fork, built at most once in a process."""
    global _cache
    with _lock:
        _cache = _cache if cache is None else cache
        if fork not in _loaded:
            _loaded[fork] = _load(fork, cache)
        return _loaded[fork]


def load_library(ir: str, name: str, exported: tuple[str, ...]) -> tuple[Any, dict[str, int]]:
    """Functions beside the interpreter: what keeps them alive, and their addresses by name.

    The text lists the functions in ``@exports``. Raises `NativeCodeUnavailable`.
    """
    with _lock:
        return _link(object_for(ir, name, _cache), name, exported)
