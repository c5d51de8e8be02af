"""Differential fuzzing: ``python -m tests.differential.fuzz --count 100000 --seed 0``.

Every case runs in zvmd and in revm, whose ends are compared: gas, output, logs, storage, accounts. Almost half are
given so little gas that they run out at a random step, which compares the gas of every step. Of some the traces are
compared as well. A case that fails is made small and saved in ``regressions/``, where the tests find it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.differential.programs import Case, random_case
from tests.differential.revm import Revm
from tests.differential.running import Run, differences, run_case, starved

REGRESSIONS = Path(__file__).with_name("regressions")
BATCH = 100
STARVED = 0.45
"""Share of cases that run out of gas at a random point."""
TRACED_STEPS = 300
"""Longer traces are not asked of revm: it takes a millisecond a step."""
TRACED = 0.01
SHRINK_TRIES = 1_500


def cases(seed: int, count: int) -> Iterator[Case]:
    """The cases of a seed: never the same for two seeds."""
    for number in range(seed * 10_000_000, seed * 10_000_000 + count):
        case = random_case(number)
        chance = random.Random(f"gas {number}")
        if chance.random() < STARVED:
            run = run_case(case, trace=False)
            if run is not None:
                case = starved(case, run, chance.random())
        yield case


def compare(batch: list[Case], revm: Revm | None, traced: float) -> list[tuple[Case, list[str]]]:
    """The cases that differ anywhere. ``traced`` is the share whose steps are compared too."""
    chance = random.Random(batch[0].data)
    steps = [run_case(case, trace=True) if chance.random() < 3 * traced else None for case in batch]
    if revm is not None:
        revm.send(batch, [run is not None and _is_short(run) and chance.random() < 0.4 for run in steps])
    fast = [run_case(case, trace=False) for case in batch]
    theirs = revm.receive() if revm is not None else fast
    failed = []
    for case, ours, our, their in zip(batch, steps, fast, theirs, strict=True):
        found = []
        if ours is not None and their is not None and their.steps:
            found += differences(ours, their)
        elif their is not our:
            found += differences(our, their)
        if ours is not None and not found:
            found += ["when traced, " + line for line in differences(our, replace(ours, steps=[]))]
        if found:
            failed.append((case, found))
    return failed


def _is_short(run: Run) -> bool:
    return len(run.steps) <= TRACED_STEPS and all(len(step[5]) < 40 for step in run.steps)


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """A smaller case that fails too: pieces are cut out of the codes while it still does."""
    tries = 0
    for smaller in (replace(case, data=""), replace(case, value=0)):
        if fails(smaller):
            case = smaller
    for which in range(len(case.codes)):
        size = len(case.codes[which]) // 2
        while size and tries < SHRINK_TRIES:
            at = 0
            while at < len(case.codes[which]) // 2 and tries < SHRINK_TRIES:
                code = case.codes[which]
                cut = code[: 2 * at] + code[2 * (at + size) :]
                smaller = replace(case, codes=[*case.codes[:which], cut, *case.codes[which + 1 :]])
                tries += 1
                if fails(smaller):
                    case = smaller
                else:
                    at += size
            size //= 2
    return case


def save(case: Case, found: list[str]) -> Path:
    """Keep a case that failed, with what differed then."""
    text = json.dumps(case.to_json() | {"differed": [line[:600] for line in found]}, indent=1) + "\n"
    path = REGRESSIONS / f"{case.fork.lower()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.write_text(text)
    return path


def load(path: Path) -> Case:
    """A saved case."""
    document = json.loads(path.read_text())
    document.pop("differed", None)
    return Case(**document)


def fuzz(
    seed: int, count: int, revm: Revm | None, *, keep: bool = True, stop_after: int = 5
) -> tuple[int, list[str]]:
    """Run cases: how many ran, and a line for each that failed."""
    done, failures, batch = 0, [], []
    for number, case in enumerate(cases(seed, count), 1):
        batch.append(case)
        if len(batch) < BATCH and number < count:
            continue
        for failed, found in compare(batch, revm, TRACED):
            small = shrink(failed, lambda smaller: bool(compare([smaller], revm, 0)))
            said = compare([small], revm, 1)
            where = save(small, said[0][1] if said else found) if keep else "not kept"
            failures.append(f"{where}: {(said[0][1] if said else found)[0][:900]}")
        done += len(batch)
        batch = []
        if len(failures) >= stop_after:
            break
    return done, failures


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="without revm: traced against untraced only")
    options = parser.parse_args()
    revm = None if options.alone else Revm.start()
    if revm is None and not options.alone:
        print("no revm here: `make oracles` installs it", file=sys.stderr)
        return 2
    start = time.monotonic()
    done, failures = fuzz(options.seed, options.count, revm)
    print("\n".join(failures))
    print(f"{done} programs, {len(failures)} differ, {time.monotonic() - start:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
