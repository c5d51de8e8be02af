"""Native memory for frames: plain, or (for tests) between pages that no access survives."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any, Final

from vm.errors import GuardPagesUnavailable

IS_GUARDED: Final = os.environ.get("ZVMD_GUARD_PAGES") == "1"
"""Whether this process was started with guard pages: an overrun of one byte then is a segmentation fault."""

_PAGE: Final = mmap.PAGESIZE
_LARGE: Final = 1 << 20
"""From here on pages come from the system, which takes memory only where they are written to."""
_PROT_NONE: Final = 0


def allocate(size: int, alignment: int = 16) -> Any:
    """A ctypes array of ``size`` zero bytes. Raises `GuardPagesUnavailable` if guard pages cannot be had."""
    if IS_GUARDED:
        return allocate_guarded(size)
    if size >= _LARGE:
        return (ctypes.c_char * size).from_buffer(mmap.mmap(-1, size))
    whole = ctypes.create_string_buffer(size + alignment)
    return (ctypes.c_char * size).from_buffer(whole, -ctypes.addressof(whole) % alignment)


def allocate_guarded(size: int) -> Any:
    """As `allocate`, ending where an inaccessible page begins; another lies up to a page before its start.

    The end is what overruns cross first; a size that is a multiple of an alignment keeps the start aligned.
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
