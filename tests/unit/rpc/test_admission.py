"""Admission: how much a client may have waiting, what it is told, and that others find their places."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from node.rpc.brief import LONG
from node.rpc.caller import GUEST
from node.rpc.cost import PART, Order, ReadPrice
from node.rpc.errors import NodeBusy
from node.rpc.limits import RpcLimits
from node.rpc.readers import Readers
from node.rpc.service import RpcService
from node.rpc.work import ConnectedClient
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from tests.unit.rpc.test_readers import until, with_readers

HEAVY, CHEAP = ReadPrice("heavy", 5.0), ReadPrice("cheap", 0.0)
LIMITS = RpcLimits(call_max_s=5.0, client_max_s=12.0)


def began(readers: Readers, client: ConnectedClient, price: ReadPrice) -> None:
    """A request of the client that is admitted, and never answered."""
    client.begin(client.working(LIMITS, order=Order(readers.admit(client.share, (price,)), price)))


def taught(readers: Readers, seconds: float) -> None:
    for _ in range(200):
        readers._costs.learn(HEAVY, seconds)


def test_a_client_is_refused_when_what_waits_should_take_too_long() -> None:
    async def test(readers: Readers) -> None:
        taught(readers, 5.0)
        client = ConnectedClient()
        for _ in range(2):
            began(readers, client, HEAVY)
        with pytest.raises(NodeBusy, match="10 s of processor time") as refused:
            readers.admit(client.share, (HEAVY,))
        assert refused.value.code == "rpc.busy"
        assert 1.0 <= refused.value.retry_after_s <= LIMITS.call_max_s
        assert readers.admit(client.share, (CHEAP,)) < 0.01, "what is cheap does not wait for it"
        assert readers.admit(ConnectedClient().share, (HEAVY,)) == pytest.approx(5.0, rel=0.01), "nor do others"

    with_readers(test, LIMITS)


def test_what_is_answered_makes_room() -> None:
    async def test(readers: Readers) -> None:
        taught(readers, 5.0)
        client = ConnectedClient()
        began(readers, client, HEAVY)
        work = client.working(LIMITS, order=Order(readers.admit(client.share, (HEAVY,)), HEAVY))
        with work, pytest.raises(NodeBusy):
            readers.admit(client.share, (HEAVY,))
        client.end(work)  # twice is once
        assert client.share.expected_s == pytest.approx(5.0, rel=0.01)
        readers.admit(client.share, (HEAVY,))

    with_readers(test, LIMITS)


def test_a_client_that_waits_for_nothing_is_admitted() -> None:
    async def test(readers: Readers) -> None:
        taught(readers, 5.0)
        assert readers.admit(ConnectedClient().share, (HEAVY,) * 1_000) == 5.0, "a batch ends with its time"

    with_readers(test, RpcLimits(call_max_s=5.0, client_max_s=1.0))


def test_a_client_has_no_more_reads_waiting_than_there_are_places_left() -> None:
    async def test(readers: Readers) -> None:
        release = threading.Event()
        greedy, newcomer = ConnectedClient(), ConnectedClient()
        waiting = [asyncio.ensure_future(readers.run(release.wait, greedy.working(LIMITS))) for _ in range(10)]
        await until(lambda: greedy.share.unanswered == 10)
        with pytest.raises(NodeBusy, match="10 reads of this client"):
            readers.admit(greedy.share, (CHEAP,))
        readers.admit(newcomer.share, (CHEAP,))
        release.set()
        await asyncio.gather(*waiting)
        assert greedy.share.unanswered == 0
        readers.admit(greedy.share, (CHEAP,))

    with_readers(test, RpcLimits(call_max_s=600.0, reads_queued_max=20))


def test_what_is_cheap_waits_for_no_other_job_of_its_client() -> None:
    async def test(readers: Readers) -> list[str]:
        order: list[str] = []
        release = threading.Event()
        client = ConnectedClient()
        client.share.cost = 5.0
        first = asyncio.ensure_future(readers.run(release.wait, client.working(LIMITS)))
        await until(lambda: readers.status()["busy"] == 1)
        jobs = [
            asyncio.ensure_future(readers.run(lambda name=name: order.append(name), client.working(LIMITS), price))  # type: ignore[misc]
            for name, price in [*[("heavy", HEAVY)] * 5, ("cheap", CHEAP)]
        ]
        await until(lambda: readers.status()["waiting"] == 6)
        release.set()
        await asyncio.gather(first, *jobs)
        assert client.share.cost > 0.0
        return order

    assert with_readers(test, RpcLimits(call_max_s=600.0, reader_threads=1))[0] == "cheap"


def test_a_cheap_read_says_nothing_of_the_next_one() -> None:
    """A client cannot make its heavy calls look short by others between them."""

    async def test(readers: Readers) -> None:
        client = ConnectedClient()
        client.share.cost = 5.0
        for _ in range(20):
            await readers.run(lambda: None, client.working(LIMITS), CHEAP)
        assert client.share.cost == 5.0
        await readers.run(lambda: None, client.working(LIMITS), PART)
        assert client.share.cost < 5.0

    with_readers(test, LIMITS)


# What clients are told

CALL = {"jsonrpc": "2.0", "id": 7, "method": "eth_call", "params": [{"to": "0x" + "dd" * 20, "value": "0x0"}, "latest"]}
TYPED = CALL | {"params": [{"to": "0x" + "dd" * 20}, "latest"]}


def with_service(test: Callable[[RpcService, ConnectedClient], Awaitable[Any]]) -> Any:
    """``test`` with a client that has as much waiting as it may."""

    async def run() -> Any:
        service = rpc_service(MemoryBackend(), RpcLimits(client_max_s=2.0))
        try:
            client = ConnectedClient()
            client.is_of(GUEST, service.shares)
            client.begin(client.working(service.context.limits, order=Order(2.0)))
            return await test(service, client)
        finally:
            service.close()

    return asyncio.run(run())


@pytest.mark.parametrize("body", [CALL, TYPED])
def test_a_refusal_has_the_id_of_the_request(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(service: RpcService, client: ConnectedClient) -> NodeBusy:
        monkeypatch.setattr(service.brief, "attempt", lambda *_: LONG)
        with pytest.raises(NodeBusy) as refused:
            await service.answer(json.dumps(body).encode(), client, caller=GUEST)
        return refused.value

    busy = with_service(test)
    answer = json.loads(busy.answer)
    assert (answer["id"], answer["error"]["code"]) == (7, -32005)
    assert "try again in" in answer["error"]["message"]


def test_a_batch_is_refused_as_a_whole_and_a_cheap_one_is_answered() -> None:
    balance = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": ["0x" + "dd" * 20]}

    async def test(service: RpcService, client: ConnectedClient) -> list[Any]:
        with pytest.raises(NodeBusy) as refused:
            await service.answer(json.dumps([balance, CALL]).encode(), client, caller=GUEST)
        assert [item["error"]["code"] for item in json.loads(refused.value.answer)] == [-32005, -32005]
        answer = await service.answer(json.dumps([balance, balance]).encode(), client, caller=GUEST)
        return json.loads(answer or b"")  # type: ignore[no-any-return]

    assert all("result" in item for item in with_service(test))
