"""What the node prints of its chain: on a terminal, as lines of JSON, to the end and never in the way."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

import zvmd
from chain.console_log import CONSOLE
from chain.hashing import keccak256
from tests.bytecode import code
from tests.commands import run_command
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from tests.rpc import Rpc, RpcFailed

LOGGER = code(
    "CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY PUSH0 PUSH0 CALLDATASIZE PUSH0", b"\x73" + CONSOLE, "GAS STATICCALL POP"
)
LOGGER += code("CALLVALUE", len(LOGGER) + 5, "JUMPI STOP JUMPDEST CALLDATASIZE PUSH0 REVERT")
"""Logs its calldata, and with a value reverts with it."""
CREATION = code(len(LOGGER), "DUP1", 9, "PUSH0 CODECOPY PUSH0 RETURN") + LOGGER
ABI = [
    {"type": "function", "name": "setNumber", "inputs": [{"type": "uint256"}], "outputs": []},
    {
        "type": "function",
        "name": "TooBig",
        "inputs": [{"type": "uint256"}],
        "outputs": [],
        "stateMutability": "payable",
    },
    {"type": "error", "name": "TooBig", "inputs": [{"type": "uint256"}]},
]
HOSTILE = "red \x1b[31m \x1b]0;title\x07 \u202e"


def encoded(signature: str, *values: object) -> str:
    types = signature[signature.index("(") + 1 : -1]
    kinds = [{"uint": "uint256"}.get(kind, kind) for kind in types.split(",") if kind]
    return "0x" + (keccak256(signature.encode())[:4] + encode(kinds, values)).hex()


class Chatty:
    """A node that prints, and a contract on it that logs."""

    def __init__(self, daemon: Daemon, lines: Iterator[dict[str, Any]]) -> None:
        self.daemon = daemon
        self.rpc = daemon.rpc()
        self.lines = lines
        self.me = self.rpc.call("eth_accounts")[0]
        self.contract = self.rpc.call("eth_getTransactionReceipt", self.send("0x" + CREATION.hex(), to=None))[
            "contractAddress"
        ]
        assert next(self.lines)["contract"] == self.contract

    def send(self, data: str = "0x", value: int = 0, to: str | None = "", gas: int = 200_000) -> str:
        fields = {"from": self.me, "data": data, "value": hex(value), "gas": hex(gas)}
        if to is not None:
            fields["to"] = to or self.contract
        answer = self.rpc.call("eth_sendTransaction", fields)
        assert isinstance(answer, str)
        return answer

    def fails(self, method: str, *parameters: object) -> str:
        with pytest.raises(RpcFailed) as failure:
            self.rpc.call(method, *parameters)
        return str(failure.value)


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatty]:
    daemon = Daemon(tmp_path_factory.mktemp("chatty") / "data", "--log-format", "json")
    try:
        daemon.start()
        yield Chatty(daemon, map(json.loads, daemon.lines()))
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_a_transaction_and_its_console(chatty: Chatty) -> None:
    sent = chatty.send(encoded("log(string,uint)", "x is %s", 500))
    line = next(chatty.lines)
    assert line.pop("timestamp").endswith("+00:00")
    assert line.pop("gasUsed") > 21_000
    assert line == {
        "event": "transaction",
        "block": line["block"],
        "hash": sent,
        "from": chatty.me,
        "to": chatty.contract,
        "contract": None,
        "call": line["call"],
        "value": "0x0",
        "status": "ok",
        "reason": "",
        "console": ["x is 500"],
        "consoleDropped": 0,
    }
    assert chatty.rpc.call("zvmd_consoleLog", sent) == ["x is 500"]
    assert chatty.rpc.call("debug_traceTransaction", sent, {"tracer": "consoleTracer"}) == ["x is 500"]
    with zvmd.Node(data_dir=chatty.daemon.data_dir) as connection:
        assert connection.console_log(bytes.fromhex(sent[2:])) == ["x is 500"]
    assert run_command("console", sent, "--data-dir", str(chatty.daemon.data_dir)).stdout == "x is 500\n"


@pytest.mark.parametrize(
    ("data", "gas", "reason"),
    [
        (encoded("Error(string)", "a too big"), 200_000, "a too big"),
        (encoded("Panic(uint256)", 0x12), 200_000, "Panic(0x12): division or modulo by zero"),
        (encoded("OwnableInvalidOwner(address)", "0x" + "11" * 20), 200_000, f"OwnableInvalidOwner(0x{'11' * 20})"),
        ("0x", 200_000, "reverted without a reason"),
        ("0x", 21_100, "out of gas"),
    ],
)
def test_why_a_transaction_failed(chatty: Chatty, data: str, gas: int, reason: str) -> None:
    chatty.send(data, value=1, gas=gas)
    line = next(chatty.lines)
    assert (line["status"], line["reason"]) == ("failed", reason)


def test_what_is_logged_before_a_revert_is_kept(chatty: Chatty) -> None:
    sent = chatty.send(encoded("log(string)", "before"), value=1)
    assert next(chatty.lines)["console"] == ["before"]
    assert chatty.rpc.call("zvmd_consoleLog", sent) == ["before"]


def test_calls_and_estimates(chatty: Chatty) -> None:
    call = {"to": chatty.contract, "from": chatty.me, "data": encoded("log(string)", "here")}
    chatty.rpc.call("eth_call", call, "latest")
    line = next(chatty.lines)
    assert (line["event"], line["method"], line["status"], line["console"]) == ("call", "eth_call", "ok", ["here"])
    chatty.rpc.call("eth_estimateGas", call)  # prints nothing: the transaction that follows it will
    chatty.fails("eth_estimateGas", call | {"value": "0x1"})
    line = next(chatty.lines)
    assert (line["method"], line["status"], line["console"]) == ("eth_estimateGas", "failed", ["here"])
    chatty.fails("eth_call", call | {"from": "0x" + "77" * 20, "value": "0x1"}, "latest")
    line = next(chatty.lines)
    assert "insufficient funds" in line["reason"]


def test_a_refused_transaction(chatty: Chatty) -> None:
    said = chatty.fails("eth_sendTransaction", {"from": chatty.me, "to": chatty.me, "nonce": "0x0", "gas": "0x5208"})
    line = next(chatty.lines)
    assert line["event"] == "refused"
    assert line["reason"] in said


def test_switching_and_going_back(chatty: Chatty) -> None:
    assert chatty.rpc.call("anvil_setLoggingEnabled", False) is None
    chatty.send(value=0, to=chatty.me, gas=30_000)
    chatty.fails("eth_call", {"to": chatty.contract, "from": chatty.me, "value": "0x1"}, "latest")
    assert chatty.rpc.call("hardhat_setLoggingEnabled", True) is True
    snapshot = chatty.rpc.call("evm_snapshot")
    sent = chatty.send(to=chatty.me)
    assert next(chatty.lines)["hash"] == sent, "what came while it was off is not printed"
    chatty.rpc.call("evm_mine")  # empty: nothing
    chatty.rpc.call("evm_revert", snapshot)
    again = chatty.send(to=chatty.me, value=5)
    lines = [next(chatty.lines), next(chatty.lines)]
    assert [line["event"] for line in lines] == ["rewound", "transaction"]
    assert lines[1]["hash"] == again


def test_more_than_is_kept_is_counted(chatty: Chatty) -> None:
    """A contract that logs 1,500 times: 1,000 calls are kept."""
    loop = code(b"\x61" + (1_500).to_bytes(2, "big"), "JUMPDEST PUSH0 PUSH0 PUSH0 PUSH0", b"\x73" + CONSOLE)
    loop += code("GAS STATICCALL POP", 1, "SWAP1 SUB DUP1", 3, "JUMPI STOP")
    chatty.send("0x" + loop.hex(), to=None, gas=10_000_000)
    line = next(chatty.lines)
    assert (len(line["console"]), line["consoleDropped"]) == (1_000, 500)


def test_abis_of_what_was_deployed(chatty: Chatty, tmp_path: Path) -> None:
    artifact = tmp_path / "Counter.json"
    artifact.write_text(json.dumps({"contractName": "Counter", "abi": ABI, "bytecode": "0x" + CREATION.hex()}))
    there = ("--data-dir", str(chatty.daemon.data_dir))
    made = run_command("deploy", str(artifact), *there)
    contract = re.search(r"contract +(0x[0-9a-f]{40})", made.stdout)
    assert contract is not None, made
    next(chatty.lines)
    address = contract.group(1)
    sent = run_command("send", address, "TooBig(uint256)", "500", "--value", "1", "--gas", "100000", *there)
    assert sent.returncode == 1
    assert "reason       TooBig(500)\ndata         0x" in sent.stdout
    line = next(chatty.lines)
    assert (line["call"], line["reason"]) == ("Counter.TooBig(500)", "TooBig(500)")
    for transport in ((), ("--http",)):
        called = run_command(
            "call",
            address,
            "TooBig",
            "7",
            "--value",
            "1",
            "--abi",
            str(artifact),
            "--from",
            chatty.me,
            *there,
            *transport,
        )
        assert called.stderr.startswith("error[evm.revert]: execution reverted: TooBig(7)\n  data 0x")
        assert next(chatty.lines)["reason"] == "TooBig(7)"
    for method in ("call", "send"):
        warned = run_command(method, "0x" + "ab" * 20, "setNumber(uint256)", "5", *there)
        assert warned.returncode == 0
        assert "has no code: nothing was executed" in warned.stderr
    next(chatty.lines)


def test_any_method_tells_why_it_reverted(chatty: Chatty) -> None:
    call = {"to": chatty.contract, "from": chatty.me, "value": "0x1", "data": encoded("Panic(uint256)", 0x11)}
    for transport in ((), ("--http",)):
        there = ("--data-dir", str(chatty.daemon.data_dir), *transport)
        failed = run_command("rpc", "eth_call", json.dumps(call), "latest", *there)
        assert failed.stderr == (
            "error[evm.revert]: execution reverted: Panic(0x11): arithmetic underflow or overflow\n"
            f"  data {call['data']}\n"
        )
        next(chatty.lines)


def test_an_abi_needs_code_and_a_name(chatty: Chatty) -> None:
    assert "no code" in chatty.fails("zvmd_rememberAbi", "0x" + "ab" * 20, "X", ABI)
    assert "characters" in chatty.fails("zvmd_rememberAbi", chatty.contract, "", ABI)
    assert "cannot be used" in chatty.fails("zvmd_rememberAbi", chatty.contract, "X", [5])


def test_on_a_terminal(tmp_path: Path) -> None:
    """Colours, and nothing that the chain says steers the terminal."""
    master, slave = pty.openpty()
    daemon = Daemon(tmp_path / "data")
    arguments = ["start", "--dev", "--data-dir", str(daemon.data_dir), "--quic-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", *arguments, "--http-port", str(daemon.http_port)],
        cwd=REPO,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    try:
        read = Reader(master)
        read.until(lambda text: "READY" in text)
        rpc = Rpc(daemon.http_url)
        me = rpc.call("eth_accounts")[0]
        fields = {"from": me, "gas": hex(200_000)}
        made = rpc.call("eth_sendTransaction", fields | {"data": "0x" + CREATION.hex()})
        contract = rpc.call("eth_getTransactionReceipt", made)["contractAddress"]
        hostile = fields | {"to": contract, "data": encoded("log(string)", HOSTILE)}
        rpc.call("eth_sendTransaction", hostile)
        rpc.call("eth_sendTransaction", hostile | {"value": "0x1", "data": encoded("Error(string)", HOSTILE)})
        text = read.until(lambda text: text.count("u202e") >= 2).partition("READY")[2]
        assert "\x1b[32mok" in text
        assert "\x1b[31mfailed" in text
        plain = re.sub("\x1b\\[(?:0|2|31|32|36)m", "", text)
        assert "\x1b" not in plain
        assert f"-> new {contract}" in plain
    finally:
        process.terminate()
        process.wait(30)
        os.close(master)


class Reader:
    """Reads a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    def until(self, is_there: Callable[[str], bool]) -> str:
        """All that was read, once it has what is wanted."""
        while not is_there(self._text):
            self._text += os.read(self._descriptor, 65_536).decode()
        return self._text


def test_to_a_pipe_as_anvil_does(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "piped")
    try:
        daemon.start()
        rpc, lines = daemon.rpc(), daemon.lines()
        fields = {"from": rpc.call("eth_accounts")[0], "to": "0x" + "11" * 20, "value": "0x1"}
        sent = rpc.call("eth_sendTransaction", fields)
        assert next(lines) == "block 1   ok      transfer  gas 21,000\n"
        assert next(lines).endswith(f"-> 0x{'11' * 20}  value 1 wei\n")
        assert next(lines) == f"          tx {sent}\n"
    finally:
        daemon.close()


def test_quiet(tmp_path: Path) -> None:
    """``--quiet`` prints READY alone."""
    quiet = Daemon(tmp_path / "quiet", "--quiet", "--log-format", "json")
    try:
        quiet.start()
        rpc = quiet.rpc()
        rpc.call("eth_sendTransaction", {"from": rpc.call("eth_accounts")[0], "to": "0x" + "11" * 20})
        quiet.stop()
        assert quiet.printed == [quiet.ready_line + "\n"]
    finally:
        quiet.close()
