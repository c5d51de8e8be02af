"""Transaction objects, overrides, filters and options as clients write them, answered as geth answers them."""

from __future__ import annotations

import json
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_typing import HexStr
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractLogicError, Web3RPCError

from tests.conftest import Node
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

DEV = dev_account(0).address
OTHER = "0x" + "9a" * 20
FORTY_TWO = "0x602a60005260206000f3"
"""Creation code: the contract's code would be the number 42."""
LOGS_12001 = "0x612ee15b5f5fa0600190038060035700"
"""Creation code that emits 12,001 logs in a loop."""
WORD = "0x" + "0" * 62 + "2a"
SHA256 = "0x" + "0" * 39 + "2"
COMMITMENT = "0x" + "c0" + "00" * 47
BLOBHASH_OF_0 = "0x60004960005260206000f3"

IGNORED: dict[str, dict[str, Any]] = {
    "blobs of alloy": {"blobs": ["0x"], "proofs": ["0x"], "sidecar": {}},
    "blobs of ethers": {"blobs": [{"data": "0x", "commitment": "0x", "proof": "0x"}]},
    "chain and hardfork of web3.js": {"chain": "mainnet", "hardfork": "london"},
    "a field of another chain": {"feeCurrency": None, "customData": {"deep": [1, {}]}},
    "a mined transaction": {
        "blockHash": "0x" + "11" * 32, "blockNumber": "0x1", "transactionIndex": "0x0", "hash": "0x" + "22" * 32,
        "v": "0x0", "r": "0x1", "s": "0x1", "yParity": "0x0", "type": "0x2", "gasPrice": "0x77359400",
        "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1",
    },
    "a type as a number": {"type": 2},
    "null everywhere": dict.fromkeys(("gas", "gasPrice", "value", "nonce", "accessList", "authorizationList", "to")),
    "other case": {"GASPRICE": "0x0", "Value": "0x0"},
    "an access list with more": {"accessList": [{"address": OTHER, "storageKeys": None, "note": 1}]},
}  # fmt: skip


def refusal(rpc: Rpc, method: str, *params: Any) -> RpcFailed:
    with pytest.raises(RpcFailed) as caught:
        rpc.call(method, *params)
    return caught.value


@pytest.mark.parametrize("name", IGNORED)
def test_a_transaction_object_may_have_more_fields(node: Node, name: str) -> None:
    """`cast send --blob`, web3.js and whole transactions in eth_call were refused for a field each."""
    rpc, given = node.rpc(), {"from": DEV, "data": FORTY_TWO, **IGNORED[name]}
    assert rpc.call("eth_call", given, "latest") == WORD
    assert int(rpc.call("eth_estimateGas", given), 16) > 53_000
    assert rpc.call("eth_createAccessList", given)["gasUsed"]
    options = {"tracer": "callTracer", "disableMemory": True}
    assert rpc.call("debug_traceCall", given, "latest", options)["type"] == "CREATE"


def test_a_field_of_a_wrong_form_is_named_with_the_right_one(node: Node) -> None:
    rpc = node.rpc()
    for field, value, right in (("value", 1, "'0x1'"), ("gas", "21000", "'0x5208'"), ("gas", "0x05208", "0x5208")):
        failed = refusal(rpc, "eth_call", {"to": OTHER, field: value})
        assert failed.code == -32602
        assert f"field {field}" in str(failed)
        assert str(failed).endswith(right)
    assert "write '0x5'" in str(refusal(rpc, "eth_getBalance", DEV, 5))
    assert "did you mean 'blocks'" in str(refusal(rpc, "evm_mine", {"block": 2}))


ACCESS = [{"address": OTHER, "storageKeys": [WORD]}]
AUTHORIZATION = [{"chainId": "0x0", "address": OTHER, "nonce": "0x0", "yParity": "0x0", "r": "0x1", "s": "0x1"}]
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "a price and a tip": {"gasPrice": "0x77359400", "maxPriorityFeePerGas": "0x1"},
    "a price and a cap": {"gasPrice": "0x77359400", "maxFeePerGas": "0x77359400"},
    "a tip above the cap": {"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x77359401"},
    "a cap of type 0": {"type": "0x0", "maxFeePerGas": "0x77359400"},
    "a tip of type 1": {"type": "0x1", "maxPriorityFeePerGas": "0x1"},
    "an access list of type 0": {"type": "0x0", "accessList": ACCESS},
    "authorizations of type 2": {"type": "0x2", "authorizationList": AUTHORIZATION},
    "blobs of type 2": {"type": "0x2", "blobVersionedHashes": ["0x01" + "11" * 31], "maxFeePerBlobGas": "0x5"},
}
SIGNING = ("eth_sendTransaction", "eth_signTransaction", "eth_fillTransaction", "eth_sendUnsignedTransaction")


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_fields_that_exclude_each_other_are_refused(node: Node, name: str) -> None:
    """The node chose one of them and dropped the other: a cap was not kept, an access list was lost."""
    rpc = node.rpc()
    given = {"from": DEV, "to": OTHER, "gas": "0x186a0", **CONTRADICTIONS[name]}
    for method in ("eth_call", "eth_estimateGas", *SIGNING):
        assert refusal(rpc, method, given).code == -32602, method


def test_a_transaction_that_does_nothing_is_refused(node: Node) -> None:
    """With a forgotten recipient the value went to a contract without code."""
    rpc = node.rpc()
    for method in SIGNING:
        for given in ({"value": "0x1"}, {"to": None, "data": "0x"}, {"to": "", "input": ""}):
            failed = refusal(rpc, method, {"from": DEV, **given})
            assert failed.code == -32602
            assert "contract creation without any data" in str(failed)
    assert rpc.call("eth_call", {"from": DEV, "to": OTHER, "data": ""}) == "0x"
    assert rpc.call("eth_estimateGas", {"from": DEV}) == "0xcf08"


def test_a_signature_needs_no_password(node: Node) -> None:
    """web3.js and pages made for wallets give one."""
    rpc = node.rpc()
    assert rpc.call("personal_sign", "0x1234", DEV, "a password") == rpc.call("eth_sign", DEV, "0x1234")


def test_percentiles_of_fees_ascend(node: Node) -> None:
    rpc = node.rpc()
    assert rpc.call("eth_feeHistory", "0x1", "latest", [0, 0.5, 100])["reward"]
    for wrong in ([50, 20], [50, 50], [-1], [101], ["50"], [True]):
        assert refusal(rpc, "eth_feeHistory", "0x1", "latest", wrong).code == -32602


def test_commitments_give_the_hashes_of_blobs(node: Node) -> None:
    given = {"from": DEV, "to": OTHER, "commitments": [COMMITMENT], "maxFeePerBlobGas": "0x5", "blobs": ["0x00"]}
    code = {OTHER: {"code": BLOBHASH_OF_0}}
    expected = "0x01" + sha256(bytes.fromhex(COMMITMENT[2:])).hexdigest()[2:]
    assert node.rpc().call("eth_call", given, "latest", code) == expected
    assert refusal(node.rpc(), "eth_call", {**given, "commitments": ["0x00"]}).code == -32602


def test_a_call_without_a_recipient_answers_the_code_it_creates(node: Node) -> None:
    """It answered 0x: deployless calls of viem and the validator of ERC-6492 got nothing."""
    rpc = node.rpc()
    for given in ({}, {"to": None}, {"to": ""}, {"from": DEV, "to": None}):
        assert rpc.call("eth_call", {"data": FORTY_TWO, **given}, "latest") == WORD
    assert rpc.call("eth_call", {"data": "0x"}) == "0x"
    failed = refusal(rpc, "eth_call", {"data": "0x60aa60005260206000fd"})
    assert (failed.code, failed.data) == (3, "0x" + "0" * 62 + "aa")
    assert refusal(rpc, "eth_call", {"data": "0x60ef60005360016000f3"}).data is None  # EIP-3541


def of_block(rpc: Rpc, opcode: str, **overrides: str) -> int:
    code = {OTHER: {"code": f"0x{opcode}60005260206000f3"}}
    return int(rpc.call("eth_call", {"to": OTHER}, "latest", code, overrides), 16)


def test_block_overrides(node: Node) -> None:
    rpc = node.rpc()
    assert of_block(rpc, "4a", blobBaseFee="0x5", futureField="0x1") == 5
    assert of_block(rpc, "43", number="0x64") == 100
    assert of_block(rpc, "44", difficulty="0x7", prevRandao=WORD) == 42
    assert of_block(rpc, "44", difficulty="0x7") == of_block(rpc, "44")
    failed = refusal(rpc, "eth_call", {"to": OTHER}, "latest", {}, {"beaconRoot": "0x" + "11" * 32})
    assert failed.code == -32602


def test_a_precompiled_contract_moves(node: Node) -> None:
    rpc, hashed = node.rpc(), "0x" + sha256(b"\x12\x34").hexdigest()
    moved = {SHA256: {"movePrecompileToAddress": OTHER}}
    call = {"data": "0x1234"}
    assert rpc.call("eth_call", call | {"to": OTHER}, "latest", moved) == hashed
    assert rpc.call("eth_call", call | {"to": SHA256}, "latest", moved) == "0x"
    replaced = {SHA256: {"movePrecompileToAddress": OTHER, "code": FORTY_TWO}}
    assert rpc.call("eth_call", call | {"to": SHA256}, "latest", replaced) == WORD
    assert rpc.call("eth_call", call | {"to": SHA256}, "latest", {SHA256: {"code": FORTY_TWO}}) == WORD
    assert rpc.call("eth_call", call | {"to": SHA256}, "latest", {DEV: None}) == hashed
    assert "not a precompile" in str(refusal(rpc, "eth_call", call, "latest", {DEV: moved[SHA256]}))
    twice = {**moved, OTHER: {"balance": "0x1"}}
    assert "already overridden" in str(refusal(rpc, "eth_call", call, "latest", twice))
    trace = rpc.call(
        "debug_traceCall", call | {"to": OTHER}, "latest", {"tracer": "callTracer", "stateOverrides": moved}
    )
    assert trace["output"] == hashed


REFUSED: dict[str, tuple[str, list[Any]]] = {
    "unknown block": ("eth_call", [{"to": OTHER}, "0xf423f"]),
    "no funds": ("eth_estimateGas", [{"from": "0x" + "77" * 20, "to": OTHER, "value": "0x1"}]),
    "out of gas": ("eth_call", [{"data": "0x5b600056"}]),
    "a bad parameter": ("eth_call", [{"to": "0x12"}]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_a_call_has_data_only_where_something_reverted(node: Node, name: str) -> None:
    """web3.py takes any data of eth_call for a revert's: every refusal was a ContractLogicError."""
    method, params = REFUSED[name]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    for answer in (node.rpc().exchange(body), node.rpc().exchange([body])[0]):
        assert set(answer["error"]) == {"code", "message"}


SLUGS: dict[str, tuple[str, str, list[Any]]] = {
    "invalid opcode": ("tx.gas_intrinsic", "eth_createAccessList", [{"to": OTHER, "gas": "0x1"}]),
    "no recipient's gas": ("tx.gas_intrinsic", "eth_sendTransaction", [{"from": DEV, "to": OTHER, "gas": "0x5207"}]),
    "unknown sender": ("node.account_unknown", "eth_sendTransaction", [{"from": OTHER, "to": OTHER, "gas": "0x5208"}]),
}


@pytest.mark.parametrize("name", SLUGS)
def test_other_errors_say_why_in_their_data(node: Node, name: str) -> None:
    slug, method, params = SLUGS[name]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    for answer in (node.rpc().exchange(body), node.rpc().exchange([body])[0]):
        assert answer["error"]["data"]["code"] == slug


def test_web3py_raises_its_classes(node: Node) -> None:
    web3 = Web3(Web3.HTTPProvider(node.http_url))
    other = Web3.to_checksum_address(OTHER)
    with pytest.raises(Web3RPCError) as unknown:
        web3.eth.call({"to": other}, 999_999)
    with pytest.raises(Web3RPCError) as funds:
        web3.eth.estimate_gas({"from": other, "to": other, "value": Web3.to_wei(1, "ether")})
    assert not isinstance(unknown.value, ContractLogicError)
    assert not isinstance(funds.value, ContractLogicError)
    with pytest.raises(ContractLogicError):
        web3.eth.call({"data": HexStr("0x60006000fd")})
    with pytest.raises(BlockNotFound):
        web3.eth.get_block(999_999)


def test_log_ranges(node: Node) -> None:
    rpc = node.rpc()
    head = int(rpc.call("eth_blockNumber"), 16)
    for given in ({"fromBlock": "0x0", "toBlock": hex(head + 99)}, {"fromBlock": hex(head + 99)}):
        assert refusal(rpc, "eth_getLogs", given).code == -32602
        name = rpc.call("eth_newFilter", given)  # a filter may wait for blocks to come
        assert rpc.call("eth_getFilterLogs", name) is not None
    odd = {"fromBlock": "0x0", "limit": 5, "reorg": True, "topics": [None, [], [None]], "address": []}
    assert rpc.call("eth_getLogs", odd) is not None
    assert refusal(rpc, "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x0"}).code == -32602


def test_a_filter_to_a_block_that_is_to_come_reports_it(node: Node) -> None:
    rpc = node.rpc()
    head = int(rpc.call("eth_blockNumber"), 16)
    emits = {"from": DEV, "data": "0x60006000a000"}
    name = rpc.call("eth_newFilter", {"fromBlock": hex(head + 1), "toBlock": hex(head + 1)})
    rpc.call("eth_sendTransaction", emits)
    rpc.call("eth_sendTransaction", emits)
    assert [log["blockNumber"] for log in rpc.call("eth_getFilterChanges", name)] == [hex(head + 1)]


def test_small_answers(node: Node) -> None:
    rpc = node.rpc()
    assert rpc.call("eth_feeHistory", "0x0", "latest", [])["baseFeePerGas"] == []
    keys = ["0x0", "0x1f", "0x" + "0" * 63 + "1", "0x0"]
    proof = rpc.call("eth_getProof", DEV, keys, "latest")
    assert [entry["key"] for entry in proof["storageProof"]] == keys
    for empty in ({}, {DEV: []}):
        assert refusal(rpc, "eth_getStorageValues", empty, "latest").code == -32602
    for method, params in (("eth_getBalance", [DEV]), ("eth_getStorageAt", [DEV, "0x0"]), ("eth_getProof", [DEV, []])):
        failed = refusal(rpc, method, *params, "0xffffff")
        assert failed.code == -32000
        assert "header not found" in str(failed)
    for method in ("debug_traceBlockByNumber", "debug_traceBlockByHash"):
        genesis = rpc.call("eth_getBlockByNumber", "0x0", False)["hash"] if method.endswith("Hash") else "0x0"
        assert refusal(rpc, method, genesis).code == -32000
    block = {"blockHash": rpc.call("eth_getBlockByNumber", "latest", False)["hash"], "blockNumber": None, "more": 1}
    assert rpc.call("eth_getBalance", DEV, block)


def test_a_batch_of_a_thousand(node: Node) -> None:
    assert node.rpc().batch([("eth_chainId", ())] * 1_000) == ["0x7a69"] * 1_000


def test_transactions_are_filled_in_signed_and_sent_unsigned(node: Node) -> None:
    rpc = node.rpc()
    given = {"from": DEV, "to": OTHER, "value": "0x7"}
    assert DEV.lower() in rpc.call("eth_requestAccounts")
    filled = rpc.call("eth_fillTransaction", given)["tx"]
    assert (int(filled["gas"], 16), filled["type"], filled["r"]) == (21_000, "0x2", "0x0")
    signed = rpc.call("eth_signTransaction", given)
    before = int(rpc.call("eth_getBalance", OTHER), 16)
    sent = rpc.call("eth_getTransactionByHash", rpc.call("eth_sendRawTransaction", signed))
    assert {name: sent[name] for name in ("nonce", "gas", "type", "value")} == {
        name: filled[name] for name in ("nonce", "gas", "type", "value")
    }
    assert int(rpc.call("eth_getBalance", OTHER), 16) == before + 7
    nobody = "0x" + "5a" * 20
    rpc.call("anvil_setBalance", nobody, hex(10**18))
    sent = rpc.call("eth_sendUnsignedTransaction", {"from": nobody, "to": OTHER, "value": "0x1"})
    assert rpc.call("eth_getTransactionReceipt", sent)["from"] == nobody
    assert nobody not in rpc.call("eth_accounts")
    assert refusal(rpc, "eth_signTransaction", {"from": OTHER, "to": OTHER}).code != -32601
    assert refusal(rpc, "eth_fillTransaction", {**given, "chainId": "0x1"})


def test_names_that_tools_judge_a_node_by() -> None:
    """Hardhat's helpers of both generations ask for a name that begins with anvil or HardhatNetwork."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder) / "data")
        try:
            daemon.start()
            rpc = Rpc(daemon.http_url)
            assert rpc.call("web3_clientVersion").startswith("anvil/")
            first = rpc.call("hardhat_metadata")
            assert first["latestBlockHash"] == rpc.call("eth_getBlockByNumber", "latest", False)["hash"]
            snapshot = rpc.call("evm_snapshot")
            rpc.call("evm_mine")
            rpc.call("evm_revert", snapshot)
            assert rpc.call("anvil_metadata")["instanceId"] == first["instanceId"]
            rpc.close()
            daemon.kill()
            daemon.start()
            rpc = Rpc(daemon.http_url)
            assert rpc.call("hardhat_metadata")["instanceId"] == first["instanceId"]
            rpc.call("eth_sendTransaction", {"from": DEV, "data": LOGS_12001, "gas": "0x989680"})
            rpc.call("hardhat_mine", hex(11_000))
            # Over everything: the limits of 10,000 blocks and 10,000 logs are not those of a development chain.
            assert len(rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})) == 12_001
            assert rpc.call("hardhat_reset") is True
            second = rpc.call("hardhat_metadata")
            assert (second["latestBlockNumber"], second["latestBlockHash"]) == (0, first["latestBlockHash"])
            assert second["instanceId"] != first["instanceId"]
            assert json.dumps(second["instanceId"]).count("") == 69
            assert daemon.stop() == 0
        finally:
            daemon.close()


def test_the_limit_of_code_is_a_setting_of_the_chain(tmp_path: Path) -> None:
    """`--disable-code-size-limit` and `--code-size-limit`; the limit of creation code is twice that."""
    creation = {"from": DEV, "data": "0x6175306000f3", "gas": "0xe4e1c0"}  # 30,000 bytes of zeros
    long_creation = {"from": DEV, "data": "0x00" + "00" * 60_000, "gas": "0xe4e1c0"}
    daemon = Daemon(tmp_path / "data", "--disable-code-size-limit")
    try:
        daemon.start()
        rpc = Rpc(daemon.http_url)
        receipt = rpc.call("eth_getTransactionReceipt", rpc.call("eth_sendTransaction", creation))
        assert receipt["status"] == "0x1"
        assert rpc.call("eth_call", creation) == "0x" + "00" * 30_000
        sent = rpc.call("eth_sendTransaction", long_creation)
        assert rpc.call("eth_getTransactionReceipt", sent)["status"] == "0x1"
        state = rpc.call("eth_getBlockByNumber", "latest", False)["stateRoot"]
        rpc.close()
        daemon.kill()
    finally:
        daemon.close()
    again = Daemon(tmp_path / "data")  # the chain knows its limit: replay gives the same
    try:
        again.start()
        rpc = Rpc(again.http_url)
        assert rpc.call("eth_getBlockByNumber", "latest", False)["stateRoot"] == state
        assert len(rpc.call("eth_getCode", receipt["contractAddress"])) == 2 + 60_000
        assert again.stop() == 0
    finally:
        again.close()
    limited = Daemon(tmp_path / "limited", "--code-size-limit", "100")
    try:
        limited.start()
        rpc = Rpc(limited.http_url)
        assert rpc.call("eth_call", {"data": "0x60646000f3"}) == "0x" + "00" * 100
        assert "code too large" in str(refusal(rpc, "eth_call", {"data": "0x60656000f3"}))
        assert "the limit is 200" in str(refusal(rpc, "eth_call", {"data": "0x" + "00" * 201}))
        assert limited.stop() == 0
    finally:
        limited.close()
