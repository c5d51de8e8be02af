"""Which of the registered methods each kind of caller may call, over HTTP and WebSocket, alone and in a batch."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from node.doors.rule import GuardRules, Identification, judge
from node.doors.visitor import Visitor
from node.gateway.subscriptions import RpcConnection
from node.rpc import registry
from node.rpc.caller import GUEST, NODE, OWNER, Caller
from node.rpc.errors import READ_AS_REVERT, NotPermitted, RateExceeded
from node.rpc.held import Held
from node.rpc.methods import load_methods
from node.rpc.registry import Scope, method_names
from node.rpc.request_rate import RequestRate
from node.rpc.rights import STANDARD, Rights
from node.rpc.strict_json import LARGE_BYTES
from node.settings import HttpSettings
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

TOKEN = "ab" * 32
RULES = GuardRules.of(HttpSettings(), public=True)
CALLERS = {
    "own origin": Visitor(("localhost:1",), "127.0.0.1", ("http://localhost:1",)),
    "no origin": Visitor(("localhost:1",), "::1"),
    "token, foreign origin": Visitor(("localhost:1",), "127.0.0.1", ("http://a",), (f"Bearer {TOKEN}",)),
    "token, other address": Visitor(("10.0.0.1:1",), "10.0.0.2", (), (f"Bearer {TOKEN}",)),
    "foreign origin": Visitor(("localhost:1",), "127.0.0.1", ("http://localhost:3000",)),
    "other address": Visitor(("10.0.0.1:1",), "10.0.0.2"),
    "other address, own origin": Visitor(("10.0.0.1:1",), "10.0.0.2", ("http://10.0.0.1:1",)),
    "container": Visitor(("host.docker.internal:1",), "127.0.0.1"),
    "proxy": Visitor(("localhost:1",), "127.0.0.1", forwarded=True),
}
WITH_EVERYTHING = ("own origin", "no origin", "token, foreign origin", "token, other address")

STANDARD_NAMESPACES = {"eth", "net", "web3", "anvil", "hardhat", "evm", "txpool", "trace"}
BEYOND = {
    "debug": {
        "debug_traceTransaction", "debug_traceCall", "debug_traceBlockByHash", "debug_traceBlockByNumber",
    },
    "rpc": {"rpc_methods", "rpc_modules"},
}  # fmt: skip
"""Of namespaces that are standard in part."""
TRANSACTION_METHODS = (
    "eth_call", "eth_estimateGas", "eth_createAccessList", "eth_fillTransaction", "eth_sendTransaction",
    "eth_signTransaction", "eth_sendUnsignedTransaction", "debug_traceCall",
)  # fmt: skip


def expected(name: str) -> bool:
    namespace = name.split("_")[0]
    return namespace in STANDARD_NAMESPACES or name in BEYOND.get(namespace, ())


def names() -> list[str]:
    load_methods()
    bare: Any = SimpleNamespace(held=Held(0))
    of_connections = RpcConnection(bare, Heard(), GUEST, 0, lambda: None).methods
    return sorted({*method_names(), *of_connections})


def body(*calls: tuple[str, list[Any]]) -> bytes:
    requests = [{"jsonrpc": "2.0", "id": i, "method": name, "params": params} for i, (name, params) in enumerate(calls)]
    return json.dumps(requests if len(requests) != 1 else requests[0]).encode()


class Heard:
    """A channel whose peer has read everything so far."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def send_at_once(self, message: bytes) -> bool:
        self.messages.put_nowait(message)
        return True

    async def send(self, message: bytes) -> None:
        self.messages.put_nowait(message)


def answers(caller: Caller, *calls: tuple[str, list[Any]], websocket: bool = False) -> Any:
    async def run() -> Any:
        service, channel = rpc_service(MemoryBackend()), Heard()
        session = RpcConnection(service, channel, caller, 10**9, lambda: None)
        try:
            if websocket:
                session.receive(body(*calls))
                return json.loads(await channel.messages.get())
            return json.loads(await service.answer(body(*calls), caller=caller) or b"null")
        finally:
            session.close()
            service.close()

    return asyncio.run(run())


def slug(answer: dict[str, Any]) -> str:
    data = answer.get("error", {}).get("data")
    return data.get("code", "") if isinstance(data, dict) else ""


@pytest.mark.parametrize("caller", CALLERS)
def test_every_method_and_every_caller(caller: str) -> None:
    verdict = judge(RULES, CALLERS[caller], Identification({TOKEN: OWNER}.get))
    assert verdict.refusal is None
    everything = caller in WITH_EVERYTHING
    wanted = {name: everything or expected(name) for name in names()}
    assert {name: verdict.rights.allow(name) for name in names()} == wanted


def test_the_table_covers_what_it_should() -> None:
    counted = Counter(expected(name) for name in names())
    assert counted[False] > 80
    assert counted[True] > 100


@pytest.mark.parametrize("websocket", [False, True])
def test_what_is_not_permitted_is_refused_alone_and_in_a_batch(websocket: bool) -> None:
    """Before anything of it is read: the parameters here are of no method's form."""
    registered = set(method_names()) if names() else set()
    refused = [name for name in names() if not expected(name)]
    wanted = {name: "rpc.not_permitted" if name in registered else "rpc.method" for name in refused}
    batch = answers(GUEST, *((name, [[[]]] * 20) for name in refused), websocket=websocket)
    assert {refused[answer["id"]]: slug(answer) for answer in batch} == wanted
    for name in refused[::20]:
        answer = answers(GUEST, (name, []), websocket=websocket)
        assert (answer["error"]["code"], slug(answer)) == (-32601, wanted[name])
    allowed = [name for name in names() if expected(name)]
    batch = answers(GUEST, *((name, [[[]]] * 20) for name in allowed), websocket=websocket)
    assert "rpc.not_permitted" not in {slug(answer) for answer in batch}


def test_a_new_method_is_for_the_owner_only(monkeypatch: pytest.MonkeyPatch) -> None:
    load_methods()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(registry, "_NEAR", dict(registry._NEAR))
    chain_id = registry.find_method("eth_chainId").handler
    for name in ("wallet_export", "debug_setHead", "admin_peers", "sources_add", "zvmdx_a", "Eth_call", "eth"):
        registry.method(name, inline=True)(chain_id)
        assert slug(answers(GUEST, (name, []))) == "rpc.not_permitted"
        assert answers(NODE, (name, []))["result"] == "0x7a69"


def test_a_read_of_another_method_needs_the_right_to_that_one() -> None:
    assert slug(answers(GUEST, ("zvmd_read", ["0x0", "eth_chainId"]))) == "rpc.not_permitted"
    with pytest.raises(NotPermitted, match="zvmd_status may not be called"):
        STANDARD.check("zvmd_status")


@pytest.mark.parametrize("websocket", [False, True])
def test_the_lists_name_what_the_caller_may_call(websocket: bool) -> None:
    for caller in (GUEST, NODE):
        calls = ("rpc_methods", []), ("rpc_modules", []), ("eth_chainId", [])
        for methods, modules in (
            [answer["result"] for answer in answers(caller, *calls, websocket=websocket)[:2]],
            [answers(caller, call, websocket=websocket)["result"] for call in calls[:2]],
        ):
            assert methods["methods"] == [name for name in method_names() if caller.rights.allow(name)]
            assert set(modules) == {name.split("_")[0] for name in methods["methods"]}
    assert "zvmd" not in answers(GUEST, ("rpc_modules", []))["result"]


def test_a_notification_that_is_not_permitted_does_nothing() -> None:
    note = json.dumps({"jsonrpc": "2.0", "method": "zvmd_mine", "params": ["0x5"]}).encode()

    async def run() -> tuple[bytes | None, int]:
        service = rpc_service(MemoryBackend())
        try:
            before = service.backend.head().number
            answer = await service.answer(note, caller=GUEST)
            return answer, service.backend.head().number - before
        finally:
            service.close()

    assert asyncio.run(run()) == (None, 0)


REFUSED = {
    "no right": (GUEST, "rpc.not_permitted"),
    "no scope": (Caller("ci", Rights(Scope.READ), "id"), "rpc.scope"),
    "too fast": (Caller("ci", Rights(*Scope), "id", rate=RequestRate(1, lambda: 0.0)), "limit.rate"),
}


@pytest.mark.parametrize("size", [0, LARGE_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize("refused", REFUSED)
def test_every_refused_method_says_why(refused: str, websocket: bool, batch: bool, size: int) -> None:
    """Large and small, over both ways, also of the methods whose later errors have only revert data."""
    caller, code = REFUSED[refused]
    load_methods()
    wanted = [name for name in method_names() if caller.rate is not None or not caller.rights.allow(name)]
    if size:  # each of them is decoded on a thread
        wanted = [name for name in wanted if name in TRANSACTION_METHODS] or wanted[:2]

    async def run() -> dict[str, str]:
        service, channel = rpc_service(MemoryBackend()), Heard()
        session = RpcConnection(service, channel, caller, 10**9, lambda: None)
        if caller.rate is not None:
            caller.rate.take(10)

        async def slug_of(name: str) -> str:
            request = {"jsonrpc": "2.0", "id": name, "method": name, "params": ["x" * size]}
            sent = json.dumps([request] if batch else request).encode()
            if websocket:
                session.receive(sent)
                answer = json.loads(await channel.messages.get())
            else:
                try:
                    answer = json.loads(await service.answer(sent, caller=caller) or b"null")
                except RateExceeded as busy:
                    answer = json.loads(busy.answer)
            answer = answer[0] if batch else answer
            assert answer["id"] == name
            return slug(answer)

        try:
            return {name: await slug_of(name) for name in wanted}
        finally:
            session.close()
            service.close()

    assert asyncio.run(run()) == dict.fromkeys(wanted, code)


def test_errors_of_transactions_say_why_except_where_web3_py_would_read_a_revert() -> None:
    load_methods()
    slugs = {name: slug(answers(NODE, (name, [[]]))) for name in TRANSACTION_METHODS}
    assert slugs == {name: "" if name in READ_AS_REVERT else "rpc.params" for name in TRANSACTION_METHODS}
