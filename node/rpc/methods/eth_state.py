"""State and simulation: balances, code, storage, proofs, ``eth_call``, ``eth_estimateGas``, access lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chain.crypto import create_address
from chain.state import EMPTY_CODE_HASH
from chain.types import ZERO_ADDRESS, Address
from node.api.errors import InvalidParams
from node.api.pending_block import BlockAt
from node.api.types import BlockOverrides, CallFields, CallResult, Overrides
from node.rpc.call_fields import AccountOverrides, overrides_of
from node.rpc.context import Context
from node.rpc.errors import AccessListUnsettled
from node.rpc.format import Json, access_list, data, proof_object, quantity, word
from node.rpc.params import LATEST, PENDING, BlockRef, JsonList, JsonObject, Slot, address, json_list, slot
from node.rpc.registry import method
from node.tracers.access import AccessTracer, UsedAccessList
from storage.state.proof import SLOTS_MAX

STORAGE_VALUES_MAX = 1024
WORD_CHARACTERS = 66
"""Hex digits of a key of 32 bytes as data; an odd number is padded, so one digit less is 32 bytes too."""
ACCESS_LIST_ROUNDS_MAX = 8
"""Most runs for one ``eth_createAccessList``; ordinary contracts settle within three."""
ACCESS_LIST_KEYS_MAX = 4_096
"""Most accounts and slots of an access list: more do not fit into a transaction of 128 KiB."""


@method("eth_getBalance", brief=True)
def get_balance(context: Context, address: Address, block: BlockRef = LATEST) -> str:
    """Balance in wei."""
    account = context.backend.view(context.need_block(block)).account(address)
    return quantity(account.balance if account else 0)


@method("eth_getTransactionCount", brief=True)
def get_transaction_count(context: Context, address: Address, block: BlockRef = LATEST) -> str:
    """Nonce; with ``pending`` including transactions in the pool."""
    if block.tag == "pending":
        return quantity(context.backend.pending_nonce(address))
    account = context.backend.view(context.need_block(block)).account(address)
    return quantity(account.nonce if account else 0)


@method("eth_getCode", brief=True)
def get_code(context: Context, address: Address, block: BlockRef = LATEST) -> str:
    """Runtime code."""
    view = context.backend.view(context.need_block(block))
    account = view.account(address)
    if account is None or account.code_hash == EMPTY_CODE_HASH:
        return "0x"
    return data(view.code(account.code_hash))


@method("eth_getStorageAt", brief=True)
def get_storage_at(context: Context, address: Address, slot: Slot, block: BlockRef = LATEST) -> str:
    """A storage slot as 32 bytes."""
    return word(context.backend.view(context.need_block(block)).storage(address, slot))


@method("eth_getStorageValues")
def get_storage_values(context: Context, requests: JsonObject, block: BlockRef = LATEST) -> dict[str, list[str]]:
    """Many slots of many accounts at one block."""
    wanted = {address(key): [slot(item) for item in json_list(items)] for key, items in requests.items()}
    if not any(wanted.values()):
        raise InvalidParams("an empty request: name slots of at least one account")
    if sum(map(len, wanted.values())) > STORAGE_VALUES_MAX:
        raise InvalidParams(f"more than {STORAGE_VALUES_MAX} slots")
    view = context.backend.view(context.need_block(block))
    return {data(account): [word(view.storage(account, key)) for key in keys] for account, keys in wanted.items()}


@method("eth_getProof")
def get_proof(context: Context, address: Address, slots: JsonList, block: BlockRef = LATEST) -> Json:
    """Merkle proofs of an account and some of its slots (EIP-1186)."""
    wanted = [slot(item) for item in slots]
    if len(wanted) > SLOTS_MAX:
        raise InvalidParams(f"{len(wanted)} slots; the limit is {SLOTS_MAX}")
    # geth's rule: a key of 32 bytes comes back as data, a shorter one as a quantity.
    names = [
        word(key) if len(given) >= WORD_CHARACTERS - 1 else quantity(key)
        for key, given in zip(wanted, slots, strict=True)
    ]
    return proof_object(address, context.backend.prove(context.need_block(block), address, wanted), names)


@method("eth_createAccessList")
def create_access_list(
    context: Context,
    transaction: CallFields,
    block: BlockRef = LATEST,
    state_overrides: AccountOverrides | None = None,
) -> Json:
    """An access list of what the transaction uses (EIP-2930), and the gas it uses with that list.

    Raises `AccessListUnsettled` for code that uses other accounts or slots the more of them are warm.
    """
    at = context.need_block(block)
    sender = transaction.sender or ZERO_ADDRESS
    recipient = transaction.to
    if recipient is None:
        account = context.backend.view(at).account(sender)
        recipient = create_address(sender, account.nonce if account else 0)
    transaction = with_limited_gas(context, transaction)
    overrides = overrides_of(state_overrides, None)
    for _ in range(ACCESS_LIST_ROUNDS_MAX):  # what is warm can change what is used
        listed = transaction.access_list
        used: UsedAccessList = context.backend.trace_call(
            transaction, at, overrides, lambda run: AccessTracer(run, recipient)
        )
        if used.entries == listed:
            break
        keys = sum(1 + len(slots) for _, slots in used.entries)
        if keys > ACCESS_LIST_KEYS_MAX:
            raise AccessListUnsettled(f"more than {ACCESS_LIST_KEYS_MAX} accounts and slots: {keys} so far")
        transaction = replace(transaction, access_list=used.entries)
    else:
        raise AccessListUnsettled(f"not after {ACCESS_LIST_ROUNDS_MAX} runs")
    answer: Json = {"accessList": access_list(used.entries), "gasUsed": quantity(used.gas_used)}
    return answer if used.halt is None else answer | {"error": used.halt.replace("_", " ")}


@method("eth_call", brief=True)
def call(
    context: Context,
    transaction: CallFields,
    block: BlockRef = LATEST,
    state_overrides: AccountOverrides | None = None,
    block_overrides: BlockOverrides | None = None,
) -> str:
    """Output of a simulated call; without ``to``, the code that the creation would deploy."""
    overrides = overrides_of(state_overrides, block_overrides)
    return data(call_checked(context, transaction, context.need_block(block), overrides).output)


def call_checked(context: Context, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
    """A successful call. Raises `ExecutionReverted` or `ExecutionFailed`."""
    if fields.gas is not None or at != context.backend.head().number:  # else the simulation's own limit is the same
        fields = with_limited_gas(context, fields)
    result = context.backend.call(fields, at, overrides)
    if not result.success:
        raise result.failure()
    return result


def with_limited_gas(context: Context, fields: CallFields) -> CallFields:
    """A call with the gas it asks for, or the most that a call may have, so that it can do what a transaction can."""
    most = max(context.limits.call_gas_max, context.backend.head().gas_limit)
    if fields.gas is not None and fields.gas <= most:
        return fields
    return replace(fields, gas=most if fields.gas is None else min(fields.gas, most))


@method("eth_estimateGas")
def estimate_gas(
    context: Context,
    transaction: CallFields,
    block: BlockRef = PENDING,
    state_overrides: AccountOverrides | None = None,
    block_overrides: BlockOverrides | None = None,
) -> str:
    """The smallest gas limit with which the transaction succeeds, by default in the next block."""
    overrides = overrides_of(state_overrides, block_overrides)
    result = context.backend.estimate_gas(transaction, context.need_block(block), overrides)
    if isinstance(result, CallResult):
        raise result.failure()
    return quantity(result)


@method("eth_accounts", "eth_requestAccounts", inline=True)
def accounts(context: Context) -> list[str]:
    """Accounts whose keys the node holds."""
    return [data(account) for account in context.backend.accounts()]


@method("eth_coinbase", inline=True)
def coinbase(context: Context) -> str:
    """Fee recipient of the newest block."""
    return data(context.backend.head().coinbase)


@method("eth_chainId", inline=True)
def chain_id(context: Context) -> str:
    """Id of the chain (EIP-695)."""
    return quantity(context.backend.config.chain_id)


@method("eth_blockNumber", inline=True)
def block_number(context: Context) -> str:
    """Number of the newest durable block."""
    return quantity(context.backend.head().number)


@method("eth_syncing", inline=True)
def syncing(_context: Context) -> Any:
    """Always false: the node is the only one of its chain, so it is never behind."""
    return False


@method("eth_mining", inline=True)
def mining(context: Context) -> bool:
    """Whether sealing is automatic."""
    return context.backend.automine()
