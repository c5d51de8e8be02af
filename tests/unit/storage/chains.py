"""Small made-up chains for storage tests: linked blocks with transactions, receipts and logs."""

from __future__ import annotations

import random

from chain.blocks import EMPTY_UNCLES_HASH, Block, Header, transactions_root, withdrawals_root
from chain.environment import Withdrawal
from chain.hashing import EMPTY_ROOT
from chain.receipts import Log, Receipt, combine_blooms, receipts_root
from chain.transactions import Transaction
from chain.types import Address, Hash32


def make_transaction(rng: random.Random, kind: int) -> Transaction:
    fee = rng.randint(1, 10**20)
    return Transaction(
        type=kind,
        chain_id=31337,
        nonce=rng.randint(0, 10),
        gas_price=fee if kind < 2 else 0,
        max_priority_fee_per_gas=fee,
        max_fee_per_gas=fee,
        gas_limit=21_000,
        to=None if kind == 0 else Address(rng.randbytes(20)),
        value=rng.randint(0, 2**100),
        data=rng.randbytes(rng.randint(0, 40)),
        access_list=(),
        max_fee_per_blob_gas=0,
        blob_versioned_hashes=(),
        authorization_list=(),
        y_parity=1,
        r=rng.randint(1, 2**250),
        s=rng.randint(1, 2**250),
    )


def make_block(
    rng: random.Random,
    number: int,
    parent: Hash32,
    state_root: Hash32 = EMPTY_ROOT,
    transactions: int = 3,
    addresses: int = 3,
) -> tuple[Block, list[Receipt]]:
    """A block on ``parent`` and its receipts."""
    txs = tuple(make_transaction(rng, (0, 1, 2)[n % 3]) for n in range(transactions))
    receipts = []
    for n, tx in enumerate(txs):
        logs = tuple(
            Log(
                Address(bytes([rng.randint(1, addresses)]) * 20),
                tuple(Hash32(bytes([rng.randint(0, 3)]) * 32) for _ in range(rng.randint(0, 4))),
                rng.randbytes(8),
            )
            for _ in range(rng.randint(0, 3))
        )
        receipts.append(
            Receipt(
                type=tx.type,
                status=n % 2,
                post_state=None,
                cumulative_gas_used=21_000 * (n + 1),
                recorded=logs,
                gas_used=21_000,
                effective_gas_price=rng.randint(0, 2**70),
                contract_address=Address(rng.randbytes(20)) if tx.to is None else None,
            )
        )
    withdrawals = (Withdrawal(1, 2, Address(bytes(20)), 3),)
    header = Header(
        parent_hash=parent,
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=Address(bytes(20)),
        state_root=state_root,
        transactions_root=transactions_root(txs),
        receipts_root=receipts_root(receipts),
        bloom=combine_blooms(receipt.bloom for receipt in receipts),
        difficulty=0,
        number=number,
        gas_limit=30_000_000,
        gas_used=21_000 * transactions,
        timestamp=number,
        extra_data=b"",
        prevrandao=Hash32(rng.randbytes(32)),
        nonce=bytes(8),
        base_fee=7,
        withdrawals_root=withdrawals_root(withdrawals),
    )
    return Block(header, txs, (), withdrawals), receipts


def make_chain(length: int, seed: int = 1, transactions: int = 3) -> list[tuple[Block, list[Receipt]]]:
    """Blocks 0 to length - 1."""
    rng = random.Random(seed)
    chain: list[tuple[Block, list[Receipt]]] = []
    parent = Hash32(bytes(32))
    for number in range(length):
        chain.append(make_block(rng, number, parent, transactions=0 if number == 0 else transactions))
        parent = chain[-1][0].hash
    return chain
