"""An independent model of the chain: what each transaction does to balances, nonces and slots, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chain.blocks import Header
from chain.receipts import Receipt
from chain.types import Address, Hash32

TRANSFER_GAS = 21_000

Slot = tuple[Address, int]


@dataclass(frozen=True)
class Sent:
    """A transaction of the script, and what it does if a block takes it."""

    hash: Hash32
    raw: bytes
    sender: Address
    nonce: int
    tip: int
    cap: int
    status: int = 1
    moves: tuple[tuple[Address, Address, int], ...] = ()
    """Ether: from, to, wei."""
    slots: tuple[tuple[Slot, int], ...] = ()
    """What is added to words of storage."""
    created: tuple[tuple[Address, int], ...] = ()
    """Contracts that exist afterwards, and their nonce."""
    nonces: tuple[Address, ...] = ()
    """Contracts whose nonce rises by one."""
    plain: bool = False
    """A transfer to an account without code."""
    may_be_dropped: bool = False
    """Sealing finds it invalid: after a restart it may wait again."""


@dataclass
class Money:
    """Every account and slot that the scripts touch, after some block."""

    balances: dict[Address, int] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)
    slots: dict[Slot, int] = field(default_factory=dict)
    burnt: int = 0

    def block(self, header: Header, mined: Iterable[tuple[Sent, Receipt]]) -> None:
        """Do what a block does."""
        assert header.base_fee is not None
        for sent, receipt in mined:
            assert receipt.status == sent.status, (sent, receipt)
            assert self.nonces.get(sent.sender, 0) == sent.nonce
            self.nonces[sent.sender] = sent.nonce + 1
            price = min(sent.cap, header.base_fee + sent.tip)
            assert receipt.effective_gas_price == price
            if sent.plain:
                assert receipt.gas_used == TRANSFER_GAS
            self._add(sent.sender, -receipt.gas_used * price)
            self._add(header.coinbase, receipt.gas_used * (price - header.base_fee))
            self.burnt += receipt.gas_used * header.base_fee
            if sent.status:
                self._success(sent)

    def _success(self, sent: Sent) -> None:
        for source, target, wei in sent.moves:
            self._add(source, -wei)
            self._add(target, wei)
        for slot, change in sent.slots:
            self.slots[slot] = (self.slots.get(slot, 0) + change) % 2**256
        self.nonces.update(sent.created)
        for contract in sent.nonces:
            self.nonces[contract] += 1

    def _add(self, account: Address, wei: int) -> None:
        self.balances[account] = self.balances.get(account, 0) + wei
        assert self.balances[account] >= 0

    def supply(self) -> int:
        """All the ether there is, and what fees burnt."""
        return sum(self.balances.values()) + self.burnt

    def facts(self, accounts: Sequence[Address], slots: Sequence[Slot]) -> tuple[tuple[int, ...], ...]:
        """Balances, nonces and words, in this order."""
        return (
            tuple(self.balances.get(account, 0) for account in accounts),
            tuple(self.nonces.get(account, 0) for account in accounts),
            tuple(self.slots.get(slot, 0) for slot in slots),
        )
