"""The one place that puts machines together: engine, object cache, compiling process, native memory."""

from __future__ import annotations

import hashlib
from functools import cache as cached
from pathlib import Path

import vm.evm.jit
from chain.forks import CODE_BYTES_MAX
from node.machine.compile_worker import IDLE_SECONDS, CompileWorker
from node.machine.dump import DirectoryDump
from node.machine.libraries import LIBRARIES
from node.machine.native_memory import allocator
from vm.ir.loader import ObjectCache
from vm.machine import Machine, Parts


def machine_parts(
    cache: ObjectCache | None = None,
    engine: str = "interpreter",
    *,
    level: int | None = None,
    dump: Path | None = None,
    code_bytes_max: int = CODE_BYTES_MAX,
    compiler_idle_seconds: float = IDLE_SECONDS,
    short_road: bool = True,
    library_cache: ObjectCache | None = None,
) -> Parts:
    """The parts of a `Machine` on this computer.

    ``cache`` keeps machine code between processes, ``engine`` is one of `vm.machine.ENGINES`. ``level`` is LLVM's level
    of code generation for the JIT, 0 to 3, None for the engine's own; ``dump`` a directory for what it compiles.
    ``code_bytes_max`` is the longest code of a contract on the chain; creation code may be twice as long. The compiling
    process of the engine ``auto`` ends after ``compiler_idle_seconds`` without work. ``short_road``: messages that call
    nobody skip what they do not need. Interpreters and libraries are in ``library_cache``, if that is given.
    """
    return Parts(
        engine=engine,
        cache=cache,
        libraries=LIBRARIES,
        compiler=CompileWorker(idle_seconds=compiler_idle_seconds) if engine == "auto" else None,
        compiler_digest=compiler_digest(),
        level=level,
        dump=DirectoryDump(dump) if dump is not None else None,
        allocate=allocator(),
        code_bytes_max=code_bytes_max,
        short_road=short_road,
        library_cache=library_cache,
    )


def build_machine(
    cache: ObjectCache | None = None,
    engine: str = "interpreter",
    *,
    level: int | None = None,
    dump: Path | None = None,
    code_bytes_max: int = CODE_BYTES_MAX,
    compiler_idle_seconds: float = IDLE_SECONDS,
    short_road: bool = True,
    library_cache: ObjectCache | None = None,
) -> Machine:
    """A machine of `machine_parts`. Raises `EngineUnavailable`."""
    return Machine(
        machine_parts(
            cache,
            engine,
            level=level,
            dump=dump,
            code_bytes_max=code_bytes_max,
            compiler_idle_seconds=compiler_idle_seconds,
            short_road=short_road,
            library_cache=library_cache,
        )
    )


@cached
def compiler_digest() -> bytes:
    """Digest of the JIT's own source: objects that another version of it compiled are not used."""
    digest = hashlib.blake2b(digest_size=20)
    (directory,) = vm.evm.jit.__path__
    for path in sorted(Path(directory).glob("*.py")):
        data = path.read_bytes()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
