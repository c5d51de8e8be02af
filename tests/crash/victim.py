"""Processes to kill by the thousand: a parent with everything loaded forks a node for each cycle.

A child is the real engine over real files: recovery, writer, committer, checkpoints, index and exports on threads,
loaded by itself. It has no sockets; `tests.crash.harness` kills whole daemons. What it was told and what it sent goes
through a pipe line by line, so that the record lives outside. One JSON command a line comes in, see `Order`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import structlog

import node.daemon.opening
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.daemon.opening import OpenedChain, open_chain
from node.daemon.periodic import checkpoint
from node.engine.accounts import DevAccounts
from node.engine.clock import SystemClock
from node.engine.committer import Committer, Listeners
from node.engine.pool import PooledTransaction
from node.engine.requests import Cheat, Control, KeepSession, Mine, Submit, WriterRequest
from node.machine.assembly import build_machine
from node.migrating import migrate_data_directory
from node.pruning import prune_data_directory
from node.settings import DEV_MNEMONIC, NodeSettings, Settings, StorageSettings
from storage.directory import layout
from storage.errors import MigrationRefused, PruneRefused, StorageError
from storage.io.failpoints import arm
from storage.sessions.files import KEPT_SECONDS, SessionFiles
from storage.sessions.records import Kept, Label, SessionPosition, SnapshotFile
from tests.engines import chosen

SENDERS = 3
RECEIVERS = 16
IN_FLIGHT = 6
SESSIONS = 8
NO_LABEL = Label("", (), "Osaka", b"", b"", b"", 1_700_000_000)
CHECKPOINT_SECONDS = 0.02
INDEX_SECONDS = 0.015
EXPORT_SECONDS = 0.1
LIVES_PER_PRUNE = 16
"""In one of so many the log is pruned before the start, and the state store moved to the other engine."""


class Order(NamedTuple):
    """One life."""

    directory: str
    seed: int
    verified: int
    """The record knows all blocks up to this one."""
    look_back: list[int]
    """Known blocks to be shown again."""
    resend: list[list[int]]
    """(sender, nonce, receiver, wei) that were sent and never answered."""
    taken: list[list[int]]
    """(sender, nonce) that other bytes were sent with before."""
    failpoint: str = ""


def receiver(number: int) -> Address:
    """Where transfers go."""
    return Address((0xAA0000 + number).to_bytes(20, "big"))


def say(*words: object) -> None:
    """One line to the record, whole: short writes to a pipe are atomic."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@cache
def accounts() -> DevAccounts:
    """The development accounts, derived once."""
    return DevAccounts.of_mnemonic(DEV_MNEMONIC, 10)


def main() -> None:
    """Fork a child for each order, and say how it ended."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    machine, known = build_machine(engine="interpreter"), accounts()
    node.daemon.opening.build_machine = lambda *_, **__: machine  # type: ignore[attr-defined]
    DevAccounts.of_mnemonic = classmethod(lambda *_: known)  # type: ignore[method-assign, assignment]
    warm_up()
    for line in sys.stdin:
        order = Order(*json.loads(line))
        child = os.fork()
        if not child:
            try:
                live(order)
            except BaseException as error:
                say("E", f"{type(error).__name__}: {error}".replace("\n", " "))
                os._exit(getattr(error, "exit_code", 1))
        say("PID", child)
        _, status = os.waitpid(child, 0)
        say("X", os.waitstatus_to_exitcode(status))


def warm_up() -> None:
    """Compile the machine before the first fork, so that no child has to."""
    with tempfile.TemporaryDirectory() as directory:
        order = Order(f"{directory}/data", 0, -1, [], [], [])
        # RocksDB has threads from its first opening on, which a fork does not take along.
        opened = open_chain(settings_of(order, "leveldb"), {})
        life = Life(opened, order)
        turn = life.committer.step([Submit(lambda _: None, transfer(0, 0, 0, 1))])
        assert turn.head.header.number == 1
        opened.close()


def settings_of(order: Order, engine: str = "") -> Settings:
    """Small segments, a small ballast."""
    return Settings(
        node=NodeSettings(data_dir=order.directory, dev=True),
        storage=StorageSettings(segment_size_bytes=65_536, ballast_bytes=4096, engine=engine or chosen()),  # type: ignore[arg-type]
    )


def transfer(sender: int, nonce: int, to: int, wei: int) -> PooledTransaction:
    """A signed transfer: the same bytes for the same arguments."""
    unsigned = Transaction(
        type=2,
        chain_id=31337,
        nonce=nonce,
        gas_price=0,
        max_fee_per_gas=10**12,
        max_priority_fee_per_gas=10**9,
        gas_limit=21_000,
        to=receiver(to),
        value=wei,
        data=b"",
    )
    address = accounts().addresses[sender]
    signed = sign_transaction(unsigned, accounts().secret(address))
    return PooledTransaction(signed, address, encode_transaction(signed))


def live(order: Order) -> None:
    """Recover, show what is there, and work until killed."""
    arm(order.failpoint)
    place = Path(order.directory)
    due = order.seed % LIVES_PER_PRUNE == 0 and (place / layout.STATE).exists()
    if due or order.failpoint.startswith("wal.prune"):
        with suppress(PruneRefused):  # it was killed before its first checkpoint, or has to recover first
            prune_data_directory(place, fresh=True)
    if due or order.failpoint.startswith("migrate."):
        with suppress(MigrationRefused):
            migrate_data_directory(place, None, lambda pairs, size: None)
    began = time.perf_counter()
    opened = open_chain(settings_of(order), {})
    say("READY", f"{time.perf_counter() - began:.4f}", opened.store.head.number, opened.recovery.blocks)
    show(opened, order)
    Life(opened, order).run()


def show(opened: OpenedChain, order: Order) -> None:
    """What is in the chain, for the record to judge."""
    head = opened.store.head.number
    for number in [*order.look_back, *range(order.verified + 1, head + 1)]:
        block, receipts = opened.store.chain.block(number), opened.store.chain.receipts(number)
        assert block is not None
        assert receipts is not None
        for index, transaction in enumerate(block.transactions):
            place = opened.store.transaction_place(transaction.hash)
            assert place == (number, index), f"index: {place}, chain: {(number, index)}"
        facts = [f"{tx.hash.hex()}:{receipt.status}" for tx, receipt in zip(block.transactions, receipts, strict=True)]
        say("B", number, block.hash.hex(), block.header.parent_hash.hex(), *facts)
    state = opened.store.state.view(head)
    for number in range(RECEIVERS):
        account = state.account(receiver(number))
        say("V", number, account.balance if account else 0)
    for number in range(SENDERS):
        account = state.account(accounts().addresses[number])
        say("N", number, account.nonce if account else 0)
    for entry in opened.pool.entries():
        say("P", entry.transaction.hash.hex())
    for session, step in steps_of(opened).items():
        say("D", session, step)
    say("F")


def content_of(session: int, step: int) -> bytes:
    """Content of a debug session that was kept as a whole at a step."""
    return f"{session} {step} ".encode() + bytes(3_000)


def steps_of(opened: OpenedChain) -> dict[int, int]:
    """Where each debug session stands; its file is what it was then."""
    shelf, files, steps = opened.store.sessions, SessionFiles(opened.fs), {}
    for session in shelf:
        kept = shelf.get(session)
        assert kept is not None
        assert isinstance(kept.content, SnapshotFile)
        name, kept_at = files.read(session, kept.content).split()[:2]
        assert int(name) == session
        assert int(kept_at) <= kept.place.step
        steps[session] = kept.place.step
    return steps


class Life:
    """The load, and the threads of a daemon."""

    def __init__(self, opened: OpenedChain, order: Order) -> None:
        self.opened = opened
        self.order = order
        self.chance = random.Random(order.seed)
        self.room = threading.Semaphore(IN_FLIGHT)
        self.committer = Committer(opened.writer(), opened.store, SystemClock(), Listeners(on_fault=self.end))
        self.steps = steps_of(opened)
        self.files = SessionFiles(opened.fs)

    def end(self, error: BaseException) -> None:
        """As the daemon's panic."""
        say("E", f"{type(error).__name__}: {error}")
        os._exit(getattr(error, "exit_code", 70) if isinstance(error, StorageError) else 70)

    def run(self) -> None:
        """Work until killed."""
        self.committer.start()
        store = self.opened.store
        self.every(CHECKPOINT_SECONDS, lambda: checkpoint(self.committer, store))
        self.every(INDEX_SECONDS, store.index_new_blocks)
        self.every(INDEX_SECONDS, store.wal.pack_one)
        self.every(EXPORT_SECONDS, lambda: self.opened.export(1))
        self.every(EXPORT_SECONDS, lambda: self.files.sweep(store.sessions.snapshots, time.time() + 2 * KEPT_SECONDS))
        self.opened.space.look()
        for sender, nonce, to, wei in self.order.resend:
            self.send(sender, nonce, to, wei, again=True)
        fresh = [self.nonces(sender) for sender in range(SENDERS)]
        while True:
            sender = self.chance.randrange(SENDERS)
            nonces = [next(fresh[sender])]
            if self.chance.random() < 0.1:
                nonces.insert(0, next(fresh[sender]))  # the later one first: it waits in the pool
            for nonce in nonces:
                self.send(sender, nonce, self.chance.randrange(RECEIVERS), self.chance.randrange(1, 1000))
            if self.chance.random() < 0.05:
                self.ask(lambda done: Mine(done, key=f"{self.order.seed}-{self.chance.random()}"))
            if self.chance.random() < 0.03:
                self.ask(lambda done: Control(done, "time_offset_seconds", self.chance.randrange(100)))
            if self.chance.random() < 0.03:
                self.there_and_back()
            if self.chance.random() < 0.1:
                self.keep(self.chance.randrange(1, 1 + SESSIONS))

    def nonces(self, sender: int) -> Iterator[int]:
        """Nonces of an account that nothing was sent with."""
        account = self.opened.store.applied.newest_state().account(accounts().addresses[sender])
        taken = {nonce for other, nonce in self.order.taken if other == sender}
        return (nonce for nonce in count(account.nonce if account else 0) if nonce not in taken)

    def every(self, seconds: float, work: Any) -> None:
        """A job."""

        def loop() -> None:
            try:
                while True:
                    time.sleep(seconds)
                    work()
            except BaseException as error:
                self.end(error)

        threading.Thread(target=loop, daemon=True).start()

    def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> None:
        """Something else than a transfer."""
        self.room.acquire()

        def done(answer: object) -> None:
            if isinstance(answer, Exception):
                say("E", f"an answer: {answer!r}")
            self.room.release()

        self.committer.put(make(done))

    def keep(self, session: int) -> None:
        """A debug session moves one step on, or is kept as a whole again, in a file."""
        self.steps[session] = step = self.steps.get(session, 0) + 1
        say("K", session, step)
        self.room.acquire()
        place = SessionPosition(step, 0, bytes(32), "", 1_700_000_000)
        change: Kept | SessionPosition = place
        if step == 1 or self.chance.random() < 0.3:
            change = Kept(NO_LABEL, place, self.files.write(session, content_of(session, step)))

        def done(answer: object) -> None:
            if isinstance(change, Kept):
                assert isinstance(change.content, SnapshotFile)
                self.files.settled(session, change.content)
            say(*("L", session, step) if answer == session else ("E", f"session {session} was answered {answer!r}"))
            self.room.release()

        self.committer.put(KeepSession(done, session, change))

    def there_and_back(self) -> None:
        """Snapshot, a block, revert, with nothing else under way: a kill leaves that block or not, and nothing else."""
        for _ in range(IN_FLIGHT):
            self.room.acquire()
        snapshot = self.answer(lambda done: Cheat(done, "snapshot"))
        self.answer(Mine)
        assert self.answer(lambda done: Cheat(done, "revert", (snapshot,))) is True
        self.room.release(IN_FLIGHT)

    def answer(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> object:
        """Ask, and wait for it."""
        answers: SimpleQueue[object] = SimpleQueue()
        self.committer.put(make(answers.put))
        answer = answers.get()
        if isinstance(answer, Exception):
            say("E", f"an answer: {answer!r}")
        return answer

    def send(self, sender: int, nonce: int, to: int, wei: int, *, again: bool = False) -> None:
        """A transfer; the record hears of it before the node does, and of the answer."""
        candidate = transfer(sender, nonce, to, wei)
        signed = candidate.transaction
        name = signed.hash.hex()
        self.room.acquire()
        if not again:
            say("S", name, sender, nonce, to, wei)

        def done(answer: object) -> None:
            if answer == signed.hash:
                say("A", name)
            else:
                say("E", f"transfer {sender}/{nonce} {again=} was answered {answer!r}")
            self.room.release()

        mined = self.chance.random() < 0.5
        self.committer.put(Submit(done, candidate, wait_mined=mined))


if __name__ == "__main__":
    assert len(sys.argv) == 1, Path(__file__).name
    main()
