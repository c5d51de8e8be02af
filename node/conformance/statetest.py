"""Runs state tests: a subtest is one transaction on a state, judged by state root and logs hash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction, ZvmdError
from chain.fees import GAS_PER_BLOB
from chain.receipts import logs_hash
from chain.types import Hash32
from node.conformance import vmtest
from node.conformance.errors import VectorsUnreadable
from node.conformance.memory_state import MemoryState
from node.conformance.running import INTERPRETED, CaseResult, MachineChoice, Selection, cases_of, run_files
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
from vm.evm.jit.metrics import Metrics
from vm.journal import Journal
from vm.machine import Machine
from vm.transaction import TransactionResult, apply_transaction


class StateTestRunner:
    """Runs subtests on one machine."""

    def __init__(
        self,
        choice: MachineChoice = INTERPRETED,
        trace: Callable[[str], None] | None = None,
        memory: bool = False,
    ) -> None:
        """``trace`` is given EIP-3155 lines, with ``memory`` if wanted. Raises `EngineUnavailable`."""
        writer = self._writer = None if trace is None else TraceWriter(trace, memory=memory)
        self.machine = Machine(choice.parts()) if writer is None else TracedMachine(writer, choice.parts())

    def run_file(self, file: VectorFile, selection: Selection) -> Iterator[CaseResult]:
        """All selected subtests of a file, in its order. Raises `VectorsUnreadable`."""
        wanted = selection.pattern()
        for case_name, case in cases_of(file).items():
            if case.keys() >= vmtest.KEYS:
                full = f"{file.name}::{case_name}[{vmtest.FORK_NAME}]"
                of_fork = selection.fork in (None, vmtest.FORK_NAME)
                if of_fork and (wanted is None or wanted.search(full)):
                    yield vmtest.run_vm_case(self.machine, full, case)
                continue
            if not case.keys() >= {"env", "pre", "transaction", "post"}:
                raise VectorsUnreadable(f"{file.name}: {case_name} is not a state test")
            yield from self._run_case(f"{file.name}::{case_name}", case, selection.fork, wanted)

    def _run_case(
        self, name: str, case: dict[str, Any], only_fork: str | None, wanted: re.Pattern[str] | None
    ) -> Iterator[CaseResult]:
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
    ) -> CaseResult:
        result = CaseResult(name, fork_name, passed=False, want_root=expected["hash"])
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
        if self._writer is not None:
            self._writer.finish(fork_name, root, refusal)
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
            result = apply_case(self.machine, case, expected, indexes, environment, journal)
        except (InvalidTransaction, ValueError) as error:
            reason = f"{getattr(error, 'code', 'input')}: {error}"
            if "config" not in case:
                # Vectors without it were filled by geth, which ends every test with a block reward of 0:
                # before EIP-161 that creates the coinbase. EELS, which fills the others, does not.
                journal.add_balance(environment.coinbase, 0)
            return state.root_after(journal.delta()), logs_hash(()), reason
        return state.root_after(journal.delta()), logs_hash(result.logs()), None


def apply_case(
    machine: Machine,
    case: dict[str, Any],
    expected: dict[str, Any],
    indexes: Indexes,
    environment: BlockEnvironment,
    journal: Journal,
) -> TransactionResult:
    """Sign the transaction of a subtest and apply it to the journal. Raises `InvalidTransaction`, `ValueError`."""
    tx, sender = signed_transaction(case, expected, indexes, environment.fork, environment.chain_id)
    return apply_transaction(
        machine,
        environment,
        block_hashes_of(case),
        journal,
        tx,
        sender,
        block_gas_left=environment.gas_limit,
        blob_gas_left=environment.blob_schedule.max * GAS_PER_BLOB,
    )


def run_state_tests(
    files: Iterable[VectorFile],
    selection: Selection,
    *,
    choice: MachineChoice = INTERPRETED,
    jobs: int = 1,
    did: Metrics | None = None,
    trace: Callable[[str], None] | None = None,
    memory: bool = False,
) -> Iterator[CaseResult]:
    """All selected subtests, in order; in one process with ``trace``, whose lines may hold all memory.

    What the JIT did is added to ``did``. Raises `EngineUnavailable`, `VectorsUnreadable`.
    """
    make: Callable[[MachineChoice], StateTestRunner] = StateTestRunner
    if trace is not None:
        make, jobs = partial(StateTestRunner, trace=trace, memory=memory), 1
    return run_files(make, files, selection, choice=choice, jobs=jobs, did=did)
