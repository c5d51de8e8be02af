"""Every request that users of development nodes reported (`../shared/cases/rpc.json`), with its right answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websockets

from chain.crypto import CURVE_ORDER, HALF_CURVE_ORDER
from tests.clients.test_transcript import CREATION, encoded
from tests.clients.test_visitors import send
from tests.conftest import Node
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.paths import SHARED
from tests.rpc import Rpc

CASES_FILE = SHARED / "cases" / "rpc.json"
PAGE = "http://localhost:3000"
HTTP2_OFFERED = {
    "Content-Type": "application/json", "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c",
    "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}  # fmt: skip
SEALED_SECONDS = 30.0


class Reported(NamedTuple):
    """A case on a running node."""

    daemon: Daemon
    rpc: Rpc
    requests: Any

    def play(self, requests: Any = None) -> list[Any]:
        """The answers in order, a list for a batch. ``$hash`` is the last hash that a sending method answered."""
        answers: list[Any] = []
        sent = ""
        for request in self.requests if requests is None else requests:
            if "wait_seconds" in request:
                time.sleep(request["wait_seconds"])
                continue
            answers.append(self.rpc.exchange(json.loads(json.dumps(request).replace("$hash", sent))))
            if isinstance(request, dict) and request["method"] == "eth_sendTransaction":
                sent = answers[-1].get("result", sent)
        return answers

    def results(self) -> list[Any]:
        """Of requests that all succeed."""
        return [answer["result"] for answer in self.play()]

    def only(self) -> Any:
        """The result of the only request."""
        (result,) = self.results()
        return result

    def transaction(self, digest: str) -> Any:
        return self.rpc.call("eth_getTransactionByHash", digest)

    def status(self, digest: str) -> str:
        return str(self.rpc.call("eth_getTransactionReceipt", digest)["status"])

    def over_websocket(self, count: int, **options: Any) -> list[Any]:
        """What comes back, as many messages as said."""

        async def work() -> list[Any]:
            async with websockets.connect(f"ws://127.0.0.1:{self.daemon.http_port}", **options) as socket:
                for request in self.requests["websocket"]:
                    await socket.send(json.dumps(request))
                return [json.loads(await asyncio.wait_for(socket.recv(), 30)) for _ in range(count)]

        return asyncio.run(work())


def batch_send(case: Reported) -> None:
    (answers,) = case.play()
    assert [int(case.transaction(one["result"])["nonce"], 16) for one in answers] == [0, 1, 2]


def parallel_send(case: Reported) -> None:
    ((kind, request),) = case.requests.items()
    assert kind == "concurrently, 20 connections"
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: case.daemon.rpc().exchange(request), range(20)))
    nonces = sorted(int(case.transaction(one["result"])["nonce"], 16) for one in answers)
    assert nonces == list(range(20))


def interval_off(case: Reported) -> None:
    end = time.monotonic() + SEALED_SECONDS
    while int(case.rpc.call("eth_blockNumber"), 16) == 0 and time.monotonic() < end:
        time.sleep(0.05)
    assert case.play(case.requests[:1])[0]["result"] is True
    case.rpc.call("evm_mine")  # behind a block that was being sealed
    before = case.rpc.call("eth_blockNumber")
    assert before != "0x0"
    assert case.play(case.requests[1:])[0]["result"] == before


def cors(case: Reported) -> None:
    node = Node(case.daemon.http_url, case.daemon)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = send(node, "OPTIONS", headers={"Origin": PAGE, **asked})
    answer = send(node, headers={"Origin": PAGE, "Content-Type": "application/json"})
    assert allowed.status in (200, 204)
    assert (answer.status, answer.result) == (200, "0x7a69")
    for one in (allowed, answer):
        assert one.headers["access-control-allow-origin"] in ("*", PAGE)


def websocket_of_a_page(case: Reported) -> None:
    port = case.daemon.http_port
    call = [{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}]
    with_calls = case._replace(requests={"websocket": call})
    assert with_calls.over_websocket(1, origin=f"http://127.0.0.1:{port}")[0]["result"] == "0x7a69"


def host_header(case: Reported) -> None:
    for host in ("host.docker.internal:8545", "anvil:8545", "172.17.0.1:8545"):
        answer = send(Node(case.daemon.http_url, case.daemon), hosts=(host,))
        assert (answer.status, answer.result) == (200, "0x7a69"), host


def bind_all(case: Reported) -> None:
    """Bound to 127.0.0.1 alone, nobody would answer at 127.0.0.2."""
    assert Rpc(f"http://127.0.0.2:{case.daemon.http_port}").call("eth_chainId") == "0x7a69"


def pending_estimate(case: Reported) -> None:
    answers = case.results()
    assert int(answers[2], 16) == 44_288
    assert case.status(answers[3]) == "0x1"


def pending_time(case: Reported) -> None:
    assert case.results()[1]["timestamp"] == "0xee6b2800"


def pending_basefee(case: Reported) -> None:
    assert case.results()[1]["baseFeePerGas"] == "0x11ed8ec200"


def refused_at_once(words: str) -> Callable[[Reported], None]:
    def check(case: Reported) -> None:
        sent = next(at for at, request in enumerate(case.requests) if request["method"] == "eth_sendTransaction")
        error = case.play(case.requests[: sent + 1])[sent]["error"]
        assert error["code"] in (-32602, -32003, -32000)
        assert words in error["message"]
        assert case.rpc.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}

    return check


def field_trace(case: Reported) -> None:
    _, plain, with_steps, prestate = case.results()
    assert "memory" not in plain["structLogs"][-1]
    assert with_steps["structLogs"][-1]["memory"]
    assert prestate["post"]


def field_fromblock(case: Reported) -> None:
    assert case.over_websocket(1)[0]["result"].startswith("0x")


def field_overrides(case: Reported) -> None:
    assert case.results() == ["0x"] * 3


def pending_subscription_full(case: Reported) -> None:
    subscribed, *others = case.over_websocket(3)
    (told,) = (one["params"] for one in others if "params" in one)
    (sent,) = (one["result"] for one in others if "result" in one)
    assert told["subscription"] == subscribed["result"]
    assert (told["result"]["hash"], told["result"]["blockNumber"]) == (sent, None)


def client_version(case: Reported) -> None:
    assert case.only().startswith(("HardhatNetwork", "anvil"))


def estimate_cap(case: Reported) -> None:
    created, estimate, sent = case.results()
    assert int(estimate, 16) > 2**24
    assert [case.status(one) for one in (created, sent)] == ["0x1", "0x1"]


def fill_transaction(case: Reported) -> None:
    filled = case.only()
    assert (filled["tx"]["nonce"], filled["tx"]["gas"]) == ("0x0", "0x5208")
    assert filled["raw"].startswith("0x02")


def send_unsigned_transaction(case: Reported) -> None:
    assert case.status(case.only()) == "0x1"


def create2_deployer(case: Reported) -> None:
    code = case.only()
    assert code.startswith("0x7fff")
    assert len(code) == 2 + 2 * 69


def console_log(case: Reported) -> None:
    owner = dev_account(0).address
    created = case.rpc.call("eth_sendTransaction", {"from": owner, "data": "0x" + CREATION.hex()})
    contract = case.rpc.call("eth_getTransactionReceipt", created)["contractAddress"]
    data = encoded("log(string)", "hello zvmd")
    case.rpc.call("eth_sendTransaction", {"from": owner, "to": contract, "data": data})
    assert any("hello zvmd" in line for line in case.daemon.lines())


def impersonated_signature(case: Reported) -> None:
    sent = case.results()[-1]
    assert 0 < int(sent["r"], 16) < CURVE_ORDER
    assert 0 < int(sent["s"], 16) <= HALF_CURVE_ORDER


def error_data(case: Reported) -> None:
    (answer,) = case.play()
    assert "no block" in answer["error"]["message"]
    assert "data" not in answer["error"]


def batch_101(case: Reported) -> None:
    (answers,) = case.play()
    assert [(one["id"], one["result"]) for one in answers] == [(at, "0x7a69") for at in range(101)]


def logs_beyond_head(case: Reported) -> None:
    assert [answer["error"]["code"] for answer in case.play()] == [-32602] * 2


def code_size(case: Reported) -> None:
    assert case.status(case.only()) == "0x1"


def websocket_batch_subscribe(case: Reported) -> None:
    """What the subscription reports comes after the answer that names it."""
    mine = {"jsonrpc": "2.0", "id": 3, "method": "evm_mine", "params": []}
    batch = [*case.requests["websocket"][0], mine]
    answers, told = case._replace(requests={"websocket": [batch]}).over_websocket(2)
    results = {answer["id"]: answer["result"] for answer in answers}
    assert results[1] == "0x7a69"
    assert told["params"]["subscription"] == results[2]
    assert told["params"]["result"]["number"] == "0x1"


def flat_calls(case: Reported) -> None:
    sent, (entry,) = case.results()
    block = case.rpc.call("eth_getBlockByNumber", "latest", False)
    found = {name: entry[name] for name in ("blockHash", "blockNumber", "transactionHash", "transactionPosition")}
    assert found == {"blockHash": block["hash"], "blockNumber": 1, "transactionHash": sent, "transactionPosition": 0}


def fee_history_zero(case: Reported) -> None:
    assert "baseFeePerGas" in case.only()


def proof_key(case: Reported) -> None:
    assert case.only()["storageProof"][0]["key"] == "0x0"


def http2_offered(case: Reported) -> None:
    answer = send(Node(case.daemon.http_url, case.daemon), headers=HTTP2_OFFERED)
    assert (answer.status, answer.result) == (200, "0x7a69")


CHECKS: dict[str, Callable[[Reported], None]] = {
    "interval-off": interval_off,
    "batch-send": batch_send,
    "parallel-send": parallel_send,
    "cors": cors,
    "ws-origin": websocket_of_a_page,
    "host-header": host_header,
    "bind-all": bind_all,
    "pending-estimate": pending_estimate,
    "pending-time": pending_time,
    "pending-basefee": pending_basefee,
    "vanish-gas": refused_at_once("intrinsic gas too low"),
    "vanish-blob": refused_at_once("blob"),
    "vanish-7702": refused_at_once("authorization"),
    "vanish-fork": refused_at_once("type"),
    "field-trace": field_trace,
    "field-fromblock": field_fromblock,
    "field-overrides": field_overrides,
    "pending-subscription-full": pending_subscription_full,
    "client-version": client_version,
    "estimate-cap": estimate_cap,
    "method-eth_fillTransaction": fill_transaction,
    "method-eth_sendUnsignedTransaction": send_unsigned_transaction,
    "create2-deployer": create2_deployer,
    "console-log": console_log,
    "impersonated-signature": impersonated_signature,
    "error-data": error_data,
    "batch-101": batch_101,
    "chainid": refused_at_once("chainId does not match node's"),
    "logs-beyond-head": logs_beyond_head,
    "code-size": code_size,
    "ws-batch-subscribe": websocket_batch_subscribe,
    "flatcall": flat_calls,
    "fee-history-zero": fee_history_zero,
    "proof-key": proof_key,
    "h2c": http2_offered,
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "interval-off": ("--block-time", "1"),
    "vanish-fork": ("--hardfork", "cancun"),
    "code-size": ("--disable-code-size-limit",),
    "bind-all": ("--http-host", "0.0.0.0"),
}
"""What a case says its node was started with; the others share one."""


class Later(NamedTuple):
    """A case that is not answered yet, and what it is refused with until then."""

    reason: str
    code: int
    slug: str = ""


NO_METHOD = "rpc.method"
LATER: dict[str, Later] = {
    "method-eth_simulateV1": Later("calls over several blocks are not simulated", -32601, NO_METHOD),
    "method-eth_config": Later("EIP-7910 is not built", -32601, NO_METHOD),
    "method-anvil_dumpState": Later("there are no state files: the chain is on disk", -32601, NO_METHOD),
    "method-eth_getTransactionBySenderAndNonce": Later("there is no index by nonce", -32601, NO_METHOD),
    "method-eth_getAccountInfo": Later("not built; eth_getProof has the same fields", -32601, NO_METHOD),
    "method-trace_filter": Later("there is no index of calls", -32601, NO_METHOD),
    "method-ots_getApiLevel": Later("Otterscan's methods are not built", -32601, NO_METHOD),
    "method-erigon_getHeaderByNumber": Later("Otterscan's methods are not built", -32601, NO_METHOD),
    "js-tracer": Later("the node does not run JavaScript", -32602, "rpc.params"),
}


def reported() -> dict[str, Any]:
    """The cases by id; none without the shared files."""
    if not CASES_FILE.exists():
        return {}
    return {case["id"]: case for case in json.loads(CASES_FILE.read_text(encoding="utf-8"))}


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Reported]:
    """The case of that name on the node that it needs, at genesis."""
    if name not in reported():
        pytest.skip(f"no such case at {CASES_FILE}")
    requests = reported()[name]["requests"]
    if options := OPTIONS.get(name):
        with Daemon(tmp_path / "data", *options) as own:
            yield Reported(own, own.rpc(), requests)
    else:
        shared: Daemon = request.getfixturevalue("daemon")
        yield Reported(shared, shared.rpc(), requests)


def test_every_case_has_its_check() -> None:
    if not CASES_FILE.exists():
        pytest.skip(f"no cases at {CASES_FILE}")
    assert set(reported()) == CHECKS.keys() | LATER.keys()
    assert not CHECKS.keys() & LATER.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_the_right_answer(case: Reported, name: str) -> None:
    CHECKS[name](case)


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_is_refused_by_its_name(case: Reported, name: str) -> None:
    error = case.play()[-1]["error"]
    assert (error["code"], error["data"]["code"]) == LATER[name][1:]
