"""A replacement takes its predecessor's place for good: it is mined, and is what the next replacement has to beat."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import UnderpricedReplacement
from chain.fees import cost_of
from chain.types import Address
from node.engine.pool import Pool, PooledTransaction
from node.engine.requests import Submit
from tests.durability.nodes import LocalNode
from tests.signed import signed_transfer

STRANGER = Address(b"\x42" * 20)


def transfer(node: LocalNode, nonce: int, gwei: int) -> PooledTransaction:
    return signed_transfer(node.secrets[0], STRANGER, nonce, gwei=gwei, wei=gwei)


def blocks_of(node: LocalNode, *requests: tuple[int, object]) -> list[int]:
    """Transactions of each block that one turn seals for submissions: nonce, and the body it came in."""
    node.ask(*(lambda done, n=n, body=body: Submit(done, transfer(node, n, 1), body=body) for n, body in requests))  # type: ignore[misc]
    blocks = [node.store.chain.block(number + 1) for number in range(node.store.head.number)]
    return [len(block.transactions) for block in blocks if block is not None]


def test_what_comes_alone_gets_a_block_of_its_own(tmp_path: Path) -> None:
    node = LocalNode(tmp_path)
    first, second = object(), object()
    assert blocks_of(node, (0, None), (1, None), (2, first), (3, first), (4, second), (5, None)) == [1, 1, 2, 1, 1]
    node.close()


def test_what_was_missing_is_sealed_with_what_waited_for_it(tmp_path: Path) -> None:
    node = LocalNode(tmp_path)
    assert blocks_of(node, (2, None), (1, None), (0, None), (3, None)) == [3, 1]
    node.close()


def test_a_replacement_is_mined_and_has_to_be_beaten(tmp_path: Path) -> None:
    node = LocalNode(tmp_path)
    node.send(transfer(node, 1, 1))
    better = node.send(transfer(node, 1, 2))
    with pytest.raises(UnderpricedReplacement):
        node.send(transfer(node, 1, 1))
    assert [entry.transaction.hash for entry in node.pool.entries()] == [better]
    first = node.send(transfer(node, 0, 1))
    mined = [node.store.transaction_place(known) for known in (first, better)]
    assert None not in mined
    assert not len(node.pool)
    node.close()


@given(
    st.lists(
        st.tuples(st.sampled_from(("add", "put", "remove", "take", "replace_all")), st.integers(0, 9)), max_size=30
    )
)
def test_what_a_sender_may_spend_is_the_cost_of_what_waits(moves: list[tuple[str, int]]) -> None:
    secrets = [bytes([number]) * 32 for number in (1, 2)]
    offered = [
        signed_transfer(secrets[n % 2], STRANGER, n // 2 % 2, gwei=1 + n // 4, wei=n) for n in range(10)
    ]
    pool = Pool()
    for move, number in moves:
        entry = offered[number]
        with contextlib.suppress(UnderpricedReplacement):
            if move == "replace_all":
                pool.replace_all(offered[:number])
            elif move == "take":
                pool.take(entry, 1)
            else:
                getattr(pool, move)(entry)
        for sender in {one.sender for one in offered}:
            waiting = [one.transaction for one in pool.entries() if one.sender == sender]
            for but in range(3):
                assert pool.spending(sender, but) == sum(cost_of(tx) for tx in waiting if tx.nonce != but)
