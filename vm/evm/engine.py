"""What executions are made with: an engine for each fork, a pool for each thread."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chain.forks import Fork
from chain.types import Address
from vm.code import Code, CodeCache
from vm.evm.frame import Frame
from vm.evm.host import Handler
from vm.evm.jit.maps import Maps
from vm.evm.ledger import SlotLedger
from vm.evm.native import Interpreter
from vm.precompiles import precompile_addresses


class Tier(Protocol):
    """Knows what is compiled."""

    def maps_of(self, code: Code) -> Maps | None:
        """Maps of the code about to run, None to interpret it."""


class Engine(NamedTuple):
    """All that executing under one fork needs, made once."""

    fork: Fork
    interpreter: Interpreter
    handlers: list[Handler]
    codes: CodeCache
    precompiles: frozenset[Address]
    tier: Tier | None
    """What compiles; None to interpret everything."""

    @classmethod
    def of(
        cls, interpreter: Interpreter, handlers: list[Handler], codes: CodeCache, tier: Tier | None = None
    ) -> Engine:
        """The engine of the interpreter's fork."""
        fork = interpreter.fork
        return cls(fork, interpreter, handlers, codes, precompile_addresses(fork), tier)


class Pool:
    """What executions of one thread use one after the other: idle frames, and a ledger."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ledger = SlotLedger()
