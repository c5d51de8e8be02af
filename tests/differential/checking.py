"""One batch of cases run in every way, and what differs: interpreter, JIT, stepping, EELS' traces, revm's ends."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

import msgspec

from chain.forks import Fork
from node.machine.object_cache import FileObjectCache
from tests.differential.oracles import FORKS_OF_REVM, Oracle
from tests.differential.programs import Case
from tests.differential.running import Run, Way, differences, gas_limits, run_case
from tests.paths import OBJECTS
from vm.evm.native import load_interpreter

EVERY_STEP = 0.08
"""Share of programs run out of gas at every step."""
STEPS_OF_A_PROGRAM = 150
"""At most so many gas limits of one program."""
FROM_THE_MIDDLE = 0.3
"""Share of programs that the JIT takes over in the middle, after a number of single steps."""


HANG_SECONDS = 30
"""Of processor time, which stands still while the process does; no run takes a hundredth of it."""


class Summed:
    """Counts that can be added up."""

    def add(self, other: Self) -> None:
        """Sum up."""
        for entry in fields(self):  # type: ignore[arg-type]
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))

    def __str__(self) -> str:
        counts = asdict(self)  # type: ignore[call-overload]
        return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())


@contextmanager
def ended_if_it_hangs(seconds: float = HANG_SECONDS) -> Iterator[None]:
    """Nobody handles the signal: it ends the process, native code or not."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@dataclass
class Counts(Summed):
    """What was run."""

    programs: int = 0
    runs: int = 0
    """In zvmd, of programs, of their gas limits, from their middles."""
    lines: int = 0
    """Trace lines compared with EELS."""
    limits: int = 0
    """Gas limits at which a program was stopped at one of its steps."""
    with_revm: int = 0
    """Runs compared with revm."""
    contracts: int = 0
    """Compiled."""
    blocks: int = 0
    """Functions of these."""
    entered: int = 0
    """Frames begun in compiled code."""
    left: int = 0
    """Times compiled code left an opcode to the interpreter."""


class Checker:
    """All ways to run a case. ``running`` is a file that names the case being run, for whoever survives a crash."""

    def __init__(self, oracles: list[Oracle], running: Path | None = None) -> None:
        cache = FileObjectCache(OBJECTS)
        for fork in Fork:
            load_interpreter(fork, cache)
        self.counts = Counts()
        self._interpreter, self._jit = Way(), Way("jit")
        self._oracles = {oracle.name: oracle for oracle in oracles}
        self._running = None if running is None else os.open(running, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def run(self, case: Case, way: Way | None = None, *, trace: bool = False, steps_before: int = 0) -> Run | None:
        """Run a case in one way, the interpreter's at full speed unless told otherwise."""
        if self._running is not None:
            os.pwrite(self._running, msgspec.json.encode(case) + b"\n", 0)
        self.counts.runs += 1
        with ended_if_it_hangs():
            return run_case(case, way or self._interpreter, trace=trace, steps_before=steps_before)

    def check(self, cases: list[Case], share: float = EVERY_STEP) -> list[tuple[Case, list[str]]]:
        """The cases that differ anywhere and what differs; ``share`` of them is run out of gas at every step."""
        chance = random.Random(cases[0].data)
        plain = [self.run(case) for case in cases]
        begun = [case for case, run in zip(cases, plain, strict=True) if run is not None]
        eels = self._sent("eels", begun)
        revm = self._sent("revm", [case for case in begun if case.fork in FORKS_OF_REVM])
        traced = [self.run(case, trace=True) for case in cases]
        found: list[list[str]] = []
        for case, run, steps in zip(cases, plain, traced, strict=True):
            found.append([f"traced, {line}" for line in differences(run, steps)])
            found[-1] += [f"compiled, {line}" for line in differences(run, self.run(case, self._jit))]
            if steps is not None and steps.steps and chance.random() < FROM_THE_MIDDLE:
                before = chance.randrange(len(steps.steps))
                got = self.run(case, self._jit, steps_before=before)
                found[-1] += [f"compiled after {before} steps, {line}" for line in differences(run, got)]
        theirs = {"eels": iter(eels()), "revm": iter(revm())}
        for case, steps, lines in zip(cases, traced, found, strict=True):
            if steps is not None:
                lines += self._against(case, steps, theirs)
        failed = [(case, lines) for case, lines in zip(cases, found, strict=True) if lines]
        for case, steps in zip(cases, traced, strict=True):
            if steps is not None and chance.random() < share:
                failed += self._stopped_everywhere(case, steps)
        return failed

    def _sent(self, name: str, cases: list[Case]) -> Callable[[], list[Run | None]]:
        """Begin to run cases in an oracle; call what comes back for the ends. Nothing without the oracle."""
        oracle = self._oracles.get(name)
        if oracle is None or not cases:
            return list
        oracle.send(cases)
        return oracle.receive

    def _against(self, case: Case, ours: Run, theirs: dict[str, Iterator[Run | None]]) -> list[str]:
        found = []
        for name, runs in theirs.items():
            if name not in self._oracles or (name == "revm" and case.fork not in FORKS_OF_REVM):
                continue
            their = next(runs)
            if name == "eels":
                self.counts.lines += len(ours.steps or ())
            else:
                self.counts.with_revm += 1
            found += [f"{name}, {line}" for line in differences(ours, their, destroyed_too=name == "eels")]
        return found

    def _stopped_everywhere(self, case: Case, steps: Run) -> list[tuple[Case, list[str]]]:
        variants = [replace(case, gas=gas) for gas in gas_limits(case, steps, STEPS_OF_A_PROGRAM)]
        self.counts.limits += len(variants)
        has_revm = "revm" in self._oracles and case.fork in FORKS_OF_REVM
        revm = self._sent("revm", variants if has_revm else [])
        failed = []
        ours = [self.run(variant) for variant in variants]
        for variant, run in zip(variants, ours, strict=True):
            lines = [f"compiled, {line}" for line in differences(run, self.run(variant, self._jit))]
            if lines:
                failed.append((variant, lines))
        for variant, run, their in zip(variants, ours, revm(), strict=False):
            self.counts.with_revm += 1
            lines = [f"revm, {line}" for line in differences(run, their, destroyed_too=False)]
            if lines:
                failed.append((variant, lines))
        return failed

    def finish(self) -> Counts:
        """End the oracles; what was run."""
        for oracle in self._oracles.values():
            oracle.close()
        self._jit.status()
        metrics = self._jit.metrics
        self.counts.contracts, self.counts.blocks = metrics.compiled, metrics.functions
        self.counts.entered, self.counts.left = metrics.entered, metrics.deoptimised
        return self.counts
