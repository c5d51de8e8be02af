"""LLVM IR routines that opcodes call: division, Keccak, memory. Each module offers its text."""

from __future__ import annotations

from vm.evm.routines import division, keccak, memory, modular

ROUTINES = "\n".join((memory.IR, division.ir(), modular.ir(), keccak.ir()))
