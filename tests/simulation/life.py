"""One process of a node without threads: the real code, driven turn by turn over a simulated machine."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from hashlib import blake2b
from random import Random
from typing import Any

import pytest

from chain.crypto import address_of_secret
from chain.genesis import dev_genesis
from chain.production import ChainSettings
from chain.transactions import decode_transaction
from chain.types import Address
from node.api.errors import ReadOnly
from node.daemon.opening import refill, replayer, writer_over
from node.engine.clock import FixedClock
from node.engine.committer import Committer
from node.engine.pool import Pool, PooledTransaction
from node.engine.requests import Control, Freeze, KeepSession, Mine, Submit, WriterRequest
from node.engine.turn import Turn
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from storage.checkpoint import verify_checkpoints
from storage.directory.identity import open_genesis
from storage.directory.stamp import raise_stamp, take_directory
from storage.export import prune_exports, write_export
from storage.opening import StoreOptions, assemble
from storage.prune import Pruned, prune
from storage.replay import recover
from tests.paths import OBJECTS, REPO
from tests.simulation.disks import Disk, MachineIndex, files
from tests.simulation.money import Sent
from tests.simulation.record import Ask, Record, check, check_transactions, kept, state_of
from tests.simulation.simkv import SimKv
from vm.machine import Machine

SECRETS = [bytes([number]) * 32 for number in range(1, 9)]
ACCOUNTS = [address_of_secret(secret) for secret in SECRETS]
LAST = len(SECRETS) - 1
"""The account that scripts leave to the oracle."""
GENESIS_TIME = 1_700_000_000
GENESIS = dev_genesis(31337, ACCOUNTS, timestamp=GENESIS_TIME)


@cache
def machine() -> Machine:
    """The machine, compiled once."""
    return build_machine(cache=FileObjectCache(OBJECTS))


class WaitingClock(FixedClock):
    """Stands still while the writer waits for room on the disk; somebody makes room at the third look."""

    def __init__(self, life: Life) -> None:
        super().__init__(GENESIS_TIME + 10)
        self._life = life

    def sleep(self, seconds: float) -> None:
        self._life.disk.waits += 1
        self._life.while_full()
        if self._life.disk.waits == 3:
            self._life.disk.fs._faults.clear()


class Life:
    """A process from its start on. Ends with close, or when nobody uses it any more: then it was killed."""

    def __init__(self, disk: Disk, record: Record, options: dict[str, Any], seed: int = 0) -> None:
        self.disk = disk
        self.record = record
        self.options = options
        self.clock = WaitingClock(self)
        self.turns: list[Turn] = []
        fs = disk.fs
        self.lock = take_directory(fs, "0.1.0")
        genesis = open_genesis(fs, lambda stored: stored or GENESIS)
        checkpoint = verify_checkpoints(disk.kv, Random(seed), paths=20)
        self.store = assemble(
            fs,
            disk.kv,
            MachineIndex(disk),
            genesis,
            checkpoint,
            StoreOptions(REPO, REPO, "0.1.0", settings=ChainSettings(gas_limit=GENESIS.gas_limit), **options),
            # The files too: two starts of one history never give two segments the same salt.
            Random(f"{seed} {fs.calls} {[path for path, _ in files(fs)]}").randbytes,
        )
        self.pool = Pool()
        self.recovery = recover(self.store, replayer(self.store, machine(), genesis.config))
        refill(self.pool, self.recovery.waiting, self.store.applied)
        writer = writer_over(self.store, self.pool, machine(), genesis.config)
        self.committer = Committer(writer, self.store, self.clock)
        self.clock.seconds = max(self.clock.seconds, self.store.head.timestamp + 7)

    def serve(self) -> None:
        """Let readers see the chain; what they see is promised."""
        self.record.visible = lambda: self.store.head.number

    # Requests

    def submit(self, sent: Sent, *, wait_mined: bool = False) -> WriterRequest:
        """A request to take a transaction."""
        ask = Ask(sent, wait_mined)
        self.record.asks.append(ask)
        candidate = PooledTransaction(decode_transaction(sent.raw), sent.sender, sent.raw)
        return Submit(lambda answer: self.record.answer(ask, answer), candidate, wait_mined)

    def control(self, name: str, value: object) -> WriterRequest:
        """A request to change a setting."""
        self.record.commands.append((name, value))

        def done(_: object) -> None:
            self.record.commands_answered += 1

        return Control(done, name, value)

    def keep(self, session: int, content: bytes | None) -> WriterRequest:
        """A request to keep a debug session, or to forget it."""
        self.record.kept.append((session, content))

        def done(answer: object) -> None:
            raise_error(answer)
            self.record.kept_answered += 1

        return KeepSession(done, session, None if content is None else kept(content))

    def mine(self, count: int = 1, interval: int = 0) -> WriterRequest:
        """A request for blocks."""
        return Mine(raise_error, count, interval)

    # What the threads of the daemon do

    def turn(self, *requests: WriterRequest, commit: bool = True) -> None:
        """The writer takes these requests; the committer follows, now or at `commit`."""
        self.clock.seconds += 3
        self.turns.append(self.committer.step(list(requests)))
        if commit:
            self.commit()

    def commit(self) -> None:
        """The committer does what waits for it."""
        while self.turns:
            self.committer.commit(self.turns.pop(0))
            self.record.publish(self.store)
        check_transactions(self.store, self.pool, self.record, self.record.mark())

    def freeze(self, *others: WriterRequest) -> None:
        """The first half of a checkpoint."""
        self.turn(*others, Freeze(raise_error))

    def write_frozen(self) -> None:
        """The second half, on another thread."""
        self.store.write_frozen()

    def checkpoint(self) -> None:
        """Both."""
        self.freeze()
        self.write_frozen()

    def index(self) -> None:
        """The index job."""
        self.store.index_new_blocks()

    def stop(self) -> Life:
        """What the daemon does on SIGTERM, and the next start."""
        self._end()
        return self._next(self.disk)

    def prune(self) -> Life:
        """The daemon stops, its log is pruned to the last checkpoint, and it starts again."""
        self._end()
        prune_disk(self.disk)
        return self._next(self.disk)

    def _end(self) -> None:
        self.commit()
        self.store.checkpoint(self.store.last_lsn, self.pool.oldest_lsn())
        self.store.index_new_blocks()
        self.store.close()
        self.lock.release()

    def kill(self) -> Life:
        """The process is gone at once; the machine, and the next process, go on."""
        return self._next(self.disk.picture())

    def _next(self, disk: Disk) -> Life:
        fs, before = disk.fs, self.disk.fs
        fs._locks.clear()
        fs.calls, fs.trace = before.calls, before.trace
        disk.observe(self.disk.observer)
        fs._faults, fs._crash_at = before._faults, before._crash_at
        life = type(self)(disk, self.record, self.options)
        life.serve()
        life.check()
        return life

    # Looking at it

    def while_full(self) -> None:
        """The disk is full: reads go on, writes are refused."""
        assert self.committer.read_only
        assert self.store.head.number + 1 == len(self.record.blocks)
        with pytest.raises(ReadOnly):
            self.committer.put(self.mine())

    def check(self) -> None:
        """Everything written down so far is there."""
        self.record.publish(self.store)
        check(self.store, self.pool, self.record, self.record.mark())

    def digest(self, oldest: int = 0) -> bytes:
        """The same for nodes that hold the same; of the states, those from block ``oldest`` on."""
        store, digest = self.store, blake2b()
        for number in range(store.head.number + 1):
            digest.update(repr(store.chain.block(number)).encode())
            digest.update(repr(store.chain.receipts(number)).encode())
        for number in range(max(store.state.oldest, oldest), store.head.number + 1):
            digest.update(repr(state_of(store, number, self.record)).encode())
        for entry in self.pool.entries():
            digest.update(entry.raw)
        for session in store.sessions:
            digest.update(repr((session, store.sessions.get(session))).encode())
        digest.update(repr(self.store.applied.settings).encode())
        return digest.digest()


def prune_disk(disk: Disk) -> Pruned:
    """What `zvmd wal prune --export` does, and the export job afterwards."""
    lock = take_directory(disk.fs, "0.1.0")
    try:
        write_export(disk.fs, disk.kv)
        pruned = prune(
            disk.fs,
            disk.kv,
            lambda: nullcontext(SimKv()),
            GENESIS,
            before_change=lambda: raise_stamp(disk.fs, "0.1.0"),
        )
        prune_exports(disk.fs, 1)
        return pruned
    finally:
        lock.release()


def raise_error(answer: object) -> None:
    """The answer to a request that must not fail."""
    if isinstance(answer, Exception):
        raise answer


def tracked(*more: Address) -> list[Address]:
    """Accounts every script is about."""
    return [*ACCOUNTS, Address(bytes(20)), *more]
