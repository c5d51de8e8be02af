"""Transfers and calls per second, latencies and recovery of a zvmd process, side by side with anvil.

    python -m benchmarks.node_throughput [--rounds 3] [--transactions 2000] [--calls 5000] [--no-anvil]

The nodes take turns, round by round; the table shows medians and the ratio. The client is part of the
measured machine. zvmd makes every transaction durable before it answers; anvil keeps its chain in memory.
Flooded means four clients, each sending batches of 50 raw transactions and asking for all receipts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import transfers
from benchmarks.quic import IN_FLIGHT, quic_calls
from benchmarks.targets import Target, anvil, find_anvil, zvmd
from tests.contracts import dev_account

FLOOD_CLIENTS = 4
FLOOD_BATCH = 50
CALL_BATCH = 100
WAIT_SECONDS = 120.0

Row = tuple[str, str]
"""(what is measured, unit); units per second are better when higher."""
Results = dict[Row, list[float]]


class Measurement:
    """One round on one fresh node."""

    def __init__(self, target: Target, transactions: int, calls: int, results: Results) -> None:
        self._target = target
        self._transactions = transactions
        self._calls = calls
        self._results = results
        self._rpc = target.rpc()
        self._nonces: dict[int, int] = defaultdict(int)
        self._token = transfers.deploy_token(self._rpc, range(1, 1 + FLOOD_CLIENTS))

    def run(self) -> None:
        """Everything that is measured, in order."""
        for name, sign in (("ether", self._ether), ("ERC-20", self._tokens)):
            self._one_at_a_time(name, sign)
            self._flood(name, sign)
        self._check_balance()
        self._calls_over_http()
        if self._target.daemon is not None:
            for what, unit, value in quic_calls(self._target.daemon, self._token, self._calls):
                self._note(what, unit, value)
            self._recovery()

    def _note(self, what: str, unit: str, value: float) -> None:
        self._results[what, unit].append(value)

    def _ether(self, account: int, count: int) -> list[transfers.Signed]:
        return transfers.ether(account, self._use_nonces(account, count), count)

    def _tokens(self, account: int, count: int) -> list[transfers.Signed]:
        return transfers.tokens(account, self._use_nonces(account, count), count, self._token)

    def _use_nonces(self, account: int, count: int) -> int:
        first = self._nonces[account]
        self._nonces[account] += count
        return first

    def _one_at_a_time(self, name: str, sign: Callable[[int, int], list[transfers.Signed]]) -> None:
        """Send, wait for the receipt, send the next."""
        count = max(1, self._transactions // 4)
        batch = sign(1, count)
        transfers.send_and_wait(self._rpc, batch[0])
        latencies = []
        begin = time.perf_counter()
        for signed in batch[1:]:
            start = time.perf_counter()
            transfers.send_and_wait(self._rpc, signed)
            latencies.append(time.perf_counter() - start)
        self._note(f"{name} transfers, one at a time", "tx/s", (count - 1) / (time.perf_counter() - begin))
        self._note(f"{name} transfer until its receipt, p50", "ms", quantile(latencies, 50) * 1e3)
        self._note(f"{name} transfer until its receipt, p99", "ms", quantile(latencies, 99) * 1e3)

    def _flood(self, name: str, sign: Callable[[int, int], list[transfers.Signed]]) -> None:
        """Four clients with their own accounts send batches; the clock stops when all have receipts."""
        shares = [
            sign(account, self._transactions // FLOOD_CLIENTS) for account in range(1, 1 + FLOOD_CLIENTS)
        ]
        failures: list[BaseException] = []

        def client(share: list[transfers.Signed]) -> None:
            try:
                flood(self._target, share)
            except BaseException as error:  # carried to the main thread
                failures.append(error)

        threads = [threading.Thread(target=client, args=(share,)) for share in shares]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
        assert not failures, failures
        self._note(f"{name} transfers, flooded", "tx/s", sum(map(len, shares)) / seconds)

    def _check_balance(self) -> None:
        """Every transfer arrived; otherwise the numbers above mean nothing."""
        count = self._transactions // FLOOD_CLIENTS * FLOOD_CLIENTS + max(1, self._transactions // 4)
        assert int(self._rpc.call("eth_getBalance", transfers.RECIPIENT, "latest"), 16) == count
        call = {"to": self._token, "data": transfers.balance_of(transfers.RECIPIENT)}
        assert int(self._rpc.call("eth_call", call, "latest"), 16) == count

    def _calls_over_http(self) -> None:
        holder = dev_account(FLOOD_CLIENTS).address
        call = {"to": self._token, "data": transfers.balance_of(holder)}
        expected = self._rpc.call("eth_call", call, "latest")
        assert 0 < int(expected, 16) <= transfers.TOKENS_EACH
        latencies = []
        begin = time.perf_counter()
        for _ in range(self._calls):
            start = time.perf_counter()
            assert self._rpc.call("eth_call", call, "latest") == expected
            latencies.append(time.perf_counter() - start)
        self._note(
            "balanceOf over HTTP, one at a time", "calls/s", self._calls / (time.perf_counter() - begin)
        )
        self._note("balanceOf over HTTP, p50", "ms", quantile(latencies, 50) * 1e3)
        self._note("balanceOf over HTTP, p99", "ms", quantile(latencies, 99) * 1e3)
        begin = time.perf_counter()
        rounds = max(1, self._calls // CALL_BATCH)
        for _ in range(rounds):
            answers = self._rpc.batch([("eth_call", (call, "latest"))] * CALL_BATCH)
            assert answers == [expected] * CALL_BATCH
        self._note(
            "balanceOf over HTTP, batches of 100",
            "calls/s",
            rounds * CALL_BATCH / (time.perf_counter() - begin),
        )

    def _recovery(self) -> None:
        """Time from exec to READY after kill -9, per 10,000 transactions since genesis."""
        assert self._target.daemon is not None
        count = sum(self._nonces.values())
        head = self._rpc.call("eth_blockNumber")
        self._target.daemon.kill()
        begin = time.perf_counter()
        self._target.daemon.start()
        seconds = time.perf_counter() - begin
        assert self._target.rpc().call("eth_blockNumber") == head
        self._note(f"restart after kill -9 with {count:,} transactions", "s", seconds)


def flood(target: Target, share: list[transfers.Signed]) -> None:
    """Send one account's transactions in batches, then wait for the receipt of each."""
    rpc = target.rpc()
    for first in range(0, len(share), FLOOD_BATCH):
        batch = share[first : first + FLOOD_BATCH]
        hashes = rpc.batch([("eth_sendRawTransaction", (signed.raw,)) for signed in batch])
        assert hashes == [signed.hash for signed in batch]
    deadline = time.monotonic() + WAIT_SECONDS
    while rpc.call("eth_getTransactionReceipt", share[-1].hash) is None:
        assert time.monotonic() < deadline, "not in a block in time"
        time.sleep(0.001)
    for first in range(0, len(share), FLOOD_BATCH):
        batch = share[first : first + FLOOD_BATCH]
        receipts = rpc.batch([("eth_getTransactionReceipt", (signed.hash,)) for signed in batch])
        assert all(receipt["status"] == "0x1" for receipt in receipts)


def quantile(values: list[float], percent: int) -> float:
    """The value that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextmanager
def new_zvmd() -> Iterator[Target]:
    """zvmd on a data directory that goes away."""
    with tempfile.TemporaryDirectory() as folder, zvmd(Path(folder)) as target:
        yield target


RIVAL_OF: dict[Row, Row] = {
    ("balanceOf over QUIC, one at a time", "calls/s"): ("balanceOf over HTTP, one at a time", "calls/s"),
    ("balanceOf over QUIC, p50", "ms"): ("balanceOf over HTTP, p50", "ms"),
    ("balanceOf over QUIC, p99", "ms"): ("balanceOf over HTTP, p99", "ms"),
    (f"balanceOf over QUIC, {IN_FLIGHT} in flight", "calls/s"): (
        "balanceOf over HTTP, batches of 100",
        "calls/s",
    ),
}
"""anvil has no QUIC: what its users would do instead."""


def table(ours: Results, theirs: Results) -> str:
    """Medians side by side; the ratio is above 1 where zvmd is better."""
    lines = [f"{'':<52}{'zvmd':>12}{'anvil':>12}{'ratio':>9}"]
    for (what, unit), values in ours.items():
        mine = statistics.median(values)
        line = f"{what + ' [' + unit + ']':<52}{mine:>12,.2f}"
        if other := theirs.get(RIVAL_OF.get((what, unit), (what, unit))):
            rival = statistics.median(other)
            ratio = mine / rival if unit.endswith("/s") else rival / mine
            line += f"{rival:>12,.2f}{ratio:>8.2f}x"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--transactions", type=int, default=2_000, help="flooded, per kind and round")
    parser.add_argument("--calls", type=int, default=5_000, help="per way and round")
    parser.add_argument("--no-anvil", action="store_true")
    arguments = parser.parse_args()
    nodes: list[tuple[Callable[[], AbstractContextManager[Target]], Results]] = [
        (new_zvmd, defaultdict(list))
    ]
    program = None if arguments.no_anvil else find_anvil()
    if program is None:
        print("no anvil: zvmd's numbers alone")
    else:
        nodes.append((lambda: anvil(program), defaultdict(list)))
    for number in range(arguments.rounds):
        for start, results in nodes:
            with start() as target:
                print(f"round {number + 1} of {arguments.rounds}: {target.name}", flush=True)
                Measurement(target, arguments.transactions, arguments.calls, results).run()
    print(table(nodes[0][1], nodes[1][1] if program else {}))


if __name__ == "__main__":
    main()
