"""Tracers and call trees of a running node: faults that users of other nodes reported, each with geth's answer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.targets import zvmd
from debugger.assembly import assemble
from tests.contracts import dev_account
from tests.rpc import Rpc, RpcFailed

SENDER = dev_account(0).address.lower()
WITH_LOG = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
POOR = "insufficient balance for transfer"


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rpc]:
    with zvmd(tmp_path_factory.mktemp("cases")) as target:
        client = target.rpc()
        yield client


def account(number: int) -> str:
    return f"0x{number:040x}"


def put(rpc: Rpc, number: int, program: str | bytes) -> str:
    code = assemble(program) if isinstance(program, str) else program
    rpc.call("anvil_setCode", account(number), "0x" + code.hex())
    return account(number)


def send(rpc: Rpc, to: str | None, **fields: Any) -> str:
    call = {"from": SENDER, "gas": hex(3_000_000)} | ({} if to is None else {"to": to}) | fields
    sent: str = rpc.call("eth_sendTransaction", call)
    return sent


def trace(rpc: Rpc, sent: str, options: dict[str, Any] | str | None = None) -> Any:
    given = {"tracer": options} if isinstance(options, str) else options
    return rpc.call("debug_traceTransaction", sent, *([] if given is None else [given]))


def call_to(target: str, kind: str = "CALL", value: int | None = 0) -> str:
    worth = f"PUSH {value} " if kind in ("CALL", "CALLCODE") else ""
    return f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 {worth}PUSH {target} GAS {kind} POP "


@pytest.mark.parametrize("kind", ["CALL", "CALLCODE", "CREATE", "CREATE2"])
def test_a_call_that_fails_before_it_begins_is_in_every_tree(rpc: Rpc, kind: str) -> None:
    creation = {
        "CREATE": f"PUSH 0 PUSH 0 PUSH {10**30} CREATE",
        "CREATE2": f"PUSH 7 PUSH 0 PUSH 0 PUSH {10**30} CREATE2",
    }
    program = creation.get(kind) or call_to(account(0xBEEF), kind, 10**30).removesuffix("POP ")
    sent = send(rpc, put(rpc, 0xA0, program))
    (child,) = trace(rpc, sent, "callTracer")["calls"]
    assert (child["type"], child["error"], child["gasUsed"], child["value"]) == (kind, POOR, "0x0", hex(10**30))
    assert ("to" in child) == (kind in ("CALL", "CALLCODE"))
    _, flat = rpc.call("trace_transaction", sent)
    assert (flat["error"], flat["result"], flat["traceAddress"]) == (POOR, None, [0])
    session = rpc.call("zvmd_session_create", {"transaction": sent})
    session = session["id"] if isinstance(session, dict) else session
    _, node = rpc.call("zvmd_session_call_tree", session)["nodes"]
    assert (node["kind"], node["error"], node["gasUsed"]) == (kind.lower(), POOR, 0)
    assert node["halt"]["reason"] == "insufficient_balance"


def test_calls_below_the_deepest_one(rpc: Rpc) -> None:
    state = {account(0xA0): {"code": "0x" + assemble("PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 ADDRESS GAS CALL").hex()}}
    options = {"tracer": "callTracer", "stateOverrides": state}
    body = {
        "id": 1,
        "jsonrpc": "2.0",
        "method": "debug_traceCall",
        "params": [{"to": account(0xA0)}, "latest", options],
    }
    request = urllib.request.Request(rpc.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    assert text.count('"calls":[') > 400  # deeper than most decoders of JSON go
    assert text.count('"calls":[') + 1 == text.count('"type":"CALL"')
    flat = rpc.call("debug_traceCall", {"to": account(0xA0)}, "latest", options | {"tracer": "flatCallTracer"})
    assert max(len(entry["traceAddress"]) for entry in flat) == text.count('"calls":[')


def test_a_nonce_that_overflows(rpc: Rpc) -> None:
    state = {account(0xA0): {"code": "0x5f5f5ff0", "nonce": hex(2**64 - 1)}}
    answer = rpc.call(
        "debug_traceCall", {"to": account(0xA0)}, "latest", {"tracer": "callTracer", "stateOverrides": state}
    )
    assert [call["error"] for call in answer["calls"]] == ["nonce uint64 overflow"]


def test_logs_below_a_reverted_call_are_void(rpc: Rpc) -> None:
    logger = put(rpc, 0xA3, "PUSH 0 PUSH 0 LOG0")
    middle = put(rpc, 0xA2, call_to(logger) + "PUSH 0 PUSH 0 REVERT")
    top = put(rpc, 0xA1, call_to(middle) + "PUSH 0 PUSH 0 LOG0 " + call_to(logger))
    sent = send(rpc, top)
    tree = trace(rpc, sent, WITH_LOG)
    failed, fine = tree["calls"]
    assert "logs" not in failed["calls"][0]
    receipt = rpc.call("eth_getTransactionReceipt", sent)
    shown = [*tree["logs"], *fine["logs"]]
    assert [log["index"] for log in shown] == [log["logIndex"] for log in receipt["logs"]] == ["0x0", "0x1"]
    assert [log["position"] for log in shown] == ["0x1", "0x0"]


def test_a_logs_index_is_the_receipts(rpc: Rpc) -> None:
    logger = put(rpc, 0xA3, "PUSH 0 PUSH 0 LOG0 PUSH 0 PUSH 0 LOG0")
    rpc.call("evm_setAutomine", False)
    sent = [send(rpc, logger, nonce=None) for _ in range(2)]
    rpc.call("evm_mine")
    rpc.call("evm_setAutomine", True)
    receipts = [rpc.call("eth_getTransactionReceipt", each) for each in sent]
    wanted = [[log["logIndex"] for log in receipt["logs"]] for receipt in receipts]
    assert wanted == [["0x0", "0x1"], ["0x2", "0x3"]]
    number = receipts[1]["blockNumber"]
    block = rpc.call("debug_traceBlockByNumber", number, WITH_LOG)
    for answers in ([trace(rpc, each, WITH_LOG) for each in sent], [entry["result"] for entry in block]):
        assert [[log["index"] for log in answer["logs"]] for answer in answers] == wanted
    late = rpc.call("debug_traceCall", {"to": logger}, number, WITH_LOG | {"txIndex": "0x1"})
    assert [log["index"] for log in late["logs"]] == wanted[1]
    with pytest.raises(RpcFailed, match="txIndex 2"):
        rpc.call("debug_traceCall", {"to": logger}, number, WITH_LOG | {"txIndex": "0x2"})


def test_the_account_delegated_to_is_in_the_prestate(rpc: Rpc) -> None:
    delegate = put(rpc, 0xD7, "PUSH 1 PUSH 0 SSTORE")
    wallet = put(rpc, 0xE0, bytes.fromhex("ef0100") + bytes.fromhex(delegate[2:]))
    caller = put(rpc, 0xA1, call_to(wallet))
    code = rpc.call("eth_getCode", delegate, "latest")
    for to in (wallet, caller):
        found = trace(rpc, send(rpc, to), "prestateTracer")
        assert found[delegate]["code"] == code
        assert found[wallet]["code"] == "0xef0100" + delegate[2:]


def test_accounts_that_are_empty_are_left_out_of_the_prestate(rpc: Rpc) -> None:
    missing = account(0xBADBAD)
    sent = send(rpc, put(rpc, 0xA1, f"PUSH {missing} BALANCE PUSH 0 PUSH 0 PUSH 0 CREATE"))
    plain = trace(rpc, sent, "prestateTracer")
    whole = trace(rpc, sent, {"tracer": "prestateTracer", "tracerConfig": {"includeEmpty": True}})
    assert missing not in plain
    assert whole[missing] == {"balance": "0x0"}
    assert set(plain) < set(whole)
    assert all(entry == {"balance": "0x0"} for name, entry in whole.items() if name not in plain)
    with pytest.raises(RpcFailed, match="diffMode with includeEmpty"):
        trace(rpc, sent, {"tracer": "prestateTracer", "tracerConfig": {"includeEmpty": True, "diffMode": True}})


def test_options_that_are_unknown_are_ignored_as_in_geth(rpc: Rpc) -> None:
    sent = send(rpc, put(rpc, 0xA1, "PUSH 1 PUSH 0 MSTORE PUSH 0 MLOAD"))
    remix = {"disableStorage": True, "enableMemory": True, "disableStack": False, "fullStorage": False}
    lines = trace(rpc, sent, remix)["structLogs"]
    assert "stack" in lines[0]
    assert lines[-1]["memory"] == ["0x" + "00" * 31 + "01"]
    bare = trace(rpc, sent, {"disableMemory": True, "DISABLESTACK": True, "disableStorage": None})["structLogs"]
    assert {name for line in bare for name in line} == {"pc", "op", "gas", "gasCost", "depth"}
    assert trace(rpc, sent, {"timeout": "5s", "reexec": 128, "tracer": "noopTracer"}) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"enableMemory": "yes"}, "enableMemory"),
        ({"limit": -1}, "limit"),
        ({"timeout": "5 parsecs"}, "duration"),
        ({"tracer": "{step: function() {}}"}, "JavaScript"),
        ({"tracer": "callTracerLegacy"}, "JavaScript"),
        ({"tracer": "nonesuch"}, "callTracer"),
        ({"tracer": 7}, "callTracer"),
        ({"tracer": "callTracer", "tracerConfig": {"withLog": 1}}, "withLog"),
        ({"tracer": "callTracer", "tracerConfig": []}, "object"),
        ({"tracer": "muxTracer", "tracerConfig": {"nonesuch": {}}}, "nonesuch"),
        ({"tracer": "erc7562Tracer", "tracerConfig": {"ignoredOpcodes": ["0xzz"]}}, "ignoredOpcodes"),
    ],
)
def test_options_of_a_wrong_type_are_refused(rpc: Rpc, options: dict[str, Any], words: str) -> None:
    sent = send(rpc, account(0xAAAA))
    with pytest.raises(RpcFailed, match=words) as refused:
        trace(rpc, sent, options)
    assert refused.value.code == -32602


def test_limit_counts_bytes(rpc: Rpc) -> None:
    sent = send(rpc, put(rpc, 0xA1, "PUSH 1 PUSH 2 PUSH 3 PUSH 4 PUSH 5"))
    first = '{"pc":0,"op":"PUSH1","gas":2979000,"gasCost":3,"depth":1,"stack":[]}'
    assert len(trace(rpc, sent, {"limit": len(first) - 1})["structLogs"]) == 1
    assert len(trace(rpc, sent, {"limit": len(first)})["structLogs"]) == 2
    assert len(trace(rpc, sent, {"limit": 0})["structLogs"]) == 6


def test_flat_calls_have_geths_form(rpc: Rpc) -> None:
    sent = send(rpc, put(rpc, 0xA1, call_to(account(2), "STATICCALL") + "INVALID"))
    receipt = rpc.call("eth_getTransactionReceipt", sent)
    (flat,) = trace(rpc, sent, "flatCallTracer")
    place = {"blockHash": receipt["blockHash"], "blockNumber": int(receipt["blockNumber"], 16)}
    assert flat.items() >= (place | {"transactionHash": sent, "transactionPosition": 0}).items()
    assert (flat["error"], flat["subtraces"], flat["action"]["gas"]) == ("invalid opcode: INVALID", 0, hex(3_000_000))
    assert "result" not in flat
    config = {"convertParityErrors": True, "includePrecompiles": True}
    outer, inner = trace(rpc, sent, {"tracer": "flatCallTracer", "tracerConfig": config})
    assert (outer["error"], outer["subtraces"]) == ("Bad instruction", 1)
    assert (inner["action"]["to"], inner["action"]["callType"], inner["action"]["value"]) == (
        account(2),
        "staticcall",
        "0x0",
    )
    lone = rpc.call("debug_traceCall", {"to": account(0xA1)}, "latest", {"tracer": "flatCallTracer"})[0]
    assert [lone[name] for name in ("blockHash", "blockNumber", "transactionHash", "transactionPosition")] == [
        None,
        0,
        None,
        0,
    ]


PANIC = "0x4e487b71" + f"{0x11:064x}"
REVERTING = f"PUSH {PANIC[:10]} PUSH 0xe0 SHL PUSH 0 MSTORE PUSH 0x11 PUSH 4 MSTORE PUSH 36 PUSH 0 REVERT"
STATIC = {"SSTORE": "PUSH 1 PUSH 0 SSTORE", "LOG0": "PUSH 0 PUSH 0 LOG0", "CREATE": "PUSH 0 PUSH 0 PUSH 0 CREATE"}
FAILING = {
    "stack underflow (0 <=> 2)": "ADD",
    "stack underflow (1 <=> 3)": "PUSH 1 DUP3",
    "stack limit reached 1024 (1023)": "JUMPDEST PUSH 0 PUSH 0 JUMP",
    "invalid opcode: INVALID": "INVALID",
    "invalid jump destination": "PUSH 99 JUMP",
    "return data out of bounds": "PUSH 1 PUSH 0 PUSH 0 RETURNDATACOPY",
    "gas uint64 overflow": f"PUSH 1 PUSH {2**64} MSTORE",
    "out of gas: gas uint64 overflow": f"PUSH 1 PUSH {2**40} MSTORE",
    "out of gas": "PUSH 1 PUSH 0xfffffff MSTORE",
    "out of gas: max initcode size exceeded: code size 49153 limit 49152": "PUSH 49153 PUSH 0 PUSH 0 CREATE",
}


@pytest.mark.parametrize("words", FAILING)
def test_words_of_faults(rpc: Rpc, words: str) -> None:
    to = put(rpc, 0xA1, FAILING[words])
    caller = put(rpc, 0xA2, call_to(to))
    top = rpc.call("debug_traceCall", {"to": to, "gas": hex(300_000)}, "latest", {"tracer": "callTracer"})
    inner = rpc.call("debug_traceCall", {"to": caller, "gas": hex(300_000)}, "latest", {"tracer": "callTracer"})
    assert (top["error"], inner["calls"][0]["error"]) == (words, words)
    assert top["gasUsed"] == hex(300_000)


@pytest.mark.parametrize("opcode", STATIC)
def test_words_of_writes_in_static_calls(rpc: Rpc, opcode: str) -> None:
    caller = put(rpc, 0xA2, call_to(put(rpc, 0xA1, STATIC[opcode]), "STATICCALL"))
    answer = rpc.call("debug_traceCall", {"to": caller, "gas": hex(300_000)}, "latest", {"tracer": "callTracer"})
    assert [call["error"] for call in answer["calls"]] == ["write protection"]


@pytest.mark.parametrize(
    ("byte", "words"), [("0c", "opcode 0xc not defined"), ("e6", "DUPN"), ("ef", "opcode 0xef not defined")]
)
def test_words_of_bytes_that_are_no_opcode(rpc: Rpc, byte: str, words: str) -> None:
    to = put(rpc, 0xA1, bytes.fromhex("00"))
    state = {"stateOverrides": {to: {"code": "0x60" + "00" + byte}}}
    assert (
        rpc.call("debug_traceCall", {"to": to}, "latest", state | {"tracer": "callTracer"})["error"]
        == f"invalid opcode: {words}"
    )
    last = rpc.call("debug_traceCall", {"to": to}, "latest", state)["structLogs"][-1]
    assert (last["op"], last["gasCost"], "error" in last) == (words, 0, False)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("PUSH 100 PUSH 0 RETURN", "contract creation code storage out of gas"),
        ("PUSH 0xef PUSH 0 MSTORE8 PUSH 1 PUSH 0 RETURN", "invalid code: must not begin with 0xef"),
        (REVERTING, "execution reverted"),
    ],
)
def test_words_of_creations(rpc: Rpc, init: str, words: str) -> None:
    gas = 60_000
    call = {"data": "0x" + assemble(init).hex(), "gas": hex(gas), "from": SENDER}
    answer = rpc.call("debug_traceCall", call, "latest", {"tracer": "callTracer"})
    assert (answer["error"], "to" in answer) == (words, False)
    assert answer.get("revertReason") == ("arithmetic underflow or overflow" if init is REVERTING else None)
    large = {"data": "0x" + assemble("PUSH 24577 PUSH 0 RETURN").hex(), "gas": hex(16_000_000), "from": SENDER}
    assert rpc.call("debug_traceCall", large, "latest", {"tracer": "callTracer"})["error"] == "max code size exceeded"


def test_a_creation_returns_its_code(rpc: Rpc) -> None:
    call = {"data": "0x" + assemble("PUSH 0xfe PUSH 0 MSTORE8 PUSH 1 PUSH 0 RETURN").hex(), "from": SENDER}
    assert rpc.call("debug_traceCall", call, "latest", {})["returnValue"] == "0xfe"
    assert rpc.call("debug_traceCall", call, "latest", {"tracer": "callTracer"})["output"] == "0xfe"


def test_a_refused_opcodes_line(rpc: Rpc) -> None:
    to = put(rpc, 0xA1, "PUSH 0 SLOAD POP ADD")
    lines = rpc.call("debug_traceCall", {"to": to}, "latest", {})["structLogs"]
    assert [line.get("error") for line in lines] == [None, None, None, "stack underflow (0 <=> 2)"]
    assert (lines[-1]["gasCost"], lines[-1]["stack"], "storage" in lines[1]) == (3, [], True)
    to = put(rpc, 0xA1, "PUSH 1 PUSH 0 SSTORE")
    last = rpc.call("debug_traceCall", {"to": to, "gas": hex(23_000)}, "latest", {})["structLogs"][-1]
    assert (last["error"], last["gasCost"]) == ("out of gas: not enough gas for reentrancy sentry", 0)


def test_selfdestruct_is_a_call_of_its_own(rpc: Rpc) -> None:
    heir = account(0xABCDEF)
    dying = put(rpc, 0xA1, f"PUSH {heir} SELFDESTRUCT")
    failing = put(rpc, 0xA2, call_to(dying) + "PUSH 0 PUSH 0 REVERT")
    sent = send(rpc, dying, value="0x5")
    (gone,) = trace(rpc, sent, "callTracer")["calls"]
    assert (gone["type"], gone["from"], gone["to"], gone["value"]) == ("SELFDESTRUCT", dying, heir, "0x5")
    assert "calls" not in trace(rpc, sent, {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}})
    flat = trace(rpc, sent, "flatCallTracer")[1]
    assert (flat["type"], flat["action"]["refundAddress"], "result" in flat) == ("suicide", heir, False)
    (child,) = trace(rpc, send(rpc, failing), "callTracer")["calls"]
    assert child["calls"][0]["type"] == "SELFDESTRUCT"  # it ran; what it did was undone later
    pre = trace(rpc, sent, {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}})
    assert pre["post"][heir] == {"balance": "0x5"}
    assert heir not in pre["pre"]


def test_tracers_that_only_geth_had(rpc: Rpc) -> None:
    to = put(rpc, 0xA1, "PUSH 7 PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 SLOAD POP " + call_to(account(0xB0)))
    sent = send(rpc, to, data="0x12345678aabb")
    options = {
        "callTracer": {},
        "keccak256PreimageTracer": {},
        "erc7562Tracer": {},
        "4byteTracer": {},
        "muxTracer": None,
    }
    found = trace(rpc, sent, {"tracer": "muxTracer", "tracerConfig": options})
    preimage = f"0x{7:064x}"
    assert list(found["keccak256PreimageTracer"].values()) == [preimage]
    assert (found["4byteTracer"], found["muxTracer"]) == ({"0x12345678-2": 1}, {})
    checked = found["erc7562Tracer"]
    assert checked["keccak"] == [preimage]
    assert checked["usedOpcodes"]["0x54"] == 1
    assert list(checked["accessedSlots"]["reads"].values()) == [["0x" + "00" * 32]]
    assert checked["contractSize"] == {account(0xB0): {"contractSize": 0, "opcode": 0xF1}}
    assert {name: checked[name] for name in found["callTracer"] if name != "calls"} == {
        name: value for name, value in found["callTracer"].items() if name != "calls"
    }


def test_genesis_is_not_traceable(rpc: Rpc) -> None:
    with pytest.raises(RpcFailed, match="genesis is not traceable"):
        rpc.call("debug_traceBlockByNumber", "0x0")


def test_logs_too_large_for_native_code_have_their_index_too(rpc: Rpc) -> None:
    logger = put(rpc, 0xA3, "PUSH 0 PUSH 0 LOG0 PUSH 270000 PUSH 0 LOG0 PUSH 7 PUSH 0 PUSH 0 LOG1")
    top = put(rpc, 0xA1, call_to(logger) + "PUSH 0 PUSH 0 LOG0")
    sent = send(rpc, top)
    tree, receipt = trace(rpc, sent, WITH_LOG), rpc.call("eth_getTransactionReceipt", sent)
    shown = [*tree["calls"][0]["logs"], *tree["logs"]]
    assert [(log["index"], log["data"]) for log in shown] == [(log["logIndex"], log["data"]) for log in receipt["logs"]]
    assert len(shown) == 4


def test_names_of_a_call_come_in_a_fixed_order(rpc: Rpc) -> None:
    """As people read them: sender, recipient, gas, input, value; the result of a flat call follows its action."""
    to = put(rpc, 0x8700, "PUSH 0x8701 PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP5 GAS STATICCALL PUSH 32 PUSH 0 RETURN")
    sent = send(rpc, to)
    tree = rpc.call("debug_traceTransaction", sent, {"tracer": "callTracer"})
    assert list(tree) == ["type", "from", "to", "gas", "gasUsed", "input", "value", "output", "calls"]
    assert list(tree["calls"][0]) == ["type", "from", "to", "gas", "gasUsed", "input"]
    flat = rpc.call("debug_traceTransaction", sent, {"tracer": "flatCallTracer"})
    assert list(flat[0])[:5] == ["type", "action", "result", "subtraces", "traceAddress"]
