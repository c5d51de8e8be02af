"""The client commands of ``zvmd`` against a real node, over QUIC and over JSON-RPC."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.cli import link
from tests.commands import run_command
from tests.conftest import Node
from tests.contracts import dev_account
from tests.daemon import clean_environment
from tests.paths import REPO, WORKLOADS

TOKEN = f"{WORKLOADS / 'contracts' / 'published.json'}:ERC20PresetFixedSupply"
Zvmd = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["quic", "http"])
def zvmd(request: pytest.FixtureRequest, node: Node) -> Zvmd:
    """Run a command against the node."""
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    transport = ["--data-dir", str(node.daemon.data_dir)] + (["--http"] if request.param == "http" else [])

    def run(command: str, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        result = run_command(command, *transport, *arguments)
        assert (result.returncode == 0) == ok, result.stderr
        return result

    return run


def fields(output: str) -> dict[str, str]:
    return {name.strip(): value for name, value in (line.rsplit(maxsplit=1) for line in output.splitlines())}


def test_status(zvmd: Zvmd) -> None:
    short = zvmd("status").stdout.splitlines()
    assert len(short) < 24
    assert max(map(len, short)) <= 80
    lines = dict(line.split(maxsplit=1) for line in short)
    parts = ("head", "log", "checkpoint", "states", "store", "index", "pool")
    parts += ("genesis", "contracts", "sessions", "engine", "calls", "memory", "quic", "tokens", "logging")
    assert tuple(lines) == ("node", "serving", *parts, "jobs")
    assert lines["engine"].startswith("auto; ")
    long = dict(line.split(maxsplit=1) for line in zvmd("status", "-v").stdout.splitlines())
    assert tuple(long) == ("node", "serving", *parts, "compiled", "limit", "job")

    def names(value: object) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(name for inner in value.values() for name in names(inner))]
        return [name for inner in value for name in names(inner)] if isinstance(value, list) else []

    assert not [name for name in names(json.loads(zvmd("status", "--json").stdout)) if "_" in name]


def test_deploy_call_send_logs(zvmd: Zvmd) -> None:
    owner, friend = dev_account(3), "0x" + "e1" * 20
    made = fields(zvmd("deploy", TOKEN, "Command", "CMD", "1000000", owner.address, "--from", owner.address).stdout)
    assert made["status"] == "success"
    token = made["contract"]
    assert zvmd("call", token, "symbol()(string)").stdout.strip() == "CMD"
    assert zvmd("call", token, "decimals()(uint8)").stdout.strip() == "18"

    sent = fields(
        zvmd("send", token, "transfer(address,uint256)", friend, "77", "--private-key", "0x" + owner.key.hex()).stdout
    )
    assert (sent["status"], sent["logs"]) == ("success", "1")
    assert zvmd("call", token, "balanceOf(address)(uint256)", friend).stdout.strip() == "77"
    before = str(int(sent["block"]) - 1)
    assert zvmd("call", token, "balanceOf(address)(uint256)", friend, "--block", before).stdout.strip() == "0"

    lines = zvmd("logs", "--address", token, "--event", "Transfer(address,address,uint256)").stdout.splitlines()
    assert [int(json.loads(line)["data"], 16) for line in lines] == [1_000_000, 77]
    mine = zvmd("logs", "--address", token, "--event", "Transfer(address,address,uint256)", "--topic", owner.address)
    assert len(mine.stdout.splitlines()) == 1


def test_value_json_and_rpc(zvmd: Zvmd) -> None:
    target = "0x" + "e2" * 20
    before = int(zvmd("rpc", "eth_getBalance", target, "latest").stdout, 16)
    receipt = json.loads(zvmd("send", target, "--value", "1.5gwei", "--json").stdout)
    assert receipt["status"] == "0x1"
    assert int(zvmd("rpc", "eth_getBalance", target, "latest").stdout, 16) - before == 1_500_000_000
    block = json.loads(zvmd("rpc", "eth_getBlockByNumber", receipt["blockNumber"], "false").stdout)
    assert block["hash"] == receipt["blockHash"]


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (("rpc", "eth_getBalanc"), "rpc.method"),
        (("rpc", "eth_getBalance", "0x12"), "rpc.params"),
        (("call", "0x" + "00" * 20, "f(uint256"), "client.input"),
        (("send", "0x" + "00" * 20, "f(uint8)", "256"), "client.input"),
        (("deploy", "0xfe"), "evm.halt"),
        (("deploy", TOKEN, "too few"), "client.input"),
    ],
)
def test_errors_are_a_slug_and_a_hint(zvmd: Zvmd, arguments: tuple[str, ...], slug: str) -> None:
    result = zvmd(*arguments, ok=False)
    assert result.returncode == 1
    # Over HTTP errors of methods that take a transaction carry no slug (docs/requests.md, "The `data` of errors").
    without = "error[rpc.error]: execution failed: " if slug == "evm.halt" else f"error[{slug}]: "
    assert result.stderr.startswith((f"error[{slug}]: ", without))


def test_events_resume(node: Node) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    node.rpc().call("anvil_mine", "0x2")
    command = [sys.executable, "-m", "node.cli.main", "events", "heads", "--resume", "0:0", "--count", "2"]
    shown = subprocess.run(
        [*command, "--data-dir", str(node.daemon.data_dir)],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=clean_environment(),
        timeout=60,
        check=True,
    )
    assert [json.loads(line)["number"] for line in shown.stdout.splitlines()] == [1, 2]
    assert shown.stderr == ""


def test_no_node(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    result = subprocess.run(
        [sys.executable, "-m", "node.cli.main", "rpc", "eth_chainId", "--data-dir", str(empty)],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=clean_environment(),
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"error[client.token]: no node has run in {empty}")
    assert "hint: name the node's directory" in result.stderr


def test_a_node_with_another_data_directory_is_found(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options, where no node has run: the one at the usual address answers, if there is one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(link, "DEFAULT_HTTP", node.http_url)
    found = run_command("rpc", "eth_chainId")
    assert found.stdout == "0x7a69\n"
    assert found.stderr.startswith(f"note: no node has run in {tmp_path}/.local/share/zvmd; asking {node.http_url}")
    monkeypatch.setattr(link, "DEFAULT_HTTP", "http://127.0.0.1:1")
    missing = run_command("rpc", "eth_chainId")
    assert missing.stderr.startswith("error[client.token]: no node has run in ")
