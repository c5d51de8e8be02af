"""Transactions that the node signs itself: nonces in any concurrency, refusals at once, gas, chain id, signatures."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chain.crypto import CURVE_ORDER, HALF_CURVE_ORDER
from chain.validity import TRANSACTION_GAS_CAP
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

OWNER, OTHER = dev_account(0).address, dev_account(1).address
STRANGER = "0x" + "a1" * 20
TRANSFER = {"from": OWNER, "to": STRANGER, "value": "0x1"}
TAKES_ALL = "0x5f630fffffff52"
"""Writes to memory that costs more gas than any block has."""


def nonces_of(rpc: Rpc, hashes: list[str]) -> list[int]:
    found = [rpc.call("eth_getTransactionByHash", known) for known in hashes]
    assert all(transaction["blockNumber"] for transaction in found)
    return [int(transaction["nonce"], 16) for transaction in found]


@pytest.mark.parametrize("gas", [{}, {"gas": "0x5208"}], ids=["estimated", "given"])
@pytest.mark.parametrize("automine", [True, False])
def test_a_batch_gets_successive_nonces_in_its_order(daemon: Daemon, automine: bool, gas: dict[str, str]) -> None:
    rpc = daemon.rpc()
    rpc.call("evm_setAutomine", automine)
    hashes = rpc.batch([("eth_sendTransaction", (TRANSFER | gas,))] * 20)
    if not automine:
        rpc.call("evm_mine")
    assert nonces_of(rpc, hashes) == list(range(20))
    assert rpc.call("eth_blockNumber") == hex(20 if automine else 1)


def test_connections_of_both_transports_get_successive_nonces(daemon: Daemon) -> None:
    """What is signed outside has its nonce already, and takes no other's place."""

    def over_http(_: int) -> str:
        return str(daemon.rpc().call("eth_sendTransaction", TRANSFER))

    def over_quic(_: int) -> str:
        return str(daemon.call_over_quic("eth_sendTransaction", TRANSFER))

    with ThreadPoolExecutor(20) as threads:
        sent = [threads.submit(send, n) for n in range(10) for send in (over_http, over_quic)]
        hashes = [one.result() for one in sent]
    rpc = daemon.rpc()
    assert sorted(nonces_of(rpc, hashes)) == list(range(20))
    assert rpc.call("eth_blockNumber") == hex(20)  # a block each


def test_an_estimate_sees_the_transactions_before_it(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    created = "0x5fbdb2315678afecb367f032d93f642f64180aa3"  # the address that OWNER's first contract gets
    hashes = rpc.batch(
        [
            ("eth_sendTransaction", ({"from": OWNER, "data": "0x6006600c60003960066000f3" + "600160005500"},)),
            ("eth_sendTransaction", ({"from": OWNER, "to": created},)),
            ("eth_sendTransaction", ({"from": OTHER, "to": created},)),
        ]
    )
    receipts = [rpc.call("eth_getTransactionReceipt", known) for known in hashes]
    assert [receipt["status"] for receipt in receipts] == ["0x1"] * 3
    assert int(receipts[1]["gasUsed"], 16) > 40_000  # a slot was set: the estimate saw the code


@pytest.mark.parametrize("automine", [True, False])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"gas": "0x5207"}, "intrinsic gas too low"),
        ({"gas": hex(30_000_001)}, "gas limit"),
        ({"type": "0x3"}, "blob"),
        ({"blobVersionedHashes": ["0x01" + "11" * 31], "maxFeePerBlobGas": "0x1"}, "blob"),
        ({"type": "0x4"}, "authorization"),
        ({"type": "0x5"}, "type"),
        ({"type": "0x7f"}, "type"),
        ({"chainId": "0x1"}, "chainId does not match node's"),
        ({"value": hex(10**30)}, "insufficient funds"),
        ({"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}, "above maxFeePerGas"),
        ({"gas": "0x7fffffffffffffff"}, "gas limit"),
        ({"nonce": hex(2**64 - 1)}, "nonce"),
        ({"to": None, "data": "0x" + "00" * 49_153}, "initcode"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_no_block_can_take_is_refused_at_once(
    daemon: Daemon, automine: bool, fields: dict[str, Any], words: str
) -> None:
    rpc = daemon.rpc()
    rpc.call("evm_setAutomine", automine)
    with pytest.raises(RpcFailed, match=words):
        rpc.call("eth_sendTransaction", {"gas": "0xf4240"} | TRANSFER | fields)
    assert rpc.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_the_right_chain_id_is_taken(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    assert nonces_of(rpc, [rpc.call("eth_sendTransaction", TRANSFER | {"chainId": hex(31_337)})]) == [0]


def test_a_signature_that_nobody_made_is_in_range_and_names_its_sender(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    zero = "0x" + "00" * 20
    senders = [STRANGER, "0x" + "ff" * 20, zero]
    hashes = []
    for sender in senders:
        rpc.call("anvil_setBalance", sender, hex(10**18))
        rpc.call("anvil_impersonateAccount", sender)
        hashes.append(rpc.call("eth_sendTransaction", {"from": sender, "to": OWNER, "nonce": "0x0"}))
    for sender, known in zip(senders, hashes, strict=True):
        sent = rpc.call("eth_getTransactionByHash", known)
        assert sent["from"].lower() == sender
        r, s = int(sent["r"], 16), int(sent["s"], 16)
        assert 0 < r < CURVE_ORDER
        assert 0 < s <= HALF_CURVE_ORDER
        with pytest.raises(RpcFailed, match="r and s name a sender"):
            rpc.call("eth_sendRawTransaction", rpc.call("debug_getRawTransaction", known))
    assert len(set(hashes)) == 3


# The gas cap of EIP-7825


def test_a_development_chain_has_no_gas_cap_and_its_log_replays(tmp_path_factory: pytest.TempPathFactory) -> None:
    daemon = Daemon(tmp_path_factory.mktemp("uncapped") / "data")
    try:
        daemon.start()
        rpc = daemon.rpc()
        whole = rpc.call("eth_sendTransaction", TRANSFER | {"gas": hex(30_000_000)})
        daemon.kill()
        daemon.start()
        rpc = daemon.rpc()
        assert rpc.call("eth_getTransactionReceipt", whole)["status"] == "0x1"
        assert rpc.call("debug_traceTransaction", whole, {"tracer": "callTracer"})["gas"] == hex(30_000_000)
    finally:
        daemon.close()


def test_with_the_cap_estimates_stay_below_it_and_name_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    daemon = Daemon(tmp_path_factory.mktemp("capped") / "data", "--tx-gas-cap")
    try:
        daemon.start()
        rpc = daemon.rpc()
        with pytest.raises(RpcFailed, match="EIP-7825"):
            rpc.call("eth_sendTransaction", TRANSFER | {"gas": hex(TRANSACTION_GAS_CAP + 1)})
        rpc.call("eth_sendTransaction", TRANSFER | {"gas": hex(TRANSACTION_GAS_CAP)})
        rpc.call("anvil_setCode", STRANGER, TAKES_ALL)
        with pytest.raises(RpcFailed, match=rf"allowance \({TRANSACTION_GAS_CAP}\), .*EIP-7825"):
            rpc.call("eth_estimateGas", TRANSFER)
        with pytest.raises(RpcFailed, match="allowance"):
            rpc.call("eth_sendTransaction", TRANSFER)
    finally:
        daemon.close()
