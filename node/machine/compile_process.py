"""The compiling process, ``python -m node.machine.compile_process [background]``: requests come in, images go out.

LLVM is loaded here and nowhere else in a node. In the ``background`` it yields to all other processes.

It ends when its input does, so it never outlives the daemon by more than one compilation, and that is bounded.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from typing import Final

CPU_SECONDS_MAX: Final = 600
MEMORY_BYTES_MAX: Final = 4 << 30
_NICENESS: Final = 10
BACKGROUND: Final = "background"


def _limit(*, in_background: bool) -> None:
    """Limit the processor time and memory of this process, and its priority."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS if in_background else 0)
    for kind, most in ((resource.RLIMIT_CPU, CPU_SECONDS_MAX), (resource.RLIMIT_AS, MEMORY_BYTES_MAX)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def serve() -> None:
    """Answer requests until the input ends."""
    # Imported here, so that the limits cover loading LLVM too.
    from node.machine.compile_messages import CompileKind, decode_request
    from node.ops.worker import receive, send
    from vm.ir import compiler

    def contract(content: bytes) -> bytes:
        from vm.evm.jit.module import compile_ir  # libraries need none of it

        request = decode_request(content)
        text = compile_ir(request.code, request.fork, request.hot).ir
        return compiler.compile_quickly(text, request.level)

    answers: dict[CompileKind, Callable[[bytes], bytes]] = {
        CompileKind.CONTRACT: contract,
        CompileKind.LIBRARY: lambda content: compiler.compile_optimised(content.decode()),
        CompileKind.COMPILED_FOR: lambda _: "\n".join(compiler.compiled_for()).encode(),
    }
    while (data := receive(sys.stdin.buffer)) is not None:
        try:
            answer = b"\x01" + answers[CompileKind(data[0])](data[1:])
        except Exception as error:  # one contract that cannot be compiled is interpreted, nothing else
            answer = b"\x00" + f"{type(error).__name__}: {error}"[:500].encode()
        send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    _limit(in_background=BACKGROUND in sys.argv)
    with contextlib.suppress(OSError, KeyboardInterrupt):
        serve()
