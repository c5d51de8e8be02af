"""Runs a program on two engines, shrinks one on which they differ, and saves it.

    python -m tests.differential.compare SEED COUNT [FOLDER]
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chain.forks import Fork
from tests.differential.generator import Program, random_program
from tests.unit.vm.programs import OTHER, TARGET, MemoryState, World, code
from vm.machine import Machine

REGRESSIONS = Path(__file__).parent / "regressions" / "engines"
CALLED = code(1, 0, "SLOAD ADD", 0, "SSTORE", 0, "CALLDATALOAD", 0, "MSTORE", 40, 3, "RETURN")
REVERTING = code(7, 3, "SSTORE", 7, 0, "MSTORE", 32, 0, "REVERT")

INTERPRETER = Machine()
JIT = Machine(engine="jit")


def observe(machine: Machine, program: Program) -> Any:
    """Everything about a run that must not depend on the engine."""
    state = MemoryState()
    world = World(program.fork, state)
    world.journal.set_code(OTHER, CALLED)
    world.journal.set_code(type(TARGET)(bytes(19) + b"\x30"), REVERTING)
    world.journal.set_code(TARGET, program.code)
    outcome = machine.execute(world.message(program.gas, program.data), world.context)
    logs = list(world.journal.logs)
    refund = world.journal.refund
    world.journal.end_transaction()
    return outcome, logs, refund, world.journal.delta()


def differ(program: Program) -> str | None:
    """How the engines differ, None if they agree."""
    expected, got = observe(INTERPRETER, program), observe(JIT, program)
    return None if expected == got else f"interpreter {expected}\njit {got}"


def gas_limits(program: Program, source: random.Random) -> Iterator[Program]:
    """The program with its gas, and with a few limits at which it runs out somewhere."""
    yield program
    used = program.gas - observe(INTERPRETER, program)[0].gas_left
    limits = {used, used - 1, used // 2} | {source.randrange(used + 1) for _ in range(3)}
    yield from (program._replace(gas=gas) for gas in limits if 0 <= gas != program.gas)


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """A smaller program that still fails: pieces removed, then gas and data lowered."""
    size = max(1, len(program.code) // 2)
    while size:
        at = 0
        while at < len(program.code):
            smaller = program._replace(code=program.code[:at] + program.code[at + size :])
            if fails(smaller):
                program = smaller
            else:
                at += size
        size //= 2
    for smaller in (program._replace(data=b""), program._replace(gas=10**6)):
        if fails(smaller):
            program = smaller
    return program


def save(program: Program, folder: Path) -> Path:
    """Keep a program as a regression case."""
    folder.mkdir(parents=True, exist_ok=True)
    text = {"code": program.code.hex(), "data": program.data.hex(), "gas": program.gas, "fork": program.fork.name}
    path = folder / f"{abs(hash(program.code)):016x}.json"
    path.write_text(json.dumps(text, indent=1) + "\n")
    return path


def load(path: Path) -> Program:
    """A saved program."""
    saved = json.loads(path.read_text())
    return Program(bytes.fromhex(saved["code"]), bytes.fromhex(saved["data"]), saved["gas"], Fork[saved["fork"]])


def main() -> int:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else REGRESSIONS
    source = random.Random(seed)
    running = folder / f"running-{seed}.json"
    runs = 0
    for _ in range(count):
        program = random_program(source)
        for variant in gas_limits(program, source):
            # A program that crashes or hangs the process is found in this file.
            save(variant, folder).replace(running)
            runs += 1
            if (how := differ(variant)) is not None:
                smallest = shrink(variant, lambda p: differ(p) is not None)
                print(f"{save(smallest, folder)}: {smallest}\n{how}\n{differ(smallest)}", flush=True)
                return 1
    running.unlink(missing_ok=True)
    print(f"{count} programs, {runs} runs agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
