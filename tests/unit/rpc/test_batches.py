"""Batches: the short road and the strict one give the same bytes, and long reads hold neither the loop nor others."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.brief import before_long_work
from chain.errors import ZvmdError
from node.rpc import read_run
from node.rpc.brief import BriefReads
from node.rpc.cost import PART
from node.rpc.errors import NodeBusy
from node.rpc.limits import RpcLimits
from node.rpc.read_run import Answer, ReadParts, ReadRun
from node.rpc.readers import Readers
from node.rpc.work import ConnectedClient, Work
from tests.unit.rpc.memory_backend import CRASHING, REVERTING, MemoryBackend, rpc_service
from tests.unit.rpc.test_service import raw_transaction
from tests.unit.rpc.test_typed import PIECES, TO, UNUSUAL, USUAL
from vm.interruption import checkpoint

LIMITS = RpcLimits(body_size_max_bytes=60_000, batch_size_max=300, answer_size_max_bytes=40_000)


def answers(*bodies: bytes, limits: RpcLimits = LIMITS) -> list[bytes | None]:
    """Of a new node, to bodies in a row."""

    async def run() -> list[bytes | None]:
        service = rpc_service(MemoryBackend(), limits)
        try:
            return [await service.answer(body) for body in bodies]
        finally:
            service.close()

    return asyncio.run(run())


def same(*bodies: bytes) -> list[bytes | None]:
    """The answers of the short road, which are those of the strict one."""
    short, strict = answers(*bodies), answers(*bodies, limits=replace(LIMITS, short_road=False))
    assert short == strict
    return short


def call(to: str = TO, **fields: Any) -> bytes:
    params = [{"to": to, "data": "0x05"}, "latest"]
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": params} | fields).encode()


def request(method: str, *params: Any, **fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 2, "method": method, "params": list(params)} | fields).encode()


def batch(*items: bytes) -> bytes:
    return b"[" + b",".join(items) + b"]"


NOTE = call().replace(b'"id": 1, ', b"")
ITEMS = [
    *USUAL,
    *(item for item in UNUSUAL if item),
    call("0x" + REVERTING.hex()),
    call("0x" + CRASHING.hex()),
    NOTE,
    request("eth_chainId"),
    request("eth_blockNumber", id="a"),
    request("eth_gasPrice", None),
    request("eth_chainId", 1),
    request("eth_getBlockByNumber", "latest", False),
    request("eth_sendRawTransaction", raw_transaction(0)),
    request("eth_sendRawTransaction", raw_transaction(1)),
    request("eth_sendRawTransaction", "0x02c0"),
    request("eth_sendRawTransaction"),
    request("eth_nothing"),
    request("zvmd_status"),
    b"7",
    b"[]",
]
"""Usual and unusual requests, also some that make the whole body unusable."""


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from(ITEMS), max_size=8),
    st.sampled_from([b"", b" ", b"\n", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(st.integers(0, 1_500), st.integers(0, 12), PIECES), max_size=2),
)
def test_changed_batches_have_the_same_answer_on_both_roads(
    items: list[bytes], before: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    body = before + batch(*items)
    for place, gone, piece in changes:
        body = body[:place] + piece + body[place + gone :]
    same(body, request("eth_blockNumber"))


@pytest.mark.parametrize("count", [1, 40, 110, 200, 301, 400])
@pytest.mark.parametrize("last", [call(), NOTE, request("eth_accounts"), call(more=1), b"{}"])
def test_large_batches_have_the_same_answer_on_both_roads(count: int, last: bytes) -> None:
    """Such as are decoded on the loop, on a reader, are too many or too large together."""
    same(batch(*[call(id=number) for number in range(count - 1)], last))


def test_order_is_kept_and_notifications_are_left_out() -> None:
    items = [call(id=4), NOTE, call("0x" + REVERTING.hex(), id="x"), NOTE, request("eth_chainId", id=1)]
    (answer,) = same(batch(*items))
    assert answer is not None
    assert [found["id"] for found in json.loads(answer)] == [4, "x", 1]
    assert same(batch(NOTE, NOTE)) == [None]


def test_reads_behind_a_submission_see_it() -> None:
    items = [
        request("eth_getTransactionCount", "0x" + "19e7e376e7c213b7e7e7e46cc70a5dd086daff2a", "latest"),
        request("eth_sendRawTransaction", raw_transaction(0)),
        request("eth_sendRawTransaction", raw_transaction(1)),
        request("eth_blockNumber"),
    ]
    (answer,) = same(batch(*items))
    assert answer is not None
    assert json.loads(answer)[3]["result"] == "0x2"


def test_answers_together_above_the_limit_are_one_error() -> None:
    large = [call(id=number).replace(b"0x05", b"0x" + b"05" * 300) for number in range(70)]
    (answer,) = same(batch(*large))
    assert answer is not None
    assert json.loads(answer)["error"]["data"]["code"] == "rpc.limit"


# -- the run -------------------------------------------------------------------------------------------


class Run:
    """A run of reads on a loop of its own."""

    def __init__(self, limits: RpcLimits = LIMITS) -> None:
        self.readers = Readers(limits)
        self.brief = BriefReads(limits, self.readers)
        self.client = ConnectedClient()
        self.work = Work(limits, self.client)
        self.threads: list[int] = []

    async def of(self, reads: list[Callable[[], Answer]], kinds: list[Any] | None = None) -> list[Answer]:
        """The answers. Raises what ended the run."""
        settled: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def answer(number: int) -> Answer:
            try:
                checkpoint()
                self.threads.append(threading.get_ident())
                return reads[number]()
            except ZvmdError as error:
                return error.code.encode()

        def refused(number: int, error: ZvmdError) -> Answer:
            return b"refused %d %s" % (number, error.code.encode())

        names = kinds if kinds is not None else ["any"] * len(reads)
        parts = ReadParts(names, answer, lambda _: PART, refused)
        run = ReadRun(self.brief, self.readers, self.work, parts, settled.set_result)
        self.client.begin(self.work)
        if not run.start() and (fault := await settled) is not None:
            raise fault
        self.client.end(self.work)
        return run.answers


def on_loop(test: Callable[[Run], Awaitable[None]], limits: RpcLimits = LIMITS) -> None:
    async def run() -> None:
        made = Run(limits)
        try:
            await test(made)
        finally:
            made.brief.close()
            made.readers.close()

    asyncio.run(run())


def numbered(number: int) -> Callable[[], Answer]:
    return lambda: b"%d" % number


def test_short_reads_stay_on_the_loop() -> None:
    async def test(run: Run) -> None:
        assert await run.of([numbered(number) for number in range(50)]) == [b"%d" % number for number in range(50)]
        assert set(run.threads) == {threading.get_ident()}
        assert run.brief.done == 50

    on_loop(test)


def test_what_takes_long_leaves_the_loop_with_all_behind_it() -> None:
    async def test(run: Run) -> None:
        def long() -> Answer:
            before_long_work()
            return b"long"

        reads = [numbered(0), long, numbered(2), numbered(3)]
        assert await run.of(reads) == [b"0", b"long", b"2", b"3"]
        assert run.threads[0] == threading.get_ident()
        assert threading.get_ident() not in run.threads[2:]
        assert run.brief.left == 1

    on_loop(test)


def test_a_kind_of_none_never_runs_on_the_loop() -> None:
    async def test(run: Run) -> None:
        assert await run.of([numbered(0), numbered(1)], [None, "any"]) == [b"0", b"1"]
        assert threading.get_ident() not in run.threads

    on_loop(test)


def test_an_endless_read_is_given_up_on_the_loop_and_ends_with_its_client() -> None:
    async def test(run: Run) -> None:
        begun = threading.Event()

        def endless() -> Answer:
            if threading.current_thread() is not threading.main_thread():
                begun.set()
            while True:
                checkpoint()

        running = asyncio.ensure_future(run.of([numbered(0), endless, numbered(2)]))
        await asyncio.to_thread(begun.wait, 60)
        run.client.leave()
        assert await running == [b"0", b"rpc.gone", b"rpc.gone"]

    on_loop(test)


def test_reads_behind_a_long_one_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that wait for each other are answered, so they were on two threads."""
    monkeypatch.setattr(read_run, "LONG_S", 0.0)

    async def test(run: Run) -> None:
        both = threading.Barrier(2)

        def meet() -> Answer:
            both.wait(60)
            return b"met"

        reads = [numbered(0), meet, meet, *(numbered(number) for number in range(3, 60))]
        kinds = [None] * len(reads)
        expected = [b"0", b"met", b"met", *(b"%d" % number for number in range(3, 60))]
        run.work = Work(LIMITS, run.client)
        monkeypatch.setattr(read_run, "CHUNK_S", 0.0)
        assert await run.of(reads, kinds) == expected

    on_loop(test)


def test_a_full_node_refuses_each_read_that_is_left() -> None:
    async def test(run: Run) -> None:
        assert await run.of([numbered(0), numbered(1)], ["any", None]) == [b"0", b"refused 1 rpc.busy"]

    on_loop(test, replace(LIMITS, reads_queued_max=0))


def test_it_stops_when_the_answers_are_too_large_together() -> None:
    async def test(run: Run) -> None:
        def large() -> Answer:
            return bytes(15_000)

        found = await run.of([large] * 100, [None] * 100)
        assert run.work.answer_bytes_left < 0
        assert run.work.reason is not None
        assert None in found

    on_loop(test)


def test_an_exception_that_is_no_answer_ends_the_run() -> None:
    async def test(run: Run) -> None:
        for kind in ("any", None):
            with pytest.raises(ZeroDivisionError):
                await run.of([numbered(0), lambda: b"%d" % (1 // 0)], ["any", kind])

    on_loop(test)


def test_attempts_are_stopped_by_name() -> None:
    """What had to be given up is not tried again at once, while others are."""

    async def test(run: Run) -> None:
        def long() -> Answer:
            before_long_work()
            return b"long"

        assert await run.of([long], ["slow"]) == [b"long"]
        left = run.brief.left
        assert await run.of([numbered(0), long], ["quick", "slow"]) == [b"0", b"long"]
        assert run.brief.left == left
        assert run.brief.attempt(lambda: 7, "quick") == 7

    on_loop(test)


@pytest.mark.parametrize("short_road", [True, False])
def test_what_a_batch_should_cost_is_counted_while_it_is_under_way_only(short_road: bool) -> None:
    async def run() -> None:
        service = rpc_service(MemoryBackend(), replace(LIMITS, short_road=short_road))
        client = ConnectedClient()
        bodies = [
            batch(*[call(id=number) for number in range(50)]),
            batch(call(), request("eth_sendRawTransaction", raw_transaction(0)), call()),
            batch(*[call(id=number) for number in range(200)]),
            batch(call(more=1), request("eth_getBlockByNumber", "latest", False)),
            call(),
        ]
        try:
            for body in bodies:
                assert await service.answer(body, client) is not None
                assert (client.share.expected_s, client.share.unanswered) == (0.0, 0)
        finally:
            service.close()

    asyncio.run(run())


def test_a_client_with_too_much_under_way_is_refused_as_a_whole() -> None:
    async def run() -> None:
        service = rpc_service(MemoryBackend(), LIMITS)
        client = ConnectedClient()
        client.share.expect(2 * LIMITS.client_max_s)
        try:
            for body in (batch(call(id=1), NOTE, call(id=2)), batch(call(id=1), call(more=1), call(id=2))):
                with pytest.raises(NodeBusy) as caught:
                    await service.answer(body, client)
                refused = json.loads(caught.value.answer)
                assert [(one["id"], one["error"]["code"]) for one in refused][-1] == (2, -32005)
            assert client.share.expected_s == 2 * LIMITS.client_max_s
            assert await service.answer(batch(request("eth_chainId"), request("eth_chainId"))) is not None
        finally:
            service.close()

    asyncio.run(run())
