"""Cold accesses against the real state store: LevelDB on disk, every read a different key that is there.

Part of ``python -m benchmarks.worst_cases``. Before each run the store is opened anew and its files are dropped from
the page cache (as far as the kernel obeys ``posix_fadvise``), so that neither LevelDB's blocks nor ours are warm.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chain.forks import Fork
from chain.hashing import keccak256
from chain.state import Account, StateDelta
from chain.types import Address, Hash32
from storage.io.kv.engines import LEVELDB, open_store_at
from storage.state.reader import StateView
from storage.state.store import StateStore
from tests.unit.vm.programs import CALLER, TARGET, World, code
from vm.context import ExecutionContext
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Message

ACCOUNTS = 60_000
SLOTS = 120_000
CONTRACTS = 1_300
"""With 24 KiB of code of their own."""
STRIDE = 0x9E3779B97F4A7C15F39CC0605CEDC834 | 1
"""Multiplied by a counter: keys that lie nowhere near each other."""
GAS = 8_000_000
GAS_KEPT = 5_000_000
FIRST_CONTRACT = 10**6


class ColdResult(NamedTuple):
    """Of one program."""

    name: str
    gas: int
    seconds: float


class WithCode:
    """The view, with another code at `TARGET`."""

    def __init__(self, view: StateView, program: bytes) -> None:
        self._view = view
        self._program = program
        self._hash = keccak256(program)
        self.has_storage = view.has_storage
        self.storage = view.storage

    def account(self, address: Address) -> Account | None:
        found = self._view.account(address)
        return found._replace(code_hash=self._hash) if address == TARGET and found is not None else found

    def code(self, code_hash: Hash32) -> bytes:
        return self._program if code_hash == self._hash else self._view.code(code_hash)


def address_of(number: int) -> Address:
    """Of the account so many strides away."""
    return Address((number * STRIDE % 2**160).to_bytes(20, "big"))


def genesis() -> StateDelta:
    """All that the programs look at."""
    delta = StateDelta()
    for number in range(1, ACCOUNTS + 1):
        delta.accounts[address_of(number)] = Account(1, number)
    for number in range(CONTRACTS):
        text = number.to_bytes(4, "big") + os.urandom(24_572)
        digest = keccak256(text)
        delta.codes[digest] = text
        delta.accounts[address_of(FIRST_CONTRACT + number)] = Account(1, 1, digest)
    delta.accounts[TARGET] = Account(1, 10**20)
    delta.accounts[CALLER] = Account(1, 10**20)
    delta.storage[TARGET] = {number * STRIDE % 2**256: number for number in range(1, SLOTS + 1)}
    return delta


def programs() -> Iterator[tuple[str, bytes]]:
    """Name and code: a counter on the stack, a key from it each time round."""
    key = code("DUP1", STRIDE, "MUL")
    bodies = {  # and the number whose stride comes first
        "SLOAD, cold on disk": (key + code("SLOAD POP"), 1),
        "SSTORE, cold on disk": (code("DUP1", 7, "ADD") + code("DUP2", STRIDE, "MUL SSTORE"), 1),
        "SSTORE of the same, cold on disk": (code("DUP1") + key + code("SSTORE"), 1),
        "BALANCE, cold on disk": (key + code("BALANCE POP"), 1),
        "EXTCODEHASH, cold on disk": (key + code("EXTCODEHASH POP"), 1),
        "EXTCODESIZE, cold code of 24 KiB on disk": (key + code("EXTCODESIZE POP"), FIRST_CONTRACT),
        "EXTCODECOPY, cold code of 24 KiB on disk": (
            code(24_576, 0, 0) + code("DUP4", STRIDE, "MUL EXTCODECOPY"),
            FIRST_CONTRACT,
        ),
        "CALL, cold code of 24 KiB on disk": (
            code(0, 0, 0, 0, 0) + code("DUP6", STRIDE, "MUL", 0, "CALL POP"),
            FIRST_CONTRACT,
        ),
    }
    for name, (body, first) in bodies.items():
        start = code(first)
        yield name, start + code("JUMPDEST") + body + code(1, "ADD", GAS_KEPT, "GAS GT", len(start), "JUMPI")


def forget(path: Path) -> None:
    """Ask the kernel to drop the files' pages."""
    for file in path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def measure(path: Path, name: str, program: bytes, machine: Machine) -> Iterator[ColdResult]:
    """The program over the store, opened anew; where it writes, once more with the store's own part."""
    forget(path)
    kv = open_store_at(path, LEVELDB)
    try:
        store = StateStore(kv)
        journal = Journal(WithCode(store.view(0), program), Fork.OSAKA)
        journal.begin_transaction()
        world = World(Fork.OSAKA)
        environment = world.context.environment
        context = ExecutionContext(environment, world.context.block_hash, journal, CALLER, 0)
        message = Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, b"", GAS)
        start = time.perf_counter()
        outcome = machine.execute(message, context)
        spent = time.perf_counter() - start
        assert outcome.success, outcome
        gas = GAS - outcome.gas_left
        yield ColdResult(name, gas, spent)
        journal.end_transaction()
        delta = journal.delta()
        if delta.storage:
            start = time.perf_counter()
            store.apply(1, delta)
            yield ColdResult(f"{name}, with trie and root", gas, spent + time.perf_counter() - start)
    finally:
        kv.close()


def cold_results(machine: Machine, rounds: int = 5) -> Iterator[ColdResult]:
    """The best of some runs of each: all are equally cold, what differs is what else the computer does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        path.mkdir()
        kv = open_store_at(path, LEVELDB)
        store = StateStore(kv)
        store.apply(0, genesis())
        kv.write(*store.checkpoint_batch(store.freeze()))
        store.checkpoint_done(0)
        kv.close()
        machine.runtime(Fork.OSAKA)
        for name, program in programs():
            best: dict[str, ColdResult] = {}
            for _ in range(rounds):
                for result in measure(path, name, program, machine):
                    known = best.setdefault(result.name, result)
                    best[result.name] = min(known, result, key=lambda one: one.seconds)
            yield from best.values()
