"""Traces, proofs and access lists of real transactions, beside anvil's where it is present."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import rlp
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from trie import HexaryTrie

from benchmarks.targets import anvil, zvmd
from chain.forks import Fork
from debugger.assembly import assemble
from tests.contracts import dev_account, published
from tests.differential.programs import calldata
from tests.differential.traced import ADDRESSES, calling_code, random_account
from tests.effort import tries
from tests.programs import find_program
from tests.rpc import Rpc, RpcFailed

CHILD = assemble(
    "PUSH 0x2a PUSH 0 SSTORE PUSH 7 PUSH 0 MSTORE PUSH 9 PUSH 32 PUSH 0 LOG1 "
    "PUSH 0 CALLDATALOAD PUSH @fail JUMPI PUSH 32 PUSH 0 RETURN fail: PUSH 32 PUSH 0 REVERT"
)
"""Stores, logs, and returns or reverts as its calldata says."""


def creation(code: bytes) -> bytes:
    """Init code that deploys ``code`` of less than 256 bytes."""
    return assemble(f"PUSH {len(code)} DUP1 PUSH 11 PUSH 0 CODECOPY PUSH 0 RETURN").ljust(11, b"\x00") + code


def parent(child: str) -> bytes:
    """Calls the child twice (the second call fails), hashes with a precompile, creates, stores, logs."""
    calls = (
        f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH {child} GAS CALL PUSH 1 SSTORE "
        f"PUSH 1 PUSH 0 MSTORE PUSH 32 PUSH 32 PUSH 32 PUSH 0 PUSH 0 PUSH {child} GAS CALL PUSH 2 SSTORE "
        "PUSH 32 PUSH 64 PUSH 32 PUSH 0 PUSH 2 GAS STATICCALL POP "
        "PUSH 1 PUSH 0 PUSH 0 CREATE BALANCE PUSH 3 SSTORE PUSH 32 PUSH 0 LOG0 STOP"
    )
    return assemble(calls)


class Chain:
    """The same few transactions on one node."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url)
        self.sender: LocalAccount = dev_account(3)

    def send(self, to: str | None, data: bytes, gas: int = 2_000_000) -> dict[str, Any]:
        nonce = int(self.rpc.call("eth_getTransactionCount", self.sender.address, "latest"), 16)
        fields = {"chainId": 31_337, "nonce": nonce, "gas": gas, "gasPrice": 3 * 10**9, "value": 0, "data": data}
        signed = self.sender.sign_transaction(fields if to is None else fields | {"to": bytes.fromhex(to[2:])})
        raw = "0x" + signed.raw_transaction.hex().removeprefix("0x")
        return self.rpc.call("eth_sendRawTransactionSync", raw)  # type: ignore[no-any-return]

    def deploy(self, code: bytes) -> str:
        receipt = self.send(None, code)
        assert receipt["status"] == "0x1"
        return receipt["contractAddress"]  # type: ignore[no-any-return]

    def script(self) -> dict[str, str]:
        """Everything that is traced: transaction hashes by name."""
        self.child = self.deploy(creation(CHILD))
        self.tree = self.deploy(creation(parent(self.child)))
        me = self.sender.address
        arguments = encode(["string", "string", "uint256", "address"], ["T", "T", 10**21, me])
        self.token = self.deploy(bytes.fromhex(published("ERC20PresetFixedSupply").bytecode[2:]) + arguments)
        transfer = keccak(text="transfer(address,uint256)")[:4]
        sends = {
            "tree": (self.tree, b""),
            "transfer": (self.token, transfer + encode(["address", "uint256"], ["0x" + "ca" * 20, 5])),
            "reverted": (self.token, transfer + encode(["address", "uint256"], ["0x" + "ca" * 20, 10**30])),
            "out of gas": (self.tree, b"", 40_000),
        }
        return {name: self.send(*call)["transactionHash"] for name, call in sends.items()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, dict[str, str]]]:
    with zvmd(tmp_path_factory.mktemp("traced")) as target:
        chain = Chain(target.url)
        yield chain, chain.script()


@pytest.fixture(scope="module")
def theirs() -> Iterator[tuple[Chain, dict[str, str]]]:
    program = find_program("anvil")
    if program is None:
        pytest.skip("no anvil here: `make test` installs it where npm is there")
    with anvil(program, "--steps-tracing", "--hardfork", "osaka") as target:
        chain = Chain(target.url)
        yield chain, chain.script()


Both = tuple[tuple[Chain, dict[str, str]], tuple[Chain, dict[str, str]]]


@pytest.fixture(scope="module")
def both(ours: tuple[Chain, dict[str, str]], theirs: tuple[Chain, dict[str, str]]) -> Both:
    return ours, theirs


NAMES = ("tree", "transfer", "reverted", "out of gas")


def traces(both: Both, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    first, second = (chain.rpc.call("debug_traceTransaction", made[name], options) for chain, made in both)
    return first, second


COINBASE = "0x" + "00" * 20
"""Its balance differs: the two nodes charge other base fees."""


@pytest.mark.parametrize("name", NAMES)
def test_struct_logs_equal_anvils(both: Both, name: str) -> None:
    mine, other = traces(both, name, {"enableMemory": True, "enableReturnData": True})
    assert {**mine, "structLogs": []} == {**other, "structLogs": []}
    for number, (line, wanted) in enumerate(zip(mine["structLogs"], other["structLogs"], strict=True)):
        fields = {"pc", "op", "gas", "depth", "stack", "memory", "storage"}
        if line["op"] != "CREATE":  # anvil counts what a creation takes along as its cost
            fields |= {"gasCost"}
        for field in fields:
            assert (line.get(field) or None) == (wanted.get(field) or None), (number, field)


@pytest.mark.parametrize("name", NAMES)
def test_call_trees_equal_anvils(both: Both, name: str) -> None:
    mine, other = traces(both, name, {"tracer": "callTracer", "tracerConfig": {"withLog": True}})
    for log in (*mine.get("logs", ()), *other.get("logs", ())):
        log.pop("index")  # anvil counts logs that were undone
    gas = {"out of gas": 40_000}.get(name, 2_000_000)
    assert mine.pop("gas") == hex(gas)  # as in geth; anvil takes the intrinsic gas off
    other.pop("gas")
    assert mine == other


@pytest.mark.parametrize("name", NAMES)
def test_flat_traces_equal_anvils(both: Both, name: str) -> None:
    mine, other = (chain.rpc.call("trace_transaction", made[name]) for chain, made in both)
    assert [{**entry, "blockHash": None} for entry in mine] == [{**entry, "blockHash": None} for entry in other]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("diff_mode", [False, True])
def test_prestates_equal_anvils(both: Both, name: str, diff_mode: bool) -> None:
    mine, other = traces(both, name, {"tracer": "prestateTracer", "tracerConfig": {"diffMode": diff_mode}})
    for shown in (mine, other):
        for state in (shown["pre"], shown["post"]) if diff_mode else (shown,):
            state.pop(COINBASE, None)
            for address, entry in list(state.items()):
                entry.pop("codeHash", None)  # anvil has none
                if entry == {"balance": "0x0"} and not diff_mode:
                    del state[address]  # as geth does, but not anvil
    assert mine == other


def test_selectors_equal_anvils(both: Both) -> None:
    mine, other = traces(both, "transfer", {"tracer": "4byteTracer"})
    assert mine == other == {"0xa9059cbb-64": 1}


def test_several_tracers_hear_one_run(ours: tuple[Chain, dict[str, str]]) -> None:
    chain, made = ours
    config = {"4byteTracer": {}, "callTracer": {"onlyTopCall": True}, "noopTracer": None}
    options = {"tracer": "muxTracer", "tracerConfig": config}
    answer = chain.rpc.call("debug_traceTransaction", made["transfer"], options)
    assert answer["4byteTracer"] == {"0xa9059cbb-64": 1}
    assert answer["callTracer"]["to"] == chain.token
    assert answer["noopTracer"] == {}


def test_a_block_and_a_call_are_traced_like_the_transaction(ours: tuple[Chain, dict[str, str]]) -> None:
    chain, made = ours
    receipt = chain.rpc.call("eth_getTransactionReceipt", made["transfer"])
    alone = chain.rpc.call("debug_traceTransaction", made["transfer"], {"tracer": "callTracer"})
    block = chain.rpc.call("debug_traceBlockByNumber", receipt["blockNumber"], {"tracer": "callTracer"})
    assert block == [{"txHash": made["transfer"], "result": alone}]
    assert chain.rpc.call("debug_traceBlockByHash", receipt["blockHash"], {"tracer": "callTracer"}) == block
    before = hex(int(receipt["blockNumber"], 16) - 1)
    call = {"from": chain.sender.address, "to": chain.token, "data": alone["input"], "gas": alone["gas"]}
    assert chain.rpc.call("debug_traceCall", call, before, {"tracer": "callTracer"}) == alone
    override = {"stateOverrides": {chain.token: {"code": "0x00"}}}
    assert len(chain.rpc.call("debug_traceCall", call, "latest", override)["structLogs"]) == 1


@pytest.mark.parametrize(
    "options",
    [{"tracer": "{step: function() {}}"}, {"tracer": "muxTracer", "tracerConfig": 1}, {"tracer": 7}],
)
def test_unknown_tracers_are_refused(ours: tuple[Chain, dict[str, str]], options: dict[str, Any]) -> None:
    chain, made = ours
    with pytest.raises(RpcFailed) as refused:
        chain.rpc.call("debug_traceTransaction", made["transfer"], options)
    assert refused.value.code == -32602


def test_an_access_list_saves_what_it_promises(both: Both) -> None:
    lists = []
    for chain, _ in both:
        call = {"from": chain.sender.address, "to": chain.tree, "gas": hex(500_000)}
        answer = chain.rpc.call("eth_createAccessList", call, "latest")
        listed = {**call, "accessList": answer["accessList"]}
        trace = chain.rpc.call("debug_traceCall", listed, "latest", {})
        if chain is both[0][0]:
            assert trace["gas"] == int(answer["gasUsed"], 16)
            assert all(line["gasCost"] < 2_600 for line in trace["structLogs"] if line["op"] == "BALANCE")
        lists.append({entry["address"]: sorted(entry["storageKeys"]) for entry in answer["accessList"]})
    assert lists[0] == lists[1]


def test_proofs_verify_against_the_state_root(ours: tuple[Chain, dict[str, str]]) -> None:
    chain, _ = ours
    slot = "0x" + (1).to_bytes(32, "big").hex()
    proof = chain.rpc.call("eth_getProof", chain.tree, [slot, "0x77"], "latest")
    root = bytes.fromhex(chain.rpc.call("eth_getBlockByNumber", "latest", False)["stateRoot"][2:])

    def follow(root: bytes, key: str, nodes: list[str]) -> bytes:
        database = {keccak(hexstr=node): bytes.fromhex(node[2:]) for node in nodes}
        return HexaryTrie(database, root).get(keccak(hexstr=key))  # type: ignore[no-any-return]

    storage_root = bytes.fromhex(proof["storageHash"][2:])
    account = [int(proof["nonce"], 16), int(proof["balance"], 16), storage_root, bytes.fromhex(proof["codeHash"][2:])]
    assert follow(root, chain.tree, proof["accountProof"]) == rlp.encode(account)
    for entry, wanted in zip(proof["storageProof"], (1, 0), strict=True):
        leaf = follow(storage_root, "0x" + entry["key"][2:].rjust(64, "0"), entry["proof"])
        assert int(entry["value"], 16) == wanted == (int.from_bytes(rlp.decode(leaf), "big") if leaf else 0)


RANDOM_TRANSACTIONS = tries(8, 100)
SAME_LINES = ("pc", "op", "gas", "depth")
"""Of lines; anvil has other prices and no storage for opcodes that fail, and names errors as revm does.

Words on the stack may be of the block, whose time, fees and hashes are each node's own: their number is compared.
"""


def without_words(node: dict[str, Any]) -> dict[str, Any]:
    """A call without what anvil tells otherwise: words of errors, logs that were undone and those after."""
    node = {name: bool(value) if name == "error" else value for name, value in node.items()}
    if "error" in node:
        node.pop("logs", None)  # of an outermost call that fails anvil shows them
    for log in node.get("logs", ()):
        log.pop("index")
    return node | ({"calls": [without_words(call) for call in node["calls"]]} if "calls" in node else {})


def flat_without_words(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for flat calls, which also hold the address of creations that reverted."""
    for entry in entries:
        entry |= {"error": "error" in entry, "blockHash": None, "transactionHash": None}
        if entry["result"] and entry["error"]:
            entry["result"].pop("address", None)
    return entries


@pytest.mark.parametrize("seed", range(RANDOM_TRANSACTIONS))
def test_random_transactions_equal_anvils(both: Both, seed: int) -> None:
    chance = random.Random(f"anvil {seed}")
    accounts = {f"0x{address.hex()}": random_account(chance, calling_code(chance, Fork.OSAKA)) for address in ADDRESSES}
    call = {"from": dev_account(5).address, "to": chance.choice(list(accounts)), "gasPrice": hex(3 * 10**9)}
    call |= {"data": "0x" + calldata(chance).hex(), "gas": hex(chance.choice((90_000, 120_000, 250_000)))}
    sent = []
    for chain, _ in both:
        for address, entry in accounts.items():
            chain.rpc.call("anvil_setCode", address, entry["code"])
            chain.rpc.call("anvil_setBalance", address, entry["balance"])
            chain.rpc.call("anvil_setNonce", address, entry["nonce"])
        sent.append(chain.rpc.call("eth_sendTransaction", call))
        while chain.rpc.call("eth_getTransactionReceipt", sent[-1]) is None:
            """Anvil answers before it has mined."""

    def told(method: str, *options: Any) -> list[Any]:
        return [chain.rpc.call(method, made, *options) for (chain, _), made in zip(both, sent, strict=True)]

    mine, other = told("debug_traceTransaction", {"tracer": "callTracer", "tracerConfig": {"withLog": True}})
    other["gas"] = mine["gas"]
    assert without_words(mine) == without_words(other)
    mine, other = map(flat_without_words, told("trace_transaction"))
    assert mine == other
    mine, other = told("debug_traceTransaction", {"enableMemory": True})
    assert mine["gas"] == other["gas"]
    for line, wanted in zip(mine["structLogs"], other["structLogs"], strict=True):
        assert [line[name] for name in SAME_LINES] == [wanted[name] for name in SAME_LINES]
        assert len(line["stack"]) == len(wanted["stack"])
        assert len(line.get("memory") or ()) == len(wanted.get("memory") or ())
