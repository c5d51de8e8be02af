"""Usual requests decoded in one pass mean what the strict road reads in them, to the letter, or are left to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import ZvmdError
from node.rpc import strict_json, typed
from node.rpc.caller import NODE
from node.rpc.dispatch import NO_ID, _request
from node.rpc.limits import RpcLimits
from node.rpc.methods import load_methods
from node.rpc.registry import find_method

load_methods()
LIMITS = RpcLimits()
TO = "0x" + "1a" * 20
WORD = "0x" + "2b" * 32


def strictly(body: bytes) -> tuple[Any, ...]:
    """Id, method and arguments by the strict road. Raises `ZvmdError`."""
    request = _request(strict_json.decode(body, LIMITS), False, NODE)
    if request.refusal is not None:
        raise request.refusal
    method = find_method(request.method)
    return request.id, method, method.arguments(request.params)


def same(body: bytes) -> bool:
    """Whether the typed road took the body; what it made of it has to be what the strict road makes of it."""
    found = typed.decode(body)
    if found is None:
        return False
    identity, method, arguments = strictly(body)
    assert identity is not NO_ID
    assert (type(found.id), found.id, found.method) == (type(identity), identity, method), body
    assert found.arguments == arguments, body
    return True


def body(method: str, *params: Any, **changes: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)} | changes).encode()


USUAL = [
    body("eth_call", {"to": TO, "data": "0x70a08231"}, "latest"),
    body("eth_call", {"to": TO, "input": "0x"}),
    body("eth_call", {"from": TO, "to": TO, "data": "0x00", "gas": "0x5208"}, "0x10", id="a-1"),
    body("eth_call", {"to": TO}, "pending", id=0),
    body("eth_getBalance", TO, "latest"),
    body("eth_getBalance", TO),
    body("eth_getTransactionCount", TO, "pending"),
    body("eth_getCode", TO, "earliest"),
    body("eth_getStorageAt", TO, "0x0", "latest"),
    body("eth_getStorageAt", TO, WORD, "safe"),
    body("eth_getTransactionReceipt", WORD),
]
UNUSUAL = [
    body("eth_call", {"to": TO, "data": "0x00", "input": "0x00"}),
    body("eth_call", {"to": TO, "value": "0x1"}),
    body("eth_call", {"To": TO}),
    body("eth_call", {"to": TO, "data": None}),
    body("eth_call", {"to": TO, "gas": 21000}),
    body("eth_call", {"to": TO}, "latest", {}),
    body("eth_call", {"to": TO}, {"blockNumber": "0x1"}),
    body("eth_getBalance", TO, "newest"),
    body("eth_getBalance", TO[:-1]),
    body("eth_getBalance", TO, "latest", None),
    body("eth_getBalance", TO, id=1.0),
    body("eth_getBalance", TO, id=None),
    body("eth_getBalance", TO, id=-1),
    body("eth_getBalance", TO, id=10**20),
    body("eth_getBalance", TO, id="\n"),
    body("eth_getBalance", TO, id="ä"),
    body("eth_getBalance", TO, jsonrpc="1.0"),
    body("eth_getBalance", TO, more=1),
    b"[" + body("eth_getBalance", TO) + b"]",
    body("eth_getBalance", TO).replace(b'"id": 1', b'"id": 1, "id" : 2'),
    body("eth_getBalance", TO).replace(b'"id": 1', b'"id": 01'),
    body("eth_getBalance", TO).replace(b"eth_getB", b"eth\\u005fgetB"),
    body("eth_call", {"to": TO}).replace(b'"to"', b'"to": "0x", "to"'),
    body("eth_getBalance", TO)[:-1],
    body("eth_getBalance", TO) + b" 1",
    b"\xef\xbb\xbf" + body("eth_getBalance", TO),
    body("eth_getBalance", TO).replace(b"0x1a", b"0x\xff\xfe"),
    b"",
]


@pytest.mark.parametrize("usual", USUAL)
def test_usual_forms_are_taken(usual: bytes) -> None:
    assert same(usual)
    assert same(json.dumps(json.loads(usual), indent=3).encode())
    assert same(json.dumps(dict(reversed(json.loads(usual).items())), separators=(",", ":")).encode())


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_unusual_ones_are_left_to_the_strict_road(unusual: bytes) -> None:
    assert not same(unusual)


PIECES = st.sampled_from(
    [b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"0x", b"null", b"1", b"1e0", b"-0", b" ", b"\n", b'"id":2,',
     b'"to":"",', b'"latest"', b"\\u0030", b"\xc3\xa4", b"\xed\xa0\x80", b"\x00", b'"from":"0x",', b",null", b'""']
)  # fmt: skip


@settings(max_examples=400)
@given(st.sampled_from(USUAL), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), PIECES), max_size=3))
def test_changed_bodies_mean_the_same_on_both_roads(usual: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    for place, gone, piece in changes:
        usual = usual[:place] + piece + usual[place + gone :]
    same(usual)


SCALARS = st.one_of(
    st.sampled_from([TO, WORD, "latest", "pending", "0x1", "0x01", "0x", "", "0x5208", "1", "earliest", "LATEST"]),
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(allow_nan=False), st.text(max_size=5),
)  # fmt: skip
OBJECTS = st.dictionaries(
    st.sampled_from(["to", "from", "data", "input", "gas", "value", "From", "gasPrice", "x"]), SCALARS, max_size=5
)
PARAMS = st.lists(st.one_of(SCALARS, OBJECTS), max_size=4)


@settings(max_examples=400)
@given(st.sampled_from(sorted(typed.FORMS)), PARAMS, SCALARS)
def test_any_parameters_mean_the_same_on_both_roads(method: str, params: list[Any], identity: Any) -> None:
    try:
        same(body(method, *params, id=identity))
    except ZvmdError as error:
        raise AssertionError("the typed road took what the strict road refuses") from error
