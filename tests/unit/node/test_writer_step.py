"""Turns as values: the writer over a chain in memory, without threads, files, sockets or a clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from chain.crypto import address_of_secret
from chain.errors import InsufficientFunds, InvalidTransaction, NonceTooLow
from chain.genesis import dev_genesis
from chain.production import ChainSettings
from chain.types import Address, Hash32
from node.api.errors import NodeStopping, TransactionDropped
from node.engine.drafts import Draft
from node.engine.logged_chain import LoggedChain
from node.engine.pool import Pool, PooledTransaction
from node.engine.requests import Cheat, Control, Freeze, KeepTemplate, Mine, Submit, WriterRequest
from node.engine.turn import Turn
from node.engine.writer import BLOCKS_AT_ONCE, Writer
from storage.appending import NewRecords
from storage.applied import AppliedChain
from storage.blocks.fates import DROPPED, REPLACED, REVERTED
from storage.wal.records import RecordType, decode_command
from tests.signed import signed_transfer
from tests.simulation.life import machine
from tests.simulation.simkv import SimKv

GWEI = 10**9
NOW = 1_700_000_100
SECRETS = [bytes([number]) * 32 for number in (1, 2)]
SENDERS = [address_of_secret(secret) for secret in SECRETS]
GENESIS = dev_genesis(31337, SENDERS, timestamp=NOW - 100)
STRANGER = Address(b"\x42" * 20)
BLOCK = [RecordType.BLOCK_ENV, RecordType.TRANSACTION, RecordType.BLOCK_SEAL]


def never(answer: object) -> None:
    raise AssertionError(f"a step called back with {answer}: turns are values")


class Stepped:
    """A writer, and what a committer would tell it."""

    def __init__(self, **settings: Any) -> None:
        self.applied = AppliedChain(SimKv(), GENESIS, ChainSettings(gas_limit=GENESIS.gas_limit, **settings))
        self.pool = Pool()
        records = NewRecords(2, 2**20)
        self.published: dict[Hash32, tuple[int, int]] = {}
        chain = LoggedChain(self.applied, self.pool, machine(), GENESIS.config, records)
        self.writer = Writer(chain, self.published.get)
        self.lsn = 1

    def step(self, *requests: WriterRequest) -> Turn:
        """A turn that is published at once; its records follow each other, and it claims no others."""
        turn = self.writer.step(requests, NOW)
        assert [record.lsn for record in turn.records] == list(range(self.lsn + 1, turn.lsn + 1))
        self.lsn = turn.lsn
        if turn.back is not None:
            self.applied.revert(turn.back.revert, turn.back.lsn)
            self.writer.went_back(turn.back)
        for sealed in turn.sealed:
            for index, row in enumerate(sealed.rows):
                self.published[row.transaction.hash] = sealed.header.number, index
        self.writer.published(self.applied.tip.number)
        return turn


def transfer(nonce: int, *, sender: int = 0, gwei: int = 1, wei: int = 1) -> PooledTransaction:
    return signed_transfer(SECRETS[sender], STRANGER, nonce, gwei=gwei, wei=wei)


def submit(entry: PooledTransaction | Draft, **how: Any) -> Submit:
    return Submit(never, entry, **how)


def types(turn: Turn) -> list[RecordType]:
    return [record.type for record in turn.records]


def answers(turn: Turn) -> list[object]:
    return [answer for _, answer in turn.answers]


def hashes(entries: Iterable[PooledTransaction]) -> list[Hash32]:
    return [entry.transaction.hash for entry in entries]


def test_a_transfer_is_a_block_of_records_and_an_answer() -> None:
    node, entry = Stepped(), transfer(0)
    request = submit(entry)
    turn = node.step(request)
    assert types(turn) == BLOCK
    assert turn.records[1].payload == entry.raw
    assert turn.answers == [(request, entry.transaction.hash)]
    assert turn.admitted == [entry]
    assert (turn.head.header.number, turn.head.position, turn.head.lsn) == (1, 1, turn.lsn)
    assert [[row.receipt.status for row in sealed.rows] for sealed in turn.sealed] == [[1]]
    assert (turn.accepted, turn.back, turn.ended) == ([], None, [])


def test_equal_requests_make_equal_turns() -> None:
    one, other = Stepped(), Stepped()
    for requests in ([Mine(never, 2)], [Control(never, "automine", False)], [Freeze(never)]):
        first, second = one.step(*requests), other.step(*requests)
        assert (first.records, first.head, answers(first)) == (second.records, second.head, answers(second))
    for nonce in (1, 0):
        first, second = one.step(submit(transfer(nonce))), other.step(submit(transfer(nonce)))
        assert (first.records, first.head) == (second.records, second.head)


def test_what_no_block_takes_is_logged_as_waiting() -> None:
    node, ahead = Stepped(), transfer(1)
    turn = node.step(submit(ahead))
    assert types(turn) == [RecordType.POOL_ADMIT]
    assert ahead.lsn == turn.records[0].lsn
    assert turn.head.header.number == 0
    assert types(node.step(submit(transfer(0)))) == [BLOCK[0], BLOCK[1], BLOCK[1], BLOCK[2]]


def test_a_refusal_changes_nothing() -> None:
    node = Stepped()
    turn = node.step(submit(transfer(0, wei=10**30)))
    assert isinstance(answers(turn)[0], InsufficientFunds)
    assert (turn.records, turn.admitted, len(node.pool)) == ([], [], 0)
    node.step(submit(transfer(0)))
    assert isinstance(answers(node.step(submit(transfer(0, wei=2))))[0], NonceTooLow)


def test_the_same_bytes_again_are_answered_and_make_nothing() -> None:
    node, entry = Stepped(), transfer(0)
    node.step(submit(entry))
    again = node.step(submit(transfer(0)), submit(transfer(0), wait_mined=True))
    assert answers(again) == [entry.transaction.hash] * 2
    assert again.records == []


def test_a_block_in_flight_has_its_transactions() -> None:
    """Nobody has published it yet: the transaction is neither taken again nor waited for."""
    node, entry = Stepped(), transfer(0)
    node.writer.step([submit(entry)], NOW)
    again = node.writer.step([submit(transfer(0), wait_mined=True)], NOW)
    assert answers(again) == [entry.transaction.hash]
    assert again.records == []


def test_who_waits_for_the_block_is_answered_with_it() -> None:
    node, entry = Stepped(automine=False), transfer(0)
    request = submit(entry, wait_mined=True)
    assert answers(node.step(request)) == []
    turn = node.step(Mine(never))
    assert turn.answers[0] == (request, entry.transaction.hash)
    assert answers(turn)[1] == 1


def test_who_does_not_wait_for_the_disk_is_told_apart() -> None:
    node, entry = Stepped(), transfer(0)
    turn = node.step(submit(entry, wait_durable=False))
    assert [answer for _, answer in turn.accepted] == [entry.transaction.hash]
    assert turn.answers == []


def test_a_draft_gets_its_nonce_when_its_turn_comes() -> None:
    node, nonces = Stepped(), list[int]()

    def sign(nonce: int) -> PooledTransaction:
        nonces.append(nonce)
        return transfer(nonce)

    node.step(submit(Draft(SENDERS[0], sign)), submit(Draft(SENDERS[0], sign)))
    assert nonces == [0, 1]


def test_a_replacement_ends_what_it_replaces() -> None:
    node, first, better = Stepped(automine=False), transfer(0), transfer(0, gwei=2)
    node.step(submit(first, wait_mined=True))
    turn = node.step(submit(better))
    assert types(turn) == [RecordType.FATE, RecordType.CHEAT, RecordType.POOL_ADMIT]
    assert [(entry, fate.kind) for entry, fate in turn.ended] == [(first, REPLACED)]
    assert isinstance(answers(turn)[0], InvalidTransaction)
    assert node.pool.entries() == [better]


def test_what_a_block_makes_invalid_is_dropped_with_it() -> None:
    node = Stepped(automine=False)
    cost = 21_000 * 100 * GWEI
    node.step(submit(transfer(0)), submit(transfer(1)))
    node.step(Cheat(never, "amend", ([SENDERS[0], None, cost + 1, None, []],)))
    turn = node.step(Mine(never))
    assert [(entry.transaction.nonce, fate.kind) for entry, fate in turn.ended] == [(1, DROPPED)]
    assert len(node.pool) == 0


def test_a_setting_is_one_record_and_takes_effect_in_the_same_turn() -> None:
    node = Stepped()
    turn = node.step(Control(never, "automine", False), submit(transfer(0)))
    assert types(turn) == [RecordType.COMMAND, RecordType.POOL_ADMIT]
    assert decode_command(turn.records[0].payload) == ("automine", [False])
    assert not node.applied.settings.automine


def test_a_setting_of_one_block_is_consumed_by_it() -> None:
    node = Stepped()
    node.step(Cheat(never, "set_next_base_fee", (8 * GWEI,)))
    turn = node.step(Mine(never, 2))
    assert [sealed.header.base_fee for sealed in turn.sealed] == [8 * GWEI, 7 * GWEI], "an empty block lowers it"
    assert node.applied.settings.next_base_fee is None


def test_many_blocks_take_several_turns_and_others_are_served_between() -> None:
    node, count = Stepped(), 2 * BLOCKS_AT_ONCE + 1
    request = Mine(never, count)
    first = node.step(request)
    assert (len(first.sealed), answers(first), node.writer.is_mining) == (BLOCKS_AT_ONCE, [], True)
    entry = transfer(0)
    second = node.step(submit(entry, wait_mined=True))
    assert answers(second) == [entry.transaction.hash]
    last = node.step()
    assert answers(last) == [count + 1]
    assert not node.writer.is_mining


def test_a_key_is_answered_once() -> None:
    node = Stepped()
    turn = node.step(Mine(never, key="k"), Mine(never, key="k"), Control(never, "automine", False, key="k"))
    assert answers(turn) == [1, 1, 1]
    assert len(turn.sealed) == 1
    assert node.applied.settings.automine


def test_the_way_back_is_left_to_the_committer() -> None:
    """Readers would see it before it is durable. What comes back keeps its arrival."""
    node, waiting, later = Stepped(automine=False), transfer(5), transfer(6)
    node.step(submit(waiting))
    arrival = waiting.arrival
    (snapshot,) = answers(node.step(Cheat(never, "snapshot")))
    node.step(Mine(never, 3), submit(later, wait_mined=True))
    turn = node.writer.step([Cheat(never, "revert", (snapshot,), "key")], NOW)
    assert types(turn) == [RecordType.FATE, RecordType.CHEAT, RecordType.COMMAND]
    assert turn.back is not None
    assert (turn.back.revert.block, turn.back.lsn) == (0, turn.records[1].lsn)
    assert [(entry, fate.kind) for entry, fate in turn.ended] == [(later, REVERTED)]
    assert [type(answer) for answer in answers(turn)] == [bool, TransactionDropped]
    assert node.applied.tip.number == 3
    assert node.pool.entries() == [waiting, later]
    node.applied.revert(turn.back.revert, turn.back.lsn)
    node.writer.went_back(turn.back)
    assert (node.applied.tip.number, node.applied.snapshots) == (0, {})
    assert node.pool.entries() == [waiting]
    assert waiting.arrival == arrival


def test_a_way_back_that_there_is_not_changes_nothing() -> None:
    node = Stepped()
    turn = node.step(Cheat(never, "revert", (7,)))
    assert (answers(turn), turn.back, turn.records) == ([False], None, [])


def test_freezing_notes_what_the_pool_still_needs() -> None:
    node, waiting = Stepped(), transfer(5)
    node.step(KeepTemplate(never, "t", b"1"), submit(waiting))
    assert answers(node.step(Freeze(never))) == [0]
    note = node.applied.frozen
    assert note is not None
    assert (note.lsn, note.start.needed_lsn) == (node.lsn, waiting.lsn)
    assert answers(node.step(Mine(never), Freeze(never))) == [1, None], "one checkpoint after the other"


def test_what_waits_at_the_end_is_told_so() -> None:
    node = Stepped(automine=False)
    mine, waiting = Mine(never, 2 * BLOCKS_AT_ONCE), submit(transfer(1), wait_mined=True)
    node.step(mine, waiting)
    left = list(node.writer.stop())
    assert [request for request, _ in left] == [mine, waiting]
    assert all(isinstance(error, NodeStopping) for _, error in left)


@pytest.mark.parametrize("name", ["revert", "roll_back", "reset"])
def test_blocks_under_way_do_not_go_on_in_a_turn_that_goes_back(name: str) -> None:
    node = Stepped()
    node.step(Mine(never, BLOCKS_AT_ONCE + 5))
    arguments = () if name == "reset" else (0,)
    turn = node.step(Cheat(never, name, arguments))
    assert turn.sealed == []
    assert node.writer.is_mining
