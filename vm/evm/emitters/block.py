"""BLOCKHASH to BLOBBASEFEE."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import Emit, opcode
from vm.evm.layout import BLOCK_HASH_BYTES, WORD_BYTES, BlockHash, Env, Field, StateBlock
from vm.limits import BLOCK_HASH_WINDOW


def _env(word: Env) -> Emit:
    return lambda c: c.push(c.env(word))


for _word in (
    Env.COINBASE,
    Env.TIMESTAMP,
    Env.NUMBER,
    Env.PREVRANDAO,
    Env.GASLIMIT,
    Env.CHAINID,
    Env.BASEFEE,
    Env.BLOBBASEFEE,
):
    opcode(_word.name)(_env(_word))


@opcode("BLOBHASH")
def _blobhash(c: Emitter) -> None:
    """0 beyond the transaction's blobs (EIP-4844)."""
    index, ledger = c.saturated(c.pop()), c.pointer(Field.LEDGER)
    count, hashes = (
        c.let(f"load {kind}, ptr {c.let(f'getelementptr i8, ptr {ledger}, i64 {int(place)}')}")
        for kind, place in (("i64", StateBlock.BLOB_COUNT), ("ptr", StateBlock.BLOB_HASHES))
    )
    is_there = c.let(f"icmp ult i64 {index}, {count}")
    place = c.let(f"select i1 {is_there}, i64 {c.let(f'add i64 {index}, 1')}, i64 0")
    at = c.let(f"getelementptr i8, ptr {hashes}, i64 {c.let(f'mul i64 {place}, {WORD_BYTES}')}")
    c.push(c.let(f"load i256, ptr {at}, align 1"))


@opcode("BLOCKHASH")
def _blockhash(c: Emitter) -> None:
    """0 outside the 256 blocks before this one; Python is asked once for each."""
    number, ledger = c.saturated(c.pop()), c.pointer(Field.LEDGER)
    before = c.let(f"sub i64 {c.let(f'trunc i256 {c.env(Env.NUMBER)} to i64')}, 1")
    is_near = c.let(f"icmp ult i64 {c.let(f'sub i64 {before}, {number}')}, {BLOCK_HASH_WINDOW}")
    index = c.let(f"and i64 {number}, {BLOCK_HASH_WINDOW - 1}")
    hashes = c.let(f"getelementptr i8, ptr {ledger}, i64 {int(StateBlock.BLOCK_HASHES)}")
    at = c.let(f"getelementptr i8, ptr {hashes}, i64 {c.let(f'mul i64 {index}, {BLOCK_HASH_BYTES}')}")
    known = c.let(f"load i64, ptr {c.let(f'getelementptr i8, ptr {at}, i64 {int(BlockHash.AFTER)}')}")
    is_known = c.let(f"icmp eq i64 {known}, {c.let(f'add i64 {number}, 1')}")
    c.host_unless(c.let(f"select i1 {is_near}, i1 {is_known}, i1 true"))
    found = c.let(f"load i256, ptr {c.let(f'getelementptr i8, ptr {at}, i64 {int(BlockHash.HASH)}')}, align 32")
    c.push(c.let(f"select i1 {is_near}, i256 {found}, i256 0"))


@opcode("SELFBALANCE")
def _selfbalance(c: Emitter) -> None:
    ledger = c.pointer(Field.LEDGER)
    tag, balance = (
        c.let(f"getelementptr i8, ptr {ledger}, i64 {int(place)}")
        for place in (StateBlock.BALANCE_TAG, StateBlock.BALANCE)
    )
    c.host_unless(c.let(f"icmp eq i64 {c.let(f'load i64, ptr {tag}')}, {c.field(Field.STORAGE_TAG)}"))
    c.push(c.let(f"load i256, ptr {balance}, align 32"))
