"""The usual forms of the requests that come most often, decoded in one pass; all others take `node.rpc.strict_json`.

A body is taken only if it is known to mean the same on both roads: no field but those below, each a plain string, no
escape in it, and as many quotes as its keys and strings have, so that no key stands there twice. What is not taken,
down to a wrong digit, is decoded again strictly, so every error is that of the strict road.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from chain.errors import ZvmdError
from node.api.types import CallFields
from node.rpc.params import LATEST, BlockRef, address, block_ref, data, hash32, quantity64, slot
from node.rpc.registry import Method, find_method

_ID: Final = re.compile(rb'0|[1-9][0-9]{0,14}|"[A-Za-z0-9_.:-]{0,64}"')
_ENVELOPE_QUOTES: Final = 2 * (4 + 2)
"""Four keys, ``"2.0"`` and the method have so many."""


class TypedRequest(NamedTuple):
    """One request of a usual form."""

    id: int | str
    method: Method
    arguments: list[Any]
    kind: tuple[str, str]
    """The method, and whom it calls."""


class _Read(NamedTuple):
    """What the parameters say."""

    arguments: list[Any]
    quotes: int
    """In their text."""
    called: str = ""


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Envelope(_Part):
    id: msgspec.Raw
    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw


class _Call(_Part, rename={"sender": "from"}):
    to: str
    data: str | None = None
    input: str | None = None
    sender: str | None = None
    gas: str | None = None


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


def _read_call(params: _CallParams) -> _Read:
    call = params.call
    code = call.input if call.data is None else call.data
    if call.data is not None and call.input is not None:
        raise ValueError("either will do")
    fields = CallFields(
        sender=None if call.sender is None else address(call.sender),
        to=address(call.to),
        data=b"" if code is None else data(code),
        gas=None if call.gas is None else quantity64(call.gas),
    )
    given = 1 + (code is not None) + (call.sender is not None) + (call.gas is not None)
    return _Read([fields, _block(params.block), None, None], 4 * given + _quotes_of(params.block), call.to)


def _read_account(params: _AccountParams) -> _Read:
    return _Read([address(params.account), _block(params.block)], 2 + _quotes_of(params.block))


def _read_slot(params: _SlotParams) -> _Read:
    arguments = [address(params.account), slot(params.slot), _block(params.block)]
    return _Read(arguments, 4 + _quotes_of(params.block))


def _read_hash(params: _HashParams) -> _Read:
    return _Read([hash32(params.hash)], 2)


def _quotes_of(block: str | None) -> int:
    return 0 if block is None else 2


def _block(name: str | None) -> BlockRef:
    return LATEST if name is None or name == "latest" else block_ref(name)


_ACCOUNT: Final = (msgspec.json.Decoder(_AccountParams), _read_account)
FORMS: Final[dict[str, tuple[Any, Callable[[Any], _Read]]]] = {
    "eth_call": (msgspec.json.Decoder(_CallParams), _read_call),
    "eth_getBalance": _ACCOUNT,
    "eth_getTransactionCount": _ACCOUNT,
    "eth_getCode": _ACCOUNT,
    "eth_getStorageAt": (msgspec.json.Decoder(_SlotParams), _read_slot),
    "eth_getTransactionReceipt": (msgspec.json.Decoder(_HashParams), _read_hash),
}
"""By method: how its parameters are decoded and read."""
_envelope: Final = msgspec.json.Decoder(_Envelope)


def decode(body: bytes) -> TypedRequest | None:
    """The request of a body, None to decode it strictly. Bodies up to `strict_json.LARGE_BYTES` only.

    >>> decode(b'{"jsonrpc":"2.0","id":1,"method":"eth_gasPrice","params":[]}') is None
    True
    """
    try:
        envelope = _envelope.decode(body)
        form = FORMS.get(envelope.method)
        if form is None:
            return None
        decoder, reader = form
        arguments, quotes, called = reader(decoder.decode(envelope.params))
    except (msgspec.MsgspecError, ValueError, ZvmdError):
        return None
    identity = bytes(envelope.id)
    is_text = identity[:1] == b'"'
    expected = _ENVELOPE_QUOTES + quotes + 2 * is_text
    if not _ID.fullmatch(identity) or body.count(b'"') != expected or b"\\" in body:
        return None
    name = envelope.method
    known_as = identity[1:-1].decode() if is_text else int(identity)
    return TypedRequest(known_as, find_method(name), arguments, (name, called))
