"""Running state tests: a subtest is one transaction over a state, judged by state root and logs hash."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from chain.errors import InvalidTransaction, ZvmdError
from chain.fees import GAS_PER_BLOB
from chain.receipts import logs_hash
from chain.types import Hash32
from node.conformance.errors import VectorsUnreadable
from node.conformance.memory_state import MemoryState
from node.conformance.state_case import (
    FORK_NAMES,
    CaseUnreadable,
    Indexes,
    block_hashes_of,
    environment_of,
    signed_transaction,
)
from node.conformance.trace import TracedMachine, TraceWriter
from node.conformance.vectors import VectorFile
from vm.journal import Journal
from vm.machine import Machine, ObjectCache
from vm.transaction import apply_transaction

FILES_IN_FLIGHT_PER_JOB = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """Which subtests to run."""

    fork: str | None = None
    """Only this fork, by the vectors' name."""
    match: str | None = None
    """Only names in which this regular expression is found; a name is ``file::case[fork-dN-gN-vN]``."""


@dataclass(slots=True)
class SubtestResult:
    """What came of one subtest."""

    name: str
    fork: str
    passed: bool
    got_root: str = ""
    want_root: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        result: dict[str, Any] = {"name": self.name, "fork": self.fork, "pass": self.passed}
        result |= {"got": self.got_root, "want": self.want_root}
        if self.error:
            result["error"] = self.error
        return result


class StateTestRunner:
    """Runs subtests on one machine."""

    def __init__(
        self,
        engine: str = "interpreter",
        trace: Callable[[str], None] | None = None,
        cache: ObjectCache | None = None,
    ) -> None:
        """``trace`` is given EIP-3155 lines. Raises `EngineUnavailable`."""
        self.machine = Machine(cache, engine) if trace is None else TracedMachine(TraceWriter(trace))

    def run_file(self, file: VectorFile, selection: Selection) -> Iterator[SubtestResult]:
        """All selected subtests of a file, in its order. Raises `VectorsUnreadable`."""
        try:
            cases = msgspec.json.decode(file.data)
        except msgspec.DecodeError as error:
            raise VectorsUnreadable(f"{file.name}: {error}") from None
        if not isinstance(cases, dict):
            raise VectorsUnreadable(f"{file.name}: not an object of cases")
        wanted = re.compile(selection.match) if selection.match else None
        for case_name, case in cases.items():
            if not isinstance(case, dict) or not case.keys() >= {"env", "pre", "transaction", "post"}:
                raise VectorsUnreadable(f"{file.name}: {case_name} is not a state test")
            yield from self._run_case(f"{file.name}::{case_name}", case, selection.fork, wanted)

    def _run_case(
        self, name: str, case: dict[str, Any], only_fork: str | None, wanted: re.Pattern[str] | None
    ) -> Iterator[SubtestResult]:
        state: MemoryState | None = None
        for fork_name, expectations in case["post"].items():
            if only_fork is not None and FORK_NAMES.get(only_fork) != FORK_NAMES.get(fork_name):
                continue
            for expected in expectations:
                indexes = Indexes(**expected["indexes"])
                full = f"{name}[{fork_name}-d{indexes.data}-g{indexes.gas}-v{indexes.value}]"
                if wanted is not None and not wanted.search(full):
                    continue
                if state is None:
                    state = MemoryState.from_json(case["pre"])
                yield self._run_subtest(full, case, fork_name, expected, indexes, state)

    def _run_subtest(
        self,
        name: str,
        case: dict[str, Any],
        fork_name: str,
        expected: dict[str, Any],
        indexes: Indexes,
        state: MemoryState,
    ) -> SubtestResult:
        result = SubtestResult(name, fork_name, passed=False, want_root=expected["hash"])
        if fork_name not in FORK_NAMES:
            result.error = f"fork {fork_name} is not known"
            return result
        try:
            root, logs, refusal = self._execute(case, fork_name, expected, indexes, state)
        except (ZvmdError, CaseUnreadable) as error:
            result.error = str(error)
            return result
        except Exception as error:
            # A bug of ours in one subtest must not hide the results of the others.
            result.error = f"{type(error).__name__}: {error}"
            return result
        result.got_root = "0x" + root.hex()
        if "expectException" in expected and refusal is None:
            result.error = f"accepted, but expected {expected['expectException']}"
        elif "expectException" not in expected and refusal is not None:
            result.error = f"refused: {refusal}"
        elif result.got_root != result.want_root:
            result.error = "state root differs"
        elif "0x" + logs.hex() != expected["logs"]:
            result.error = "logs differ"
        else:
            result.passed = True
        return result

    def _execute(
        self,
        case: dict[str, Any],
        fork_name: str,
        expected: dict[str, Any],
        indexes: Indexes,
        state: MemoryState,
    ) -> tuple[Hash32, Hash32, str | None]:
        """State root, logs hash and, if the transaction was refused, why."""
        environment = environment_of(case, fork_name)
        journal = Journal(state, environment.fork)
        try:
            tx, sender = signed_transaction(case, expected, indexes, environment.fork, environment.chain_id)
            result = apply_transaction(
                self.machine,
                environment,
                block_hashes_of(case),
                journal,
                tx,
                sender,
                block_gas_left=environment.gas_limit,
                blob_gas_left=environment.blob_schedule.max * GAS_PER_BLOB,
            )
        except (InvalidTransaction, ValueError) as error:
            reason = f"{getattr(error, 'code', 'input')}: {error}"
            if "config" not in case:
                # Vectors without it were filled by geth, which ends every test with a block reward of 0:
                # before EIP-161 that creates the coinbase. EELS, which fills the others, does not.
                journal.add_balance(environment.coinbase, 0)
            return state.root_after(journal.delta()), logs_hash(()), reason
        return state.root_after(journal.delta()), logs_hash(result.logs), None


_runner: StateTestRunner | None = None
"""Of a worker process."""


def _run_in_worker(engine: str, file: VectorFile, selection: Selection) -> list[SubtestResult]:
    global _runner
    if _runner is None:
        _runner = StateTestRunner(engine)
    return list(_runner.run_file(file, selection))


def run_state_tests(
    files: Iterable[VectorFile],
    selection: Selection,
    *,
    engine: str = "interpreter",
    jobs: int = 1,
    trace: Callable[[str], None] | None = None,
    cache: ObjectCache | None = None,
) -> Iterator[SubtestResult]:
    """All selected subtests, in order; ``jobs`` processes, 0 for one per CPU, a single one with ``trace``.

    Raises `EngineUnavailable`, `VectorsUnreadable`.
    """
    if jobs == 1 or trace is not None:
        runner = StateTestRunner(engine, trace, cache)
        for file in files:
            yield from runner.run_file(file, selection)
        return
    Machine(engine=engine)  # refuses here, not in a worker
    jobs = jobs or os.cpu_count() or 1
    waiting: list[Future[list[SubtestResult]]] = []
    source = iter(files)
    with ProcessPoolExecutor(jobs) as pool:
        while True:
            room = FILES_IN_FLIGHT_PER_JOB * jobs - len(waiting)
            waiting += [pool.submit(_run_in_worker, engine, file, selection) for file in islice(source, room)]
            if not waiting:
                return
            yield from waiting.pop(0).result()
