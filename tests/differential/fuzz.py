"""Differential fuzzing: ``python -m tests.differential.fuzz --programs 100000 --seed 0``.

Every program runs in the interpreter, step by step with its EIP-3155 trace, and compiled; of some compiled code takes
over in the middle, some run out of gas at every step. Traces and ends are compared with those of the execution
specification, ends with those of revm. Runs in processes of its own: what kills or hangs one is found by another. A
case that fails is made small and saved in ``regressions/``, where the tests find it. ``--case FILE`` runs a saved one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.differential.checking import EVERY_STEP, Checker, Counts
from tests.differential.oracles import OF_PROGRAMS, Oracle
from tests.differential.programs import Case, random_case
from tests.differential.running import starved
from tests.paths import REPO

REGRESSIONS = Path(__file__).with_name("regressions")
BATCH = 100
STARVED = 0.45
"""Share of programs that run out of gas at a random point."""
SEED_STRIDE = 10_000_000
SHRINK_TRIES = 1_500
SHRINK_TRIES_IN_PROCESSES = 60
"""A case that kills a process is tried in a new one each time."""
STOP_AFTER = 5
"""Failures of a process after which it ends."""


class Campaign(NamedTuple):
    """What runs in processes of its own."""

    module: str
    """Has a command with ``--range FIRST COUNT --running FILE``, which says last what it counted and what failed."""
    counts: Callable[..., Any]
    after_a_crash: Callable[[Path, int], str]
    """Is given the file of what ran, and how the process ended."""


def cases(first: int, count: int, checker: Checker) -> Iterator[Case]:
    """The cases of so many numbers; a seed's numbers begin at `SEED_STRIDE` times the seed."""
    for number in range(first, first + count):
        case = random_case(number)
        chance = random.Random(f"gas {number}")
        if chance.random() < STARVED:
            run = checker.run(case)
            if run is not None:
                case = starved(case, run, chance.random())
        yield case


def shrink(case: Case, fails: Callable[[Case], bool], tries: int = SHRINK_TRIES) -> Case:
    """A smaller case that fails too: pieces are cut out of the codes while it still does."""
    for smaller in (replace(case, data=""), replace(case, value=0)):
        if fails(smaller):
            case = smaller
    for which in range(len(case.codes)):
        case, tries = _with_less_code(case, which, fails, tries)
    return case


def _with_less_code(
    case: Case, which: int, fails: Callable[[Case], bool], tries: int
) -> tuple[Case, int]:
    def with_code(code: str) -> Case:
        return replace(case, codes=[*case.codes[:which], code, *case.codes[which + 1 :]])

    code, tries = cut(case.codes[which], lambda code: fails(with_code(code)), tries)
    return with_code(code), tries


def cut(code: str, fails: Callable[[str], bool], tries: int) -> tuple[str, int]:
    """Hex code without the pieces that it fails without, and how many tries are left: halves, then smaller ones."""
    size = len(code) // 2
    while size and tries:
        at = 0
        while at < len(code) // 2 and tries:
            smaller = code[: 2 * at] + code[2 * (at + size) :]
            tries -= 1
            if fails(smaller):
                code = smaller
            else:
                at += size
        size //= 2
    return code, tries


def save(case: Case, found: list[str]) -> Path:
    """Keep a case that failed, with what differed then."""
    text = json.dumps(case.to_json() | {"differed": [line[:600] for line in found]}, indent=1) + "\n"
    path = REGRESSIONS / f"{case.fork.lower()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def load(path: Path) -> Case:
    """A saved case."""
    document = json.loads(path.read_text())
    document.pop("differed", None)
    return Case(**document)


def fuzz(first: int, count: int, checker: Checker, *, keep: bool = True) -> list[str]:
    """Run cases; a line for each that failed."""
    failures: list[str] = []
    batch: list[Case] = []
    for number, case in enumerate(cases(first, count, checker), 1):
        batch.append(case)
        if len(batch) < BATCH and number < count:
            continue
        for failed, found in checker.check(batch):
            small = shrink(failed, lambda smaller: bool(checker.check([smaller], 0)))
            said = checker.check([small], 0)
            lines = said[0][1] if said else found
            failures.append(f"{save(small, lines) if keep else small}: {lines[0][:900]}")
        checker.counts.programs += len(batch)
        batch = []
        if len(failures) >= STOP_AFTER:
            break
    return failures


def run_processes(
    seed: int, programs: int, jobs: int, *, alone: bool = False, campaign: Campaign | None = None
) -> tuple[Any, list[str]]:
    """Run so many programs in so many processes: what was run, and a line for each failure."""
    module, make_counts, after_a_crash = campaign or PROGRAMS
    counts, failures = make_counts(), []
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for job in range(jobs):
            first, end = (seed * SEED_STRIDE + programs * part // jobs for part in (job, job + 1))
            running = Path(folder) / f"{job}.json"
            command = [sys.executable, "-m", module, "--range", str(first), str(end - first)]
            command += ["--running", str(running), *(["--alone"] if alone else [])]
            children.append((subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True), running))
        for child, running in children:
            said, _ = child.communicate()
            if child.returncode in (0, 1):
                ended = json.loads(said.splitlines()[-1])
                counts.add(make_counts(**ended["counts"]))
                failures += ended["failures"]
            else:
                failures.append(after_a_crash(running, child.returncode))
    return counts, failures


def _after_a_crash(running: Path, code: int) -> str:
    """Save what ran when a process died, made small."""
    case = Case(**json.loads(running.read_text().splitlines()[0]))

    def kills(tried: Case) -> bool:
        path = running.with_suffix(".tried.json")
        path.write_text(json.dumps(tried.to_json()))
        command = [sys.executable, "-m", "tests.differential.fuzz", "--alone", "--case", str(path)]
        return subprocess.run(command, cwd=REPO, capture_output=True, check=False).returncode not in (0, 1)

    if not kills(case):
        return f"{save(case, [f'the process ended with {code}'])}: ended with {code}, but not when run again"
    small = shrink(case, kills, SHRINK_TRIES_IN_PROCESSES)
    return f"{save(small, [f'the process ended with {code}'])}: the process ended with {code}"


PROGRAMS = Campaign("tests.differential.fuzz", Counts, _after_a_crash)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its oracles")
    parser.add_argument("--alone", action="store_true", help="zvmd against itself, without EELS and revm")
    parser.add_argument("--case", type=Path, help="run one saved case")
    parser.add_argument("--range", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--running", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is None and options.range is None:
        start = time.monotonic()
        counts, failures = run_processes(options.seed, options.programs, options.jobs, alone=options.alone)
        print("\n".join(failures))
        print(f"seed {options.seed}: {counts}, {len(failures)} differ, {time.monotonic() - start:.0f} s")
        return bool(failures)
    oracles = [] if options.alone else [Oracle.start(name) for name in OF_PROGRAMS]
    if None in oracles:
        print("no oracles here: `make oracles` installs them, --alone does without", file=sys.stderr)
        return 2
    checker = Checker([oracle for oracle in oracles if oracle is not None], options.running)
    if options.case is not None:
        found = checker.check([load(options.case)], EVERY_STEP)
        failures = [line for _, lines in found for line in lines]
        print("\n".join(failures) or "no difference")
        checker.finish()
        return bool(failures)
    first, count = options.range
    failures = fuzz(first, count, checker)
    print(json.dumps({"counts": asdict(checker.finish()), "failures": failures}))
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
