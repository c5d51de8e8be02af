"""Where native memory comes from: a machine is given it."""

from __future__ import annotations

from typing import Any, Protocol


class Allocate(Protocol):
    """Allocates memory for frames and for the state that native code keeps."""

    def __call__(self, size: int, alignment: int = 16, /) -> Any:
        """A ctypes array of ``size`` zero bytes, its address a multiple of ``alignment``."""
