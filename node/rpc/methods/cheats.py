"""Development calls in the spellings of anvil, Hardhat, ganache and Tenderly: time, state, pool, snapshots.

Each is durable before it is answered, and is refused unless the node runs a development chain. Spellings of one call
differ only in their answers. ``zvmd_cheat`` makes any of them with an idempotency key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from chain.types import UINT64_MAX, Address, Hash32
from node.api.errors import InvalidParams
from node.rpc.context import Context
from node.rpc.format import data, quantity
from node.rpc.methods.zvmd import idempotency_key
from node.rpc.params import JsonList, JsonObject, LooseInt, address
from node.rpc.registry import find_method
from node.rpc.registry import method as rpc_method


class Wish(NamedTuple):
    """A development call: a name of ``node/engine/cheats.py`` and its arguments."""

    name: str
    arguments: tuple[Any, ...] = ()
    shown: Any = None
    """Anvil's answer to a call that changed something."""


Show = Callable[[Wish, Any], Any]
"""Formats the result as JSON."""


def _null(_wish: Wish, _answer: Any) -> None:
    return None


def _true(_wish: Wish, _answer: Any) -> bool:
    return True


def _answer(_wish: Wish, answer: Any) -> Any:
    return answer


def _quantity(_wish: Wish, answer: Any) -> str:
    return quantity(answer)


def _shown_if_done(wish: Wish, answer: Any) -> Any:
    return wish.shown if answer else None


_WISHES: dict[str, tuple[Callable[..., Wish], Show]] = {}


def cheat(**spellings: Show) -> Callable[[Callable[..., Wish]], Callable[..., Wish]]:
    """Register a function from typed parameters to a `Wish` as a method under each spelling."""

    def register(wish_of: Callable[..., Wish]) -> Callable[..., Wish]:
        for name, show in spellings.items():
            _WISHES[name] = wish_of, show

            async def handler(context: Context, *arguments: Any, _show: Show = show) -> Any:
                wish = wish_of(context, *arguments)
                return _show(wish, await context.backend.cheat(wish.name, *wish.arguments))

            rpc_method(name)(functools.update_wrapper(handler, wish_of))
        return wish_of

    return register


@rpc_method("zvmd_cheat", development=True)
async def with_key(context: Context, method: str, params: JsonList, key: str = "") -> JsonObject:
    """Make a development call; with a key, the same request again, even after a crash, gets the same answer only."""
    found = _WISHES.get(method)
    if found is None:
        raise InvalidParams(f"{method[:60]!r} is not a development call; there are {', '.join(sorted(_WISHES))}")
    wish_of, show = found
    wish = wish_of(context, *find_method(method).arguments(params))
    answer = await context.backend.cheat(wish.name, *wish.arguments, key=idempotency_key(key))
    return JsonObject({"result": show(wish, answer), "lsn": context.backend.published_lsn()})


# Time


@cheat(evm_increaseTime=_answer, anvil_increaseTime=_answer)
def increase_time(_context: Context, seconds: LooseInt) -> Wish:
    """Move the chain's clock forwards; returns the seconds it is then ahead of the wall clock."""
    return Wish("increase_time", (seconds,))


@cheat(evm_setTime=_answer, anvil_setTime=_answer)
def set_time(_context: Context, timestamp: LooseInt) -> Wish:
    """Set the chain's clock; returns the seconds it moved forwards."""
    return Wish("set_time", (timestamp,))


@cheat(evm_setNextBlockTimestamp=_null, anvil_setNextBlockTimestamp=_null)
def set_next_block_timestamp(_context: Context, timestamp: LooseInt) -> Wish:
    """Set the timestamp of the next block; the clock continues from there."""
    return Wish("set_next_timestamp", (timestamp,))


@cheat(evm_setBlockTimestampInterval=_null, anvil_setBlockTimestampInterval=_null)
def set_block_timestamp_interval(_context: Context, seconds: LooseInt) -> Wish:
    """Set the seconds between the timestamps of blocks, independent of the clock."""
    return Wish("set_interval", (seconds,))


@cheat(evm_removeBlockTimestampInterval=_answer, anvil_removeBlockTimestampInterval=_answer)
def remove_block_timestamp_interval(_context: Context) -> Wish:
    """Timestamps follow the clock again; returns whether an interval was set."""
    return Wish("set_interval", (None,))


# The state


@cheat(anvil_setBalance=_null, hardhat_setBalance=_true, evm_setAccountBalance=_true)
def set_balance(_context: Context, address: Address, balance: LooseInt) -> Wish:
    """Set a balance, wei."""
    return Wish("amend", ([address, None, balance, None, []],))


def _addresses(value: object) -> list[Address]:
    return [address(item) for item in (value if isinstance(value, list) else [value])]


@cheat(tenderly_setBalance=_null)
def set_balances(_context: Context, addresses: object, balance: LooseInt) -> Wish:
    """Set the balance of an account, or of a list of accounts, wei."""
    return Wish("amend", tuple([account, None, balance, None, []] for account in _addresses(addresses)))


@cheat(anvil_addBalance=_null, hardhat_addBalance=_true, tenderly_addBalance=_null)
def add_balance(_context: Context, addresses: object, wei: LooseInt) -> Wish:
    """Raise the balance of an account, or of each in a list."""
    return Wish("add_balance", (_addresses(addresses), wei))


@cheat(anvil_setNonce=_null, hardhat_setNonce=_true, evm_setAccountNonce=_true)
def set_nonce(_context: Context, address: Address, nonce: LooseInt) -> Wish:
    """Set a nonce, to a lower one too."""
    if nonce > UINT64_MAX:
        raise InvalidParams("a nonce has 64 bits (EIP-2681)")
    return Wish("amend", ([address, nonce, None, None, []],))


@cheat(anvil_setCode=_null, hardhat_setCode=_true, evm_setAccountCode=_true)
def set_code(_context: Context, address: Address, code: bytes) -> Wish:
    """Set byte code of any length; empty removes it."""
    return Wish("amend", ([address, None, None, code, []],))


@cheat(anvil_setStorageAt=_true, hardhat_setStorageAt=_true, evm_setAccountStorageAt=_true)
def set_storage_at(_context: Context, address: Address, slot: LooseInt, value: LooseInt) -> Wish:
    """Set a storage slot, also of an account that does not exist."""
    return Wish("amend", ([address, None, None, None, [[slot, value]]],))


# Impersonation


@cheat(anvil_impersonateAccount=_null, hardhat_impersonateAccount=_true)
def impersonate_account(_context: Context, address: Address) -> Wish:
    """Accept ``eth_sendTransaction`` from an account whose key the node does not hold."""
    return Wish("impersonate", (address, True))


@cheat(anvil_stopImpersonatingAccount=_null, hardhat_stopImpersonatingAccount=_answer)
def stop_impersonating_account(_context: Context, address: Address) -> Wish:
    """No longer accept ``eth_sendTransaction`` from that account."""
    return Wish("impersonate", (address, False))


@cheat(anvil_autoImpersonateAccount=_null, hardhat_autoImpersonateAccount=_true)
def auto_impersonate_account(_context: Context, enabled: bool) -> Wish:
    """Accept ``eth_sendTransaction`` from every account."""
    return Wish("impersonate_all", (enabled,))


# Blocks to come


@cheat(anvil_setCoinbase=_null, hardhat_setCoinbase=_true)
def set_coinbase(_context: Context, address: Address) -> Wish:
    """Set the fee recipient of future blocks."""
    return Wish("set_coinbase", (address,))


@cheat(anvil_setNextBlockBaseFeePerGas=_null, hardhat_setNextBlockBaseFeePerGas=_true)
def set_next_block_base_fee_per_gas(_context: Context, wei: LooseInt) -> Wish:
    """Set the base fee of the next block; later ones follow from it."""
    return Wish("set_next_base_fee", (wei,))


@cheat(anvil_setPrevRandao=_null, hardhat_setPrevRandao=_true)
def set_prev_randao(_context: Context, value: Hash32) -> Wish:
    """Set PREVRANDAO of the next block."""
    return Wish("set_prevrandao", (value,))


@cheat(evm_setBlockGasLimit=_true, anvil_setBlockGasLimit=_true, hardhat_setBlockGasLimit=_true)
def set_block_gas_limit(_context: Context, gas: LooseInt) -> Wish:
    """Set the gas limit of future blocks."""
    return Wish("set_gas_limit", (gas,))


# The pool


@cheat(anvil_dropTransaction=_shown_if_done, hardhat_dropTransaction=_answer)
def drop_transaction(_context: Context, transaction_hash: Hash32) -> Wish:
    """Remove a pending transaction from the pool; returns its hash (Hardhat: true) if it was there."""
    return Wish("drop", (transaction_hash,), data(transaction_hash))


@cheat(anvil_removePoolTransactions=_null)
def remove_pool_transactions(_context: Context, address: Address) -> Wish:
    """Remove all pending transactions of an account from the pool."""
    return Wish("drop_sender", (address,))


@cheat(anvil_dropAllTransactions=_null, hardhat_dropAllTransactions=_null)
def drop_all_transactions(_context: Context) -> Wish:
    """Empty the pool."""
    return Wish("drop_all")


# Snapshots and rewinds


@cheat(evm_snapshot=_quantity, anvil_snapshot=_quantity)
def snapshot(_context: Context) -> Wish:
    """Save chain, state, pool and time; returns the id for evm_revert. Survives restarts."""
    return Wish("snapshot")


@cheat(evm_revert=_answer, anvil_revert=_answer)
def revert(_context: Context, snapshot: LooseInt) -> Wish:
    """Restore a snapshot, which is deleted together with all later ones; returns whether it existed."""
    return Wish("revert", (snapshot,))


@cheat(anvil_rollback=_null)
def rollback(_context: Context, depth: LooseInt | None = None) -> Wish:
    """Remove the newest blocks, by default one, from the chain; their transactions are dropped."""
    return Wish("roll_back", (1 if depth is None else depth,))


@cheat(anvil_reset=_null, hardhat_reset=_true)
def reset(_context: Context, options: JsonObject | None = None) -> Wish:
    """Reset the chain to its genesis. ``forking`` without an address means no fork, as viem sends it."""
    forking = options.get("forking") if options else None
    if forking and not (isinstance(forking, dict) and forking.get("jsonRpcUrl") is None):
        raise InvalidParams("this node does not fork other chains")
    return Wish("reset")
