"""Compiles interpreters and libraries, once a version and computer, in a process of its own that ends with the work.

LLVM takes 40 MiB, so it does not enter the process that runs machine code.
"""

from __future__ import annotations

import io
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from node.machine.compile_messages import Asked, asking, framed, read_answer, receive
from node.ops import worker
from vm.errors import NativeCodeUnavailable
from vm.ir.loader import LibraryCompiler

MODULE: Final = "node.machine.compile_process"
SECONDS_MAX: Final = 300.0
_PROCESSOR: Final = Path("/sys/devices/system/cpu/modalias")
"""Vendor, family, model and every feature of the processor, in one line. Unlike /proc/cpuinfo, a unit with
``ProcSubset=pid`` sees it."""


def _asked(asked: Asked, content: bytes = b"") -> bytes:
    """The answer of a new compiling process. Raises `NativeCodeUnavailable`."""
    try:
        done = subprocess.run(
            worker.command(MODULE),
            input=framed(asking(asked, content)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker.environment(),
            timeout=SECONDS_MAX,
            start_new_session=True,  # Ctrl-C is the caller's
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeCodeUnavailable(f"the compiling process: {error}") from error
    answer = receive(io.BytesIO(done.stdout))
    found, reason = read_answer(answer) if answer else (None, f"it ended with status {done.returncode}")
    if found is None:
        raise NativeCodeUnavailable(f"the compiling process: {reason}")
    return found


def compile_library(text: str) -> bytes:
    """Implements `LibraryCompiler.compile`."""
    return _asked(Asked.LIBRARY, text.encode())


def compiled_for() -> tuple[str, ...]:
    """Implements `LibraryCompiler.compiled_for`; LLVM itself is asked where the system does not tell."""
    try:
        processor = _PROCESSOR.read_text()
    except OSError:
        processor = _asked(Asked.COMPILED_FOR).decode()
    return version("llvmlite"), platform.machine(), processor


LIBRARIES: Final = LibraryCompiler(compile_library, compiled_for)
