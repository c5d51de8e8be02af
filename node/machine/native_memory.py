"""Native memory for machines: plain, or (for tests) between pages that no access survives.

With guard pages an overrun of one byte ends the process: a segmentation fault.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from typing import Any, Final

from vm.errors import GuardPagesUnavailable
from vm.evm.memory_port import Allocate

GUARD_PAGES: Final = "ZVMD_GUARD_PAGES"
"""Environment variable: 1 for guard pages."""
_LARGE: Final = 1 << 20
"""From this size on, memory is mapped from the system, which uses physical memory only for pages written to."""
_HUGE: Final = 16 << 20
"""From this size on, in pages of megabytes where the system has them: else a fault for every 4 KiB."""
_PAGE: Final = mmap.PAGESIZE
_PROT_NONE: Final = 0


def allocator() -> Allocate:
    """The allocator of native memory for the machines of this process."""
    return allocate_guarded if os.environ.get(GUARD_PAGES) == "1" else allocate


def allocate(size: int, alignment: int = 16, /) -> Any:
    """Implements `vm.evm.memory_port.Allocate`."""
    if size >= _LARGE:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if size >= _HUGE:
            with contextlib.suppress(OSError):  # a kernel without them
                pages.madvise(mmap.MADV_HUGEPAGE)
        return (ctypes.c_char * size).from_buffer(pages)
    whole = ctypes.create_string_buffer(size + alignment)
    return (ctypes.c_char * size).from_buffer(whole, -ctypes.addressof(whole) % alignment)


def allocate_guarded(size: int, _: int = 16, /) -> Any:
    """As `allocate`: zero bytes that end where an inaccessible page begins.

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
