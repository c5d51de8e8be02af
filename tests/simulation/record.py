"""What somebody outside the node wrote down: what was asked, what was answered, what the blocks were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chain.blocks import Block, encode_block
from chain.receipts import encode_receipt
from chain.state import EMPTY_ACCOUNT
from chain.types import Address, Hash32
from node.engine.pool import Pool
from storage.blocks.logs import FoundLog, LogQuery
from storage.sessions.records import Kept, Label, SessionPosition
from storage.store import Store
from tests.simulation.money import Money, Sent, Slot


@dataclass
class Ask:
    """One request to send a transaction."""

    sent: Sent
    wait_mined: bool
    answer: object = None


class Facts(NamedTuple):
    """What readers see of a block."""

    hash: Hash32
    block: bytes
    transactions: tuple[Hash32, ...]
    receipts: tuple[bytes, ...]
    senders: tuple[Address, ...]
    logs: tuple[FoundLog, ...]


State = tuple[tuple[int, ...], ...]
"""Balances, nonces and words after a block."""


class Mark(NamedTuple):
    """How much was written down at some moment."""

    asked: int
    answered: int
    blocks: int
    commands: int
    commands_answered: int
    kept: int
    kept_answered: int


@dataclass
class Record:
    """Everything that happened to one chain, from outside. Lists only grow, so that a `Mark` is a moment."""

    accounts: list[Address] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    answered: list[Ask] = field(default_factory=list)
    """Asks in the order of their answers."""
    blocks: list[Facts] = field(default_factory=list)
    """Published blocks."""
    states: list[State] = field(default_factory=list)
    """By the independent model, after each block."""
    commands: list[tuple[str, Any]] = field(default_factory=list)
    commands_answered: int = 0
    kept: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Debug sessions and their records, in the order they were sent; None: closed."""
    kept_answered: int = 0
    money: Money = field(default_factory=Money)
    visible: Callable[[], int] = lambda: 0
    """The newest block that a reader sees."""

    def mark(self) -> Mark:
        """Now."""
        seen = max(len(self.blocks), self.visible() + 1)
        return Mark(
            len(self.asks),
            len(self.answered),
            seen,
            len(self.commands),
            self.commands_answered,
            len(self.kept),
            self.kept_answered,
        )

    def answer(self, ask: Ask, answer: object) -> None:
        """The node has answered."""
        assert ask.answer is None, "answered twice"
        ask.answer = answer
        self.answered.append(ask)

    def publish(self, store: Store) -> None:
        """Write down the blocks published since, and work out what they do."""
        sent = {ask.sent.hash: ask.sent for ask in self.asks}
        for number in range(len(self.blocks), store.head.number + 1):
            facts, receipts = facts_of(store, number), store.chain.receipts(number)
            header = store.chain.header(number)
            assert header is not None
            assert receipts is not None
            supply = self.money.supply()
            if number:
                mined = [sent[hash_] for hash_ in facts.transactions]
                self.money.block(header, zip(mined, receipts, strict=True))
                assert self.money.supply() == supply, "ether came from nowhere, or went there"
            self.blocks.append(facts)
            self.states.append(self.money.facts(self.accounts, self.slots))

    def branch(self, mark: Mark, blocks: int, kept: int) -> Record:
        """The record of one who saw what was written down at the mark, and these blocks and so many session records
        after a restart.
        """
        asks = [Ask(ask.sent, ask.wait_mined) for ask in self.asks[: mark.asked]]
        of = {id(ask): copy for ask, copy in zip(self.asks, asks, strict=False)}
        branch = Record(list(self.accounts), list(self.slots), asks)
        for ask in self.answered[: mark.answered]:
            branch.answer(of[id(ask)], ask.answer)
        branch.blocks, branch.states = self.blocks[:blocks], self.states[:blocks]
        branch.commands, branch.commands_answered = self.commands[: mark.commands], mark.commands_answered
        branch.kept, branch.kept_answered = self.kept[:kept], kept
        balances, nonces, words = branch.states[-1]
        branch.money = Money(
            dict(zip(self.accounts, balances, strict=True)),
            dict(zip(self.accounts, nonces, strict=True)),
            dict(zip(self.slots, words, strict=True)),
        )
        return branch


def facts_of(store: Store, number: int) -> Facts:
    """Read a block through the doors that the protocols use."""
    block, receipts, senders = (
        store.chain.block(number),
        store.chain.receipts(number),
        store.chain.senders(number),
    )
    assert isinstance(block, Block)
    assert receipts is not None
    assert senders is not None
    assert store.chain.number_of(block.hash) == number
    return Facts(
        block.hash,
        encode_block(block),
        tuple(transaction.hash for transaction in block.transactions),
        tuple(
            encode_receipt(receipt) + repr((receipt.gas_used, receipt.contract_address)).encode()
            for receipt in receipts
        ),
        tuple(senders),
        tuple(store.logs(LogQuery(number, number))),
    )


def state_of(store: Store, number: int, record: Record) -> State:
    """Read the state after a block."""
    view = store.state.view(number)
    accounts = [view.account(address) or EMPTY_ACCOUNT for address in record.accounts]
    return (
        tuple(account.balance for account in accounts),
        tuple(account.nonce for account in accounts),
        tuple(view.storage(address, slot) for address, slot in record.slots),
    )


def check(store: Store, pool: Pool, record: Record, mark: Mark) -> None:
    """Oracle A of the reliability notes: the restarted node holds what was written down at ``mark``.

    ``record`` may know more: what the same chain became later, had nothing happened.
    """
    head = store.head.number
    assert store.applied.tip.hash == store.head.hash
    assert head + 1 >= mark.blocks, f"block {mark.blocks - 1} was published; the head is {head}"
    assert head < len(record.blocks), f"block {head} never was"
    for number in range(head + 1):
        assert facts_of(store, number) == record.blocks[number], f"block {number} is another one"
    for number in range(max(store.state.oldest, 0), head + 1):
        assert state_of(store, number, record) == record.states[number], (
            f"state of block {number} is another one"
        )
    check_transactions(store, pool, record, mark)
    _check_commands(store, record, mark)
    sessions_kept(store, record, mark)


def kept(content: bytes) -> Kept:
    """A debug session with this content, as the session service hands it to the log."""
    label = Label("", (), "OSAKA", b"", b"", b"", created=0)
    return Kept(label, SessionPosition(0, 0, bytes(32), "", used=0), content)


def sessions_kept(store: Store, record: Record, mark: Mark) -> int:
    """How many of the session records sent up to the mark are there: all acknowledged ones, and a beginning of all."""
    found = {session: store.sessions.get(session) for session in store.sessions}
    shelf: dict[int, Kept] = {}
    for number, (session, content) in enumerate([(0, None), *record.kept[: mark.kept]]):
        if content is None:
            shelf.pop(session, None)
        else:
            shelf[session] = kept(content)
        if number >= mark.kept_answered and shelf == found:
            assert store.sessions.highest >= max(shelf, default=0), "an id may be given twice"
            return number
    raise AssertionError(f"{mark.kept_answered} of {record.kept[:mark.kept]} were acknowledged; there is {found}")


def check_transactions(store: Store, pool: Pool, record: Record, mark: Mark) -> None:
    """Every transaction is where its sender was told, once."""
    mined = Counter(hash_ for facts in record.blocks[: store.head.number + 1] for hash_ in facts.transactions)
    assert not mined or max(mined.values()) == 1, "a transaction is in two blocks"
    for number, facts in enumerate(record.blocks[: store.head.number + 1]):
        for index, hash_ in enumerate(facts.transactions):
            assert store.transaction_place(hash_) == (number, index)
    waiting = {entry.transaction.hash for entry in pool.entries()}
    assert not waiting & mined.keys(), "in a block and in the pool"
    asks = record.asks[: mark.asked]
    asked = {ask.sent.hash: ask.sent for ask in asks}
    for hash_ in mined.keys() | waiting:
        assert hash_ in asked, f"nobody had sent {hash_.hex()}"
    there = [asked[hash_] for hash_ in mined.keys() | waiting]
    last = {(sent.sender, sent.nonce): sent for sent in there}
    order = {hash_: at for at, hash_ in enumerate(asked)}
    accepted = {
        ask.sent.hash for ask in record.answered[: mark.answered] if not isinstance(ask.answer, Exception)
    }
    for ask in record.answered[: mark.answered]:
        sent = ask.sent
        if isinstance(ask.answer, Exception):
            gone = sent.hash not in mined and (sent.may_be_dropped or sent.hash not in waiting)
            assert gone or sent.hash in accepted, f"refused, but there: {sent}"
        elif ask.wait_mined:
            assert sent.hash in mined, f"acknowledged as mined and lost: {sent}"
        elif sent.hash not in mined and sent.hash not in waiting:
            instead = last.get((sent.sender, sent.nonce))
            replaced = instead is not None and order[instead.hash] > order[sent.hash]
            assert replaced or sent.may_be_dropped, f"acknowledged and lost: {sent}"


def _check_commands(store: Store, record: Record, mark: Mark) -> None:
    """Each setting has the last acknowledged value, or one asked for since."""
    possible: dict[str, list[Any]] = {"next_timestamp": [None]}
    for at, (name, value) in enumerate(record.commands[: mark.commands]):
        if at < mark.commands_answered:
            possible[name] = [value, None] if name == "next_timestamp" else [value]
        else:
            possible.setdefault(name, []).append(value)
        if name == "next_timestamp":  # a block at that time moves the clock
            possible.pop("time_offset_seconds", None)
    for name, values in possible.items():
        value = getattr(store.applied.settings, name)
        first = all(given != name for given, _ in record.commands[: mark.commands_answered])
        assert first or value in values, f"{name} is {value!r}, not one of {values}"
