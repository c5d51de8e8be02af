"""Unmodified clients of geth on the node's unix socket: web3.py's two providers, ethers, cast, and plain programs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from web3 import AsyncIPCProvider, AsyncWeb3, IPCProvider, Web3
from web3.utils.subscriptions import LogsSubscription, NewHeadsSubscription

from tests.clients.test_ethers import used_by_ethers
from tests.clients.test_web3py import FRIEND
from tests.commands import run_command
from tests.conftest import Node
from tests.contracts import dev_account, published


@pytest.fixture
def ipc(node: Node) -> str:
    """The path of the JSON socket."""
    if node.daemon is None:
        pytest.skip("an outside node has no socket that we know")
    return str(node.daemon.data_dir / "zvmd.ipc")


def test_web3py(ipc: str) -> None:
    web3: Any = Web3(IPCProvider(ipc))
    assert web3.is_connected()
    assert web3.eth.chain_id == 31_337
    account, before = web3.eth.accounts[4], web3.eth.get_balance(FRIEND)
    sent = web3.eth.send_transaction({"from": account, "to": FRIEND, "value": 7})
    assert web3.eth.wait_for_transaction_receipt(sent)["status"] == 1
    assert web3.eth.get_balance(FRIEND) == before + 7
    contract = published("ERC20PresetFixedSupply")
    factory: Any = web3.eth.contract(abi=contract.abi, bytecode=contract.bytecode)
    created = factory.constructor("Pipe", "PIPE", 10**6, account).transact({"from": account})
    token = factory(web3.eth.wait_for_transaction_receipt(created)["contractAddress"])
    assert token.functions.balanceOf(account).call() == 10**6
    with web3.batch_requests() as batch:
        batch.add(web3.eth.get_block_number())
        batch.add(token.functions.symbol())
        number, symbol = batch.execute()
    assert symbol == "PIPE"
    assert number >= 2
    assert len(web3.eth.get_block("latest", full_transactions=True)["transactions"]) == 1


def test_web3py_with_an_event_loop_and_subscriptions(ipc: str) -> None:
    async def work() -> None:
        async with AsyncWeb3(AsyncIPCProvider(ipc)) as web3:
            assert await web3.eth.chain_id == 31_337
            account = (await web3.eth.accounts)[5]
            heads = await web3.eth.subscribe("newHeads")
            sent = await web3.eth.send_transaction({"from": account, "to": FRIEND, "value": 1})
            async for message in web3.socket.process_subscriptions():
                assert message["subscription"] == heads
                block = await web3.eth.get_block(message["result"]["number"])  # type: ignore[typeddict-item,index]
                if sent in block["transactions"]:
                    break
            assert await web3.eth.unsubscribe(heads)
            numbers = await asyncio.gather(*(web3.eth.get_transaction_count(account) for _ in range(50)))
            assert len(set(numbers)) == 1

    asyncio.run(asyncio.wait_for(work(), 60))


def test_web3py_with_handlers_of_logs(ipc: str) -> None:
    seen: list[str] = []

    async def work() -> None:
        async with AsyncWeb3(AsyncIPCProvider(ipc)) as web3:
            account = (await web3.eth.accounts)[6]
            contract = published("ERC20PresetFixedSupply")
            factory: Any = web3.eth.contract(abi=contract.abi, bytecode=contract.bytecode)
            created = await factory.constructor("Log", "LOG", 10**6, account).transact({"from": account})
            token = factory((await web3.eth.wait_for_transaction_receipt(created))["contractAddress"])

            async def on_log(context: Any) -> None:
                seen.append("log")
                await context.subscription.unsubscribe()

            async def on_head(context: Any) -> None:
                seen.append("head")
                await context.subscription.unsubscribe()

            await web3.subscription_manager.subscribe(
                [LogsSubscription(address=token.address, handler=on_log), NewHeadsSubscription(handler=on_head)]
            )
            await token.functions.transfer(FRIEND, 1).transact({"from": account})
            await web3.subscription_manager.handle_subscriptions()

    asyncio.run(asyncio.wait_for(work(), 60))
    assert sorted(seen) == ["head", "log"]


def test_ethers(ipc: str, node_modules: Path) -> None:
    used_by_ethers(ipc, node_modules)


def test_cast(ipc: str, cast: str) -> None:
    def said(*arguments: str) -> str:
        environment = {**os.environ, "NO_COLOR": "1"}
        command = [cast, *arguments, "--rpc-url", ipc]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert said("chain-id") == "31337"
    key = "0x" + dev_account(7).key.hex().removeprefix("0x")
    receipt = json.loads(said("send", FRIEND, "--value", "3", "--private-key", key, "--json"))
    assert int(receipt["status"], 16) == 1
    assert int(said("balance", FRIEND)) >= 3


def test_what_a_console_asks_first(ipc: str) -> None:
    """geth attach, as far as its requests go: one connection, the modules, then a request at a time without a line's
    end, and a subscription beside them."""

    async def work() -> None:
        reader, writer = await asyncio.open_unix_connection(ipc, limit=2**24)
        for at, (method, params) in enumerate(
            [("rpc_modules", []), ("web3_clientVersion", []), ("eth_accounts", []), ("eth_syncing", []),
             ("eth_getBlockByNumber", ["0x0", False]), ("net_version", []), ("eth_subscribe", ["syncing"]),
             ("txpool_status", [])]
        ):  # fmt: skip
            writer.write(json.dumps({"jsonrpc": "2.0", "id": at, "method": method, "params": params}).encode())
            answer = json.loads(await reader.readline())
            assert answer["id"] == at
            assert "result" in answer, answer
        writer.close()

    asyncio.run(work())


def test_the_command_line_over_the_other_socket(node: Node, ipc: str) -> None:
    assert node.daemon is not None
    data, url = str(node.daemon.data_dir), f"unix://{Path(ipc).with_suffix('.sock')}"
    for options in (["--url", url], ["--data-dir", data], ["--url", url.replace("///", "/")]):
        done = run_command("rpc", "eth_chainId", *options)
        assert (done.returncode, done.stdout.strip()) == (0, "0x7a69"), done.stderr
    refused = run_command("rpc", "eth_chainId", "--url", f"unix://{ipc}")
    assert refused.returncode != 0
    assert ".sock" in refused.stderr
    nowhere = run_command("rpc", "eth_chainId", "--url", "unix:///nowhere/zvmd.sock")
    assert "error[client.socket]" in nowhere.stderr
    for url in ("unix:", "unix://host/path"):
        assert "error[client.url]" in run_command("rpc", "eth_chainId", "--url", url).stderr
