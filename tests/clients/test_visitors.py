"""Who may connect over HTTP and WebSocket, tried on two nodes: of the public test mnemonic and of another."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.clients.conftest import OTHER_MNEMONIC
from tests.conftest import Node
from tests.daemon import clean_environment
from tests.paths import REPO

REBOUND = [
    "attacker.example", "attacker.example:{port}", "localhost.attacker.example", "127.0.0.1.nip.io",
    "127.0.0.1.attacker.example:{port}", "[127.0.0.1].attacker.example", "[localhost].attacker.example:80",
    "localhost:attacker.example", "[::1", "[::1].attacker.example", "[::1]attacker.example", "attacker.example.",
    "localhost..", ".localhost", "localhost.localdomain", "printer.local:{port}", "com.", "localhost@attacker.example",
    "attacker.example#localhost", "attacker.example/localhost", "localhost,attacker.example", "local host",
    "xn--localhost-", "2130706433", "0x7f000001", "127.1", "127.0.0.1.", "[fe80::1%lo]", "[attacker.example]",
    "localhost:0", "localhost:65536", "localhost:{port}:1", "localhost:-{port}", ":{port}", "",
    "host.docker.internal.attacker.example", "*", "<local>",
]  # fmt: skip
CALL = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip
JSON = {"Content-Type": "application/json"}


@pytest.fixture(params=["public", "other"])
def either(request: pytest.FixtureRequest, node: Node) -> Node:
    """A node of each kind."""
    if node.daemon is None:
        pytest.skip("other nodes let in whom they like")
    chosen: Node = node if request.param == "public" else request.getfixturevalue("other_node")
    return chosen


class Answer:
    """Of a request sent as bytes."""

    def __init__(self, received: bytes) -> None:
        head, _, self.body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def slug(self) -> str:
        """Of the error in the body."""
        return str(json.loads(self.body)["error"]["data"]["code"])

    @property
    def result(self) -> Any:
        """Of the call in the body."""
        return json.loads(self.body).get("result")


def send(
    node: Node,
    verb: str = "POST",
    target: str = "/",
    *,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    headers: dict[str, str] | None = None,
    body: object = CALL,
) -> Answer:
    """One request on a connection of its own."""
    assert node.daemon is not None
    content = json.dumps(body).encode() if verb == "POST" else b""
    lines = [f"{verb} {target} HTTP/1.1", *(f"Host: {host}" for host in hosts)]
    lines += [f"{name}: {value}" for name, value in (JSON if headers is None else headers).items()]
    lines += [f"Content-Length: {len(content)}"] if content else []
    with socket.create_connection(("127.0.0.1", node.daemon.http_port), timeout=30) as peer:
        peer.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
        received = b""
        while not whole(received):
            received += peer.recv(65_536)
    return Answer(received)


def whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and (length is None or len(body) >= int(length[1]))


def test_rebound_names_reach_nothing(either: Node) -> None:
    assert either.daemon is not None
    assert len(REBOUND) >= 30
    got = {}
    for form in REBOUND:
        host = form.format(port=either.daemon.http_port)
        page = {"Origin": f"http://{host}"}
        answers = [
            send(either, hosts=(host,)),
            send(either, hosts=(host,), headers=JSON | page),
            send(either, "GET", "/ws", hosts=(host,), headers=UPGRADE),
            send(either, "GET", "/ws", hosts=(host,), headers=UPGRADE | page),
            send(either, "GET", "/readyz", hosts=(host,), headers={}),
            send(either, "OPTIONS", hosts=(host,), headers=page | {"Access-Control-Request-Method": "POST"}),
        ]
        assert not [answer for answer in answers if "access-control-allow-origin" in answer.headers]
        got[host] = {(answer.status, answer.slug) for answer in answers}
    assert not {host: answers for host, answers in got.items() if answers != {(403, "http.refused")}}


def test_which_host_counts(either: Node) -> None:
    for verb, headers in (("POST", JSON), ("GET", UPGRADE)):
        good = 200 if verb == "POST" else 101
        for hosts in ((), ("localhost", "a.example"), ("a.example", "localhost"), ("localhost", "localhost")):
            refused = send(either, verb, hosts=hosts, headers=headers)
            assert (refused.status, refused.slug) == (400, "http.headers")
        # A target in absolute form names the host, whatever Host says (RFC 9112, 3.2.2).
        for target, status in (
            ("http://attacker.example/", 403),
            ("http://attacker.example", 403),
            ("ws://attacker.example:8545/", 403),
            ("http://localhost@attacker.example/", 403),
            ("http://attacker@localhost/", 403),
            ("http:///", 403),
            ("http://localhost/", good),
            ("http://[::1]:8545", good),
        ):
            for hosts in (("localhost",), ("attacker.example",)):
                assert send(either, verb, target, hosts=hosts, headers=headers).status == status, (target, hosts)
        assert send(either, verb, "http://localhost/", hosts=("a", "b"), headers=headers).status == 400
    assert send(either, "GET", "http://attacker.example/readyz", headers={}).status == 403
    assert send(either, "GET", "http://localhost/readyz", headers={}).status == 200


@pytest.mark.parametrize(
    "host", ["host.docker.internal:8545", "anvil:8545", "172.17.0.1:8545", "localhost", "app.localhost:1"]
)
def test_names_of_containers_and_addresses(either: Node, host: str) -> None:
    assert send(either, hosts=(host,)).result == "0x7a69"
    assert send(either, "GET", "/ws", hosts=(host,), headers=UPGRADE).status == 101
    status = send(either, hosts=(host,), body=CALL | {"method": "zvmd_status"})
    assert (status.result is not None) == ("localhost" in host)


PAGES = [
    "http://localhost:3000",
    "https://remix.ethereum.org",
    "null",
    "file://",
    "chrome-extension://nkbihfbeogaeaoehlefn",
]


@pytest.mark.parametrize("page", PAGES)
def test_pages(either: Node, other_node: Node, page: str) -> None:
    asking = {
        "Origin": page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-requested-with",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = send(either, "OPTIONS", headers=asking)
    call = send(either, headers=JSON | {"Origin": page})
    upgrade = send(either, "GET", "/", headers=UPGRADE | {"Origin": page})
    simple = send(either, headers={"Content-Type": "text/plain", "Origin": page})
    if either is other_node:
        assert {answer.status for answer in (preflight, call, upgrade, simple)} == {403}
        assert "access-control-allow-origin" not in call.headers | preflight.headers
        return
    assert (preflight.status, call.status, upgrade.status, simple.status) == (204, 200, 101, 415)
    assert {answer.headers["access-control-allow-origin"] for answer in (preflight, call, simple)} == {page}
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert preflight.headers["access-control-allow-headers"] == "content-type,x-requested-with"
    batch = [CALL | {"method": "zvmd_read", "params": ["0x0", "eth_chainId"]}, CALL, CALL | {"method": "zvmd_status"}]
    answers = json.loads(send(either, headers=JSON | {"Origin": page}, body=batch).body)
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32601, None, -32601]


async def over_websocket(node: Node, calls: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    async with websockets.connect(node.http_url.replace("http", "ws"), **options) as connection:
        answers = []
        for call in calls:
            await connection.send(json.dumps(call))
            answers.append(json.loads(await connection.recv()))
        return answers


def test_a_websocket_of_a_page(node: Node) -> None:
    if node.daemon is None:
        pytest.skip("other nodes let in whom they like")
    token = (node.daemon.data_dir / "token").read_text().strip()
    calls = [
        CALL,
        CALL | {"method": "eth_subscribe", "params": ["newHeads"]},
        CALL | {"method": "zvmd_session_watch", "params": [999_999]},
        CALL | {"method": "zvmd_status"},
        CALL | {"method": "rpc_modules"},
    ]
    for options, everything in (
        ({"origin": "http://localhost:3000"}, False),
        ({"origin": f"http://127.0.0.1:{node.daemon.http_port}"}, True),
        ({"origin": "null", "additional_headers": {"Authorization": f"Bearer {token}"}}, True),
    ):
        chain, subscribed, watched, status, modules = asyncio.run(over_websocket(node, calls, **options))
        assert chain["result"] == "0x7a69"
        assert subscribed["result"].startswith("0x")
        refused = {answer["error"]["data"]["code"] for answer in (watched, status) if "error" in answer}
        assert refused == ({"session.not_found"} if everything else {"rpc.not_permitted"})
        assert ("zvmd" in modules["result"]) == everything


def test_titanoboa(node: Node) -> None:
    """Its headers, as requests sends them, and the batch it begins with."""
    headers = {
        "User-Agent": "python-requests/2.32.3", "Accept-Encoding": "gzip, deflate", "Accept": "*/*",
        "Connection": "keep-alive", "Content-Type": "application/json", "Origin": "Titanoboa",
    }  # fmt: skip
    if node.daemon is None:
        pytest.skip("needs a port to send bytes to")
    batch = [{"jsonrpc": "2.0", "method": name, "params": [], "id": 0} for name in ("eth_chainId", "eth_accounts")]
    answer = send(node, headers=headers, body=batch)
    assert answer.status == 200
    assert len(json.loads(answer.body)[1]["result"]) == 10


def test_a_batch_of_a_thousand(node: Node) -> None:
    """As viem sends with ``batch: true``; geth takes as many."""
    assert node.rpc().batch([("eth_chainId", ())] * 1_000) == ["0x7a69"] * 1_000
    if node.daemon is not None:
        refused = send(node, body=[CALL] * 1_001)
        assert "the limit is 1000" in refused.body.decode()


def start(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A node that is expected to refuse, in a process of its own."""
    command = [sys.executable, "-m", "node.cli.main", "start", "--data-dir", str(data_dir), *arguments]
    command += ["--http-port", "0", "--quic-port", "0"]
    environment = clean_environment() | {"PYTHONPATH": str(REPO)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_no_other_chain_is_open_to_other_machines(tmp_path: Path) -> None:
    for arguments in ((), ("--dev", "--mnemonic", OTHER_MNEMONIC)):
        ended = start(tmp_path / str(len(arguments)), *arguments, "--http-host", "0.0.0.0")
        assert ended.returncode == 78
        assert "error[auth.bind]" in ended.stderr
        assert "hint: " in ended.stderr
        assert "READY" not in ended.stdout
