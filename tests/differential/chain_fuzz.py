"""Whole transactions and blocks beside EELS: ``python -m tests.differential.chain_fuzz --cases 10000 --seed 0``.

Official state tests and block tests are mutated, run in the interpreter and compiled, and compared with the execution
specification: refused or not, gas used, logs, every account; of blocks, whether they may follow. Three cases in four
are transactions. A case that fails is made small and saved in ``regressions/chain``. ``--case FILE`` runs a saved one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.conformance.matrix import STATE
from tests.differential import fuzz
from tests.differential.block_cases import BlockCase
from tests.differential.block_mutations import mutated_official, new_blocks
from tests.differential.chain_checking import (
    ChainCase,
    ChainChecker,
    ChainCounts,
    case_of,
    document_of,
    fork_of,
)
from tests.differential.oracles import Oracle
from tests.differential.state_cases import NETWORKS, WITHOUT_TRANSACTIONS, StateCase, official_case
from tests.differential.state_mutations import mutated

REGRESSIONS = fuzz.REGRESSIONS / "chain"
BATCH = 20
BLOCKS_EVERY = 4
"""One case in so many is of blocks."""
ARCHIVES = tuple(name for name in STATE if name != WITHOUT_TRANSACTIONS)
SHRINK_TRIES = 600
Place = tuple[str | int, ...]
"""Keys that lead to a part of a state test."""
STOP_AFTER = 20
"""Failures of a process after which it ends."""


def cases(
    first: int, count: int, checker: ChainChecker, networks: tuple[str, ...] = NETWORKS
) -> Iterator[ChainCase | None]:
    """The cases of so many numbers, None where a number gives none."""
    for number in range(first, first + count):
        chance = random.Random(number)
        if number % BLOCKS_EVERY:
            case, other = official_case(chance, ARCHIVES), official_case(chance, ARCHIVES)
            yield mutated(chance, case, other, networks)
        elif chance.random() < 0.5:
            yield mutated_official(chance, checker.machine, networks)
        else:
            yield new_blocks(chance, checker.machine, ARCHIVES, networks)


def shrink(case: ChainCase, fails: Callable[[ChainCase], bool], tries: int = SHRINK_TRIES) -> ChainCase:
    """A smaller case that fails too: of blocks the one that does, of a transaction less accounts, code, data."""
    if isinstance(case, BlockCase):
        for raw, how in zip(case.tried, case.made_by, strict=True):
            smaller: ChainCase = replace(case, tried=[raw], made_by=[how])
            if fails(smaller):
                return smaller
        return case
    for place in list(_parts(case)):
        tried = deepcopy(case)
        del _holder(tried, place)[place[-1]]
        tries -= 1
        if tries > 0 and fails(tried):
            case = tried
    for place in list(_texts(case)):
        case, tries = _with_less_text(case, place, fails, tries)
    return case


def _with_less_text(
    case: StateCase, place: Place, fails: Callable[[ChainCase], bool], tries: int
) -> tuple[StateCase, int]:
    def with_text(text: str) -> StateCase:
        made = deepcopy(case)
        _holder(made, place)[place[-1]] = "0x" + text
        return made

    text, tries = fuzz.cut(_holder(case, place)[place[-1]][2:], lambda text: fails(with_text(text)), tries)
    return with_text(text), tries


def _parts(case: StateCase) -> Iterator[Place]:
    """What a state test may do without; of lists the last first, so that places stay."""
    tx = case["transaction"]
    for place in reversed(range(len((tx.get("accessLists") or [None])[0] or ()))):
        yield ("transaction", "accessLists", 0, place)
    for place in reversed(range(len(tx.get("authorizationList") or ()))):
        yield ("transaction", "authorizationList", place)
    for name, entry in case["pre"].items():
        yield from (("pre", name, "storage", slot) for slot in entry["storage"])
        yield ("pre", name)


def _texts(case: StateCase) -> Iterator[Place]:
    """What of a state test may be shorter."""
    yield ("transaction", "data", 0)
    yield from (("pre", name, "code") for name in case["pre"])


def _holder(case: Any, place: Place) -> Any:
    for step in place[:-1]:
        case = case[step]
    return case


def save(case: ChainCase, found: list[str]) -> Path:
    """Keep a case that failed, with what differed then."""
    text = json.dumps(document_of(case) | {"differed": [line[:600] for line in found]}, indent=1) + "\n"
    path = REGRESSIONS / f"{fork_of(case).lower()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(path: Path) -> ChainCase:
    """A saved case."""
    return case_of(json.loads(path.read_text()))


def run_range(first: int, count: int, checker: ChainChecker, networks: tuple[str, ...] = NETWORKS) -> list[str]:
    """Run cases; a line for each that failed."""
    failures: list[str] = []
    batch: list[ChainCase] = []
    for number, case in enumerate(cases(first, count, checker, networks), 1):
        if case is not None:
            batch.append(case)
        if len(batch) < BATCH and (number < count or not batch):
            continue
        for failed, found in checker.check(batch):
            small = shrink(failed, lambda smaller: _still_differs(checker, smaller))
            said = checker.check([small])
            lines = said[0][1] if said else found
            failures.append(f"{save(small, lines)}: {lines[0][:900]}")
        batch = []
        if len(failures) >= STOP_AFTER:
            break
    return failures


def _still_differs(checker: ChainChecker, case: ChainCase) -> bool:
    try:
        return bool(checker.check([case]))
    except (KeyError, IndexError, AssertionError):
        return False  # cut too much


def _after_a_crash(running: Path, code: int) -> str:
    """Save what ran when a process died."""
    try:
        case = case_of(json.loads(running.read_text().splitlines()[0]))
    except (IndexError, ValueError):
        return f"the process ended with {code} before any case"
    return f"{save(case, [f'the process ended with {code}'])}: the process ended with {code}"


CHAINS = fuzz.Campaign("tests.differential.chain_fuzz", ChainCounts, _after_a_crash)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its oracle")
    parser.add_argument("--case", type=Path, help="run one saved case")
    parser.add_argument("--range", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--running", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is None and options.range is None:
        start = time.monotonic()
        counts, failures = fuzz.run_processes(options.seed, options.cases, options.jobs, campaign=CHAINS)
        print("\n".join(failures))
        print(f"seed {options.seed}: {counts}, {len(failures)} differ, {time.monotonic() - start:.0f} s")
        return bool(failures)
    oracle = Oracle.start("eels_chain")
    if oracle is None:
        print("no execution specification here: `make oracles` installs it", file=sys.stderr)
        return 2
    checker = ChainChecker(oracle, options.running)
    if options.case is not None:
        lines = [line for _, found in checker.check([load(options.case)]) for line in found]
        print("\n".join(lines) or "no difference")
        checker.finish()
        return bool(lines)
    try:
        failures = run_range(options.range[0], options.range[1], checker)
    except Exception:
        traceback.print_exc()
        return 3
    print(json.dumps({"counts": asdict(checker.finish()), "failures": failures}))
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
