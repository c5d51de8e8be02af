"""Debug sessions: stepping back, running backwards, comparing, keyframe memory, files. Answers are checked first.

    python -m benchmarks.sessions [--rounds 50]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.diff import compare
from debugger.edits import Edit
from debugger.limits import KEYFRAME_BYTES, REPLAY_STEPS
from debugger.persist import restore
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import export_session, import_session
from debugger.slices import finish
from node.machine.assembly import build_machine
from tests.bytecode import code

MACHINE = build_machine()
GAS = 5 * 10**10


def plain(rounds: int) -> bytes:
    """Arithmetic and memory: 15 steps a round."""
    return code(0, "JUMPDEST", 1, "ADD DUP1 DUP1 MUL POP DUP1", 0, "MSTORE DUP1", rounds, "GT", 2, "JUMPI STOP")


def stateful(rounds: int) -> bytes:
    """A new transient slot and a storage write a round, which Python and the journal have to bear: 21 steps."""
    return code(
        0, "JUMPDEST", 1, "ADD DUP1 DUP1 TSTORE DUP1 DUP1", 15, "AND SSTORE DUP1", 31, "NOT AND MLOAD POP DUP1",
        rounds, "GT", 2, "JUMPI STOP",
    )  # fmt: skip


def session(main: bytes) -> Session:
    return Session(Program(code="0x" + main.hex(), gas=GAS), MACHINE)


def to_end(run: Session) -> None:
    """Run to the end past all breakpoints."""
    finish(moves.step(run, REPLAY_STEPS))


def length(run: Session) -> int:
    """Steps of the whole run."""
    timeline = run.clone()
    finish(timeline.advance(REPLAY_STEPS))
    steps = timeline.step
    timeline.close()
    return steps


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def check(run: Session) -> None:
    """Positions reached by seeking equal those of a run that steps there from the start."""
    end = length(run)
    for step in (end, end // 2, end // 3, end - 10_000, 12_345):
        finish(moves.seek(run, step))
        fresh = run.clone(spacing=1 << 40)
        fresh.forward(step)
        digest = run.digest()
        keep, run.timeline = run.timeline, fresh
        assert run.digest() == digest, step
        run.timeline = keep
        fresh.close()


def travel(name: str, main: bytes, rounds: int) -> None:
    """Step back 10,000, and single steps back, from anywhere."""
    run = session(main)
    took = milliseconds(partial(to_end, run))
    end = run.step_index
    frames = run.timeline.keyframes
    print(f"{name}: {end:,} steps in {took:.0f} ms with {len(frames)} keyframes, {frames.bytes / 2**20:.1f} MiB")
    check(run)
    rng = random.Random(7)
    back, one = [], []
    for _ in range(rounds):
        finish(moves.seek(run, rng.randrange(10_000, end)))
        back.append(milliseconds(lambda: finish(moves.step_back(run, 10_000))))
        one.append(milliseconds(lambda: finish(moves.step_back(run))))
    back.sort()
    print(
        f"  back 10,000 steps: p50 {statistics.median(back):.2f} ms, p99 {back[int(len(back) * 0.99)]:.2f} ms;"
        f" one more step back: p50 {statistics.median(one):.3f} ms"
    )
    assert frames.bytes <= KEYFRAME_BYTES
    print(f"  keyframes afterwards: {len(frames)}, {frames.bytes / 2**20:.1f} MiB")


def backwards() -> None:
    """Run backwards to breakpoints early in the run."""
    run = session(plain(70_000))
    for name, point in (
        ("pc passed last round", Breakpoint("pc", pc=11)),
        ("gas, once at the start", Breakpoint("gas", gas=GAS - 1000)),
        ("pc and condition, once", Breakpoint("expression", expression="pc == 2 && stack[0] == 70")),
    ):
        to_end(run)
        run.set_breakpoint(point)
        took = milliseconds(lambda: finish(moves.reverse_run(run)))
        assert run.holding() or point.kind == "gas"
        print(f"reverse-run over {length(run):,} steps, {name}: {took:.1f} ms to step {run.step_index:,}")
        run.remove_breakpoint(run.breakpoint_ids)


def comparing() -> None:
    """The first divergence late in a run of 100,000 steps."""
    for name, make, size in (("plain", plain, 7_000), ("stateful", stateful, 5_000)):
        one, two = session(make(size)), session(make(size))
        finish(moves.seek(two, 98_765))
        two.edit(Edit("gas", value=GAS // 2))
        found = compare(one, two)
        assert found.divergence is not None
        assert found.divergence.step == 98_765
        took = [milliseconds(partial(compare, one, two)) for _ in range(5)]
        print(f"compare, {name}: divergence at step {found.divergence.step:,} in {statistics.median(took):.0f} ms")
        same = milliseconds(partial(compare, one, one))
        print(f"  equal runs: {same:.0f} ms")


def files() -> None:
    """Export, import, restore."""
    run = session(stateful(5_000))
    to_end(run)
    data = export_session(run)
    back = restore(import_session(data).record, MACHINE)
    assert back.digest() == run.digest()
    print(
        f"file of {len(data):,} bytes: export {milliseconds(lambda: export_session(run)):.0f} ms,"
        f" import {milliseconds(lambda: import_session(data)):.1f} ms,"
        f" restore {milliseconds(lambda: restore(import_session(data).record, MACHINE)):.0f} ms"
    )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    travel("plain", plain(70_000), rounds)
    travel("stateful", stateful(50_000), rounds)
    backwards()
    comparing()
    files()


if __name__ == "__main__":
    main()
