"""SLOAD, SSTORE, TLOAD, TSTORE."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode


@opcode("SLOAD", "TLOAD")
def _load(c: Emitter) -> None:
    c.host()


@opcode("SSTORE", "TSTORE")
def _store(c: Emitter) -> None:
    c.require_not_static()
    c.host()
