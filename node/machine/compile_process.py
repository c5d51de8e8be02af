"""The compiling process: ``python -m node.machine.compile_process``, requests on standard input, objects on output.

It ends when its input does, so it never outlives the daemon by more than one compilation, and that is bounded.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import Final

CPU_SECONDS_MAX: Final = 600
MEMORY_BYTES_MAX: Final = 4 << 30
_NICENESS: Final = 10


def _limit() -> None:
    """Lower the priority of this process, and limit its processor time and memory."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    for kind, most in ((resource.RLIMIT_CPU, CPU_SECONDS_MAX), (resource.RLIMIT_AS, MEMORY_BYTES_MAX)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def serve() -> None:
    """Answer requests until the input ends."""
    # Imported here, so that the limits cover loading LLVM too.
    from node.machine.compile_messages import decode_request, receive, send
    from vm.evm.jit.module import compile_ir
    from vm.ir.loader import compile_quickly

    while (data := receive(sys.stdin.buffer)) is not None:
        try:
            request = decode_request(data)
            text = compile_ir(request.code, request.fork, request.hot).ir
            answer = b"\x01" + compile_quickly(text, request.level)
        except Exception as error:  # one contract that cannot be compiled is interpreted, nothing else
            answer = b"\x00" + f"{type(error).__name__}: {error}"[:500].encode()
        send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    _limit()
    with contextlib.suppress(OSError, KeyboardInterrupt):
        serve()
