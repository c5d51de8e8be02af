"""Development calls under crashes: what comes back is the chain as it was after some record of the log, and no other.

Every moment after a durable answer is written down with its LSN. A machine that crashed later than an answer must come
back at that LSN or a later one, and equal to what was written down for it; also with every derived store lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import Any

import pytest

from chain.transactions import decode_transaction, encode_transaction, impersonate
from chain.types import Address
from node.engine.pool import PooledTransaction
from node.engine.requests import Cheat, Submit, WriterRequest, is_alone
from storage.blocks.logs import LogQuery
from storage.state.proof import prove
from tests.simulation.disks import Disk
from tests.simulation.life import ACCOUNTS, Life, raise_error
from tests.simulation.programs import token
from tests.simulation.record import Record
from tests.simulation.script import ETHER, GWEI, Script
from tests.simulation.simfaults import READING

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
HARMLESS = READING | {"exists", "size"}
STRANGER = Address(b"\x77" * 20)
SLOTS = [(STRANGER, 0), (STRANGER, 1)]
SEQUENCES = 4
CRASHES = 12
OPTIONS = {"segment_size_bytes": 12288}


class CheatLife(Life):
    """A life whose chain may be brought back, so that nothing is promised but what `History` says."""

    answers: list[object]

    def __init__(self, disk: Disk, record: Record, options: dict[str, Any], seed: int = 0) -> None:
        super().__init__(disk, record, options, seed)
        self.answers = []

    def turn(self, *requests: WriterRequest, commit: bool = True) -> None:
        if any(map(is_alone, requests)):
            self.commit()
        self.clock.seconds += 3
        self.turns.append(self.committer.step(list(requests)))
        if commit:
            self.commit()

    def commit(self) -> None:
        while self.turns:
            self.committer.commit(self.turns.pop(0))

    def check(self) -> None:
        """Look-ups agree with the blocks; pool and state agree with each other."""
        store = self.store
        for number in range(store.head.number + 1):
            block = store.chain.block(number)
            assert block is not None
            assert store.chain.number_of(block.hash) == number
            for index, transaction in enumerate(block.transactions):
                assert store.transaction_place(transaction.hash) == (number, index)
            logs = store.logs(LogQuery(number, number))
            assert [entry.transaction_hash for entry in logs] == [
                transaction.hash
                for transaction, receipt in zip(block.transactions, store.chain.receipts(number) or (), strict=True)
                for _ in receipt.logs
            ]
        assert store.chain.header(store.head.number + 1) is None
        assert store.view(store.head.number).number == store.state.position

    def digest(self, oldest: int = 0) -> bytes:
        own = repr((self.store.applied.snapshots, self.store.applied.next_snapshot, self.store.state.positions))
        return blake2b(super().digest(oldest) + own.encode()).digest()

    def cheat(self, name: str, *arguments: Any, key: str = "") -> Any:
        """The answer of a development call."""
        answers: list[object] = []
        self.turn(Cheat(answers.append, name, arguments, key))
        raise_error(answers[0])
        self.answers.append((name, answers[0]))
        return answers[0]


def impersonated(s: Script) -> None:
    account = s.life.store.applied.newest_state().account(STRANGER)
    signed = decode_transaction(s.transfer(0, 1, 1, nonce=account.nonce if account else 0).raw)
    transaction = impersonate(signed, STRANGER)
    candidate = PooledTransaction(transaction, STRANGER, encode_transaction(transaction))
    s.life.turn(Submit(lambda _: None, candidate))


def sent(s: Script, sender: int, *, commit: bool = True, data: bool = False) -> None:
    account = s.life.store.applied.newest_state().account(ACCOUNTS[sender])
    s.nonces[sender] = s.life.pool.next_nonce(ACCOUNTS[sender], account.nonce if account else 0)
    one = s.create(sender, token()) if data else s.transfer(sender, 3, 5 + sender)
    candidate = PooledTransaction(decode_transaction(one.raw), one.sender, one.raw)
    s.life.turn(Submit(lambda _: None, candidate), commit=commit)


def cheat(s: Script, name: str, *arguments: Any) -> None:
    assert isinstance(s.life, CheatLife)
    s.life.cheat(name, *arguments)


def back(s: Script, *, newest: bool) -> None:
    known = s.life.store.applied.snapshots
    if known:
        cheat(s, "revert", (max if newest else min)(known))


def balance(s: Script) -> None:
    cheat(s, "amend", [STRANGER, None, s.life.store.last_lsn * ETHER, None, []])


Operations = Mapping[str, Callable[[Script], None]]

OPERATIONS: Operations = {
    "send": lambda s: sent(s, 0),
    "create": lambda s: sent(s, 1, data=True),
    "send in flight": lambda s: sent(s, 2, commit=False),
    "mine": lambda s: s.life.turn(s.life.mine(2)),
    "balance": balance,
    "slot": lambda s: cheat(s, "amend", [STRANGER, None, None, None, [[s.life.store.last_lsn % 2, 2**255 + 1]]]),
    "code": lambda s: cheat(s, "amend", [STRANGER, 3, None, b"\x60\x01", [[0, 0]]]),
    "impersonated": impersonated,
    "time": lambda s: cheat(s, "increase_time", 100),
    "next time": lambda s: cheat(s, "set_next_timestamp", s.life.store.applied.tip.timestamp + 1000),
    "base fee": lambda s: cheat(s, "set_next_base_fee", GWEI // 3),
    "hold back": lambda s: s.life.turn(s.life.control("automine", not s.life.store.applied.settings.automine)),
    "drop": lambda s: cheat(s, "drop_all"),
    "snapshot": lambda s: cheat(s, "snapshot"),
    "revert": lambda s: back(s, newest=True),
    "revert far": lambda s: back(s, newest=False),
    "roll back": lambda s: cheat(s, "roll_back", min(1, s.life.store.applied.tip.number)),
    "reset": lambda s: cheat(s, "reset"),
    "freeze": lambda s: s.life.commit() or s.life.freeze(),
    "write frozen": lambda s: s.life.commit() or s.life.write_frozen(),
    "index": lambda s: s.life.index(),
    "kill": lambda s: s.life.commit() or s.kill(),
}

SCRIPT = (
    "send", "create", "snapshot", "balance", "mine", "slot", "freeze", "write frozen", "snapshot", "impersonated",
    "balance", "hold back", "send", "snapshot", "mine", "index", "revert", "freeze", "mine", "revert far",
    "base fee", "send", "hold back", "mine", "freeze", "write frozen", "balance", "code", "snapshot", "next time",
    "mine", "freeze", "kill", "revert", "mine", "freeze", "write frozen", "index", "roll back", "time", "reset", "send",
    "freeze", "write frozen", "create",
)  # fmt: skip


def start(disk: Disk, seed: int = SEED) -> CheatLife:
    life = CheatLife(disk, Record([*ACCOUNTS, STRANGER], SLOTS), OPTIONS, seed)
    life.serve()
    return life


class History:
    """One life, what it was after each LSN at which it could be asked, and every moment at which it may crash."""

    def __init__(self, names: Sequence[str], seed: int, operations: Operations = OPERATIONS) -> None:
        self.seen: dict[int, bytes] = {}
        self.pictures: list[tuple[str, Disk, int]] = []
        self.acknowledged = 0
        self.seed = seed
        self.last = 0
        """The first picture of the last operation."""
        disk = Disk.new(seed)
        disk.observe(self._picture)
        script = Script(start(disk, seed))
        for name in names:
            self.doing, self.last = name, len(self.pictures)
            operations[name](script)
            if not script.life.turns:
                self._note(script.life)
        script.life.commit()
        self._note(script.life)
        self.life = script.life

    def _note(self, life: Life) -> None:
        life.check()
        self.acknowledged = life.store.last_lsn
        self.seen[self.acknowledged] = life.digest()

    def _picture(self, disk: Disk, kind: str) -> None:
        if kind not in HARMLESS:
            name = f"{getattr(self, 'doing', 'start')}, call {disk.fs.calls} ({kind})"
            self.pictures.append((name, disk.picture(), self.acknowledged))

    def survive(self, picture: tuple[str, Disk, int], source: Random) -> int:
        """Crash there in a few ways; how many machines came back."""
        name, disk, acknowledged = picture
        machines = 0
        for variant, left in disk.survivors(source.randrange(2**32), 3):
            try:
                life = start(left.picture())
                self.compare(life, acknowledged)
                for number in range(2):  # go on, and crash again
                    script = Script(life)
                    OPERATIONS[source.choice(("send", "balance", "snapshot", "revert", "mine"))](script)
                    OPERATIONS["index" if number else "freeze"](script)
                lsn, digest = life.store.last_lsn, life.digest()
                for _, next_disk in islice(life.disk.survivors(source.randrange(2**32), 2), 2):
                    again = start(next_disk)
                    again.check()
                    assert again.store.last_lsn == lsn
                    assert again.digest() == digest
                machines += 3
            except Exception as error:
                error.add_note(f"crash in {name}, {variant}; seed {self.seed}")
                raise
        return machines

    def compare(self, life: CheatLife, acknowledged: int) -> None:
        """A life after a crash with what was written down."""
        life.check()
        lsn = life.store.last_lsn
        assert lsn >= acknowledged, f"LSN {acknowledged} was acknowledged, the log ends at {lsn}"
        digest = life.digest()
        assert self.seen.get(lsn, digest) == digest, f"LSN {lsn} is another chain"
        assert start(life.disk.bare()).digest() == digest, f"LSN {lsn}, from the log alone"


def test_the_script_does_what_it_says() -> None:
    history = History(SCRIPT, SEED)
    answers = [answer for answer in history.life.answers if answer[0] in ("revert", "reset", "roll_back")]  # type: ignore[attr-defined]
    assert ("roll_back", history.life.store.head.number) not in answers
    assert ("reset", True) in answers
    assert len(history.seen) > 30


def test_an_index_older_than_a_checkpointed_revert_is_not_believed() -> None:
    """The disk lost what SQLite had not synced: its rows are of blocks that another revert took out long ago."""
    script = Script(start(Disk.new(SEED)))
    for name in ("snapshot", "mine", "mine", "send", "send", "index"):
        OPERATIONS[name](script)
    stale = script.life.disk.index[-1]
    for name in ("revert", "send", "send", "mine", "snapshot", "freeze", "write frozen", "send", "revert"):
        OPERATIONS[name](script)
    left = script.life.disk.picture()
    left.index = [stale]
    life = start(left)
    life.check()
    life.index()
    life.check()


def test_crashes_in_the_script() -> None:
    history, source = History(SCRIPT, SEED), Random(SEED)
    for picture in source.sample(history.pictures, CRASHES):
        history.survive(picture, source)


def test_random_sequences_replay_to_the_same_chain() -> None:
    for seed in range(SEED, SEED + SEQUENCES):
        source = Random(seed)
        names = tuple(source.choices(list(OPERATIONS), k=25))
        try:
            history = History(names, seed)
            for picture in source.sample(history.pictures, 2):
                history.survive(picture, source)
        except Exception as error:
            error.add_note(f"{names}, seed {seed}")
            raise


@dataclass
class Model:
    """What one account has after each block, amendments included, and the same at each snapshot."""

    blocks: list[tuple[int, int]]
    """Balance and slot 0, by block."""
    snapshots: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    next_snapshot: int = 0

    def do(self, life: CheatLife, name: str, source: Random) -> None:
        """One operation on both; their answers agree."""
        wei, word = self.blocks[-1]
        if name == "balance":
            wei = source.randrange(2**256)
            life.cheat("amend", [STRANGER, None, wei, None, []])
            self.blocks[-1] = wei, word
        elif name == "slot":
            word = source.choice((0, 1, 2**256 - 1))
            life.cheat("amend", [STRANGER, None, None, None, [[0, word]]])
            self.blocks[-1] = wei, word
        elif name == "mine":
            life.turn(life.mine(2))
            self.blocks += [(wei, word)] * 2
        elif name == "snapshot":
            assert life.cheat("snapshot") == self.next_snapshot
            self.snapshots[self.next_snapshot] = list(self.blocks)
            self.next_snapshot += 1
        elif name == "revert":
            number = source.randrange(self.next_snapshot + 1)
            assert life.cheat("revert", number) == (number in self.snapshots)
            if number in self.snapshots:
                self.blocks = self.snapshots[number]
                self.snapshots = {known: kept for known, kept in self.snapshots.items() if known < number}

    def compare(self, life: CheatLife) -> None:
        """Every block of the chain reads as in the model."""
        store = life.store
        assert store.head.number + 1 == len(self.blocks)
        for number, facts in enumerate(self.blocks):
            view = store.view(number)
            account = view.account(STRANGER)
            assert (account.balance if account else 0, view.storage(STRANGER, 0)) == facts
        proof = prove(store.view(store.head.number), STRANGER, [0])
        assert proof.state_root == store.state.head_root
        assert proof.slots[0].value == self.blocks[-1][1]


def test_random_calls_against_a_model() -> None:
    for seed in range(SEED, SEED + 6):
        source = Random(seed)
        life, model = start(Disk.new(seed), seed), Model([(0, 0)])
        for _ in range(40):
            name = source.choice(("balance", "balance", "slot", "mine", "snapshot", "revert", "checkpoint", "kill"))
            if name == "checkpoint":
                life.checkpoint()
            elif name == "kill":
                killed = life.kill()
                assert isinstance(killed, CheatLife)
                life = killed
            else:
                model.do(life, name, source)
            model.compare(life)


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_every_crash_in_the_script() -> None:
    history, source = History(SCRIPT, SEED), Random(SEED)
    machines = sum(history.survive(picture, source) for picture in history.pictures)
    print(f"{len(history.pictures)} calls, {machines} machines")


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_many_random_sequences(seed: int) -> None:
    source = Random(seed)
    for _ in range(20):
        names = tuple(source.choices(list(OPERATIONS), k=30))
        history = History(names, seed)
        for picture in source.sample(history.pictures, 6):
            history.survive(picture, source)
