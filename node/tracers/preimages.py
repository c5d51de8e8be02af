"""Geth's keccak256PreimageTracer: preimages by hash (``eth/tracers/native/keccak256_preimage.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.api.errors import LimitExceeded
from node.api.tracing import RunTracer
from node.tracers.touched import opcode_at
from vm.evm.opcodes import BY_NAME
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

KECCAK256: Final = BY_NAME["KECCAK256"].byte
PREIMAGE_BYTES_MAX: Final = 10_000_000
"""Bytes of all preimages of one run."""
PADDING_MAX: Final = 1024 * 1024
"""Bytes beyond the memory for which geth copies a preimage."""


def preimage_at(frame: Frame) -> bytes | None:
    """What the KECCAK256 about to run hashes; None without operands, or where geth does not copy it."""
    if frame.depth < 2:
        return None
    memory = frame.memory_bytes()
    offset, size = (frame.peek(n) % 2**64 for n in (0, 1))
    if max(offset, size) >= 2**63 or offset + size - len(memory) > PADDING_MAX:
        return None
    return memory[offset : offset + size].ljust(size, b"\x00")


class Preimages:
    """Distinct preimages. Raises `LimitExceeded` beyond `PREIMAGE_BYTES_MAX`."""

    def __init__(self) -> None:
        self.found: set[bytes] = set()
        self._bytes = 0

    def step(self, frame: Frame) -> None:
        """Keep what the opcode about to run hashes, if it does."""
        if opcode_at(frame) != KECCAK256 or (preimage := preimage_at(frame)) is None or preimage in self.found:
            return
        self.found.add(preimage)
        self._bytes += len(preimage)
        if self._bytes > PREIMAGE_BYTES_MAX:
            raise LimitExceeded(f"the run hashes more than {PREIMAGE_BYTES_MAX} bytes")


class PreimageTracer(RunTracer):
    """Collects preimages."""

    hears_steps = True

    def __init__(self) -> None:
        self._preimages = Preimages()

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        self._preimages.step(frame)

    def result(self, ended: TransactionResult) -> list[bytes]:  # noqa: ARG002
        """Preimages, ascending."""
        return sorted(self._preimages.found)
