"""LLVM IR routines that opcodes call: division, Keccak, memory, slots, logs. Each module offers its text."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.routines import calls, division, keccak, logs, memory, modular, storage

_SHARED = "\n".join((memory.IR, division.ir(), modular.ir(), keccak.ir(), logs.IR))


def routines(fork: Fork) -> str:
    """All routines for a fork."""
    return _SHARED + storage.ir(fork) + calls.ir(fork)
