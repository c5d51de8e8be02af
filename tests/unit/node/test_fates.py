"""Every transaction that was answered with its hash is mined, waits, or has a fate that survives a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.errors import InsufficientFunds
from chain.types import Address, Hash32
from node.engine.requests import Cheat, Control
from storage.blocks.fates import DROPPED, FATES_MAX, REPLACED, REVERTED, Fate, FateShelf, decode_fates, encode_fates
from storage.errors import InvalidRecord
from tests.durability.nodes import GWEI, LocalNode
from tests.unit.node.test_pool import transfer

STRANGER = Address(b"\x42" * 20)


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    local = LocalNode(tmp_path / "data")
    local.ask(lambda done: Control(done, "automine", False))
    return local


def cheat(node: LocalNode, name: str, *arguments: Any) -> Any:
    (answer,) = node.ask(lambda done: Cheat(done, name, arguments))
    return answer


def amend_balance(node: LocalNode, wei: int) -> None:
    cheat(node, "amend", [node.accounts[0], None, wei, None, []])


def replaced(node: LocalNode) -> Hash32:
    first = node.send(transfer(node, 0, 1))
    node.send(transfer(node, 0, 2))
    return first


def out_of_funds(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 0, 1))
    amend_balance(node, 1)
    node.mine()
    return sent


def dropped(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 0, 1))
    cheat(node, "drop", sent)
    return sent


def dropped_by_sender(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 3, 1))
    cheat(node, "drop_sender", node.accounts[0])
    return sent


def dropped_with_all(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 0, 1))
    cheat(node, "drop_all")
    return sent


def nonce_raised(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 1, 1))
    cheat(node, "amend", [node.accounts[0], 2, None, None, []])
    return sent


def mined_then_reverted(node: LocalNode) -> Hash32:
    taken = cheat(node, "snapshot")
    sent = node.send(transfer(node, 0, 1))
    node.mine()
    cheat(node, "revert", taken)
    return sent


def waited_then_reverted(node: LocalNode) -> Hash32:
    taken = cheat(node, "snapshot")
    sent = node.send(transfer(node, 0, 1))
    cheat(node, "revert", taken)
    return sent


def rolled_back(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 0, 1))
    node.mine()
    cheat(node, "roll_back", 1)
    return sent


def reset(node: LocalNode) -> Hash32:
    sent = node.send(transfer(node, 5, 1))
    cheat(node, "reset")
    return sent


WAYS: list[tuple[Callable[[LocalNode], Hash32], str, str]] = [
    (replaced, REPLACED, "pays more"),
    (out_of_funds, DROPPED, "insufficient funds"),
    (dropped, DROPPED, "anvil_dropTransaction"),
    (dropped_by_sender, DROPPED, "anvil_removePoolTransactions"),
    (dropped_with_all, DROPPED, "anvil_dropAllTransactions"),
    (nonce_raised, DROPPED, "nonce"),
    (mined_then_reverted, REVERTED, "block 1 was taken out"),
    (waited_then_reverted, REVERTED, "it was waiting"),
    (rolled_back, REVERTED, "block 1 was taken out"),
    (reset, REVERTED, "it was waiting"),
]


@pytest.mark.parametrize(("way", "kind", "words"), WAYS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_way_out_of_the_pool_is_told_also_after_a_crash(
    node: LocalNode, way: Callable[[LocalNode], Hash32], kind: str, words: str
) -> None:
    sent = way(node)
    first = node.store.fates.get(sent)
    assert first is not None
    assert first.kind == kind
    assert words in first.reason
    assert node.pool.get(sent) is None
    again = reopened(node)
    assert again.store.fates.get(sent) == first
    again.checkpoint()
    third = reopened(again)
    assert third.store.fates.get(sent) == first
    third.close()


def reopened(node: LocalNode) -> LocalNode:
    """As after a kill: nothing but closed files."""
    node.close()
    return LocalNode(node.data_dir)


def test_the_same_bytes_again_after_a_revert_wait_again(node: LocalNode) -> None:
    candidate = transfer(node, 0, 1)
    taken = cheat(node, "snapshot")
    sent = node.send(candidate)
    node.mine()
    cheat(node, "revert", taken)
    node.send(candidate)
    assert node.pool.get(sent) is not None
    node.mine()
    assert node.store.transaction_place(sent) is not None
    node.close()


def test_a_balance_pays_for_all_that_waits(node: LocalNode) -> None:
    """The second was taken, and dropped by the block that the first emptied the account in."""
    cost = 21_000 * 100 * GWEI + 1
    amend_balance(node, 2 * cost - 1)
    node.send(transfer(node, 0, 1))
    with pytest.raises(InsufficientFunds, match="waiting transactions"):
        node.send(transfer(node, 1, 1))
    amend_balance(node, 2 * cost)
    node.send(transfer(node, 1, 1))
    node.close()


def test_a_replacement_does_not_pay_for_what_it_replaces(node: LocalNode) -> None:
    amend_balance(node, 21_000 * 200 * GWEI + 2)
    node.send(transfer(node, 0, 1))
    node.send(transfer(node, 0, 2))
    node.close()


def test_the_oldest_fates_are_forgotten() -> None:
    shelf = FateShelf()
    names = [Hash32(number.to_bytes(32, "big")) for number in range(FATES_MAX + 2)]
    shelf.put([(name, Fate(DROPPED, "why")) for name in names[:-1]])
    shelf.put([(names[1], Fate(REPLACED, "why", names[2]))])
    shelf.put([(names[-1], Fate(DROPPED, "why"))])
    assert len(shelf) == FATES_MAX
    assert shelf.get(names[0]) is None
    assert shelf.get(names[2]) is None
    assert shelf.get(names[1]) == Fate(REPLACED, "why", names[2])
    puts, deletes = shelf.take_changes()
    assert (len(puts), len(deletes)) == (FATES_MAX, 2)
    assert shelf.take_changes() == ({}, [])


def test_records_are_read_strictly() -> None:
    fates = [(Hash32(b"\1" * 32), Fate(REPLACED, "why", b"\2" * 32)), (Hash32(b"\3" * 32), Fate(REVERTED, "", None, 7))]
    payload = encode_fates(fates)
    assert decode_fates(payload) == fates
    short = encode_fates([(Hash32(b"1"), fates[0][1])])
    for wrong in (b"", payload[:-1], payload + b"\0", b"\x91\x95\xa1a\xa1b\xa1c\xc0\xc0", short):
        with pytest.raises(InvalidRecord):
            decode_fates(wrong)
