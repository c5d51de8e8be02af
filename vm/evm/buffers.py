"""Native memory for frames and for the state that native code keeps."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any, Final, Protocol

_LARGE: Final = 1 << 20
"""From here on pages come from the system, which takes memory only where they are written to."""


class Allocate(Protocol):
    """Where native memory comes from; a machine is given it."""

    def __call__(self, size: int, alignment: int = 16, /) -> Any:
        """A ctypes array of ``size`` zero bytes, its address a multiple of ``alignment``."""


def allocate(size: int, alignment: int = 16, /) -> Any:
    """`Allocate` as a node does it."""
    if size >= _LARGE:
        return (ctypes.c_char * size).from_buffer(mmap.mmap(-1, size))
    whole = ctypes.create_string_buffer(size + alignment)
    return (ctypes.c_char * size).from_buffer(whole, -ctypes.addressof(whole) % alignment)
