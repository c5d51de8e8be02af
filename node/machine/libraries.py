"""Compiles interpreters and libraries, once a version and computer, in a process of its own that ends with the work.

LLVM takes 40 MiB, so it does not enter the process that runs machine code, unless no other can be had: a block cannot
be executed without its interpreter.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog

from node.machine.compile_messages import CompileKind, asking, read_answer
from node.ops.worker import Worker, WorkerLost
from vm.ir.loader import LibraryCompiler

log = structlog.get_logger(__name__)

MODULE: Final = "node.machine.compile_process"
SECONDS_MAX: Final = 300.0
_PROCESSOR: Final = Path("/sys/devices/system/cpu/modalias")
"""Vendor, family, model and every feature of the processor, in one line. Unlike /proc/cpuinfo, a unit with
``ProcSubset=pid`` sees it."""


def _asked(asked: CompileKind, content: bytes = b"") -> bytes | None:
    """The answer of a new compiling process; None, and a warning in the log, if there is none."""
    compiling = Worker(MODULE)
    try:
        answer = compiling.ask(asking(asked, content), SECONDS_MAX)
        found, reason = read_answer(answer) if answer else (None, "it answered nothing")
    except WorkerLost as error:
        found, reason = None, str(error)
    finally:
        compiling.stop()
    if found is None:
        log.warning("the compiling process did not answer: this process loads LLVM", reason=reason)
    return found


def compile_library(text: str) -> bytes:
    """Implements `LibraryCompiler.compile`."""
    found = _asked(CompileKind.LIBRARY, text.encode())
    if found is None:
        from vm.ir import compiler

        found = compiler.compile_optimised(text)
    return found


def compiled_for() -> tuple[str, ...]:
    """Implements `LibraryCompiler.compiled_for`; LLVM itself is asked where the system does not tell."""
    processor = _described()
    if processor is None:
        from vm.ir import compiler

        return compiler.compiled_for()
    return version("llvmlite"), platform.machine(), processor.decode(errors="replace")


def _described() -> bytes | None:
    try:
        return _PROCESSOR.read_bytes()
    except OSError:
        return _asked(CompileKind.COMPILED_FOR)


LIBRARIES: Final = LibraryCompiler(compile_library, compiled_for)
