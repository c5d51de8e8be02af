"""A second network namespace as a container: what it gets from a node that listens on every address."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from node.auth.tls import load_or_create_certificate
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from zvmd.errors import ZvmdError
from zvmd.http import HttpClient

HOST_ADDRESS, CONTAINER_ADDRESS = "198.18.77.1", "198.18.77.2"
"""Of the range for tests of networks (RFC 2544)."""
CLIENT = """
import http.client, json, ssl, sys
answers = []
context = ssl.create_default_context(cafile=sys.argv[3]) if sys.argv[3:] else None
for host, headers, method in json.load(sys.stdin):
    if context is None:
        connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)
    else:
        connection = http.client.HTTPSConnection(sys.argv[1], int(sys.argv[2]), timeout=30, context=context)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []})
    sent = {"Host": f"{host}:{sys.argv[2]}", "Content-Type": "application/json"} | headers
    try:
        connection.request("POST", "/", body, sent)
        answer = connection.getresponse()
    except ssl.SSLError as error:
        answers.append((0, str(error)))
        continue
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


def calls(
    container: str,
    daemon: Daemon,
    *wanted: tuple[str, dict[str, str], str],
    authority: Path | None = None,
    port: int = 0,
) -> list[tuple[int, Any]]:
    """Status and answer of calls from the container, each (Host, headers, method); over TLS with an ``authority``."""
    place = (HOST_ADDRESS, str(port or daemon.http_port))
    command = ["ip", "netns", "exec", container, sys.executable, "-c", CLIENT, *place]
    command += [str(authority)] if authority is not None else []
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


SECRET = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.fixture(scope="module")
def closed_node(container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The recipe of docs/containers.md: every address, TLS, a chain whose keys nobody knows."""
    settings = {"ZVMD_NODE__MNEMONIC": SECRET, "ZVMD_HTTP__TLS": "auto", "ZVMD_HTTP__HOSTS": "node,<local>"}
    place = tmp_path_factory.mktemp("closed")
    daemon = Daemon(place / "data", "--http-host", "0.0.0.0", environment=settings)
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


def test_another_machine_calls_over_tls_with_a_token(container: str, closed_node: Daemon, tmp_path: Path) -> None:
    """The client has a copy of the authority's certificate, and checks the address it called against the node's."""
    authority = Path(shutil.copy(closed_node.data_dir / "tls" / "authority.pem", tmp_path))
    right = {"Authorization": f"Bearer {(closed_node.data_dir / 'token').read_text().strip()}"}
    wrong = {"Authorization": "Bearer " + "00" * 32}
    names = (HOST_ADDRESS, "node", "localhost")
    wanted = [(name, headers, "zvmd_status") for name in names for headers in (right, {}, wrong)]
    answers = calls(container, closed_node, *wanted, authority=authority)
    assert [status for status, _ in answers] == [200, 401, 401] * len(names)
    assert answers[0][1]["result"]["chainId"] == 31_337
    assert [answer["error"]["data"]["code"] for _, answer in answers[1:3]] == ["http.token_needed", "http.token"]
    ((status, plain),) = calls(container, closed_node, ("node", right, "eth_chainId"))
    assert (status, plain["error"]["data"]["code"]) == (400, "http.tls")


def test_a_published_port_does_not_make_a_caller_local(container: str, closed_node: Daemon, tmp_path: Path) -> None:
    """What forwards it connects from 127.0.0.1, as Docker's proxy, rootless containers and SSH do."""
    authority = Path(shutil.copy(closed_node.data_dir / "tls" / "authority.pem", tmp_path))
    right = {"Authorization": f"Bearer {(closed_node.data_dir / 'token').read_text().strip()}"}
    with forwarding(closed_node.http_port) as port:
        wanted = [(name, headers, "zvmd_status") for name in ("localhost", "127.0.0.1") for headers in ({}, right)]
        answers = calls(container, closed_node, *wanted, authority=authority, port=port)
    assert [status for status, _ in answers] == [401, 200, 401, 200]
    assert answers[0][1]["error"]["data"]["code"] == "http.token_needed"


@contextmanager
def forwarding(port: int) -> Iterator[int]:
    """A port of this machine whose connections are passed on to one of 127.0.0.1, each both ways."""

    def passed(connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", port)) as onward:
            back = threading.Thread(target=copied, args=(onward, connection))
            back.start()
            copied(connection, onward)
            back.join()

    def copied(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accepted() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=passed, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((HOST_ADDRESS, 0)) as listener:
        threading.Thread(target=accepted, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_another_machine_does_not_trust_another_authority(
    container: str, closed_node: Daemon, tmp_path: Path
) -> None:
    other = load_or_create_certificate(tmp_path / "other", datetime.datetime.now(datetime.UTC)).authority
    ((status, told),) = calls(container, closed_node, ("node", {}, "eth_chainId"), authority=other)
    assert status == 0
    assert "CERTIFICATE_VERIFY_FAILED" in told


def test_the_command_line_on_another_machine(container: str, closed_node: Daemon, tmp_path: Path) -> None:
    authority = Path(shutil.copy(closed_node.data_dir / "tls" / "authority.pem", tmp_path))
    token = (closed_node.data_dir / "token").read_text().strip()
    url = f"https://{HOST_ADDRESS}:{closed_node.http_port}"

    def zvmd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["ip", "netns", "exec", container, sys.executable, "-m", "node.cli.main", *arguments, "--url", url]
        settings = clean_environment() | {"PYTHONPATH": str(REPO), "HOME": str(tmp_path)} | environment
        return subprocess.run(
            command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    trusting = ("--authority", str(authority))
    assert "error[client.certificate]" in zvmd("rpc", "eth_chainId", ZVMD_TOKEN=token).stderr
    assert "error[http.token_needed]" in zvmd("rpc", "eth_chainId", *trusting).stderr
    assert zvmd("rpc", "eth_chainId", *trusting, ZVMD_TOKEN=token).stdout == "0x7a69\n"
    assert zvmd("status", ZVMD_CERTIFICATE=str(authority), ZVMD_TOKEN=token).returncode == 0
