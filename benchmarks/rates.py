"""Loads on a running node, each giving a rate: transfers and calls, from one client or many. Answers are compared."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable

import zvmd
from benchmarks import transfers
from benchmarks.node_throughput import flood
from benchmarks.targets import Target
from benchmarks.vm_http import Client
from tests.contracts import dev_account
from tests.daemon import Daemon
from zvmd.frames import OneCall

WRITERS = 32
"""Clients that send at the same time; accounts 1 to 32 are theirs."""
FLOOD_ACCOUNTS = range(WRITERS + 1, WRITERS + 5)
PIPELINED_ACCOUNT = WRITERS + 5
HOLDERS = range(1, WRITERS + 6)
READERS = 64
CALLS_APART = 1_000
"""Different calls, in turn: holders of the token and addresses that hold none."""
CALL_BATCH = 100
IN_FLIGHT = 128
MESSAGES_IN_FLIGHT = 2
TRANSFERS_IN_FLIGHT = 512


def together(count: int, client: Callable[[int], None]) -> float:
    """Seconds that ``count`` threads of the client take, each with its number. Raises what one of them raised."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            client(number)
        except BaseException as error:  # carried to the caller
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds


class Transfers:
    """Signed ERC-20 transfers, each client waiting for its receipt before the next."""

    def __init__(self, target: Target, token: str) -> None:
        self._target = target
        self._token = token
        self._nonces: dict[int, int] = {}

    def signed(self, account: int, count: int) -> list[transfers.Signed]:
        """The account's next transfers."""
        first = self._nonces.get(account, 0)
        self._nonces[account] = first + count
        return transfers.tokens(account, first, count, self._token)

    def clients(self, count: int, each: int) -> float:
        """Transfers per second of so many clients."""
        shares = [self.signed(1 + number, each) for number in range(count)]

        def client(number: int) -> None:
            rpc = self._target.rpc()
            for signed in shares[number]:
                transfers.send_and_wait(rpc, signed)

        return count * each / together(count, client)

    def flooded(self, each: int) -> float:
        """Transfers per second of four clients that send batches of 50 and then ask for all receipts."""
        shares = [self.signed(account, each) for account in FLOOD_ACCOUNTS]
        return len(shares) * each / together(len(shares), lambda number: flood(self._target, shares[number]))

    def pipelined(self, daemon: Daemon, count: int) -> float:
        """Transfers per second, until the last is durable, of one client over QUIC that keeps many in flight.

        Afterwards each has to have a receipt of success.
        """
        signed = self.signed(PIPELINED_ACCOUNT, count)
        raws = iter([bytes.fromhex(one.raw[2:]) for one in signed])
        hashes = iter([bytes.fromhex(one.hash[2:]) for one in signed])

        async def run() -> float:
            async with zvmd.connect(_quic(daemon), data_dir=daemon.data_dir) as node:

                async def send() -> None:
                    for raw in raws:
                        await node.send_raw(raw)

                async def check() -> int:
                    receipts = [await node.need_receipt(digest) for digest in hashes]
                    return sum(receipt.status == 1 for receipt in receipts)

                start = time.perf_counter()
                await asyncio.gather(*(send() for _ in range(TRANSFERS_IN_FLIGHT)))
                seconds = time.perf_counter() - start
                assert sum(await asyncio.gather(*(check() for _ in range(IN_FLIGHT)))) == count
                return count / seconds

        return asyncio.run(run())

    def events_ms(self, daemon: Daemon, count: int) -> float:
        """The 99th percentile of the time from sending a transfer to the event of its block over QUIC, milliseconds.

        More than from the commit to the client: execution and sync are in it.
        """
        raws = [bytes.fromhex(signed.raw[2:]) for signed in self.signed(PIPELINED_ACCOUNT, count)]

        async def run() -> list[float]:
            url, taken = _quic(daemon), []
            async with (
                zvmd.connect(url, data_dir=daemon.data_dir) as sender,
                zvmd.connect(url, data_dir=daemon.data_dir) as follower,
            ):
                heads = follower.events("heads")
                waiting = asyncio.ensure_future(anext(heads))
                await asyncio.sleep(0.2)  # subscribed
                for raw in raws:
                    start = time.perf_counter()
                    sent = asyncio.ensure_future(sender.send_raw(raw))
                    await waiting
                    taken.append(time.perf_counter() - start)
                    waiting = asyncio.ensure_future(anext(heads))
                    await sent
                waiting.cancel()
            return sorted(taken)

        taken = asyncio.run(run())
        return taken[len(taken) * 99 // 100] * 1e3


class Calls:
    """Calls of ``balanceOf``, a thousand different ones in turn, whose answers are known."""

    def __init__(self, target: Target, token: str) -> None:
        self._target = target
        self._token = token
        rpc = target.rpc()
        addresses = ["0x" + (0xA00000 + n).to_bytes(20).hex() for n in range(CALLS_APART)]
        addresses[:: CALLS_APART // 8] = [dev_account(n).address for n in (33, 34, 35, 36, 37, 33, 34, 35)]
        self._data = [transfers.balance_of(address) for address in addresses]
        calls = [("eth_call", ({"to": token, "data": data}, "latest")) for data in self._data]
        self._expected = list(itertools.chain(*(rpc.batch(calls[i : i + 100]) for i in range(0, CALLS_APART, 100))))

    def _requests(self, client: Client) -> list[bytes]:
        return [client.request("eth_call", {"to": self._token, "data": data}, "latest") for data in self._data]

    def alone(self, count: int) -> tuple[float, float]:
        """Calls per second of one client, and the median time of one, milliseconds."""
        client, taken = Client(self._target.url), []
        requests = self._requests(client)
        start = time.perf_counter()
        for number in range(count):
            begin = time.perf_counter()
            answer = client.exchange(requests[number % CALLS_APART])
            taken.append(time.perf_counter() - begin)
            assert json.loads(answer)["result"] == self._expected[number % CALLS_APART]
        seconds = time.perf_counter() - start
        client.close()
        return count / seconds, sorted(taken)[count // 2] * 1e3

    def clients(self, count: int, each: int) -> float:
        """Calls per second of so many clients."""

        def run(number: int) -> None:
            client = Client(self._target.url)
            requests = self._requests(client)
            for place in range(number * each, (number + 1) * each):
                answer = client.exchange(requests[place % CALLS_APART])
                assert json.loads(answer)["result"] == self._expected[place % CALLS_APART]
            client.close()

        return count * each / together(count, run)

    def batches(self, count: int) -> float:
        """Calls per second of one client that asks for a hundred at once."""
        client = Client(self._target.url)
        bodies = []
        for first in range(0, CALLS_APART, CALL_BATCH):
            chosen = self._data[first : first + CALL_BATCH]
            bodies.append(client.batch([("eth_call", ({"to": self._token, "data": d}, "latest")) for d in chosen]))
        start = time.perf_counter()
        for number in range(count // CALL_BATCH):
            place = number % len(bodies)
            answers = json.loads(client.exchange(bodies[place]))
            expected = self._expected[place * CALL_BATCH : (place + 1) * CALL_BATCH]
            assert [answer["result"] for answer in sorted(answers, key=lambda one: int(one["id"]))] == expected
        seconds = time.perf_counter() - start
        client.close()
        return count // CALL_BATCH * CALL_BATCH / seconds

    def many(self, daemon: Daemon, seconds: float) -> float:
        """Calls per second over QUIC, a hundred in each message and two messages in flight, for so long."""
        data = [bytes.fromhex(text[2:]) for text in self._data]
        expected = [bytes.fromhex(text[2:]) for text in self._expected]
        token = bytes.fromhex(self._token[2:])
        parts = range(0, CALLS_APART, CALL_BATCH)
        calls = [[OneCall(token, item) for item in data[first : first + CALL_BATCH]] for first in parts]
        answers = [expected[first : first + CALL_BATCH] for first in parts]

        async def run() -> float:
            async with zvmd.connect(_quic(daemon), data_dir=daemon.data_dir) as node:
                start, numbers = time.perf_counter(), itertools.count()

                async def some() -> int:
                    done = 0
                    while time.perf_counter() - start < seconds:
                        place = next(numbers) % len(calls)
                        assert await node.call_many_raw(calls[place]) == answers[place]
                        done += CALL_BATCH
                    return done

                done = sum(await asyncio.gather(*(some() for _ in range(MESSAGES_IN_FLIGHT))))
                return done / (time.perf_counter() - start)

        return asyncio.run(run())

    def pipelined(self, daemon: Daemon, seconds: float) -> float:
        """Calls per second over QUIC with 128 in flight, each a message, for so long."""
        data = [bytes.fromhex(text[2:]) for text in self._data]

        async def run() -> float:
            async with zvmd.connect(_quic(daemon), data_dir=daemon.data_dir) as node:
                start, numbers = time.perf_counter(), itertools.count()

                async def some() -> int:
                    done = 0
                    while time.perf_counter() - start < seconds:
                        place = next(numbers) % CALLS_APART
                        answer = await node.call_raw(self._token, data[place])
                        assert answer.hex() == self._expected[place][2:]
                        done += 1
                    return done

                done = sum(await asyncio.gather(*(some() for _ in range(IN_FLIGHT))))
                return done / (time.perf_counter() - start)

        return asyncio.run(run())


def _quic(daemon: Daemon) -> str:
    return f"quic://127.0.0.1:{daemon.quic_port}"
