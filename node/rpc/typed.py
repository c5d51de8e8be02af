"""The usual forms of the requests that come most often, decoded in one pass; all others take `node.rpc.strict_json`.

A body is taken only if it is known to mean the same on both roads: no field but those below, each a plain string, no
escape in it, and as many quotes as its keys and strings have, so that no key stands there twice. What is not taken,
down to a wrong digit, is decoded again strictly, so every error is that of the strict road.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Union

import msgspec

from chain.errors import ZvmdError
from node.api.types import CallFields
from node.rpc import strict_json
from node.rpc.limits import RpcLimits
from node.rpc.params import LATEST, BlockRef, address, block_ref, data, hash32, quantity64, slot
from node.rpc.registry import Method, find_method

_TEXT_ID: Final = re.compile(rb'"[A-Za-z0-9_.:-]{0,64}"')
ID_DIGITS_MAX: Final = 15
_ENVELOPE_QUOTES: Final = 2 * (4 + 2)
"""Four keys, ``"2.0"`` and the method have so many."""
BATCH_DEPTH: Final = 4
"""A batch of these forms is nested so deep."""


class TypedRequest(NamedTuple):
    """One request of a usual form."""

    id: int | str
    method: Method
    arguments: list[Any]
    kind: tuple[str, str]
    """The method, and whom it calls."""


_Read = tuple[list[Any], int, str]
"""What parameters say: arguments, the quotes in their text, and whom they call."""


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pass


class _Call(_Part, rename={"sender": "from"}):
    to: str
    data: str | None = None
    input: str | None = None
    sender: str | None = None
    gas: str | None = None


class _NoParams(_Part, array_like=True):
    pass


class _CallParams(_Part, array_like=True):
    call: _Call
    block: str | None = None


class _AccountParams(_Part, array_like=True):
    account: str
    block: str | None = None


class _SlotParams(_Part, array_like=True):
    account: str
    slot: str
    block: str | None = None


class _HashParams(_Part, array_like=True):
    hash: str


class _RawParams(_Part, array_like=True):
    transaction: str


def _read_nothing(_: _NoParams) -> _Read:
    return [], 0, ""


def _read_call(params: _CallParams) -> _Read:
    call, block = params.call, params.block
    given, code, sender, gas = call.data, b"", None, None
    quotes = 4 + _quotes_of(block)
    if given is None:
        given = call.input
    elif call.input is not None:
        raise ValueError("either will do")
    if given is not None:
        code = data(given)
        quotes += 4
    if call.sender is not None:
        sender = _address(call.sender)
        quotes += 4
    if call.gas is not None:
        gas = quantity64(call.gas)
        quotes += 4
    return [CallFields(sender, _address(call.to), code, 0, gas), _block(block), None, None], quotes, call.to


def _read_account(params: _AccountParams) -> _Read:
    return [_address(params.account), _block(params.block)], 2 + _quotes_of(params.block), ""


def _read_slot(params: _SlotParams) -> _Read:
    return [_address(params.account), slot(params.slot), _block(params.block)], 4 + _quotes_of(params.block), ""


def _read_hash(params: _HashParams) -> _Read:
    return [hash32(params.hash)], 2, ""


def _read_raw(params: _RawParams) -> _Read:
    return [data(params.transaction)], 2, ""


_address: Final = lru_cache(maxsize=1_024)(address)
"""Most requests name the same few."""


def _quotes_of(block: str | None) -> int:
    return 0 if block is None else 2


def _block(name: str | None) -> BlockRef:
    return LATEST if name is None or name == "latest" else block_ref(name)


_FORMS: Final[dict[str, tuple[type[_Part], Callable[[Any], _Read]]]] = {
    "eth_call": (_CallParams, _read_call),
    "eth_getBalance": (_AccountParams, _read_account),
    "eth_getTransactionCount": (_AccountParams, _read_account),
    "eth_getCode": (_AccountParams, _read_account),
    "eth_getStorageAt": (_SlotParams, _read_slot),
    "eth_getTransactionReceipt": (_HashParams, _read_hash),
    "eth_sendRawTransaction": (_RawParams, _read_raw),
    "eth_blockNumber": (_NoParams, _read_nothing),
    "eth_chainId": (_NoParams, _read_nothing),
    "eth_gasPrice": (_NoParams, _read_nothing),
}
"""By method: the form of its parameters, and what reads them."""
FORMS: Final = frozenset(_FORMS)
"""The methods."""


def _envelope(method: str, params: type[_Part]) -> type[msgspec.Struct]:
    """The form of a whole request of a method."""
    fields = [("id", msgspec.Raw), ("jsonrpc", Literal["2.0"]), ("params", params)]
    return msgspec.defstruct(f"_{method}", fields, bases=(_Part,), tag_field="method", tag=method)


_READERS: Final = {_envelope(name, params): (name, reader) for name, (params, reader) in _FORMS.items()}
_Any: Final[Any] = Union[tuple(_READERS)]  # noqa: UP007 - made of a table
_one: Final = msgspec.json.Decoder(_Any)
_many: Final = msgspec.json.Decoder(list[_Any])


def decode(body: bytes) -> TypedRequest | None:
    """The request of a body, None to decode it strictly. Bodies up to `strict_json.LARGE_BYTES` only.

    >>> decode(b'{"jsonrpc":"2.0","id":1,"method":"eth_feeHistory","params":[]}') is None
    True
    """
    if b"\\" in body:
        return None
    try:
        request, quotes = _read(_one.decode(body))
    except (msgspec.MsgspecError, ValueError, ZvmdError):
        return None
    return request if body.count(b'"') == quotes else None


def decode_batch(body: bytes, limits: RpcLimits) -> list[TypedRequest] | None:
    """The requests of a batch all of which have usual forms, None to decode it strictly.

    What is counted in the whole body is at least what it is in each request, so if the sums agree, so do the parts.
    """
    if b"\\" in body or not strict_json.is_within(body, limits) or limits.json_depth_max < BATCH_DEPTH:
        return None
    try:
        found = [_read(envelope) for envelope in _many.decode(body)]
    except (msgspec.MsgspecError, ValueError, ZvmdError):
        return None
    if not found or len(found) > limits.batch_size_max:
        return None
    return [request for request, _ in found] if body.count(b'"') == sum(quotes for _, quotes in found) else None


def _read(envelope: Any) -> tuple[TypedRequest, int]:
    """A request, and the quotes in its text. Raises `ValueError` or `ZvmdError` if it is not usual."""
    name, reader = _READERS[type(envelope)]
    arguments, quotes, called = reader(envelope.params)
    identity = bytes(envelope.id)
    known_as: int | str
    if identity.isdigit() and len(identity) <= ID_DIGITS_MAX and (identity[:1] != b"0" or identity == b"0"):
        known_as = int(identity)
    elif _TEXT_ID.fullmatch(identity):
        known_as = identity[1:-1].decode()
        quotes += 2
    else:
        raise ValueError("the id is unusual")
    return TypedRequest(known_as, find_method(name), arguments, (name, called)), _ENVELOPE_QUOTES + quotes
