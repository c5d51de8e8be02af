"""For tests: native memory between pages that no access survives, so that an overrun of one byte ends the process."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any, Final

from vm.errors import GuardPagesUnavailable

VARIABLE: Final = "ZVMD_GUARD_PAGES"
"""Environment variable that makes `node.machine.assembly` use this, if it is 1."""
_PAGE: Final = mmap.PAGESIZE
_PROT_NONE: Final = 0


def is_wanted() -> bool:
    """Whether this process was started with guard pages."""
    return os.environ.get(VARIABLE) == "1"


def allocate_guarded(size: int, _: int = 16, /) -> Any:
    """Implements `vm.evm.buffers.Allocate`: zero bytes that end where an inaccessible page begins.

    Another such page lies up to a page before their start. The end is what overruns cross first; a size that is a
    multiple of an alignment keeps the start aligned. Raises `GuardPagesUnavailable`.
    """
    inside = -(-size // _PAGE) * _PAGE
    pages = mmap.mmap(-1, inside + 2 * _PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for guard in (start, start + _PAGE + inside):
        if protect(guard, _PAGE, _PROT_NONE):
            raise GuardPagesUnavailable(os.strerror(ctypes.get_errno()))
    return (ctypes.c_char * size).from_buffer(pages, _PAGE + inside - size)
