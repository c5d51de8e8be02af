"""A `Backend` over dictionaries: enough of a chain to test the protocols without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chain.blocks import Block, Header, encode_block, transactions_root
from chain.crypto import address_of_secret, sign
from chain.errors import NonceTooLow, ZvmdError
from chain.forks import ChainConfig
from chain.genesis import dev_genesis
from chain.receipts import Log, Receipt, combine_blooms, receipts_root
from chain.state import Account, OverlayState, StateDelta
from chain.transactions import (
    Transaction,
    decode_transaction,
    encode_transaction,
    recover_sender,
    sign_transaction,
)
from chain.types import Address, Hash32
from node.api.pending_block import BlockAt, PendingBlock
from node.api.types import (
    CallFields,
    CallResult,
    Overrides,
    PendingTransaction,
    Submitted,
    TransactionFate,
    TransactionLocation,
    Wait,
)
from node.rpc.brief import BriefReads
from node.rpc.context import Context
from node.rpc.held import Held
from node.rpc.limits import RpcLimits
from node.rpc.readers import Readers
from node.rpc.service import RpcService
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from vm.importing import environment_of

SECRET = b"\x11" * 32
DEV = address_of_secret(SECRET)
REVERTING = Address(b"\xfe" * 20)
CRASHING = Address(b"\xfd" * 20)


class MemoryState:
    """Everybody owns one ether."""

    def __init__(self, nonces: dict[Address, int]) -> None:
        self._nonces = nonces

    def account(self, address: Address) -> Account | None:
        return Account(self._nonces.get(address, 0), 10**18)

    def storage(self, address: Address, slot: int) -> int:
        return slot + 1

    def code(self, code_hash: Hash32) -> bytes:
        return b""

    def has_storage(self, address: Address) -> bool:
        return False


class MemoryBackend:
    """Each submitted transaction becomes a block with one log."""

    def __init__(self) -> None:
        self.config = ChainConfig.all_at_genesis(31337)
        self.client_version = self.web3_version = "memory/v0"
        genesis = dev_genesis(31337, [DEV])
        self.blocks = [Block(genesis.header(), withdrawals=())]
        self.all_receipts: list[tuple[Receipt, ...]] = [()]
        self.nonces: dict[Address, int] = {}
        self._published = asyncio.Event()

    def status(self) -> dict[str, Any]:
        return {"head": self.head().number}

    def accounts(self) -> Sequence[Address]:
        return [DEV]

    def head(self) -> Header:
        return self.blocks[-1].header

    def header(self, number: int) -> Header | None:
        return self.blocks[number].header if number < len(self.blocks) else None

    def block(self, number: int) -> Block | None:
        return self.blocks[number] if number < len(self.blocks) else None

    def receipts(self, number: int) -> Sequence[Receipt] | None:
        return self.all_receipts[number] if number < len(self.blocks) else None

    def senders(self, number: int) -> Sequence[Address] | None:
        return [recover_sender(tx) for tx in self.blocks[number].transactions]

    def block_size(self, number: int) -> int | None:
        return len(encode_block(self.blocks[number]))

    def number_of(self, block_hash: Hash32) -> int | None:
        return next((b.header.number for b in self.blocks if b.hash == block_hash), None)

    def transaction_location(self, transaction_hash: Hash32) -> TransactionLocation | None:
        for block in self.blocks:
            for index, tx in enumerate(block.transactions):
                if tx.hash == transaction_hash:
                    return TransactionLocation(block.header.number, index)
        return None

    def logs(self, query: LogQuery) -> Sequence[FoundLog]:
        found = []
        for number in range(query.from_block, min(query.to_block, len(self.blocks) - 1) + 1):
            block, position = self.blocks[number], 0
            for index, receipt in enumerate(self.all_receipts[number]):
                for log in receipt.logs:
                    matches = not query.addresses or log.address in query.addresses
                    matches &= len(log.topics) >= len(query.topics)
                    matches &= all(not w or t in w for w, t in zip(query.topics, log.topics, strict=False))
                    if matches and (query.after is None or (number, position) > query.after):
                        header, tx = block.header, block.transactions[index]
                        place = (number, block.hash, header.timestamp, tx.hash, index, position)
                        found.append(FoundLog(log, *place))
                    position += 1
        return found[: query.limit]

    def pending(self) -> PendingBlock:
        """What nobody reads but its environment and state: its header would need a trie."""
        environment = environment_of(self.head(), self.config)
        state = OverlayState(MemoryState(self.nonces), StateDelta())
        following = replace(environment, number=environment.number + 1, parent_hash=self.head().hash)
        return PendingBlock(following, (), (), (), None, state, lambda _: self.head())  # type: ignore[arg-type]

    def view(self, at: BlockAt) -> MemoryState:
        return MemoryState(self.nonces)

    def call(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
        if fields.to == REVERTING:
            reason = b"no way"
            text = (32).to_bytes(32, "big") + len(reason).to_bytes(32, "big") + reason.ljust(32, b"\0")
            return CallResult(False, True, "revert", bytes.fromhex("08c379a0") + text, 21_000)
        if fields.to == CRASHING:
            raise ZeroDivisionError("a bug")
        return CallResult(True, False, "return", fields.data.rjust(32, b"\0"), 21_000)

    def estimate_gas(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> int | CallResult:
        return self.call(fields, at) if fields.to == REVERTING else 21_000

    def pending_nonce(self, address: Address) -> int:
        return self.nonces.get(address, 0)

    def fate(self, transaction_hash: Hash32) -> TransactionFate:
        place = self.transaction_location(transaction_hash)
        return TransactionFate("mined", "", place.block_number) if place else TransactionFate("unknown")

    def pending_transaction(self, transaction_hash: Hash32) -> PendingTransaction | None:
        return None

    def pending_transactions(self) -> Sequence[PendingTransaction]:
        return []

    def next_base_fee(self) -> int:
        return 10**9

    def blob_base_fee(self, number: int) -> int:
        return 1

    def resets(self) -> int:
        return 0

    async def submit(self, raw: bytes, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        tx = decode_transaction(raw)
        sender = recover_sender(tx)
        if tx.nonce < self.nonces.get(sender, 0):
            raise NonceTooLow(f"nonce {tx.nonce}, the next is {self.nonces[sender]}")
        self.nonces[sender] = tx.nonce + 1
        await self._append([tx])
        return Submitted(tx.hash, len(self.blocks), len(self.blocks) - 1)

    async def _append(self, transactions: list[Transaction]) -> None:
        topics = (Hash32(b"\x01" * 32), Hash32(b"\x02" * 32))
        receipts = tuple(
            Receipt(
                tx.type,
                1,
                None,
                21_000,
                (Log(Address(b"\xaa" * 20), topics, b"data"),),
                21_000,
                10**9,
                Address(b"\xcc" * 20) if tx.to is None else None,
            )
            for tx in transactions
        )
        parent = self.head()
        header = replace(
            parent,
            parent_hash=parent.hash,
            number=parent.number + 1,
            timestamp=parent.timestamp + 1,
            gas_used=21_000 * len(transactions),
            transactions_root=transactions_root(transactions),
            receipts_root=receipts_root(receipts),
            bloom=combine_blooms(receipt.bloom for receipt in receipts),
        )
        self.all_receipts.append(receipts)
        self.blocks.append(Block(header, tuple(transactions), (), ()))
        self._published.set()
        self._published = asyncio.Event()

    async def send_from(self, fields: CallFields, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        if fields.sender != DEV:
            raise ZvmdError("unknown account")
        nonce = self.pending_nonce(DEV)
        tx = Transaction(2, 31337, nonce, 0, 1, 10**10, 21_000, fields.to, fields.value, fields.data)
        return await self.submit(encode_transaction(sign_transaction(tx, SECRET)))

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        return sign(digest, SECRET)

    def published_lsn(self) -> int:
        return self.head().number

    async def wait_for_lsn(self, lsn: int) -> None:
        await self.wait_for_block(lsn)

    async def mine(self, count: int = 1, interval: int = 0, key: str = "") -> int:
        for _ in range(count):
            await self._append([])
        return self.head().number

    async def set_automine(self, enabled: bool, key: str = "") -> None: ...

    async def set_interval_mining(self, seconds: float, key: str = "") -> None: ...

    def automine(self) -> bool:
        return True

    def rewinds(self) -> Rewinds:
        return Rewinds()

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        raise ZvmdError("no development chain")

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        while self.head().number < number:
            await self._published.wait()
        return self.head().number


def rpc_service(backend: MemoryBackend, limits: RpcLimits | None = None) -> RpcService:
    """A service over it, on the running loop."""
    limits = limits or RpcLimits()
    readers = Readers(limits)
    return RpcService(
        Context(backend, limits, read=readers.run), readers, BriefReads(limits, readers), Held(limits.held_max_bytes)
    )
