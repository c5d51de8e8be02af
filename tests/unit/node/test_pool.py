"""A replacement takes its predecessor's place for good: it is mined, and is what the next replacement has to beat."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.crypto import address_of_secret
from chain.errors import UnderpricedReplacement
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.engine.executor import Candidate
from tests.durability.nodes import GWEI, LocalNode

STRANGER = Address(b"\x42" * 20)


def transfer(node: LocalNode, nonce: int, gwei: int) -> Candidate:
    unsigned = Transaction(
        type=2,
        chain_id=node.opened.config.chain_id,
        nonce=nonce,
        gas_price=0,
        max_fee_per_gas=100 * gwei * GWEI,
        max_priority_fee_per_gas=gwei * GWEI,
        gas_limit=21_000,
        to=STRANGER,
        value=gwei,
        data=b"",
    )
    signed = sign_transaction(unsigned, node.secrets[0])
    return Candidate(signed, address_of_secret(node.secrets[0]), encode_transaction(signed))


def test_a_replacement_is_mined_and_has_to_be_beaten(tmp_path: Path) -> None:
    node = LocalNode(tmp_path)
    node.send(transfer(node, 1, 1))
    better = node.send(transfer(node, 1, 2))
    with pytest.raises(UnderpricedReplacement):
        node.send(transfer(node, 1, 1))
    assert [entry.transaction.hash for entry in node.ledger.pool.entries()] == [better]
    first = node.send(transfer(node, 0, 1))
    mined = [node.ledger.location(known) for known in (first, better)]
    assert None not in mined
    assert not len(node.ledger.pool)
    node.close()
