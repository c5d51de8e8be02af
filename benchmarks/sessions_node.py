"""Debug sessions through a running node, over QUIC, every command durable before its answer; answers are checked first.

    python -m benchmarks.sessions_node [--rounds 50] [--sessions 12] [--only-memory]

A program of 1,000,000 steps: stepping back 10,000 from anywhere, running backwards to breakpoints, the node's memory
while sessions move all over; a comparison of 100,000 steps; a command beside runs that never end.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zvmd
from benchmarks.sessions import plain, stateful
from tests.daemon import Daemon
from zvmd.results import Position

GAS = 5 * 10**10
ENDLESS = "0x5f5b60010180600052600156"


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def private_mib(pid: int) -> float:
    """Memory of a process that is its own (USS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = [line.split() for line in text.splitlines() if line.startswith("Private_")]
    return sum(int(line[1]) for line in lines) / 1024


def session(node: zvmd.Node, code: bytes, **fields: Any) -> zvmd.Session:
    return zvmd.Session.create(node, code="0x" + code.hex(), gas=GAS, **fields)


def percentiles(times: list[float]) -> str:
    ordered = sorted(times)
    return f"p50 {statistics.median(ordered):.1f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.1f} ms"


def travel(node: zvmd.Node, name: str, code: bytes, rounds: int) -> None:
    """Step back 10,000 from anywhere; each state is that of a session that went there forwards."""
    run, check = session(node, code), session(node, code)
    took = milliseconds(run.run)
    end = run.state().step
    rng = random.Random(7)
    for _ in range(5):
        step = rng.randrange(10_000, end)
        run.seek(step)
        run.step_back(10_000)
        check.seek(0)
        check.step(step - 10_000)
        assert run.state() == check.state()
    back, one, noop = [], [], []
    for _ in range(rounds):
        run.seek(rng.randrange(10_000, end))
        back.append(milliseconds(lambda: run.step_back(10_000)))
        one.append(milliseconds(run.step_back))
        noop.append(milliseconds(lambda: run.step(0)))
    print(f"{name}: {end:,} steps, run to the end in {took:.0f} ms")
    print(f"  back 10,000 steps: {percentiles(back)}")
    print(f"  back one step:     {percentiles(one)}")
    print(f"  no step at all:    {percentiles(noop)} (record, log, sync, answer)")
    run.close()
    check.close()


def backwards(node: zvmd.Node) -> None:
    """Run backwards from the end to breakpoints, one near the start among them."""
    run = session(node, plain(70_000))
    run.run()
    end = run.state().step
    for name, fields in (
        ("an opcode a round ago", {"kind": "opcode", "opcode": "MSTORE"}),
        ("a condition that held once, at the start", {"kind": "expression", "expression": "pc == 2 && stack[0] == 70"}),
        ("no breakpoint holds", {"kind": "opcode", "opcode": "LOG0"}),
    ):
        run.seek(end)
        point = run.add_breakpoint(fields["kind"], **{k: v for k, v in fields.items() if k != "kind"})
        answers: list[Position] = []
        took = milliseconds(lambda answers=answers: answers.append(run.reverse_run()))  # type: ignore[misc]
        print(f"reverse-run over {end:,} steps, {name}: {took:.0f} ms to step {answers[0].step:,}")
        run.remove_breakpoint(point)
    run.close()


def comparing(node: zvmd.Node) -> None:
    """The first divergence of two runs of 100,000 steps, at step 98,765: a byte of memory that nothing looks at."""
    for name, code in (("plain", plain(7_000)), ("stateful", stateful(5_000))):
        one, two = session(node, code), session(node, code)
        two.seek(98_765)
        two.edit("memory", index=4096, data="0x01")
        found = one.compare(two, ignoring_gas=True).divergence
        assert (found.step, found.fields) == (98_765, ("memory",))
        times = [milliseconds(lambda one=one, two=two: one.compare(two, ignoring_gas=True)) for _ in range(5)]  # type: ignore[misc]
        print(f"compare, {name}: divergence in memory at step 98,765 in {statistics.median(times):.0f} ms")
        one.close()
        two.close()


def memory(node: zvmd.Node, daemon: Daemon, sessions: int) -> None:
    """Sessions of a million steps that were everywhere; all are kept, the node's memory does not follow their steps."""
    rng = random.Random(3)
    opened = []
    print(f"memory before: {private_mib(daemon.pid):.0f} MiB")
    for number in range(sessions):
        run = session(node, stateful(50_000))
        run.run()
        for _ in range(10):
            run.seek(rng.randrange(1_000_000))
        opened.append(run)
        if number + 1 in (1, 2, 4, 8, 16, 24, 32, 40, 48, sessions):
            print(f"  {number + 1} sessions of 1,000,000 steps: {private_mib(daemon.pid):.0f} MiB")
    for run in opened:
        run.close()


def beside(node: zvmd.Node, daemon: Daemon) -> None:
    """A step in one session while two others run without end."""
    long = [zvmd.Session.create(node, code=ENDLESS, gas=1 << 36) for _ in range(2)]
    short = session(node, plain(100))
    alone = [milliseconds(short.step) for _ in range(50)]
    rpc = daemon.rpc()
    with zvmd.Node(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir) as other:
        for run in long:
            other._loop.call_soon_threadsafe(
                lambda run=run: other._loop.create_task(other._client.rpc("zvmd_session_run", run.id))  # type: ignore[misc]
            )
        time.sleep(0.3)
        times = [milliseconds(short.step) for _ in range(50)]
        for run in long:
            rpc.call("zvmd_session_pause", run.id)
        assert all(run.state().step > 0 for run in long)
    print(f"a step alone: {percentiles(alone)}; beside two endless runs: {percentiles(times)}")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=12)
    parser.add_argument("--only-memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder) / "data")
        daemon.start()
        try:
            with zvmd.Node(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir) as node:
                if options.only_memory:
                    memory(node, daemon, options.sessions)
                    return
                travel(node, "plain", plain(70_000), options.rounds)
                travel(node, "stateful", stateful(50_000), options.rounds)
                backwards(node)
                comparing(node)
                beside(node, daemon)
                memory(node, daemon, options.sessions)
        finally:
            daemon.close()


if __name__ == "__main__":
    main()
