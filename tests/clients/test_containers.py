"""A second network namespace as a container: what it gets from a node that listens on every address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from zvmd.errors import ZvmdError
from zvmd.http import HttpClient

HOST_ADDRESS, CONTAINER_ADDRESS = "198.18.77.1", "198.18.77.2"
"""Of the range for tests of networks (RFC 2544)."""
CLIENT = """
import http.client, json, sys
answers = []
for host, headers, method in json.load(sys.stdin):
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []})
    sent = {"Host": f"{host}:{sys.argv[2]}", "Content-Type": "application/json"} | headers
    connection.request("POST", "/", body, sent)
    answer = connection.getresponse()
    answers.append((answer.status, json.loads(answer.read())))
print(json.dumps(answers))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """A network namespace that reaches this one over a pair of virtual cables, its name."""
    name, ours, theirs = f"zvmd-{os.getpid()}", f"zv{os.getpid()}a", f"zv{os.getpid()}b"
    if shutil.which("ip") is None:
        pytest.skip("no ip here: apt-get install iproute2")
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"network namespaces are not permitted here: {made.stderr.strip()}")
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("address", "add", f"{HOST_ADDRESS}/24", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-netns", name, "address", "add", f"{CONTAINER_ADDRESS}/24", "dev", theirs)
        ip("-netns", name, "link", "set", theirs, "up")
        ip("-netns", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "delete", name)  # the cables go with it


@pytest.fixture(scope="module")
def open_node(container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A node that listens on every address."""
    daemon = Daemon(tmp_path_factory.mktemp("open") / "data", "--http-host", "0.0.0.0")
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


def calls(container: str, daemon: Daemon, *wanted: tuple[str, dict[str, str], str]) -> list[tuple[int, Any]]:
    """Status and answer of calls from the container, each (Host, headers, method)."""
    command = ["ip", "netns", "exec", container, sys.executable, "-c", CLIENT, HOST_ADDRESS, str(daemon.http_port)]
    done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [(status, answer) for status, answer in json.loads(done.stdout)]


def test_a_container_calls_by_address_and_by_name(container: str, open_node: Daemon) -> None:
    names = (HOST_ADDRESS, "zvmd", "zvmd_node-1", "host.docker.internal", "localhost")
    for status, answer in calls(container, open_node, *((name, {}, "eth_blockNumber") for name in names)):
        assert (status, answer["result"]) == (200, "0x0")
    (mined,) = calls(container, open_node, ("zvmd", {}, "evm_mine"))
    assert "error" not in mined[1]
    for status, answer in calls(container, open_node, *((name, {}, "zvmd_status") for name in names)):
        assert (status, answer["error"]["data"]["code"]) == (200, "rpc.not_permitted")
    ((status, refused),) = calls(container, open_node, ("attacker.example", {}, "eth_blockNumber"))
    assert (status, refused["error"]["data"]["code"]) == (403, "http.refused")


def test_with_the_token_a_container_may_call_everything(container: str, open_node: Daemon) -> None:
    token = (open_node.data_dir / "token").read_text().strip()
    right, wrong = {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer 00"}
    (status, answer), (refused, _) = calls(
        container, open_node, ("zvmd", right, "zvmd_status"), ("zvmd", wrong, "zvmd_status")
    )
    assert (status, refused) == (200, 401)
    assert answer["result"]["chainId"] == 31_337


def test_pages_in_a_container_are_pages_of_another_origin(container: str, open_node: Daemon) -> None:
    own = {"Origin": f"http://{HOST_ADDRESS}:{open_node.http_port}"}
    page = {"Origin": "http://web:3000"}
    answers = calls(
        container,
        open_node,
        *((HOST_ADDRESS, headers, method) for headers in (own, page) for method in ("eth_chainId", "zvmd_status")),
    )
    assert [answer.get("result") for _, answer in answers] == ["0x7a69", None] * 2


def test_the_node_warns_once_and_is_found_on_its_own_machine(open_node: Daemon) -> None:
    assert open_node.log().count("JSON-RPC is open to every machine") == 1
    assert f"http://0.0.0.0:{open_node.http_port}" in open_node.ready_line
    command = [sys.executable, "-m", "node.cli.main", "status", "--http", "--data-dir", str(open_node.data_dir)]
    environment = clean_environment() | {"PYTHONPATH": str(REPO)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr


def test_the_command_line_from_another_address(open_node: Daemon, container: str) -> None:
    """As on another machine: the address is not loopback, though the cable ends here."""
    url = f"http://{HOST_ADDRESS}:{open_node.http_port}"
    token = (open_node.data_dir / "token").read_text().strip()

    def zvmd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "node.cli.main", *arguments, "--url", url]
        settings = clean_environment() | {"PYTHONPATH": str(REPO)} | environment
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)

    assert zvmd("rpc", "eth_chainId").stdout.strip() == "0x7a69"
    refused = zvmd("status")
    assert refused.returncode != 0
    assert "error[rpc.not_permitted]" in refused.stderr
    assert "Authorization: Bearer" in refused.stderr
    assert zvmd("status", ZVMD_TOKEN=token).returncode == 0
    assert "error[http.token]" in zvmd("status", ZVMD_TOKEN="00" * 32).stderr
    assert zvmd("rpc", "eth_chainId", ZVMD_TOKEN="zvs-1-1-" + "00" * 32).stdout.strip() == "0x7a69"
    with pytest.raises(ZvmdError, match="may not be called"):
        next(HttpClient(url).watch(1))
    with pytest.raises(ZvmdError, match="session"):
        next(HttpClient(url, token).watch(1))
