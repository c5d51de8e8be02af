"""Other people's clients over HTTPS and secure WebSockets, told of the node's authority as each of them wants it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web3 import AsyncWeb3, Web3
from web3.providers import WebSocketProvider

from tests.daemon import Daemon
from tests.programs import CLIENT_TOOLS, NODE_MODULES

ETHERS = """
import {createRequire} from "module";
const {ethers} = createRequire(process.argv[1] + "/x.js")("ethers");
const http = new ethers.JsonRpcProvider(process.argv[2]);
const socket = new ethers.WebSocketProvider(process.argv[2].replace("http", "ws"));
console.log(JSON.stringify([Number((await http.getNetwork()).chainId), Number((await socket.getNetwork()).chainId)]));
await socket.destroy();
http.destroy();
"""
VIEM = """
import {createRequire} from "module";
const {createPublicClient, http, webSocket} = createRequire(process.argv[1] + "/x.js")("viem");
const over = async (transport) => await createPublicClient({transport}).getChainId();
const [url, socket] = [process.argv[2], process.argv[2].replace("http", "ws")];
console.log(JSON.stringify([await over(http(url)), await over(webSocket(socket))]));
process.exit(0);
"""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A development node that speaks TLS."""
    with Daemon(tmp_path_factory.mktemp("secure") / "data", "--http-tls", "auto") as daemon:
        yield daemon
        assert daemon.stop() == 0, daemon.log()


@pytest.fixture(scope="module")
def url(secure: Daemon) -> str:
    return f"https://localhost:{secure.http_port}"


@pytest.fixture(scope="module")
def authority(secure: Daemon) -> Path:
    return secure.data_dir / "tls" / "authority.pem"


def output(*command: str, **environment: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(url: str, authority: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    asked = ("-H", "content-type: application/json", "-d", '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}')
    assert json.loads(output("curl", "-sS", "--cacert", str(authority), *asked, url))["result"] == "0x7a69"
    done = subprocess.run(["curl", "-sS", url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 60, "the peer's certificate cannot be authenticated"
    plain = json.loads(output("curl", "-sS", *asked, url.replace("https", "http")))
    assert plain["error"]["data"]["code"] == "http.tls"


def test_cast(url: str, authority: Path, cast: str) -> None:
    assert output(cast, "chain-id", "--rpc-url", url, SSL_CERT_FILE=str(authority)) == "31337\n"
    assert output(cast, "chain-id", "--rpc-url", url, "--insecure") == "31337\n"


def test_ethers(url: str, authority: Path, node_modules: Path) -> None:
    said = output(
        "node", "--input-type=module", "-e", ETHERS, str(node_modules), url, NODE_EXTRA_CA_CERTS=str(authority)
    )
    assert json.loads(said) == [31_337, 31_337]


def test_viem(url: str, authority: Path) -> None:
    folders = (NODE_MODULES, CLIENT_TOOLS / "hardhat" / "node_modules")
    found = next((folder for folder in folders if (folder / "viem").is_dir()), None)
    if found is None or shutil.which("node") is None:
        pytest.skip("no Node.js with viem here: `make test` installs it where npm is there")
    said = output("node", "--input-type=module", "-e", VIEM, str(found), url, NODE_EXTRA_CA_CERTS=str(authority))
    assert json.loads(said) == [31_337, 31_337]


def test_web3py(url: str, authority: Path) -> None:
    over_http: Any = Web3(Web3.HTTPProvider(url, request_kwargs={"verify": str(authority)}))
    assert over_http.eth.chain_id == 31_337

    async def follow() -> int:
        options = {"ssl": ssl.create_default_context(cafile=authority)}
        provider = WebSocketProvider(url.replace("http", "ws"), websocket_kwargs=options)
        async with AsyncWeb3(provider) as over_socket:
            await over_socket.eth.subscribe("newHeads")
            await over_socket.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
            async for message in over_socket.socket.process_subscriptions():
                number: int = message["result"]["number"]  # type: ignore[index, call-overload]
                return number
        return 0

    async def within_time() -> int:
        async with asyncio.timeout(60):
            return await follow()

    assert asyncio.run(within_time()) == 1
