"""Executing the log and applying its deltas make the same chain as the original run; what differs is named."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from chain.state import Account, StateDelta
from chain.types import Address
from storage.blocks.delta import AUTO_GAS, Deltas, decode_delta, encode_delta, first_difference
from storage.errors import InvalidRecord, StateRootMismatch
from storage.wal import RecordType
from tests.simulation.life import Life
from tests.simulation.record import facts_of
from tests.simulation.test_determinism import live, random_life, without_derived
from vm.journal import Journal

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))


def with_deltas(blocks: int, seed: int) -> Life:
    workload = random_life(blocks, seed)
    return live(replace(workload, options={**workload.options, "deltas": Deltas.ON}), seed)


def replayed(life: Life, deltas: Deltas) -> Life:
    again = Life(without_derived(life.disk), life.record, {**life.options, "deltas": deltas})
    again.check()
    return again


def compare(blocks: int, seed: int) -> None:
    life = with_deltas(blocks, seed)
    count = sum(record.type == RecordType.BLOCK_DELTA for record in life.store.wal.records())
    head = life.store.head.number
    assert count == head >= blocks
    executed, applied = replayed(life, Deltas.OFF), replayed(life, Deltas.ON)
    for other in (executed, applied):
        assert other.store.head == life.store.head
        assert [facts_of(other.store, number) for number in range(head + 1)] == [
            facts_of(life.store, number) for number in range(head + 1)
        ]
        for number in range(1, head + 1):
            assert other.store.chain.receipts(number) == life.store.chain.receipts(number)
            assert other.store.chain.senders(number) == life.store.chain.senders(number)
    assert executed.digest() == applied.digest()


def test_random_blocks_executed_and_applied_are_the_same() -> None:
    compare(60, SEED)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(200, 210))
def test_many_random_blocks_executed_and_applied_are_the_same(seed: int) -> None:
    compare(1000, seed)


def test_deltas_are_applied_and_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    life = with_deltas(6, SEED)

    def executed(*_: object) -> None:
        raise AssertionError("a block was executed")

    monkeypatch.setattr("node.engine.executor.BlockBuilder.__init__", executed)
    assert replayed_without_check(life, Deltas.ON).store.head == life.store.head
    with pytest.raises(AssertionError):
        replayed_without_check(life, Deltas.OFF)


def replayed_without_check(life: Life, deltas: Deltas) -> Life:
    return Life(without_derived(life.disk), life.record, {**life.options, "deltas": deltas})


def test_a_difference_is_told_with_its_first_account(monkeypatch: pytest.MonkeyPatch) -> None:
    life = with_deltas(6, SEED)
    wrong = Address(b"\x01" * 20)

    right = Journal.delta

    def other_rules(journal: Journal) -> StateDelta:
        delta = right(journal)
        delta.accounts[wrong] = Account(1, 2)
        return delta

    monkeypatch.setattr(Journal, "delta", other_rules)
    with pytest.raises(StateRootMismatch, match=r"block 1 .*account 0x0101.* is Account.*sealed as unchanged"):
        replayed_without_check(life, Deltas.OFF)
    replayed_without_check(life, Deltas.ON)  # nothing is executed


def test_every_shortened_or_extended_record_is_refused() -> None:
    life = with_deltas(3, SEED)
    (payload, *_) = (r.payload for r in life.store.wal.records() if r.type == RecordType.BLOCK_DELTA)
    known, header = decode_delta(payload), life.store.chain.header(1)
    assert header is not None
    assert encode_delta(known.delta, known.receipts, known.senders, header) == payload
    for length in range(len(payload)):
        with pytest.raises(InvalidRecord):
            decode_delta(payload[:length])
    with pytest.raises(InvalidRecord):
        decode_delta(payload + b"\0")


def test_which_blocks_get_one() -> None:
    assert Deltas.ON.wants(0, 0)
    assert not Deltas.OFF.wants(10**9, 1)
    assert not Deltas.AUTO.wants(500 * 21_000, 500)
    assert Deltas.AUTO.wants(21_000 + AUTO_GAS, 1)


def test_the_first_difference_is_by_address_then_slot() -> None:
    low, high = Address(b"\x01" * 20), Address(b"\x02" * 20)
    expected = StateDelta(accounts={low: Account(1, 1), high: Account(1, 1)}, storage={low: {1: 1, 2: 2}})
    got = StateDelta(accounts={low: Account(1, 1), high: None}, storage={low: {1: 1, 2: 3}})
    assert first_difference(expected, got) == f"account 0x{low.hex()}, slot 0x2 is 3, sealed as 2"
    assert first_difference(expected, expected) == ""
