"""Every row of the performance targets, measured or with the command that measures it: ``make bench``.

    python -m benchmarks.bars [--rounds 7] [--transfers 200] [--calls 3000] [--seconds 5] [--match REGEX]

zvmd and anvil take turns on new nodes, and who begins changes. A ratio is of one round; the lower quartile of the
rounds counts (for times and memory, the upper one). The cache of whole answers is off, calls are a thousand different
ones, and the client runs on the same computer. Rows that write count only rounds in which a sync took less than
`SYNC_MS_MAX`; a row whose rival did not finish is a share of the floor instead. The floors stand below the table.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks import floors, transfers, vm, vm_http
from benchmarks.compute_cases import cases
from benchmarks.memory import MIB, held
from benchmarks.rates import HOLDERS, READERS, WRITERS, Calls, Transfers
from benchmarks.targets import Target, anvil, find_anvil, zvmd
from vm.evm.jit import objects

SYNC_MS_MAX = 0.3
FLOOR_SHARE_MIN = 0.25
Figures = dict[str, float]
"""By name: what one round gave."""
Rounds = dict[str, list[float]]


class Row(NamedTuple):
    """One target."""

    what: str
    key: str
    bar: float
    unit: str
    """``x``: a ratio to the rival; times and memory hold below the bar, all others above it."""
    is_written: bool = False
    """Counts only in rounds with a quick disk."""

    @property
    def is_lower_better(self) -> bool:
        return self.unit in ("ms", "MiB")


ROWS = (
    Row("transfers, one client, vs anvil", "transfers alone", 1, "x", is_written=True),
    Row(f"transfers, {WRITERS} clients, vs anvil", "transfers together", 2, "x", is_written=True),
    Row("transfers, flood in batches, vs anvil", "transfers flooded", 1, "x", is_written=True),
    Row("balanceOf, one client, vs anvil", "calls alone", 1, "x"),
    Row(f"balanceOf, {READERS} clients, vs anvil", "calls together", 1, "x"),
    Row("balanceOf, batches of 100, vs anvil", "calls in batches", 1, "x"),
    Row("QUIC pipelined, messages of 100, vs anvil's HTTP batches", "calls in messages by batches", 1, "x"),
    Row("QUIC pipelined, messages of 100", "calls in messages", 10_000, "calls/s"),
    Row("QUIC pipelined, a message each", "calls over QUIC", 10_000, "calls/s"),
    Row("transfers over QUIC, one client pipelining", "transfers over QUIC", 5_000, "tx/s", is_written=True),
    Row("sending to the block's event over QUIC, p99", "event", 5, "ms", is_written=True),
    Row("one call, idle server, p50", "one call", 0.3, "ms"),
    Row("private memory at READY", "memory at READY", 60, "MiB"),
    Row("compute over HTTP, runs 1-5, median", "compute 1-5 median", 1.5, "x"),
    Row("compute over HTTP, runs 1-5, worst", "compute 1-5 worst", 1, "x"),
    Row("compute over HTTP, runs 6-15, median", "compute 6-15 median", 2, "x"),
    Row("compute over HTTP, runs 6-15, worst", "compute 6-15 worst", 1, "x"),
    Row("compute over HTTP, run 150, median", "compute 150 median", 3, "x"),
    Row("compute over HTTP, run 150, worst", "compute 150 worst", 1, "x"),
    Row("interpreter vs revm, median", "interpreter/revm", 2.5, "x"),
    Row("JIT vs revm, median", "jit/revm", 5, "x"),
    Row("JIT vs our interpreter, median", "jit/interpreter", 5, "x"),
)
LONG_ROWS = (
    ("private memory with 1,000 active contracts: 100 MiB", "python -m benchmarks.memory --engine auto"),
    ("calls sustained 60 s, 10,000 different ones a second: 10,000/s", "python -m benchmarks.sustained"),
    ("from durable to the event over QUIC and WebSocket: p99 5 ms", "python -m benchmarks.events"),
    ("conformance vectors, both engines: 100 %", "make test-full"),
    ("acknowledged transactions lost in 20,000 kills, 1,000,000 states: 0", "make durability FULL=1"),
    ("ready after kill -9 with 1M transactions: p99 1.0 s", "python -m benchmarks.recovery"),
    ("step back 10,000 steps of a million: 10 ms", "python -m benchmarks.sessions_node --rounds 40 --sessions 20"),
)
"""What takes hours, minutes at least, and the command that proves it."""


class Sizes(NamedTuple):
    """How much of each load."""

    transfers: int = 200
    calls: int = 3_000
    seconds: float = 5


def of_a_node(target: Target, sizes: Sizes, wanted: Callable[[str], bool]) -> Figures:
    """One round on a new node; a load that it does not finish is left out."""
    found: Figures = {}
    daemon = target.daemon
    if daemon is not None:
        found["memory at READY"] = sum(held(target.pid).values()) / MIB
    token = transfers.deploy_token(target.rpc(), HOLDERS)
    sending, calling = Transfers(target, token), Calls(target, token)
    loads: dict[str, Callable[[], float]] = {  # what reads comes first: transfers change the answers
        "calls together": lambda: calling.clients(READERS, max(1, sizes.calls // READERS)),
        "calls in batches": lambda: calling.batches(4 * sizes.calls),
        **({} if daemon is None else {
            "calls over QUIC": lambda: calling.pipelined(daemon, sizes.seconds),
            "calls in messages": lambda: calling.many(daemon, sizes.seconds),
        }),
        "transfers alone": lambda: sending.clients(1, sizes.transfers),
        "transfers together": lambda: sending.clients(WRITERS, max(1, 3 * sizes.transfers // WRITERS)),
        "transfers flooded": lambda: sending.flooded(sizes.transfers),
    }
    if daemon is not None:
        loads["transfers over QUIC"] = lambda: sending.pipelined(daemon, 5 * sizes.transfers)
        loads["event"] = lambda: sending.events_ms(daemon, sizes.transfers)
    if wanted("calls alone") or wanted("one call"):
        found["calls alone"], found["one call"] = calling.alone(sizes.calls)
    for key, load in loads.items():
        if wanted(key) or (key == "calls in batches" and wanted("calls in messages")):
            try:
                found[key] = load()
            except (AssertionError, OSError) as error:
                print(f"{target.name}: {key}: did not finish ({error!r:.200})", file=sys.stderr)
    return found


@contextlib.contextmanager
def new_zvmd() -> Iterator[Target]:
    """zvmd on a data directory that goes away."""
    with tempfile.TemporaryDirectory() as folder, zvmd(Path(folder)) as target:
        yield target


def where() -> Path:
    """The folder of the data directories."""
    return Path(tempfile.gettempdir())


def rates(program: str | None, rounds: int, sizes: Sizes, wanted: Callable[[str], bool]) -> tuple[Rounds, Rounds]:
    """Ratios and figures of the rows that run on nodes, by round; those of a slow disk apart."""
    starts: list[Callable[[], AbstractContextManager[Target]]] = [new_zvmd]
    if program is not None:
        starts.append(lambda: anvil(program))
    quick: Rounds = defaultdict(list)
    slow: Rounds = defaultdict(list)
    for number in range(rounds):
        sync = floors.sync_ms(where())
        by_name: dict[str, Figures] = {}
        for start in starts[:: -1 if number % 2 else 1]:
            with start() as target:
                by_name[target.name] = of_a_node(target, sizes, wanted)
        mine, their = by_name["zvmd"], by_name.get("anvil", {})
        if "calls in messages" in mine and "calls in batches" in their:
            quick["calls in messages by batches"].append(mine["calls in messages"] / their["calls in batches"])
        for row in ROWS:
            if row.key in mine and (row.unit != "x" or row.key in their):
                figure = mine[row.key] / their[row.key] if row.unit == "x" else mine[row.key]
                (slow if row.is_written and sync >= SYNC_MS_MAX else quick)[row.key].append(figure)
        for key, figure in mine.items():
            quick[f"zvmd's {key}"].append(figure)
        print(f"round {number + 1} of {rounds}: sync p50 {sync:.2f} ms", file=sys.stderr, flush=True)
    return quick, slow


def compute(program: str | None, rounds: int, quick: Rounds) -> None:
    """Add the rows of the compute cases: over HTTP beside anvil, and in process beside revm."""
    chosen = cases("")
    if program is not None:
        for window, ratios in vm_http.ratios(vm_http.measure(chosen, program, rounds, (), cpu=False)).items():
            quick[f"compute {window} median"] = [statistics.median(ratios.values())]
            quick[f"compute {window} worst"] = [min(ratios.values())]
    for (mine, peer), found in vm.ratios(chosen, vm.engines(objects.LEVEL), rounds).items():
        if found:
            quick[f"{mine}/{peer}"] = [statistics.median(found)]


def quartile(row: Row, values: Sequence[float]) -> float:
    """The lower quartile of a rate, the upper one of a time or of memory."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=4, method="inclusive")[2 if row.is_lower_better else 0]


def line(row: Row, quick: Rounds, slow: Rounds) -> str:
    """The row of the table."""
    values, note = quick.get(row.key) or slow.get(row.key), ""
    if not values:
        mine, floor = quick.get(f"zvmd's {row.key}"), slow["floor of transfers"]
        if row.is_written and mine and floor:
            share = statistics.median(mine) / floor[0]
            holds = "yes" if share >= FLOOR_SHARE_MIN else "no"
            note = "the rival did not finish"
            return f"| {row.what} | {share:.0%} of the floor | {FLOOR_SHARE_MIN:.0%} | {holds} | {note} |"
        return f"| {row.what} | - | {row.bar:g} {row.unit} | - | not measured |"
    if not quick.get(row.key):
        note = f"no round had a sync below {SYNC_MS_MAX} ms"
    figure = quartile(row, values)
    holds = "yes" if (figure <= row.bar) == row.is_lower_better or figure == row.bar else "no"
    shown = f"{figure:,.0f}" if figure >= 1000 else f"{figure:.2f}"
    return f"| {row.what} | {shown} {row.unit} | {row.bar:,g} {row.unit} | {'-' if note else holds} | {note} |"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=Sizes().seconds, help="of pipelined calls over QUIC")
    parser.add_argument("--transfers", type=int, default=Sizes().transfers, help="of one client, per round")
    parser.add_argument("--calls", type=int, default=Sizes().calls, help="of one client, per round")
    parser.add_argument("--match", default="", help="only rows whose name this regular expression is found in")
    options = parser.parse_args()
    rows = [row for row in ROWS if re.search(options.match, row.what)]
    keys = {row.key.removesuffix(" by batches") for row in rows}
    program = find_anvil()
    if program is None:
        print("anvil is not installed: no ratios to it", file=sys.stderr)
    sizes = Sizes(options.transfers, options.calls, options.seconds)
    quick, slow = rates(program, options.rounds, sizes, lambda key: key in keys)
    if any(key.startswith("compute") or "/" in key for key in keys):
        compute(program, options.rounds, quick)
    recoveries = floors.recoveries_per_second()
    slow["floor of transfers"] = [recoveries]
    print("| what | measured | bar | holds | |\n|---|---:|---:|---|---|")
    for row in rows:
        print(line(row, quick, slow), flush=True)
    for what, command in LONG_ROWS:
        print(f"| {what} | | | not run | `{command}` |")
    print(f"\nfloors: {recoveries:,.0f} senders recovered per second and core;")
    print(f"a round trip of {floors.round_trip_ms():.3f} ms; a sync of {floors.sync_ms(where()):.2f} ms (medians)")


if __name__ == "__main__":
    main()
