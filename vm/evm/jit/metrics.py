"""What the JIT has done since the process began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Metrics:
    """Counters; one object for all forks of a machine. Lost updates of ``entered`` are accepted."""

    compiled: int = 0
    """Objects compiled."""
    functions: int = 0
    """Blocks of these and of loaded objects: the functions that can be entered."""
    loaded: int = 0
    """Objects found in the cache."""
    rejected: int = 0
    """Cached objects that were damaged or another's: not executed."""
    failed: int = 0
    """Contracts that could not be compiled."""
    evicted: int = 0
    """Contracts whose compiled code was given up for room."""
    entered: int = 0
    """Frames that began with compiled code at hand."""
    deoptimised: int = 0
    """Times compiled code left something to the interpreter, when last looked at."""
    interpreted: int = 0
    """Times a block of a compiled contract was interpreted because it was not compiled, when last looked at."""
    machine_code_bytes: int = 0
    """Objects in memory."""
