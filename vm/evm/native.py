"""The interpreter of a fork in this process: its functions and tables, ready to be entered."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache as cached
from functools import partial
from typing import NamedTuple

from chain.forks import Fork
from vm.evm.interpreter import exports, interpreter_ir
from vm.evm.layout import Exit
from vm.evm.routines import compiled
from vm.ir.loader import LibraryCompiler, ObjectCache, load_library, use
from vm.message import Halt

Enter = Callable[[int], int]
"""Run the frame at this address until it exits; releases the GIL."""


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
    """``map_entries(code, length, targets, entries)``: give out indexes (`vm.evm.routines.compiled`)."""
    defaults: Defaults
    undo: Callable[[int], None]
    """``undo(frame)``: take back what the state block holds since the frame began."""
    symbols: dict[str, int]
    """Addresses of what compiled code may call."""


def load_interpreter(
    fork: Fork, cache: ObjectCache | None = None, compiler: LibraryCompiler | None = None
) -> Interpreter:
    """The interpreter of a fork, built at most once in a process. Raises `NativeCodeUnavailable`.

    ``compiler`` and ``cache`` are used for whatever the process loads from now on.
    """
    use(compiler, cache)
    return _interpreter(fork)


@cached
def _interpreter(fork: Fork) -> Interpreter:
    at = load_library(f"interpreter-{fork.name.lower()}", partial(interpreter_ir, fork), exports(fork))
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
        symbols={name: at[name] for name in compiled.symbols(fork)},
    )
