"""LLVM IR routines that opcodes call: division, Keccak, memory, slots, logs. Each module offers its text."""

from __future__ import annotations

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from vm.evm.routines import calls, digests, division, keccak, logs, memory, modular, moduli, storage

_SHARED = "\n".join((division.ir(), modular.ir(), moduli.ir(), keccak.ir(), digests.ir(), logs.ir()))


def routines(fork: Fork) -> str:
    """All routines for a fork."""
    gas = SCHEDULES[fork]
    return memory.ir(gas) + _SHARED + storage.ir(gas) + calls.ir(fork)
