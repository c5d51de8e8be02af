"""The compute cases as a client sees them: ``eth_call`` over HTTP on new nodes, zvmd and anvil in turns.

Called by ``python -m benchmarks.vm --http``. In each round both nodes are new and hold the same contracts; case by
case, one node answers all runs of a case, then the other, and who begins changes from round to round. Every answer is
compared. A window's time is the median of its runs, on the wall; its ratio is anvil's time by zvmd's, and of the
rounds the lower quartile counts. Nothing is subtracted: both carry the same client, HTTP and JSON. zvmd's cache of
answers is off.

On a computer with other work, ``--cpu`` compares the processor time of the nodes' processes instead: without the
network, and without the time until something runs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.compute_cases import CALLER, GAS, Case, from_hex
from benchmarks.targets import Target, anvil, processor_seconds, zvmd

WINDOWS = {"1-5": slice(0, 5), "6-15": slice(5, 15), "150": slice(140, 150)}
"""By name: which runs of a case on a new node. The last one is of warm code."""
RUNS = 150
BLOCK_GAS_LIMIT = GAS + 10**8
DEPLOY_GAS = 60_000_000

Times = dict[str, dict[str, list[float]]]
"""By case and window: seconds, of each round."""


class Client:
    """The least client that sends a request and reads its answer: one connection, a request written once."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{address.hostname}:{address.port}"

    def request(self, method: str, *params: object) -> bytes:
        """The bytes of a request."""
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def batch(self, calls: Sequence[tuple[str, tuple[object, ...]]]) -> bytes:
        """The bytes of a request with several calls, whose ids are their places."""
        numbered = enumerate(calls)
        return self._post([{"jsonrpc": "2.0", "id": n, "method": of, "params": given} for n, (of, given) in numbered])

    def _post(self, content: object) -> bytes:
        body = json.dumps(content).encode()
        head = f"POST / HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return head.encode() + b"\r\n\r\n" + body

    def exchange(self, request: bytes) -> bytes:
        """The body of the answer."""
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._received()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
        (length,) = [int(value) for name, _, value in lines if name == b"content-length"]
        while len(body) < length:
            body += self._received()
        return body

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _received(self) -> bytes:
        data = self._socket.recv(1 << 16)
        assert data, "the node closed the connection"
        return data


@contextlib.contextmanager
def nodes(program: str | None, arguments: Sequence[str]) -> Iterator[list[Target]]:
    """A new node of each kind that is there; ``arguments`` are zvmd's besides those of every run."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = ("--hardfork", "cancun", "--code-size-limit", "0", *arguments)
        started = [stack.enter_context(zvmd(folder, *options, gas_limit=BLOCK_GAS_LIMIT))]
        if program is not None:
            options = ("--hardfork", "cancun", "--disable-code-size-limit")
            started.append(stack.enter_context(anvil(program, *options, gas_limit=BLOCK_GAS_LIMIT)))
        yield started


def deploy(target: Target, case: Case) -> str:
    """Address of the case's contract, created by a transaction."""
    rpc = target.rpc()
    creation = case.creation
    if creation is None:  # a constructor that returns what follows it
        creation = b"\x62" + len(case.runtime).to_bytes(3) + from_hex("80600d6000396000f3") + case.runtime
    sender = rpc.call("eth_accounts")[0]
    transaction = {"from": sender, "data": "0x" + creation.hex(), "gas": hex(DEPLOY_GAS)}
    created = rpc.call("eth_sendTransaction", transaction)
    while (receipt := rpc.call("eth_getTransactionReceipt", created)) is None:
        time.sleep(0.01)  # mined, but not yet stored
    assert receipt["status"] == "0x1", f"{case.name} was not created"
    return str(receipt["contractAddress"])


def run_case(client: Client, target: Target, case: Case, to: str, runs: int, *, cpu: bool) -> list[float]:
    """Seconds of each run from the first one on, on the wall or of the node's processor; answers compared."""
    call = {"from": "0x" + CALLER.hex(), "to": to, "data": "0x" + case.data.hex(), "gas": hex(GAS), "gasPrice": "0x0"}
    request = client.request("eth_call", call, "latest")
    seconds, answers = [], set()
    for _ in range(runs):
        start = processor_seconds(target.pid) if cpu else time.perf_counter()
        answer = client.exchange(request)
        seconds.append((processor_seconds(target.pid) if cpu else time.perf_counter()) - start)
        answers.add(answer)
    for answer in answers:
        case.check(from_hex(json.loads(answer)["result"]), target.name)
    return seconds


def measure(
    cases: list[Case], program: str | None, rounds: int, arguments: Sequence[str], *, cpu: bool
) -> dict[str, Times]:
    """Times by node: in every round on new nodes, with the cases in another order."""
    times: dict[str, Times] = {}
    for number in range(rounds):
        with nodes(program, arguments) as targets:
            addresses = {(target.name, case.name): deploy(target, case) for case in cases for target in targets}
            first = len(cases) * number // rounds
            for place, case in enumerate([*cases[first:], *cases[:first]]):
                for target in targets[:: -1 if (number + place) % 2 else 1]:
                    to = addresses[target.name, case.name]
                    client = Client(target.url)
                    seconds = run_case(client, target, case, to, RUNS, cpu=cpu)
                    client.close()
                    of_case = times.setdefault(target.name, {}).setdefault(case.name, {})
                    for window, runs in WINDOWS.items():
                        of_case.setdefault(window, []).append(statistics.median(seconds[runs]))
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr, flush=True)
    return times


def lower_quartile(values: Sequence[float]) -> float:
    """The value that a quarter of them do not exceed; of a single one, itself."""
    return statistics.quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def ratios(times: dict[str, Times]) -> dict[str, dict[str, float]]:
    """By window and case: the lower quartile over the rounds of anvil's time by zvmd's; empty without anvil."""
    ours, theirs = times["zvmd"], times.get("anvil", {})
    return {
        window: {
            name: lower_quartile([their / our for their, our in zip(of_case[window], ours[name][window], strict=True)])
            for name, of_case in theirs.items()
        }
        for window in (WINDOWS if theirs else ())
    }


def report(cases: list[Case], times: dict[str, Times]) -> None:
    """A row for each case, and the median and the least of each window's ratios."""
    found = ratios(times)
    heads = [f"{node} ms, {window}" for node in times for window in WINDOWS] + [f"ratio, {window}" for window in found]
    print("| case over HTTP | " + " | ".join(heads) + " |")
    print("|---" + "|---:" * len(heads) + "|")
    for case in cases:
        of_case = [statistics.median(of_node[case.name][window]) for of_node in times.values() for window in WINDOWS]
        cells = [f"{seconds * 1e3:.2f}" for seconds in of_case]
        cells += [f"{by_case[case.name]:.2f}" for by_case in found.values()]
        print(f"| {case.name} | " + " | ".join(cells) + " |")
    for window, by_case in found.items():
        least, middle = min(by_case, key=by_case.__getitem__), statistics.median(by_case.values())
        print(f"runs {window}: median {middle:.2f}, lowest {by_case[least]:.2f} ({least})")
