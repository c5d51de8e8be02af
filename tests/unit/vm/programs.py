"""What the machine's tests run code in: a state in memory, a journal, one call."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.hashing import keccak256
from chain.state import Account
from chain.types import Address, Hash32
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.bytecode import code
from tests.paths import OBJECTS
from vm.context import ExecutionContext
from vm.journal import Journal
from vm.message import CallKind, Message, Outcome

CALLER = Address(b"\xca" * 20)
TARGET = Address(b"\x7a" * 20)
OTHER = Address(b"\x07" * 20)
MACHINE = build_machine(engine=os.environ.get("ZVMD_TEST_ENGINE", "interpreter"), cache=FileObjectCache(OBJECTS))


def returning_top(*parts: str | int | bytes) -> bytes:
    """Code that ends by returning the top word."""
    return code(*parts, 0, "MSTORE", 32, 0, "RETURN")


@dataclass
class MemoryState:
    """A state reader over dicts."""

    accounts: dict[Address, Account] = field(default_factory=dict)
    slots: dict[Address, dict[int, int]] = field(default_factory=dict)
    codes: dict[Hash32, bytes] = field(default_factory=dict)

    def put(self, address: Address, code: bytes = b"", balance: int = 0, nonce: int = 0) -> None:
        digest = keccak256(code)
        self.codes[digest] = code
        self.accounts[address] = Account(nonce, balance, digest)

    def account(self, address: Address) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: Address, slot: int) -> int:
        return self.slots.get(address, {}).get(slot, 0)

    def code(self, code_hash: Hash32) -> bytes:
        return self.codes[code_hash]

    def has_storage(self, address: Address) -> bool:
        return any(self.slots.get(address, {}).values())


@dataclass
class World:
    """A state, its journal and the machine, ready for calls in one transaction."""

    fork: Fork = Fork.CANCUN
    state: MemoryState = field(default_factory=MemoryState)

    def __post_init__(self) -> None:
        self.state.put(CALLER, balance=10**18)
        self.journal = Journal(self.state, self.fork)
        self.journal.begin_transaction()
        environment = BlockEnvironment(
            fork=self.fork,
            chain_id=7,
            number=1000,
            timestamp=1_700_000_000,
            gas_limit=30_000_000,
            coinbase=Address(b"\xc0" * 20),
            base_fee=9,
            prevrandao=Hash32(bytes(31) + b"\x05"),
            difficulty=6,
        )
        self.context = ExecutionContext(
            environment,
            lambda n: keccak256(str(n).encode()),
            self.journal,
            CALLER,
            11,
            (Hash32(b"\x01" * 32),),
            3,
        )

    def message(
        self, gas: int = 1_000_000, data: bytes = b"", value: int = 0, *, static: bool = False
    ) -> Message:
        kind = CallKind.STATICCALL if static else CallKind.CALL
        return Message(kind, CALLER, TARGET, TARGET, value, data, gas, is_static=static)

    def call(
        self, program: bytes, gas: int = 1_000_000, data: bytes = b"", value: int = 0, *, static: bool = False
    ) -> Outcome:
        self.journal.set_code(TARGET, program)
        return MACHINE.execute(self.message(gas, data, value, static=static), self.context)

    def top(self, *parts: str | int | bytes, data: bytes = b"", gas: int = 1_000_000) -> int:
        """The top word after running the parts."""
        outcome = self.call(returning_top(*parts), gas, data)
        assert outcome.success, outcome
        return int.from_bytes(outcome.output, "big")


def run(
    *parts: str | int | bytes, gas: int = 1_000_000, data: bytes = b"", fork: Fork = Fork.CANCUN
) -> Outcome:
    """Outcome of a program in a fresh world."""
    return World(fork).call(code(*parts), gas, data)
