"""Transaction objects, overrides and log filters of JSON-RPC to the backend's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.transactions import Authorization
from chain.types import Address, Hash32
from node.rpc.backend import AccountOverride, BlockOverrides, CallFields, Overrides
from node.rpc.errors import InvalidParams
from node.rpc.params import (
    PARSERS,
    address,
    check_keys,
    data,
    hash32,
    json_list,
    json_object,
    quantity,
    quantity64,
    shown,
    slot,
)

ACCESS_LIST_MAX = 4096
OVERRIDDEN_ACCOUNTS_MAX = 1024
TOPIC_CHOICES_MAX = 1000
ADDRESSES_MAX = 1000


def _access_list(value: Any) -> tuple[tuple[Address, tuple[int, ...]], ...]:
    items = json_list(value)
    if len(items) > ACCESS_LIST_MAX:
        raise InvalidParams(f"more than {ACCESS_LIST_MAX} entries")
    entries = []
    for item in items:
        entry = json_object(item)
        check_keys(entry, frozenset({"address", "storageKeys"}), "an access list entry")
        slots = tuple(slot(key) for key in json_list(entry.get("storageKeys") or []))
        entries.append((address(entry.get("address")), slots))
    return tuple(entries)


def _authorizations(value: Any) -> tuple[Authorization, ...]:
    result = []
    for item in json_list(value):
        entry = json_object(item)
        parity = entry.get("yParity", entry.get("v"))
        result.append(
            Authorization(
                quantity(entry.get("chainId")),
                address(entry.get("address")),
                quantity64(entry.get("nonce")),
                quantity(parity, 8),
                quantity(entry.get("r")),
                quantity(entry.get("s")),
            )
        )
    return tuple(result)


def _hashes(value: Any) -> tuple[Hash32, ...]:
    return tuple(hash32(item) for item in json_list(value))


CALL_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "from": ("sender", address),
    "to": ("to", address),
    "data": ("data", data),
    "input": ("data", data),
    "value": ("value", quantity),
    "gas": ("gas", quantity64),
    "gasLimit": ("gas", quantity64),
    "gasPrice": ("gas_price", quantity),
    "maxFeePerGas": ("max_fee_per_gas", quantity),
    "maxPriorityFeePerGas": ("max_priority_fee_per_gas", quantity),
    "maxFeePerBlobGas": ("max_fee_per_blob_gas", quantity),
    "nonce": ("nonce", quantity64),
    "type": ("type", lambda value: quantity(value, 8)),
    "chainId": ("chain_id", quantity64),
    "accessList": ("access_list", _access_list),
    "blobVersionedHashes": ("blob_versioned_hashes", _hashes),
    "authorizationList": ("authorization_list", _authorizations),
}
"""JSON field -> field of `CallFields` and its parser."""

_CALL_KEYS = frozenset(CALL_FIELDS)


def call_fields(value: Any) -> CallFields:
    """A transaction object. ``null`` fields count as absent; ``data`` and ``input`` must agree."""
    given = json_object(value)
    fields = CallFields()
    for key, item in given.items():
        known = CALL_FIELDS.get(key)
        if known is None:
            check_keys(given, _CALL_KEYS, "a transaction object")
            raise AssertionError(key)
        if item is None or (key == "to" and item in ("", "0x")):
            continue
        name, parse = known
        try:
            setattr(fields, name, parse(item))
        except InvalidParams as error:
            raise InvalidParams(f"field {key}: {error}") from None
    call_data, call_input = given.get("data"), given.get("input")
    if call_data is not None and call_input is not None and data(call_data) != data(call_input):
        raise InvalidParams("data and input differ; give one of them")
    if fields.gas_price is not None and fields.max_fee_per_gas is not None:
        raise InvalidParams("gasPrice and maxFeePerGas exclude each other")
    return fields


def _slots(value: Any) -> dict[int, int]:
    return {slot(key): int.from_bytes(hash32(item), "big") for key, item in json_object(value).items()}


ACCOUNT_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "balance": ("balance", quantity),
    "nonce": ("nonce", quantity64),
    "code": ("code", data),
    "state": ("state", _slots),
    "stateDiff": ("state_diff", _slots),
}

BLOCK_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "number": ("number", quantity64),
    "time": ("timestamp", quantity64),
    "timestamp": ("timestamp", quantity64),
    "gasLimit": ("gas_limit", quantity64),
    "coinbase": ("coinbase", address),
    "feeRecipient": ("coinbase", address),
    "random": ("prevrandao", hash32),
    "prevRandao": ("prevrandao", hash32),
    "baseFee": ("base_fee", quantity),
    "baseFeePerGas": ("base_fee", quantity),
    "blobBaseFee": ("blob_base_fee", quantity),
}


def _fill(target: Any, value: Any, table: dict[str, tuple[str, Callable[[Any], Any]]], what: str) -> Any:
    given = json_object(value)
    check_keys(given, frozenset(table), what)
    for key, item in given.items():
        if item is not None:
            name, parse = table[key]
            setattr(target, name, parse(item))
    return target


def account_overrides(value: Any) -> dict[Address, AccountOverride]:
    """The state override set of ``eth_call``."""
    given = json_object(value)
    if len(given) > OVERRIDDEN_ACCOUNTS_MAX:
        raise InvalidParams(f"more than {OVERRIDDEN_ACCOUNTS_MAX} overridden accounts")
    result = {}
    for key, item in given.items():
        override: AccountOverride = _fill(AccountOverride(), item, ACCOUNT_FIELDS, "an account override")
        if override.state is not None and override.state_diff:
            raise InvalidParams(f"account {shown(key)} has both state and stateDiff")
        result[address(key)] = override
    return result


def overrides_of(accounts: dict[Address, AccountOverride] | None, block: BlockOverrides | None) -> Overrides | None:
    """Both overrides together, None if there are none."""
    return Overrides(accounts or {}, block) if accounts or block else None


def topics_of(value: Any) -> tuple[frozenset[Hash32], ...]:
    """Topics of a filter: per position null, one topic or alternatives."""
    positions = json_list(value)
    if len(positions) > 4:
        raise InvalidParams("a log has at most four topics")
    result = []
    for position in positions:
        choices = [] if position is None else position if isinstance(position, list) else [position]
        if len(choices) > TOPIC_CHOICES_MAX:
            raise InvalidParams(f"more than {TOPIC_CHOICES_MAX} alternatives of a topic")
        # A null among alternatives matches any topic, as an empty list does.
        result.append(frozenset() if None in choices else frozenset(hash32(choice) for choice in choices))
    return tuple(result)


def addresses_of(value: Any) -> frozenset[Address]:
    """Addresses of a filter: null, one or several."""
    if value is None:
        return frozenset()
    items = value if isinstance(value, list) else [value]
    if len(items) > ADDRESSES_MAX:
        raise InvalidParams(f"more than {ADDRESSES_MAX} addresses")
    return frozenset(address(item) for item in items)


def block_overrides(value: Any) -> BlockOverrides:
    """The block overrides of ``eth_call``."""
    result: BlockOverrides = _fill(BlockOverrides(), value, BLOCK_FIELDS, "the block overrides")
    return result


class AccountOverrides(dict[Address, AccountOverride]):
    """Annotation of handlers that take a state override set."""


PARSERS[CallFields] = call_fields
PARSERS[BlockOverrides] = block_overrides
PARSERS[AccountOverrides] = account_overrides
