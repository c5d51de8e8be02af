"""Bad input gets a typed error with code and hint, the same over JSON-RPC and QUIC, and the node keeps serving."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account

import zvmd
from chain.transactions import Transaction, encode_transaction, sign_transaction
from tests.conftest import Node
from tests.contracts import dev_account

CHAIN_ID = 31_337
GWEI = 10**9
SENDER = Account.from_key("0x" + "42" * 32)
"""Sends one good transaction and nothing else, so that a used nonce is known."""
SECRET = bytes(SENDER.key)


def transaction(**changes: Any) -> bytes:
    """A dynamic-fee transfer with nonce 1, signed, with fields changed before signing."""
    fields: dict[str, Any] = {
        "type": 2,
        "chain_id": CHAIN_ID,
        "nonce": 1,
        "gas_price": 0,
        "max_priority_fee_per_gas": GWEI,
        "max_fee_per_gas": 100 * GWEI,
        "gas_limit": 21_000,
        "to": b"\x09" * 20,
        "value": 1,
        "data": b"",
    }
    return encode_transaction(sign_transaction(Transaction(**{**fields, **changes}), SECRET))


def high_s() -> bytes:
    """The same signature with s mirrored at the curve order (EIP-2)."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    raw = transaction()
    s = int.from_bytes(raw[-32:], "big")
    return raw[:-32] + (order - s).to_bytes(32, "big")


SUBMISSIONS: dict[str, tuple[Callable[[], bytes], str]] = {
    "no bytes": (lambda: b"", "tx.malformed"),
    "not RLP": (lambda: b"\x02\xff\xff", "tx.malformed"),
    "not canonical RLP": (lambda: transaction()[:1] + b"\xf9\x00" + transaction()[2:], "tx.malformed"),
    "trailing bytes": (lambda: transaction() + b"\x00", "tx.malformed"),
    "an unknown type": (lambda: b"\x7f" + transaction()[1:], "tx.malformed"),
    "another chain's id": (lambda: transaction(chain_id=1), "tx.chain_id"),
    "a used nonce": (lambda: transaction(nonce=0, value=7), "tx.nonce_low"),
    "a fee below the base fee": (
        lambda: transaction(max_fee_per_gas=1, max_priority_fee_per_gas=0),
        "tx.fee_low",
    ),
    "a tip above the fee": (lambda: transaction(max_priority_fee_per_gas=200 * GWEI), "tx.fee_order"),
    "too little gas": (lambda: transaction(gas_limit=20_999), "tx.gas_intrinsic"),
    "gas above the block's limit": (lambda: transaction(gas_limit=30_000_001), "tx.gas_limit_high"),
    "more value than the balance": (lambda: transaction(value=10**30), "tx.funds"),
    "oversized initcode": (
        lambda: transaction(to=None, gas_limit=10**7, data=b"\x00" * 49_153),
        "tx.initcode_size",
    ),
    "an oversized transaction": (
        lambda: transaction(gas_limit=10**7, data=b"\x00" * (128 * 1024 + 1)),
        "tx.malformed",
    ),
    "a high s": (high_s, "tx.signature"),
}


@pytest.fixture(scope="module", autouse=True)
def used_nonce(node: Node) -> None:
    """Nonce 0 of the sender is used."""
    if node.daemon is None:
        pytest.skip("an outside node has its own words for refusals")
    rpc = node.rpc()
    gift = {"from": dev_account(9).address, "to": SENDER.address, "value": hex(10**18)}
    rpc.call("eth_sendTransaction", gift)
    rpc.call("eth_sendRawTransaction", "0x" + transaction(nonce=0).hex())


def post(node: Node, body: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The decoded answer to a raw body."""
    host, port = node.http_url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("POST", "/", body, {"Content-Type": content_type})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def still_serves(node: Node) -> None:
    assert post(node, b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}')["result"] == hex(CHAIN_ID)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_bad_submission_is_refused_alike_on_both_transports(node: Node, name: str) -> None:
    make, slug = SUBMISSIONS[name]
    raw = make()
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
    error = post(node, json.dumps(request).encode())["error"]
    assert (error["data"]["code"], bool(error["data"]["hint"])) == (slug, True)
    assert node.daemon is not None
    url = f"quic://127.0.0.1:{node.daemon.quic_port}"
    with zvmd.SyncClient(url=url, data_dir=node.daemon.data_dir) as client:
        with pytest.raises(zvmd.ZvmdError) as refused:
            client.send_raw(raw)
        assert (refused.value.code, refused.value.rpc_code) == (slug, error["code"])
        assert refused.value.hint
        assert client.rpc("eth_chainId") == hex(CHAIN_ID)
    still_serves(node)


BODIES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "rpc.parse"),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', "rpc.parse"),
    "a key twice": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"eth_chainId"}', "rpc.parse"),
    "NaN": (b'{"jsonrpc":"2.0","id":NaN,"method":"eth_chainId"}', "rpc.parse"),
    "nested too deeply": (b"[" * 100_000, "rpc.too_large"),
    "an empty batch": (b"[]", "rpc.request"),
    "too many calls": (
        b"[" + b",".join([b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'] * 1_001) + b"]",
        "rpc.too_large",
    ),
    "an unknown method": (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainID"}', "rpc.method"),
    "a bad parameter": (
        b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1","latest"]}',
        "rpc.params",
    ),
    "too large": (b'"' + b"x" * (6 * 1024 * 1024) + b'"', "rpc.too_large"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_and_the_node_keeps_serving(node: Node, name: str) -> None:
    body, slug = BODIES[name]
    error = post(node, body)["error"]
    assert (error["data"]["code"], bool(error["data"]["hint"])) == (slug, True)
    still_serves(node)


def test_the_same_bytes_again_are_the_same_success(node: Node) -> None:
    raw = "0x" + transaction(nonce=0).hex()
    rpc = node.rpc()
    before = rpc.call("eth_blockNumber")
    assert rpc.call("eth_sendRawTransaction", raw) == rpc.call("eth_sendRawTransaction", raw)
    assert rpc.call("eth_blockNumber") == before
    assert Account.recover_transaction(raw) == SENDER.address
