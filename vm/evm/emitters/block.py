"""Emitters of the block information opcodes, BLOCKHASH to BLOBBASEFEE (Yellow Paper, appendix H)."""

from __future__ import annotations

from functools import partial

from vm.evm.emitter import Emitter
from vm.evm.emitters.environment import environment_word
from vm.evm.emitters.registry import opcode
from vm.evm.layout import BLOCK_HASH_BYTES, WORD_BYTES, BlockHash, Env, Field, StateBlock
from vm.limits import BLOCK_HASH_WINDOW

_WORDS = (
    *(Env.COINBASE, Env.TIMESTAMP, Env.NUMBER, Env.PREVRANDAO),
    *(Env.GASLIMIT, Env.CHAINID, Env.BASEFEE, Env.BLOBBASEFEE),
)
for _word in _WORDS:
    opcode(_word.name)(partial(environment_word, word=_word))


@opcode("BLOBHASH")
def blobhash(c: Emitter) -> None:
    """Push a versioned hash; 0 beyond the transaction's blobs (EIP-4844)."""
    # Stack
    index, state = c.saturated(c.pop()), c.pointer(Field.STATE)
    # Operation
    count, hashes = (
        c.let(f"load {kind}, ptr {c.let(f'getelementptr i8, ptr {state}, i64 {int(place)}')}")
        for kind, place in (("i64", StateBlock.BLOB_COUNT), ("ptr", StateBlock.BLOB_HASHES))
    )
    is_there = c.let(f"icmp ult i64 {index}, {count}")
    place = c.let(f"select i1 {is_there}, i64 {c.let(f'add i64 {index}, 1')}, i64 0")
    at = c.let(f"getelementptr i8, ptr {hashes}, i64 {c.let(f'mul i64 {place}, {WORD_BYTES}')}")
    c.push(c.let(f"load i256, ptr {at}, align 1"))


@opcode("BLOCKHASH")
def blockhash(c: Emitter) -> None:
    """Push a block's hash; 0 outside the 256 blocks before this one. Python supplies each hash once."""
    # Stack
    number, state = c.saturated(c.pop()), c.pointer(Field.STATE)
    # Operation
    before = c.let(f"sub i64 {c.let(f'trunc i256 {c.env(Env.NUMBER)} to i64')}, 1")
    is_near = c.let(f"icmp ult i64 {c.let(f'sub i64 {before}, {number}')}, {BLOCK_HASH_WINDOW}")
    index = c.let(f"and i64 {number}, {BLOCK_HASH_WINDOW - 1}")
    hashes = c.let(f"getelementptr i8, ptr {state}, i64 {int(StateBlock.BLOCK_HASHES)}")
    at = c.let(f"getelementptr i8, ptr {hashes}, i64 {c.let(f'mul i64 {index}, {BLOCK_HASH_BYTES}')}")
    known = c.let(f"load i64, ptr {c.let(f'getelementptr i8, ptr {at}, i64 {int(BlockHash.AFTER)}')}")
    is_known = c.let(f"icmp eq i64 {known}, {c.let(f'add i64 {number}, 1')}")
    c.host_unless(c.let(f"select i1 {is_near}, i1 {is_known}, i1 true"))
    found = c.let(f"load i256, ptr {c.let(f'getelementptr i8, ptr {at}, i64 {int(BlockHash.HASH)}')}, align 32")
    c.push(c.let(f"select i1 {is_near}, i256 {found}, i256 0"))


@opcode("SELFBALANCE")
def selfbalance(c: Emitter) -> None:
    """Push the account's balance (EIP-1884); Python supplies it if it is not known."""
    state = c.pointer(Field.STATE)
    tag, balance = (
        c.let(f"getelementptr i8, ptr {state}, i64 {int(place)}")
        for place in (StateBlock.BALANCE_TAG, StateBlock.BALANCE)
    )
    c.host_unless(c.let(f"icmp eq i64 {c.let(f'load i64, ptr {tag}')}, {c.field(Field.STORAGE_TAG)}"))
    c.push(c.let(f"load i256, ptr {balance}, align 32"))
