"""What the JIT has done since the process began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Metrics:
    """Counters; one object for all forks of a machine, which owns it. Lost updates of ``entered`` are accepted."""

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

    def count_entered(self) -> None:
        """A frame begins with compiled code at hand."""
        self.entered += 1

    def count_compiled(self) -> None:
        """The compiler has made an object."""
        self.compiled += 1

    def count_failed(self) -> None:
        """A contract was not compiled, or its object could not be loaded."""
        self.failed += 1

    def count_loaded(self) -> None:
        """An object came from the cache."""
        self.loaded += 1

    def count_rejected(self) -> None:
        """An object of the cache was damaged or another's."""
        self.rejected += 1

    def count_installed(self, functions: int, code_bytes: int) -> None:
        """An object of ``code_bytes`` bytes is in memory, and so many of its functions can be entered."""
        self.functions += functions
        self.machine_code_bytes += code_bytes

    def count_evicted(self, code_bytes: int) -> None:
        """A contract's compiled code of ``code_bytes`` bytes was given up."""
        self.evicted += 1
        self.machine_code_bytes -= code_bytes

    def look(self, deoptimised: int, interpreted: int) -> None:
        """Note what the tiers count themselves."""
        self.deoptimised, self.interpreted = deoptimised, interpreted
