"""Debug sessions: stepping back, running backwards, comparing, keyframe memory, files. Answers are checked first.

    python -m benchmarks.sessions [--rounds 50] [--match NAME] [--unchecked]

Times are processor time of the thread.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.diff import compare
from debugger.edits import Edit
from debugger.limits import REPLAY_STEPS
from debugger.persist import restore
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.sharing import export_session, import_session
from debugger.slices import finish
from node.machine.assembly import build_machine
from node.sessions.record import KEYFRAME_BYTES
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


def loop(rounds: int, *body: str | int) -> bytes:
    """So many rounds of a body, which finds the round's number on the stack and leaves it there."""
    return code(0, "JUMPDEST", 1, "ADD", *body, "DUP1", rounds, "GT", 2, "JUMPI STOP")


CALLEE, INNER = 0xBEEF, 0xCAFF
NESTED = {
    CALLEE: code(0, 0, 0, 0, 0, INNER, 100_000, "CALL POP", 1, 7, "SLOAD ADD", 7, "SSTORE STOP"),
    INNER: code(1, 3, "SLOAD ADD", 3, "SSTORE", 0, 0, "RETURN"),
}
REVERTING = {CALLEE: code(1, "GAS SSTORE", 1, 7, "SLOAD ADD", 7, "SSTORE", 0, 0, "REVERT")}
CALL = (0, 0, 0, 0, 0, CALLEE, 200_000, "CALL POP")

PROGRAMS: dict[str, tuple[bytes, dict[int, bytes]]] = {
    "arithmetic": (plain(70_000), {}),
    "transient slots, all new": (stateful(50_000), {}),
    "storage, 32 slots": (loop(80_000, "DUP1 DUP1", 15, "AND SSTORE DUP1", 31, "AND SLOAD POP"), {}),
    "storage, 4,096 slots": (loop(80_000, "DUP1 DUP1", 4095, "AND SSTORE"), {}),
    "storage, all new": (loop(80_000, "DUP1 DUP1 SSTORE DUP1 SLOAD POP"), {}),
    "nested calls": (loop(22_000, *CALL), NESTED),
    "calls that revert": (loop(40_000, *CALL), REVERTING),
    "4 MiB of memory": (loop(80_000, "DUP1 DUP1", 32, "MUL", (4 << 20) - 1, "AND MSTORE"), {}),
    "logs": (loop(80_000, "DUP1", 0, "MSTORE DUP1", 5, 64, 0, "LOG2"), {}),
    "hashes of 4 KiB": (loop(80_000, "DUP1", 0, "MSTORE", 4096, 0, "KECCAK256 POP"), {}),
    "precompiles": (loop(55_000, "DUP1", 0, "MSTORE", 32, 0, 64, 0, 2, "GAS STATICCALL POP"), {}),
    "balances": (loop(90_000, "DUP1 BALANCE POP"), {}),
    "creations": (loop(60_000, 0, 0, 0, "CREATE POP"), {}),
}
"""Code of about a million steps, and the contracts it calls."""


def session(main: bytes, others: Mapping[int, bytes] | None = None) -> Session:
    """As the node makes them: so many bytes of keyframes, placed by a clock."""
    state = {f"0x{address:040x}": AccountSetup(code="0x" + text.hex()) for address, text in (others or {}).items()}
    program = Program(code="0x" + main.hex(), gas=GAS, state=state)
    return Session(program, MACHINE, keyframe_bytes=KEYFRAME_BYTES, clock=time.thread_time)


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
    start = time.thread_time()
    action()
    return (time.thread_time() - start) * 1000


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


def percentiles(times: list[float]) -> str:
    """Median, 99th percentile and worst."""
    ordered = sorted(times)
    return f"{statistics.median(ordered):5.2f} {ordered[int(len(ordered) * 0.99)]:6.2f} {ordered[-1]:6.2f}"


def travel(name: str, rounds: int, *, checked: bool) -> None:
    """Step back 10,000, and single steps back, from anywhere and from the end."""
    run = session(*PROGRAMS[name])
    took = milliseconds(partial(to_end, run))
    end, frames, rng = run.step_index, run.timeline.keyframes, random.Random(7)
    if checked:
        check(run)
    back, one, there = [], [], []
    for turn in range(rounds):
        goal = rng.randrange(10_000, end) if turn % 10 else end
        there.append(milliseconds(lambda goal=goal: finish(moves.seek(run, goal))))  # type: ignore[misc]
        back.append(milliseconds(lambda: finish(moves.step_back(run, 10_000))))
        one.append(milliseconds(lambda: finish(moves.step_back(run))))
    assert frames.bytes <= KEYFRAME_BYTES
    print(
        f"{name:26} {end:9,} {took:6.0f} | {percentiles(back)} | {percentiles(one)} | {percentiles(there)} |"
        f" {len(frames):5} {frames.bytes / 2**20:5.1f}"
    )
    run.close()


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
    parser.add_argument("--match", default="", help="only programs with this in their name, and nothing else")
    parser.add_argument("--unchecked", action="store_true", help="do not replay from the start what is reached")
    options = parser.parse_args()
    print("program, steps, ms | back 10,000: p50, p99, worst in ms | one more step back | seeking | keyframes, MiB")
    for name in PROGRAMS:
        if options.match in name:
            travel(name, options.rounds, checked=not options.unchecked)
    if not options.match:
        backwards()
        comparing()
        files()


if __name__ == "__main__":
    main()
