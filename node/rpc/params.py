"""Parsers from JSON parameters to domain values, one per annotation used by handlers.

Each raises `InvalidParams` saying what was expected. Quantities are strict: ``0x0``, no leading zeros, at
most 32 bytes. `LooseInt` also takes JSON numbers and decimal strings, which development tools send to
``evm_*`` methods.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NewType, TypeVar

from chain.errors import InvalidHex
from chain.types import UINT256_MAX, Address, Hash32, parse_hex
from node.api.errors import InvalidParams
from node.sessions.errors import OwnersOnly
from node.sessions.rights import SHARE_PREFIX, SessionRef

TargetT = TypeVar("TargetT")
LooseInt = NewType("LooseInt", int)
"""A number however it is written."""
Slot = NewType("Slot", int)
"""A storage key: data of at most 32 bytes, or a quantity."""
FilterId = NewType("FilterId", int)
JsonObject = NewType("JsonObject", dict)  # type: ignore[type-arg]
"""Any JSON object; the handler reads it."""
JsonList = NewType("JsonList", list)  # type: ignore[type-arg]

HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block as users name it: exactly one of the three is set."""

    tag: str | None = None
    number: int | None = None
    hash: Hash32 | None = None


LATEST = BlockRef(tag="latest")
PENDING = BlockRef(tag="pending")
BLOCK_TAGS = ("latest", "pending", "safe", "finalized", "earliest")


def shown(value: Any) -> str:
    """A short form of a user's value for an error message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def quantity(value: Any, bits: int = 256) -> int:
    """
    >>> quantity("0x1f")
    31
    """
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidParams(f"expected a quantity like '0x1f', got {shown(value)}{_in_hex(value)}")
    digits = value[2:]
    if not digits or not HEX_DIGITS.issuperset(digits):
        raise InvalidParams(f"not a hex quantity: {shown(value)}")
    if len(digits) > 1 and digits[0] == "0":
        written = hex(int(digits, 16)) if len(digits) <= 80 else "it without them"
        raise InvalidParams(f"a quantity has no leading zeros: {shown(value)}; write {written}")
    if len(digits) * 4 > bits + 3 or (number := int(digits, 16)) >> bits:
        raise InvalidParams(f"a quantity of more than {bits} bits")
    return number


def _in_hex(value: Any) -> str:
    """How a number given as a JSON number or in decimal is written as a quantity; empty for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return ""
    return f"; write {hex(value)!r}"


def quantity64(value: Any) -> int:
    """A quantity of at most 64 bits."""
    return quantity(value, 64)


def loose_int(value: Any) -> LooseInt:
    """A number: JSON integer, decimal or hex string."""
    if isinstance(value, bool):
        raise InvalidParams("expected a number, got a boolean")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        try:
            value = int(value, 16 if value.startswith("0x") else 10)
        except ValueError:
            raise InvalidParams(f"not a number: {shown(value)}") from None
    if not isinstance(value, int) or not 0 <= value <= UINT256_MAX:
        raise InvalidParams(f"expected a number from 0 to 2**256 - 1, got {shown(value)}")
    return LooseInt(value)


def session_ref(value: Any) -> SessionRef:
    """A session's number however it is written, or a share token."""
    return value if isinstance(value, str) and value.startswith(SHARE_PREFIX) else loose_int(value)


def owned_session(value: Any) -> int:
    """A session's number. Raises `OwnersOnly` for a share token."""
    if isinstance(value, str) and value.startswith(SHARE_PREFIX):
        raise OwnersOnly("a share token is not enough for this")
    return loose_int(value)


def data(value: Any) -> bytes:
    """0x-hex of any even length."""
    try:
        return parse_hex(value)
    except InvalidHex as error:
        raise InvalidParams(str(error)) from None


def address(value: Any) -> Address:
    """20 bytes of 0x-hex."""
    try:
        return Address(parse_hex(value, 20))
    except InvalidHex as error:
        raise InvalidParams(f"not an address: {error}") from None


def hash32(value: Any) -> Hash32:
    """32 bytes of 0x-hex."""
    try:
        return Hash32(parse_hex(value, 32))
    except InvalidHex as error:
        raise InvalidParams(f"not a hash: {error}") from None


def slot(value: Any) -> Slot:
    """A storage key; short and odd-length hex is padded on the left, as geth does."""
    if not isinstance(value, str) or not value.startswith("0x") or not HEX_DIGITS.issuperset(value[2:]):
        raise InvalidParams(f"expected a storage key in hex, got {shown(value)}")
    if len(value) > 66:
        raise InvalidParams("a storage key has at most 32 bytes")
    return Slot(int(value[2:] or "0", 16))


def boolean(value: Any) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        raise InvalidParams(f"expected true or false, got {shown(value)}")
    return value


def text(value: Any) -> str:
    """A JSON string."""
    if not isinstance(value, str):
        raise InvalidParams(f"expected a string, got {shown(value)}")
    return value


def block_ref(value: Any) -> BlockRef:
    """Tag, number, hash, or the object of EIP-1898."""
    if isinstance(value, dict):
        return _eip1898(value)
    if value in BLOCK_TAGS:
        return BlockRef(tag=value)
    if isinstance(value, str) and len(value) == 66:
        return BlockRef(hash=hash32(value))
    if isinstance(value, str) and value.startswith("0x"):
        return BlockRef(number=quantity64(value))
    tags = ", ".join(BLOCK_TAGS)
    raise InvalidParams(f"expected a block number, hash or one of {tags}; got {shown(value)}{_in_hex(value)}")


def _eip1898(value: dict[str, Any]) -> BlockRef:
    number, digest = value.get("blockNumber"), value.get("blockHash")
    if (number is None) == (digest is None):
        raise InvalidParams("a block object has either blockNumber or blockHash (EIP-1898)")
    return block_ref(text(number)) if digest is None else BlockRef(hash=hash32(digest))


def json_object(value: Any) -> JsonObject:
    """A JSON object."""
    if not isinstance(value, dict):
        raise InvalidParams(f"expected an object, got {shown(value)}")
    return JsonObject(value)


def json_list(value: Any) -> JsonList:
    """A JSON array."""
    if not isinstance(value, list):
        raise InvalidParams(f"expected an array, got {shown(value)}")
    return JsonList(value)


def filter_id(value: Any) -> FilterId:
    """Filter ids are quantities."""
    return FilterId(quantity64(value))


def check_keys(value: dict[str, Any], allowed: frozenset[str], what: str) -> None:
    """Refuse unknown fields of zvmd's own objects, naming the nearest and all accepted ones.

    Objects of the execution APIs are read with `fill`, which ignores unknown fields.
    """
    for key in value:
        if key not in allowed:
            near = difflib.get_close_matches(key[:60], allowed, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            accepted = ", ".join(sorted(allowed))
            raise InvalidParams(f"unknown field {key[:60]!r} in {what}{meant} (accepted: {accepted})")


FieldTable = dict[str, tuple[str, Callable[[Any], Any]]]
"""JSON field in lower case -> attribute and parser."""


def fill(target: TargetT, value: Any, table: FieldTable) -> TargetT:
    """Set attributes from a JSON object as geth's decoder does: names in any case, unknown ones and null ignored.

    Raises `InvalidParams`, naming the field.
    """
    for key, item in json_object(value).items():
        known = table.get(key.lower())
        if known is None or item is None:
            continue
        name, parse = known
        try:
            setattr(target, name, parse(item))
        except InvalidParams as error:
            raise InvalidParams(f"field {key}: {error}") from None
    return target


PARSERS: dict[Any, Callable[[Any], Any]] = {
    int: quantity,
    LooseInt: loose_int,
    Slot: slot,
    FilterId: filter_id,
    bytes: data,
    Address: address,
    Hash32: hash32,
    bool: boolean,
    str: text,
    BlockRef: block_ref,
    JsonObject: json_object,
    JsonList: json_list,
    object: lambda value: value,
}
"""By annotation; `node.rpc.call_fields` and others add theirs."""
