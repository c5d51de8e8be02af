"""Blocks and receipts come back equal from the tail, from the store, and after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chain.receipts import Log, Receipt, receipts_root
from chain.transactions import recover_sender, sign_transaction
from chain.types import Address, Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.receipts import decode_receipts, encode_receipts
from storage.errors import StateStoreCorrupt
from tests.simulation.simkv import SimKv
from tests.unit.storage.chains import make_chain


def checkpoint(data: ChainData, kv: SimKv, upto: int) -> None:
    kv.write(*data.checkpoint_batch(upto))
    data.checkpoint_done(upto)


def assert_holds(data: ChainData, chain: list) -> None:  # type: ignore[type-arg]
    for number, (block, receipts) in enumerate(chain):
        assert data.header(number) == block.header
        assert data.block(number) == block
        assert data.receipts(number) == tuple(receipts)
        assert data.number_of(block.hash) == number
        assert data.hash_of(number) == block.hash
        assert receipts_root(data.receipts(number)) == block.header.receipts_root  # type: ignore[arg-type]
    for number in (-1, len(chain), 2**40):
        assert (
            data.header(number) is data.block(number) is data.receipts(number) is data.hash_of(number) is None
        )
    assert data.number_of(Hash32(bytes(32))) is None


def test_tail_store_and_restart_give_the_same_chain() -> None:
    kv, chain = SimKv(), make_chain(20)
    data = ChainData(kv)
    for number, (block, receipts) in enumerate(chain):
        data.add(block, receipts)
        if number in (0, 6, 13):
            checkpoint(data, kv, number - (number > 0))
        assert_holds(data, chain[: number + 1])
    checkpoint(data, kv, 19)
    assert data.checkpointed == data.head == 19
    assert_holds(data, chain)
    again = ChainData(kv.copy())
    assert again.head == again.checkpointed == 19
    assert_holds(again, chain)


def test_blocks_come_in_order_with_their_receipts() -> None:
    chain = make_chain(3)
    data = ChainData(SimKv())
    with pytest.raises(ValueError, match="follow"):
        data.add(*chain[1])
    data.add(*chain[0])
    with pytest.raises(ValueError, match="receipts"):
        data.add(chain[1][0], [])
    with pytest.raises(ValueError, match="between"):
        data.checkpoint_batch(1)


@pytest.mark.parametrize("kind", [b"H", b"B", b"R"])
def test_damage_is_an_error(kind: bytes) -> None:
    kv, chain = SimKv(), make_chain(3)
    data = ChainData(kv)
    for block, receipts in chain:
        data.add(block, receipts)
    checkpoint(data, kv, 2)
    key = kind + (1).to_bytes(8, "big")
    for damage in ({key: b"\xff\x00"}, {}):
        copy = kv.copy()
        copy.write(damage, [] if damage else [key])
        broken = ChainData(copy)
        with pytest.raises(StateStoreCorrupt):
            broken.receipts(1) if kind == b"R" else broken.block(1)
        assert broken.block(2) == chain[2][0]


def test_receipts_of_all_shapes_survive() -> None:
    log = Log(Address(b"\x01" * 20), (Hash32(b"\x02" * 32),) * 4, b"data")
    receipts = (
        Receipt(0, None, b"\x07" * 32, 5, ()),
        Receipt(3, 1, None, 10, (log, Log(log.address, (), b"")), 5, 2**200, log.address, 131_072, 2**80),
        Receipt(2, 0, None, 12, (), 2, 0, None, 0, 0),
    )
    assert decode_receipts(encode_receipts(receipts, ())) == (receipts, ())
    senders = (log.address, Address(bytes(20)), log.address)
    assert decode_receipts(encode_receipts(receipts, senders)) == (receipts, senders)
    for data in (
        b"",
        b"\x93\x02\x90\xc4\x00",
        encode_receipts(receipts, ())[:-1],
        encode_receipts(receipts, senders[:1]),
    ):
        with pytest.raises(StateStoreCorrupt):
            decode_receipts(data)


def test_senders_are_kept_or_recovered() -> None:
    kv, chain = SimKv(), make_chain(3)
    data = ChainData(kv)
    data.add(*chain[0])
    given = tuple(Address(bytes([n]) * 20) for n in range(3))
    data.add(*chain[1], given)
    with pytest.raises(ValueError, match="senders"):
        data.add(*chain[2], given[:2])
    signed = [sign_transaction(tx, bytes([n + 1]) * 32) for n, tx in enumerate(chain[2][0].transactions)]
    data.add(replace(chain[2][0], transactions=tuple(signed)), chain[2][1])
    for _ in range(2):
        assert [data.senders(n) for n in (0, 1, 3)] == [(), given, None]
        assert data.senders(2) == tuple(recover_sender(tx) for tx in signed)
        checkpoint(data, kv, 2)


@pytest.mark.parametrize("stored", [3, 6, 9])
def test_a_rewind_replaces_blocks_in_memory_and_in_the_store(stored: int) -> None:
    kv, chain, other = SimKv(), make_chain(10), make_chain(10, seed=2)
    data = ChainData(kv)
    for number, entry in enumerate(chain):
        data.add(*entry)
        if number == stored:
            checkpoint(data, kv, number)
    assert_holds(data, chain)
    data.rewind(5)
    assert_holds(data, chain[:6])
    assert data.number_of(chain[7][0].hash) is None
    checkpoint(data, kv, 5)
    assert_holds(ChainData(kv.copy()), chain[:6])
    assert not [key for key in kv.items() if key[:1] in b"HBR" and int.from_bytes(key[1:], "big") > 5]
    mixed = chain[:6] + other[6:9]
    for entry in other[6:9]:
        data.add(*entry)
    data.rewind(7)
    data.add(*other[8])
    assert_holds(data, mixed)
    checkpoint(data, kv, 8)
    assert_holds(data, mixed)
    assert_holds(ChainData(kv.copy()), mixed)
    assert len([key for key in kv.items() if key[:1] == b"N"]) == 9
    with pytest.raises(ValueError, match="between"):
        data.rewind(9)
