"""HTTP/3 in a real browser: the node's own page, a page of another port, and one that is not welcome."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.browser import Browser, Page, chromium, find_chromium, page_server
from tests.conftest import Node

RPC = """
const rpc = async (method, params = []) => {
    const body = JSON.stringify({jsonrpc: "2.0", id: 1, method, params});
    const answer = await fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body});
    return {status: answer.status, ...await answer.json()};
};
const protocols = () => [...new Set(performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol))];
"""


def fingerprint(data_dir: Path) -> str:
    """What Chromium calls the node's key: SHA-256 of the certificate's public key."""
    certificate = x509.load_pem_x509_certificate((data_dir / "tls" / "certificate.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, node: Node) -> Iterator[Browser]:
    """Chromium, which is told that the node speaks HTTP/3, and to trust its key."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: `make test` installs it from Debian as root")
    if node.daemon is None:
        pytest.skip("other nodes do not speak HTTP/3")
    force = f"--origin-to-force-quic-on=127.0.0.1:{node.daemon.quic_port}"
    trust = f"--ignore-certificate-errors-spki-list={fingerprint(node.daemon.data_dir)}"
    with chromium(program, tmp_path_factory.mktemp("profile"), "--enable-quic", force, trust, quic=True) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Page:
    """An empty tab."""
    return browser.open_page()


def url_of(node: Node) -> str:
    """Where the node speaks HTTP/3."""
    assert node.daemon is not None
    return f"https://127.0.0.1:{node.daemon.quic_port}/"


def test_the_nodes_own_page_may_call_everything(node: Node, page: Page) -> None:
    url = url_of(node)
    page.go(url + "readyz")
    assert page.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h3"
    got = page.run(
        RPC + """
        const many = await Promise.all(Array.from({length: 200}, () => rpc("eth_chainId")));
        const status = await rpc("zvmd_status");
        const large = await rpc("web3_sha3", ["0x" + "ab".repeat(1_000_000)]);
        return [many.every((item) => item.result === "0x7a69"), status.error, large.result, protocols()];
        """,
        url=url,
    )  # fmt: skip
    assert got[:2] == [True, None]
    assert len(got[2]) == 66
    assert got[3] == ["h3"]


def test_a_page_of_another_port_may_call_the_standard_namespaces(node: Node, page: Page) -> None:
    with page_server() as pages:
        page.go(f"http://localhost:{pages}/app")
        sent = page.run(
            RPC + """
            const [from, to] = (await rpc("eth_accounts")).result;
            const hash = (await rpc("eth_sendTransaction", [{from, to, value: "0x1"}])).result;
            const receipt = (await rpc("eth_getTransactionReceipt", [hash])).result;
            return [receipt.status, (await rpc("zvmd_status")).error.data.code];
            """,
            url=url_of(node),
        )  # fmt: skip
    assert sent == ["0x1", "rpc.not_permitted"]


def test_a_request_that_a_page_aborts_is_no_harm(node: Node, page: Page) -> None:
    url = url_of(node)
    page.go(url + "readyz")
    got = page.run(
        RPC + """
        const control = new AbortController();
        const body = JSON.stringify({jsonrpc: "2.0", id: 1, method: "eth_chainId", params: []});
        const headers = {"Content-Type": "application/json"};
        const asked = fetch(url, {method: "POST", headers, body, signal: control.signal});
        const aborted = asked.catch((error) => error.name);
        control.abort();
        return [await aborted, (await rpc("eth_chainId")).result];
        """,
        url=url,
    )  # fmt: skip
    assert got == ["AbortError", "0x7a69"]
