"""Holds the restarted node to the record: every acknowledged transaction, block, receipt and old balance."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from tests.crash.model import Model
from tests.crash.record import Observation, Record, Sent
from tests.rpc import Rpc

T = TypeVar("T")

BATCH_CALLS = 50
SAMPLE = 300
"""Older things checked again each cycle, at random; the last cycle checks everything."""


class Oracle:
    """Knows the chain as far as it has walked it, and asks again for what it knows."""

    def __init__(
        self, record: Record, model: Model, token: str, first_block: int, samples: int = SAMPLE
    ) -> None:
        self._record = record
        self._model = model
        self._token = token
        self._walked = first_block
        self._hashes: dict[int, str] = {}
        self._place: dict[str, tuple[int, int]] = {}
        self._observations_checked = 0
        self._samples = samples

    def check(self, rpc: Rpc, chance: random.Random, *, everything: bool) -> int:
        """Assert the whole contract of a node that cannot forget; returns the head's number."""
        assert not self._record.complaints, self._record.complaints
        head = int(rpc.call("eth_blockNumber"), 16)
        assert head >= self._walked, f"the head went back from {self._walked} to {head}"
        fresh = self._walk(rpc, head)
        for sent in self._record.sent.values():
            if sent.acknowledged:
                assert sent.hash in self._place, f"acknowledged and lost: {sent}"
        older = [sent for sent in self._landed() if sent.hash not in fresh]
        self._check_receipts(rpc, older if everything else self._sample(chance, older))
        self._check_observations(rpc, chance, everything=everything)
        self._check_model(rpc, chance, head)
        return head

    def _sample(self, chance: random.Random, things: list[T]) -> list[T]:
        return chance.sample(things, min(self._samples, len(things)))

    def landed(self, sent: Sent) -> bool:
        """Whether the transaction is in the chain as far as it was walked."""
        return sent.hash in self._place

    def _landed(self) -> list[Sent]:
        return [sent for sent in self._record.sent.values() if sent.hash in self._place]

    def _walk(self, rpc: Rpc, head: int) -> set[str]:
        """Read the blocks since the last walk: each links to its parent and holds only what we sent, once."""
        fresh: set[str] = set()
        numbers = range(self._walked + 1, head + 1)
        for some in pieces(numbers):
            blocks = rpc.batch([("eth_getBlockByNumber", (hex(number), True)) for number in some])
            for number, block in zip(some, blocks, strict=True):
                assert block is not None, f"block {number} of {head} is missing"
                fresh |= self._take_block(rpc, number, block)
        self._walked = head
        return fresh

    def _take_block(self, rpc: Rpc, number: int, block: dict[str, Any]) -> set[str]:
        assert int(block["number"], 16) == number
        parent = self._hashes.get(number - 1)
        assert parent in (None, block["parentHash"]), f"block {number} does not follow block {number - 1}"
        self._hashes[number] = block["hash"]
        hashes = [transaction["hash"] for transaction in block["transactions"]]
        receipts = rpc.batch([("eth_getTransactionReceipt", (hash_,)) for hash_ in hashes]) if hashes else []
        for index, (transaction, receipt) in enumerate(zip(block["transactions"], receipts, strict=True)):
            hash_ = transaction["hash"]
            sent = self._record.sent.get(hash_)
            assert sent is not None, f"block {number} holds {hash_}, which nobody sent"
            assert hash_ not in self._place, f"{hash_} is in block {self._place[hash_]} and in block {number}"
            self._place[hash_] = (number, index)
            assert receipt is not None, f"{hash_} is in block {number} but has no receipt"
            assert receipt["status"] == "0x1", f"{sent} failed"
            assert (receipt["blockHash"], int(receipt["transactionIndex"], 16)) == (block["hash"], index)
            assert sent.receipt in (None, receipt), f"the receipt changed: {sent.receipt} -> {receipt}"
            sent.receipt = receipt
            self._model.apply(block, transaction, sent, int(receipt["gasUsed"], 16))
        return set(hashes)

    def _check_receipts(self, rpc: Rpc, transactions: Sequence[Sent]) -> None:
        for some in pieces(transactions):
            receipts = rpc.batch([("eth_getTransactionReceipt", (sent.hash,)) for sent in some])
            found = rpc.batch([("eth_getTransactionByHash", (sent.hash,)) for sent in some])
            for sent, receipt, transaction in zip(some, receipts, found, strict=True):
                assert receipt == sent.receipt, f"the receipt changed: {sent.receipt} -> {receipt}"
                number, index = self._place[sent.hash]
                assert transaction["blockHash"] == self._hashes[number]
                assert int(transaction["transactionIndex"], 16) == index

    def _check_observations(self, rpc: Rpc, chance: random.Random, *, everything: bool) -> None:
        """Ask again what readers asked: the answers about settled blocks must be the same."""
        seen = self._record.observations
        again = seen if everything else seen[self._observations_checked :] + self._sample(chance, seen)
        self._observations_checked = len(seen)
        for some in pieces(again):
            answers = rpc.batch([(asked.method, asked.params) for asked in some])
            for asked, answer in zip(some, answers, strict=True):
                assert answer == asked.answer, f"{asked.method}{asked.params}: {asked.answer} -> {answer}"

    def _check_model(self, rpc: Rpc, chance: random.Random, head: int) -> None:
        """The state at the head and at random old blocks is what the transfers in between make it."""
        model = self._model
        first = min(history.blocks[0] for history in model.nonces.values())
        places = [(address, head) for address in model.nonces]
        known = sorted(model.ether.keys() | model.tokens.keys())
        places += [(chance.choice(known), chance.randint(first, head)) for _ in range(self._samples)]
        questions: list[Observation] = []
        for address, number in places:
            for method, book in (("eth_getBalance", model.ether), ("eth_getTransactionCount", model.nonces)):
                if address in book:
                    expected = hex(book[address].at(number))
                    questions.append(Observation(method, (address, hex(number)), expected))
            if address in model.tokens:
                data = "0x70a08231" + address.removeprefix("0x").rjust(64, "0")
                expected = f"0x{model.tokens[address].at(number):064x}"
                call = ({"to": self._token, "data": data}, hex(number))
                questions.append(Observation("eth_call", call, expected))
        for some in pieces(questions):
            answers = rpc.batch([(asked.method, asked.params) for asked in some])
            for asked, answer in zip(some, answers, strict=True):
                assert answer == asked.answer, f"{asked.method}{asked.params}: model {asked.answer}, node {answer}"


def pieces(things: Sequence[T]) -> Iterator[Sequence[T]]:
    """In pieces of one JSON-RPC batch."""
    for start in range(0, len(things), BATCH_CALLS):
        yield things[start : start + BATCH_CALLS]
