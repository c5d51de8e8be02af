"""An independent model of balances and nonces: what transfers do, worked out without any code of the node."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.crash.record import Kind, Sent

ETHER_TRANSFER_GAS = 21_000


@dataclass(slots=True)
class History:
    """A number that changes from block to block."""

    blocks: list[int] = field(default_factory=lambda: [0])
    values: list[int] = field(default_factory=lambda: [0])

    def at(self, block: int) -> int:
        """The value after ``block``."""
        return self.values[bisect_right(self.blocks, block) - 1]

    def add(self, block: int, change: int) -> None:
        """Change the value from ``block`` on; blocks come in order."""
        value = self.values[-1] + change
        if self.blocks[-1] == block:
            self.values[-1] = value
        else:
            self.blocks.append(block)
            self.values.append(value)


@dataclass(slots=True)
class Model:
    """Ether, token units and nonces of every account the harness uses, at every block so far.

    Transfers of ether must take 21,000 gas; of a token's gas the receipt is believed, as long as it stays
    the same. Fees follow EIP-1559 from the block's base fee.
    """

    ether: dict[str, History] = field(default_factory=dict)
    tokens: dict[str, History] = field(default_factory=dict)
    nonces: dict[str, History] = field(default_factory=dict)

    def start(self, block: int, ether: Mapping[str, int], tokens: Mapping[str, int], nonces: Mapping[str, int]) -> None:
        """Take over the balances that hold after the set-up."""
        for book, amounts in ((self.ether, ether), (self.tokens, tokens), (self.nonces, nonces)):
            for address, amount in amounts.items():
                book[address] = History([block], [amount])

    def apply(self, block: Mapping[str, Any], transaction: Mapping[str, Any], sent: Sent, gas_used: int) -> None:
        """A transaction of ours is in this block (of ``eth_getBlockByNumber``) and succeeded."""
        number = int(block["number"], 16)
        price = min(
            int(transaction["maxFeePerGas"], 16),
            int(block["baseFeePerGas"], 16) + int(transaction["maxPriorityFeePerGas"], 16),
        )
        fee = gas_used * price
        if sent.kind is Kind.ETHER:
            assert gas_used == ETHER_TRANSFER_GAS
            self._book(self.ether, sent.sender).add(number, -sent.amount - fee)
            self._book(self.ether, sent.to).add(number, sent.amount)
        else:
            self._book(self.ether, sent.sender).add(number, -fee)
            self._book(self.tokens, sent.sender).add(number, -sent.amount)
            self._book(self.tokens, sent.to).add(number, sent.amount)
        nonces = self._book(self.nonces, sent.sender)
        assert sent.nonce == nonces.values[-1], f"{sent.sender}: nonce {sent.nonce} after {nonces.values[-1]}"
        nonces.add(number, 1)

    @staticmethod
    def _book(book: dict[str, History], address: str) -> History:
        return book.setdefault(address, History())
