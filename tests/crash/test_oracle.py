"""The oracle itself: it passes an honest chain and catches each way a node could forget."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.crash.model import Model
from tests.crash.oracle import Oracle
from tests.crash.record import Kind, Record, Sent
from tests.rpc import Rpc

ALICE, BOB, TOKEN = ("0x" + byte * 20 for byte in ("a1", "b0", "70"))
GAS_PRICE = 2


class FakeNode:
    """Ten blocks with one transfer of 5 wei from Alice to Bob each, answered like JSON-RPC."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = [self._block(number) for number in range(11)]
        self.receipts = {
            block["transactions"][0]["hash"]: {
                "status": "0x1", "gasUsed": hex(21_000), "transactionIndex": "0x0",
                "blockHash": block["hash"],
            }
            for block in self.blocks[1:]
        }  # fmt: skip
        self.stolen = 0

    @staticmethod
    def _block(number: int) -> dict[str, Any]:
        transaction = {
            "hash": f"0xaa{number}", "blockHash": f"0xb{number}", "transactionIndex": "0x0",
            "maxFeePerGas": hex(GAS_PRICE), "maxPriorityFeePerGas": "0x1",
        }  # fmt: skip
        return {
            "number": hex(number), "hash": f"0xb{number}", "parentHash": f"0xb{number - 1}",
            "baseFeePerGas": hex(GAS_PRICE - 1), "transactions": [transaction] if number else [],
        }  # fmt: skip

    def batch(self, calls: list[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_blockNumber":
            return hex(len(self.blocks) - 1)
        if method == "eth_getBlockByNumber":
            return copy.deepcopy(self.blocks[int(params[0], 16)])
        if method == "eth_getTransactionReceipt":
            return copy.deepcopy(self.receipts.get(params[0]))
        if method == "eth_getTransactionByHash":
            found = [tx for block in self.blocks for tx in block["transactions"] if tx["hash"] == params[0]]
            return copy.deepcopy(found[0]) if found else None
        number = int(params[1], 16)
        if method == "eth_getTransactionCount":
            return hex(number)
        if method == "eth_getBalance":
            spent = number * (5 + 21_000 * GAS_PRICE)
            return hex(10**18 - spent - self.stolen if params[0] == ALICE else number * 5)
        assert method == "eth_call"
        return f"0x{7:064x}"


def record_of(node: FakeNode) -> tuple[Record, Oracle]:
    """What a client would remember of this chain, and an oracle that has not looked yet."""
    record, model = Record(), Model()
    model.start(0, ether={ALICE: 10**18}, tokens={ALICE: 7}, nonces={ALICE: 0})
    for number, block in enumerate(node.blocks[1:]):
        hash_ = block["transactions"][0]["hash"]
        receipt = copy.deepcopy(node.receipts[hash_]) if number % 2 else None
        record.put_on_wire(Sent(hash_, ALICE, number, Kind.ETHER, BOB, 5, acknowledged=True, receipt=receipt))
    record.observe("eth_getBlockByNumber", ("0x3", True), copy.deepcopy(node.blocks[3]))
    return record, Oracle(record, model, TOKEN, 0)


def check(node: FakeNode, oracle: Oracle) -> None:
    oracle.check(cast("Rpc", node), random.Random(1), everything=True)


def test_an_honest_chain_passes_twice() -> None:
    node = FakeNode()
    _, oracle = record_of(node)
    check(node, oracle)
    check(node, oracle)


def forget_the_last_block(node: FakeNode) -> None:
    node.blocks.pop()


def include_twice(node: FakeNode) -> None:
    node.blocks[5]["transactions"].append(node.blocks[4]["transactions"][0])


def change_a_receipt(node: FakeNode) -> None:
    node.receipts["0xaa4"]["cumulativeGasUsed"] = "0x1"


def lose_a_receipt(node: FakeNode) -> None:
    node.receipts["0xaa5"] = None  # type: ignore[assignment]


def rewrite_a_block(node: FakeNode) -> None:
    node.blocks[3]["extraData"] = "0x01"


def cut_the_chain_of_parents(node: FakeNode) -> None:
    node.blocks[6]["parentHash"] = "0xb4"


def invent_a_transaction(node: FakeNode) -> None:
    node.blocks[7]["transactions"][0]["hash"] = "0xff"


def steal(node: FakeNode) -> None:
    node.stolen = 1


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (forget_the_last_block, "acknowledged and lost"),
        (include_twice, "is in block"),
        (change_a_receipt, "the receipt changed"),
        (lose_a_receipt, "has no receipt"),
        (rewrite_a_block, "eth_getBlockByNumber"),
        (cut_the_chain_of_parents, "does not follow"),
        (invent_a_transaction, "nobody sent"),
        (steal, "eth_getBalance"),
    ],
)
def test_each_kind_of_damage_is_caught(damage: Callable[[FakeNode], None], complaint: str) -> None:
    node = FakeNode()
    _, oracle = record_of(node)
    damage(node)
    with pytest.raises(AssertionError, match=complaint):
        check(node, oracle)


def test_damage_after_a_first_look_is_caught() -> None:
    for damage in (forget_the_last_block, change_a_receipt, rewrite_a_block, steal):
        node = FakeNode()
        _, oracle = record_of(node)
        check(node, oracle)
        damage(node)
        with pytest.raises(AssertionError):
            check(node, oracle)


def test_complaints_of_clients_are_failures() -> None:
    node = FakeNode()
    record, oracle = record_of(node)
    record.acknowledge(record.sent["0xaa1"], "0xother")
    with pytest.raises(AssertionError, match="0xother"):
        check(node, oracle)
