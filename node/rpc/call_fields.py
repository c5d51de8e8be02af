"""Parses transaction objects, overrides and log filters of JSON-RPC into the backend's types."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from chain.sidecars import COMMITMENT_BYTES, versioned_hash
from chain.transactions import ACCESS_LIST, BLOB, DYNAMIC_FEE, LEGACY, SET_CODE, Authorization
from chain.types import Address, Hash32
from node.api.errors import InvalidParams
from node.api.types import AccountOverride, BlockOverrides, CallFields, Overrides
from node.rpc.params import (
    PARSERS,
    FieldTable,
    address,
    data,
    fill,
    hash32,
    json_list,
    json_object,
    loose_int,
    quantity,
    quantity64,
    shown,
    slot,
)

ACCESS_LIST_MAX = 4096
OVERRIDDEN_ACCOUNTS_MAX = 1024
TOPIC_CHOICES_MAX = 1000
ADDRESSES_MAX = 1000
TYPE_MAX = 0x7F
"""Largest transaction type (EIP-2718)."""


@dataclass(slots=True)
class _AccessEntry:
    address: Address | None = None
    slots: tuple[int, ...] = ()


_ACCESS_FIELDS: FieldTable = {
    "address": ("address", address),
    "storagekeys": ("slots", lambda value: tuple(map(slot, json_list(value)))),
}


def _access_list(value: Any) -> tuple[tuple[Address, tuple[int, ...]], ...]:
    items = json_list(value)
    if len(items) > ACCESS_LIST_MAX:
        raise InvalidParams(f"more than {ACCESS_LIST_MAX} entries")
    entries = [fill(_AccessEntry(), item, _ACCESS_FIELDS) for item in items]
    return tuple((address(entry.address) if entry.address is None else entry.address, entry.slots) for entry in entries)


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


def _commitments(value: Any) -> tuple[bytes, ...]:
    items = tuple(data(item) for item in json_list(value))
    if any(len(item) != COMMITMENT_BYTES for item in items):
        raise InvalidParams(f"a commitment has {COMMITMENT_BYTES} bytes (EIP-4844)")
    return items


def _to(value: Any) -> Address | None:
    return None if value in ("", "0x") else address(value)


def _data(value: Any) -> bytes:
    return b"" if value == "" else data(value)


def _type(value: Any) -> int:
    number = loose_int(value)
    if number > TYPE_MAX:
        raise InvalidParams(f"a transaction type is at most {TYPE_MAX} (EIP-2718)")
    return number


@dataclass(slots=True)
class _Given(CallFields):
    """A transaction object with what `CallFields` takes from several of its fields."""

    input: bytes | None = None
    commitments: tuple[bytes, ...] = ()


CALL_FIELDS: FieldTable = {
    "from": ("sender", address),
    "to": ("to", _to),
    "data": ("data", _data),
    "input": ("input", _data),
    "value": ("value", quantity),
    "gas": ("gas", quantity64),
    "gaslimit": ("gas", quantity64),
    "gasprice": ("gas_price", quantity),
    "maxfeepergas": ("max_fee_per_gas", quantity),
    "maxpriorityfeepergas": ("max_priority_fee_per_gas", quantity),
    "maxfeeperblobgas": ("max_fee_per_blob_gas", quantity),
    "nonce": ("nonce", quantity64),
    "type": ("type", _type),
    "chainid": ("chain_id", quantity64),
    "accesslist": ("access_list", _access_list),
    "blobversionedhashes": ("blob_versioned_hashes", _hashes),
    "commitments": ("commitments", _commitments),
    "authorizationlist": ("authorization_list", _authorizations),
}
"""Fields of a transaction object. Others are ignored as in geth: blobs and proofs do not change what a call does, and
a mined transaction has a block, a hash and a signature.
"""


def call_fields(value: Any) -> CallFields:
    """A transaction object. Unknown and ``null`` fields count as absent; ``data`` and ``input`` must agree.

    A whole transaction of type 2 to 4, as ``eth_getTransactionByHash`` answers it, has ``gasPrice`` beside the fees
    that it was made with; that is the price it paid, and is left out. Raises `InvalidParams`.
    """
    given = fill(_Given(), value, CALL_FIELDS)
    if given.input is not None:
        if given.data not in (b"", given.input):
            raise InvalidParams("data and input differ; give one of them")
        given.data = given.input
    if given.max_fee_per_gas is not None and given.type is not None and _is_mined(value):
        given.gas_price = None
    if given.blob_versioned_hashes is None and given.commitments:
        given.blob_versioned_hashes = tuple(map(versioned_hash, given.commitments))
    _check_fees(given)
    _check_type(given)
    return CallFields(**{name: getattr(given, name) for name in _NAMES})


def _check_fees(given: CallFields) -> None:
    """Raises `InvalidParams` for fees that exclude each other."""
    cap, tip = given.max_fee_per_gas, given.max_priority_fee_per_gas
    if given.gas_price is not None and (cap is not None or tip is not None):
        raise InvalidParams("gasPrice and maxFeePerGas or maxPriorityFeePerGas exclude each other")
    if cap is not None and tip is not None and tip > cap:
        raise InvalidParams(f"maxPriorityFeePerGas {tip} is above maxFeePerGas {cap}")


_CARRIERS: Final = {
    "max_fee_per_gas": ("maxFeePerGas", (DYNAMIC_FEE, BLOB, SET_CODE)),
    "max_priority_fee_per_gas": ("maxPriorityFeePerGas", (DYNAMIC_FEE, BLOB, SET_CODE)),
    "access_list": ("accessList", (ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE)),
    "blob_versioned_hashes": ("blobVersionedHashes", (BLOB,)),
    "authorization_list": ("authorizationList", (SET_CODE,)),
}
"""For each field, the transaction types that have it; an empty list counts as absent."""


def _check_type(given: CallFields) -> None:
    """Raises `InvalidParams` for a field that the given type does not have: it would be dropped silently."""
    if given.type not in (LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE):
        return
    for name, (shown_name, types) in _CARRIERS.items():
        value = getattr(given, name)
        if value is not None and value != () and given.type not in types:
            raise InvalidParams(f"a transaction of type {given.type} has no {shown_name}")


_NAMES: Final = tuple(field.name for field in fields(CallFields))


def _is_mined(value: dict[str, Any]) -> bool:
    """Whether the object is a transaction from a node's answer, with a hash, and not one that a user fills in."""
    return isinstance(value.get("hash"), str)


def _slots(value: Any) -> dict[int, int]:
    return {slot(key): int.from_bytes(hash32(item), "big") for key, item in json_object(value).items()}


ACCOUNT_FIELDS: FieldTable = {
    "balance": ("balance", quantity),
    "nonce": ("nonce", quantity64),
    "code": ("code", data),
    "state": ("state", _slots),
    "statediff": ("state_diff", _slots),
    "moveprecompiletoaddress": ("move_precompile_to", address),
}


def _unsupported(value: Any) -> None:  # noqa: ARG001
    raise InvalidParams("cannot be overridden for a call, which begins after the block's system calls")


BLOCK_FIELDS: FieldTable = {
    "number": ("number", quantity64),
    "difficulty": ("difficulty", quantity),
    "time": ("timestamp", quantity64),
    "timestamp": ("timestamp", quantity64),
    "gaslimit": ("gas_limit", quantity64),
    "coinbase": ("coinbase", address),
    "feerecipient": ("coinbase", address),
    "random": ("prevrandao", hash32),
    "prevrandao": ("prevrandao", hash32),
    "basefee": ("base_fee", quantity),
    "basefeepergas": ("base_fee", quantity),
    "blobbasefee": ("blob_base_fee", quantity),
    "beaconroot": ("", _unsupported),
    "withdrawals": ("", _unsupported),
}


def account_overrides(value: Any) -> dict[Address, AccountOverride]:
    """The state override set of ``eth_call``."""
    given = json_object(value)
    if len(given) > OVERRIDDEN_ACCOUNTS_MAX:
        raise InvalidParams(f"more than {OVERRIDDEN_ACCOUNTS_MAX} overridden accounts")
    result = {}
    for key, item in given.items():
        override = AccountOverride() if item is None else fill(AccountOverride(), item, ACCOUNT_FIELDS)
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
    return fill(BlockOverrides(), value, BLOCK_FIELDS)


class AccountOverrides(dict[Address, AccountOverride]):
    """Annotation of handlers that take a state override set."""


PARSERS[CallFields] = call_fields
PARSERS[BlockOverrides] = block_overrides
PARSERS[AccountOverrides] = account_overrides
