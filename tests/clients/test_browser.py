"""Pages in a real browser: of another port, of nowhere, of an extension, of a rebound name, of the Internet, and of the
node itself; over HTTP and over HTTPS.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.browser import Browser, Page, chromium, find_chromium, page_server
from tests.conftest import Node
from tests.daemon import Daemon

RPC = """
const rpc = async (method, params = [], type = "application/json") => {
    const body = JSON.stringify({jsonrpc: "2.0", id: 1, method, params});
    const answer = await fetch(url, {method: "POST", headers: {"Content-Type": type, "X-App": "1"}, body});
    return {status: answer.status, ...await answer.json()};
};
"""
SOCKET = """
const socket = new WebSocket(url.replace("http", "ws"));
const waiting = [];
const arrived = [];
socket.onmessage = (event) => {
    const item = JSON.parse(event.data);
    waiting.length ? waiting.shift()(item) : arrived.push(item);
};
const receive = () => arrived.length ? arrived.shift() : new Promise((resolve) => waiting.push(resolve));
const ask = async (method, params = []) => {
    socket.send(JSON.stringify({jsonrpc: "2.0", id: 1, method, params}));
    return await receive();
};
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = () => reject("no WebSocket"); });
"""

IN_A_SANDBOX = """
    const told = new Promise((resolve) => window.addEventListener("message", (event) => resolve(event.data)));
    const inner = `(async () => { const url = ${JSON.stringify(url)}; ${rpc}
        try { return await rpc("eth_chainId"); } catch (error) { return {failed: String(error)}; }
    })().then((answer) => parent.postMessage({origin: location.origin, ...answer}, "*"))`;
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = "<script>" + inner + "</" + "script>";
    document.body.append(frame);
    return await told;
"""


@pytest.fixture(scope="module")
def https_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A development node that speaks TLS."""
    if find_chromium() is None:
        pytest.skip("no Chromium here: `make test` installs it from Debian as root")
    with Daemon(tmp_path_factory.mktemp("https") / "data", "--http-tls", "auto") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An extension with a page, as a wallet has."""
    folder = tmp_path_factory.mktemp("extension")
    manifest = {"manifest_version": 3, "name": "a wallet", "version": "1"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "page.html").write_text("<!doctype html><title>a page</title>")
    return folder


@pytest.fixture(scope="module")
def browser(
    tmp_path_factory: pytest.TempPathFactory, internet: int, https_node: Daemon, extension: Path
) -> Iterator[Browser]:
    """Chromium, whose name server points some names at this machine, and which takes one port for the Internet.

    It has the extension, and takes the certificate of the HTTPS node, whose authority it does not know.
    """
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: `make test` installs it from Debian as root")
    names = "--host-resolver-rules=MAP attacker.example 127.0.0.1, MAP wifi 127.0.0.1, MAP *.internal 127.0.0.1"
    public = f"--ip-address-space-overrides=127.0.0.1:{internet}=public"
    certificate = x509.load_pem_x509_certificate((https_node.data_dir / "tls" / "certificate.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    flags = (
        names,
        public,
        f"--ignore-certificate-errors-spki-list={pin}",
        f"--load-extension={extension}",
        "--disable-features=DisableLoadExtensionCommandLineSwitch",
    )
    with chromium(program, tmp_path_factory.mktemp("profile"), *flags) as running:
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[int]:
    """Port of a web server with pages."""
    with page_server() as port:
        yield port


@pytest.fixture(scope="module")
def internet() -> Iterator[int]:
    """Port of such a server that the browser takes for one of the Internet."""
    with page_server() as port:
        yield port


@pytest.fixture
def page(browser: Browser) -> Page:
    """An empty tab."""
    return browser.open_page()


def own(node: Node) -> int:
    """The HTTP port of our own daemon."""
    if node.daemon is None:
        pytest.skip("other nodes let in whom they like")
    return node.daemon.http_port


def test_a_page_of_another_port(node: Node, page: Page, pages: int) -> None:
    own(node)
    page.go(f"http://localhost:{pages}/app")
    number = page.run(RPC + "return await rpc('eth_blockNumber')", url=node.http_url)
    assert number["status"] == 200
    assert int(number["result"], 16) >= 0
    sent = page.run(
        RPC + """
        const [from, to] = (await rpc("eth_accounts")).result;
        const hash = (await rpc("eth_sendTransaction", [{from, to, value: "0x1"}])).result;
        return (await rpc("eth_getTransactionReceipt", [hash])).result;
        """,
        url=node.http_url,
    )  # fmt: skip
    assert sent["status"] == "0x1"
    refused = page.run(RPC + "return [await rpc('zvmd_status'), await rpc('rpc_modules')]", url=node.http_url)
    assert refused[0]["error"]["data"]["code"] == "rpc.not_permitted"
    assert "zvmd" not in refused[1]["result"]


def test_a_websocket_of_a_page(node: Node, page: Page, pages: int) -> None:
    own(node)
    page.go(f"http://127.0.0.1:{pages}/")
    script = SOCKET + """
        const subscription = (await ask("eth_subscribe", ["newHeads"])).result;
        const refused = await ask("zvmd_session_watch", [1]);
        socket.send(JSON.stringify({jsonrpc: "2.0", id: 2, method: "evm_mine"}));
        const both = [await receive(), await receive()];
        const head = both.find((item) => item.method === "eth_subscription");
        return [head.params.subscription === subscription, refused.error.data.code];
    """  # fmt: skip
    assert page.run(script, url=node.http_url) == [True, "rpc.not_permitted"]


def test_ethers_in_a_page(node: Node, page: Page, pages: int, node_modules: Path) -> None:
    """The library's own bundle: a signer of the node over HTTP, events over a WebSocket."""
    own(node)
    page.go(f"http://localhost:{pages}/")
    page.run("(0, eval)(bundle)", bundle=(node_modules / "ethers" / "dist" / "ethers.umd.min.js").read_text())
    script = """
        const http = new ethers.JsonRpcProvider(url), socket = new ethers.WebSocketProvider(url.replace("http", "ws"));
        let seen = 0;
        await socket.on("block", (number) => { seen = number; });
        const signer = await http.getSigner(2);
        const receipt = await (await signer.sendTransaction({to: await signer.getAddress(), value: 1n})).wait();
        while (seen <= receipt.blockNumber) await http.send("evm_mine", []);
        await socket.destroy();
        http.destroy();
        return receipt.status;
    """
    assert page.run(script, url=node.http_url) == 1


def test_simple_requests_change_nothing(node: Node, page: Page, pages: int) -> None:
    """What a page may send without asking first: text and forms, in CORS or without."""
    own(node)
    page.go(f"http://localhost:{pages}/")
    before = node.rpc().call("eth_blockNumber")
    script = RPC + """
        const plain = await rpc("evm_mine", [], "text/plain");
        const body = JSON.stringify({jsonrpc: "2.0", id: 1, method: "evm_mine", params: []});
        const opaque = await fetch(url, {method: "POST", mode: "no-cors", body});
        const json = {"Content-Type": "application/json"};
        const forced = await fetch(url, {method: "POST", mode: "no-cors", headers: json, body});
        navigator.sendBeacon(url, body);
        await new Promise((resolve) => {
            const frame = document.createElement("iframe");
            frame.name = "target";
            document.body.append(frame);
            const form = document.createElement("form");
            Object.assign(form, {method: "POST", action: url, enctype: "text/plain", target: "target"});
            const field = document.createElement("input");
            Object.assign(field, {name: body.slice(0, -1) + ', "x": "', value: '"}'});
            form.append(field);
            document.body.append(form);
            frame.onload = resolve;
            form.submit();
        });
        return [plain.status, opaque.type, forced.type];
    """  # fmt: skip
    assert page.run(script.replace('"X-App": "1"', ""), url=node.http_url) == [415, "opaque", "opaque"]
    assert node.rpc().call("eth_blockNumber") == before


def test_pages_without_an_origin(node: Node, other_node: Node, page: Page, pages: int) -> None:
    """``Origin: null``: scripts in a sandboxed frame, as those of files."""
    own(node)
    page.go(f"http://localhost:{pages}/")
    answer = page.run(IN_A_SANDBOX, url=node.http_url, rpc=RPC)
    assert (answer["origin"], answer["result"]) == ("null", "0x7a69")
    assert page.run(IN_A_SANDBOX, url=other_node.http_url, rpc=RPC)["failed"] == "TypeError: Failed to fetch"


def test_pages_reach_nothing_of_another_chain(other_node: Node, page: Page, pages: int) -> None:
    page.go(f"http://localhost:{pages}/")
    for script in (RPC + "return await rpc('eth_chainId')", SOCKET + "return await ask('eth_chainId')"):
        assert "failed" in page.run(script, url=other_node.http_url)


def everything(page: Page, url: str) -> list[Any]:
    """What a page gets of a method that not everybody may call: over HTTP and over a WebSocket."""
    over_http = page.run(RPC + "return await rpc('zvmd_status')", url=url)
    over_websocket = page.run(SOCKET + "return await ask('zvmd_status')", url=url)
    return [answer.get("result", {}).get("chainId") for answer in (over_http, over_websocket)]


def test_a_page_of_the_node_itself(node: Node, other_node: Node, page: Page) -> None:
    for kind in (node, other_node):
        for name in ("127.0.0.1", "localhost", "app.localhost"):
            url = f"http://{name}:{own(kind)}"
            page.go(f"{url}/healthz")
            assert everything(page, url) == [31_337, 31_337]


def test_a_page_whose_name_was_rebound(node: Node, other_node: Node, page: Page, pages: int) -> None:
    """The browser takes it for the node's own: it sends no preflight, and lets the page read all answers."""
    for kind in (node, other_node):
        url = f"http://attacker.example:{own(kind)}"
        page.go(f"{url}/healthz")
        assert page.run("return location.origin") == url
        assert "is not allowed" in page.run("return document.body.innerText")
        assert page.run(RPC + "return (await rpc('eth_chainId')).status", url=url) == 403
        assert page.run(SOCKET + "return 1", url=url) == {"failed": "no WebSocket"}
        for name in ("wifi", "portal.internal"):  # names of this network are heard, but make no page our own
            url = f"http://{name}:{own(kind)}"
            page.go(f"{url}/healthz")
            assert everything(page, url) == [None, None]


def test_a_page_of_the_internet(node: Node, browser: Browser, page: Page, internet: int) -> None:
    """Chromium asks the user before a public page reaches loopback. When it is permitted, the node lets the page in."""
    own(node)
    origin = f"http://localhost:{internet}"
    page.go(f"{origin}/")
    script = RPC + "return [await rpc('eth_chainId'), await rpc('zvmd_status')]"
    assert page.run(script, url=node.http_url) == {"failed": "TypeError: Failed to fetch"}
    browser.command("Browser.grantPermissions", permissions=["loopbackNetwork"], origin=origin)
    chain, status = page.run(script, url=node.http_url)
    assert chain["result"] == "0x7a69"
    assert status["error"]["data"]["code"] == "rpc.not_permitted"


def secure(daemon: Daemon, host: str = "127.0.0.1") -> str:
    """The HTTPS address of a node."""
    return f"https://{host}:{daemon.http_port}"


def test_a_page_of_another_port_over_https(https_node: Daemon, page: Page, pages: int) -> None:
    page.go(f"http://localhost:{pages}/app")
    script = RPC + "return [await rpc('eth_chainId'), await rpc('evm_mine'), await rpc('zvmd_status')]"
    chain, mined, status = page.run(script, url=secure(https_node))
    assert (chain["status"], chain["result"]) == (200, "0x7a69")
    assert "error" not in mined
    assert status["error"]["data"]["code"] == "rpc.not_permitted"
    script = SOCKET + "return [await ask('eth_chainId'), await ask('zvmd_status')]"
    chain, status = page.run(script, url=secure(https_node))
    assert chain["result"] == "0x7a69"
    assert status["error"]["data"]["code"] == "rpc.not_permitted"
    refused = page.run(RPC + "return await rpc('eth_chainId')", url=f"http://127.0.0.1:{https_node.http_port}")
    assert refused == {"failed": "TypeError: Failed to fetch"}, "the port speaks TLS"


def test_a_page_of_the_https_node_itself(https_node: Daemon, page: Page) -> None:
    for name in ("127.0.0.1", "localhost"):
        page.go(f"{secure(https_node, name)}/healthz")
        assert everything(page, secure(https_node, name)) == [31_337, 31_337]
        other = "localhost" if name == "127.0.0.1" else "127.0.0.1"
        assert everything(page, secure(https_node, other)) == [None, None], "another origin"


def test_a_page_whose_name_was_rebound_over_https(https_node: Daemon, page: Page) -> None:
    """If the browser took the certificate, which is for other names."""
    page.go(f"{secure(https_node, 'attacker.example')}/healthz")
    assert "is not allowed" in page.run("return document.body.innerText")
    url = secure(https_node, "attacker.example")
    assert page.run(RPC + "return (await rpc('eth_chainId')).status", url=url) == 403
    assert page.run(SOCKET + "return 1", url=url) == {"failed": "no WebSocket"}


def test_a_sandboxed_frame_over_https(https_node: Daemon, page: Page, pages: int) -> None:
    page.go(f"http://localhost:{pages}/")
    answer = page.run(IN_A_SANDBOX, url=secure(https_node), rpc=RPC)
    assert (answer["origin"], answer["result"]) == ("null", "0x7a69")


def test_a_page_of_a_file(node: Node, https_node: Daemon, page: Page, tmp_path: Path) -> None:
    own(node)
    (tmp_path / "page.html").write_text("<!doctype html><title>a page</title>")
    page.go((tmp_path / "page.html").as_uri())
    for url in (node.http_url, secure(https_node)):
        assert page.run(RPC + "return await rpc('eth_chainId')", url=url)["result"] == "0x7a69"
        assert everything(page, url) == [None, None]


def test_a_page_of_an_extension(
    node: Node, other_node: Node, https_node: Daemon, page: Page, extension: Path
) -> None:
    """Wallets are such pages. A chain with keys of its own does not answer it."""
    own(node)
    digest = hashlib.sha256(str(extension).encode()).hexdigest()[:32]
    origin = "chrome-extension://" + "".join(chr(ord("a") + int(digit, 16)) for digit in digest)
    for _ in range(100):  # the browser may still be loading it
        page.go(f"{origin}/page.html")
        if page.run("return location.origin") == origin:
            break
    assert page.run("return location.origin") == origin
    for url in (node.http_url, secure(https_node)):
        assert page.run(RPC + "return await rpc('eth_chainId')", url=url)["result"] == "0x7a69"
        assert everything(page, url) == [None, None]
    refused = page.run(RPC + "return await rpc('eth_chainId')", url=other_node.http_url)
    assert refused == {"failed": "TypeError: Failed to fetch"}
