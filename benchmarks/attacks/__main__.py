"""Attack a node and tell what a healthy client beside it saw; prints the rows of the table in docs/operations.md.

    python -m benchmarks.attacks [MATCH ...] [--rest 60] [--jsonl FILE]

Each attack runs beside a client that asks for the block number and makes a small call every 50 ms, and connects anew
four times a second. Before the first attack on a node the client runs alone, which is a row of its own: the ratios are
to that. Memory is read before, at its highest, and ``--rest``
seconds after the attack. Attackers run in this process at a lower priority than the node, the client in another one.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import pkgutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import benchmarks.attacks
from benchmarks.attacks.attack import Attack, RpcError, Target
from benchmarks.attacks.healthy import Seen, beside, tls_of
from tests.daemon import Daemon

ALONE_SECONDS = 5.0
ATTACKER_NICE = 5
REST_SECONDS = 60.0
WARM_CODES = ("0x62030d405b60019003806004575b00", "0x5b60006000600060006000305af150600056")
"""One counts down from 200,000, one calls itself: each reader keeps the frames of its deepest call, some megabytes."""
WARM_CALLS = 24
"""Of each at once, so that every reader has its share."""
WARM_SECONDS = 3.0
MEMORY_GROWTH_MAX = 0.10
SLOWEST_MAX_MS = 1_000.0
"""Of an answer to the healthy client."""
HEADINGS = (
    *("finding", "attack", "sent", "number p50/p99/slowest ms", "call p50/p99/slowest ms"),
    *("new connection p50/p99/slowest ms", "of those due %", "MiB before/peak/after"),
)


class Row(NamedTuple):
    """What one attack did to the others."""

    attack: Attack
    sent: str
    seen: dict[str, Seen]
    alone: dict[str, Seen]
    memory: tuple[int, int, int]
    """Resident MiB before, at the highest, and after a rest."""

    @property
    def fault(self) -> str:
        """Why it fails; empty if the healthy client was served and the memory came back."""
        before, _, after = self.memory
        failures = sum(seen.failures for seen in self.seen.values())
        slowest = max(seen.quantile(1.0) for seen in self.seen.values())
        return " ".join(
            [f"{failures} calls failed"] * bool(failures)
            + [f"slowest {slowest:.0f} ms"] * (not slowest <= SLOWEST_MAX_MS)
            + [f"memory {after - before:+d} MiB"] * (after > before * (1 + MEMORY_GROWTH_MAX))
        )

    def cells(self) -> Iterator[str]:
        """The row as the table shows it."""
        yield from (self.attack.finding, self.attack.name, self.sent)
        for name, seen in self.seen.items():
            ratio = seen.quantile(0.99) / self.alone[name].quantile(0.99)
            yield f"{seen.quantile(0.5):.1f}/{seen.quantile(0.99):.1f}/{seen.quantile(1.0):.1f} (x{ratio:.1f})"
        yield "/".join(f"{seen.answered:.0f}" for seen in self.seen.values())
        yield "/".join(map(str, self.memory))


def find_attacks(patterns: Iterable[str]) -> list[Attack]:
    """All attacks whose finding is one of the patterns, or whose name holds one."""
    found: list[Attack] = []
    for module in pkgutil.iter_modules(benchmarks.attacks.__path__, "benchmarks.attacks."):
        if not module.name.endswith("__main__"):
            found += getattr(importlib.import_module(module.name), "ATTACKS", ())
    wanted = list(patterns)
    return [a for a in found if not wanted or any(p == a.finding or p in a.name for p in wanted)]


def resident_mib(pid: int) -> int:
    """Resident memory of a process; 0 once it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    return 0


async def nothing(_: Target) -> str:
    """No attack: what the healthy clients see of a node that has nothing else to do."""
    await asyncio.sleep(ALONE_SECONDS)
    return "nothing"


async def warm_up(target: Target) -> None:
    """Let the node load and keep what it does once: native code, its compiler, frames. Memory is compared with that."""
    to = "0x00000000000000000000000000000000000000fe"
    calls = [
        target.rpc("eth_call", {"to": to, "gas": "0x989680"}, "latest", {to: {"code": code}})
        for code in WARM_CODES
        for _ in range(WARM_CALLS)
    ]
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(WARM_SECONDS)


async def run_attack(attack: Attack, target: Target, alone: dict[str, Seen] | None, rest: float) -> Row:
    """One attack with the healthy clients beside it, and the memory some time after."""
    before = peak = resident_mib(target.pid)
    async with beside(target, os.getpriority(os.PRIO_PROCESS, target.pid)) as seen:
        attacking = asyncio.ensure_future(asyncio.wait_for(attack.run(target), attack.seconds))
        while not attacking.done():
            await asyncio.wait([attacking], timeout=0.1)
            peak = max(peak, resident_mib(target.pid))
        try:
            sent = attacking.result()
        except (OSError, asyncio.IncompleteReadError, RpcError) as error:  # of which a cut-off is one: TimeoutError
            sent = f"ended by {type(error).__name__} {error}"
    await asyncio.sleep(rest)
    return Row(attack, sent, seen, alone or seen, (before, peak, resident_mib(target.pid)))


@contextmanager
def running(attack: Attack) -> Iterator[Target]:
    """A node as the attack wants it, which is preferred to this process."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with tempfile.TemporaryDirectory(prefix="zvmd-attack-") as directory:
        daemon = Daemon(Path(directory) / "node", *attack.arguments, environment=attack.environment)
        try:
            daemon.start()
            tls = tls_of(daemon.data_dir) if "https:" in daemon.ready_line else None
            os.setpriority(os.PRIO_PROCESS, 0, usual + ATTACKER_NICE)
            yield Target("127.0.0.1", daemon.http_port, daemon.quic_port, daemon.data_dir, daemon.pid, tls)
        finally:
            with suppress(PermissionError):  # only root may: the next node is then not preferred
                os.setpriority(os.PRIO_PROCESS, 0, usual)
            daemon.close()


def run_all(attacks: list[Attack], rest: float) -> Iterator[Row]:
    """Attacks on equal nodes share one, one after the other."""
    groups: dict[tuple[object, ...], list[Attack]] = {}
    for attack in attacks:
        groups.setdefault((attack.arguments, tuple(attack.environment.items())), []).append(attack)
    for group in groups.values():
        with running(group[0]) as target:
            asyncio.run(warm_up(target))
            idle = Attack("", f"none; {kind_of(group[0])}", nothing)
            yield (baseline := asyncio.run(run_attack(idle, target, None, 0.0)))
            for attack in group:
                yield asyncio.run(run_attack(attack, target, baseline.seen, rest))


def kind_of(attack: Attack) -> str:
    """What distinguishes the node that an attack wants."""
    settings = (f"{name.removeprefix('ZVMD_').lower()}={value}" for name, value in attack.environment.items())
    return " ".join((*attack.arguments, *settings)) or "default settings"


def main() -> int:
    """Parse, attack, print; 1 if the healthy client or the memory suffered."""
    parser = argparse.ArgumentParser(prog="benchmarks.attacks", description="Attacks beside a healthy client.")
    parser.add_argument("patterns", nargs="*", metavar="MATCH", help="numbers of findings, or parts of names")
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds until memory is read again")
    parser.add_argument("--jsonl", type=Path, help="append each row there, too")
    wanted = parser.parse_args()
    print(f"| {' | '.join(HEADINGS)} | verdict |\n|{'---|' * (len(HEADINGS) + 1)}", flush=True)
    failures = 0
    for row in run_all(find_attacks(wanted.patterns), wanted.rest):
        failures += bool(row.fault)
        cells = [*row.cells(), row.fault or "ok"]
        print(f"| {' | '.join(cells)} |", flush=True)
        if wanted.jsonl:
            with wanted.jsonl.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(cells) + "\n")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
