"""Whole transactions and blocks run in every way, and what differs: interpreter, JIT, EELS."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.differential.block_cases import BlockCase, verdicts
from tests.differential.checking import Summed, ended_if_it_hangs
from tests.differential.oracles import Oracle
from tests.differential.state_cases import (
    End,
    StateCase,
    differences,
    encoded,
    for_the_oracle,
    network_of,
    run_state_case,
)
from tests.paths import OBJECTS
from vm.machine import Machine

ChainCase = StateCase | BlockCase
"""A transaction or blocks."""


@dataclass
class ChainCounts(Summed):
    """What was run."""

    transactions: int = 0
    executed: int = 0
    """Of these; the others were refused."""
    failed: int = 0
    """Of the executed: ended by an exception or a revert."""
    chains: int = 0
    blocks: int = 0
    """Tried at the end of a chain."""
    accepted: int = 0
    known: int = 0
    """Differences that `KNOWN` explains."""
    given_up: int = 0
    """Cases too long for EELS, and transactions whose fields have no encoding."""


class Known:
    """A difference that is not a fault of zvmd's."""

    def __init__(self, ours: str, theirs: str, reason: str) -> None:
        """Regular expressions of what each says; nothing is said of what is accepted."""
        self.ours, self.theirs = re.compile(ours), re.compile(theirs)
        self.reason = reason


HANG_SECONDS = 300
"""Of processor time: a dozen blocks that spend all their gas on the dearest opcodes take a third of it."""

KNOWN = (
    Known(
        r"block\.header: gas_limit: \d+ is not in",
        "$",
        "no gas limit above 2**63 - 1: clients' rule, tested by ethereum/tests; EELS has none",
    ),
    Known(
        "",
        "!OverflowError modexp",
        "lengths of MODEXP whose sum is above 2**256: Python raises; the call runs out of gas (EIP-198)",
    ),
    Known(
        r"block\.header: gas_limit: \d+ is too far from the parent's",
        "$",
        "EELS does not look at the gas limit of London's first block; EIP-1559 does",
    ),
    Known(
        r"block\.uncles",
        "!AttributeError validate_header: 'Header' object has no attribute 'base_fee_per_gas'",
        "EELS looks for a base fee in the parent of an uncle of London's first block",
    ),
    Known(
        r"input\.rlp: an integer of \d+ bytes, the limit is 8",
        "$|InvalidBlock",
        "numbers of a header have at most 64 bits, as in geth and EIP-1985's draft; EELS' have no limit",
    ),
)
"""Every one is named in docs/conformance.md."""


def known(ours: str, theirs: str) -> bool:
    """Whether a difference is explained."""
    return any(entry.ours.match(ours) and entry.theirs.match(theirs) for entry in KNOWN)


class ChainChecker:
    """All ways to run a case. ``running`` is a file that names the case being run, for whoever survives a crash."""

    def __init__(self, oracle: Oracle, running: Path | None = None) -> None:
        self.counts = ChainCounts()
        self.machine = build_machine(cache=FileObjectCache(OBJECTS))
        self.refusals: Counter[tuple[str, str]] = Counter()
        """By zvmd's reason and EELS'."""
        self._jit = build_machine(engine="jit")
        self._oracle = oracle
        self._running = None if running is None else os.open(running, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def check(self, cases: list[ChainCase]) -> list[tuple[ChainCase, list[str]]]:
        """The cases that differ anywhere and what differs."""
        sent = [(case, plain) for case in cases if (plain := as_sent(case)) is not None]
        self.counts.given_up += len(cases) - len(sent)
        self._oracle.put({"cases": [plain for _, plain in sent]})
        ours = [self._run(case, self.machine) for case, _ in sent]
        compiled = [self._run(case, self._jit) for case, _ in sent]
        found = []
        for (case, _), mine, other, their in zip(sent, ours, compiled, self._oracle.take(), strict=True):
            lines = [f"compiled, {line}" for line in differing(mine, other)]
            if "given_up" in their:
                self.counts.given_up += 1
            else:
                lines += [f"eels, {line}" for line in self._against(case, mine, their)]
            if lines:
                found.append((case, lines))
        return found

    def _run(self, case: ChainCase, machine: Machine) -> Any:
        if self._running is not None:
            os.pwrite(self._running, msgspec.json.encode(document_of(case)) + b"\n", 0)
        with ended_if_it_hangs(HANG_SECONDS):
            return verdicts(case, machine) if isinstance(case, BlockCase) else run_state_case(case, machine)

    def _against(self, case: ChainCase, ours: Any, theirs: dict[str, Any]) -> Iterator[str]:
        if not isinstance(case, BlockCase):
            yield from self._against_transaction(ours, End(**theirs))
            return
        if "refusal" in theirs:
            yield f"a block before: zvmd accepts, the other {theirs['refusal']}"
            return
        self.counts.chains += 1
        for number, (mine, other, how) in enumerate(zip(ours, theirs["verdicts"], case.made_by, strict=True)):
            self.counts.blocks += 1
            self.counts.accepted += not mine
            if mine and other:
                self.refusals[mine.partition(":")[0], other.partition(":")[0]] += 1
            if bool(mine) == bool(other) and not other.startswith("!"):
                continue
            if known(mine, other):
                self.counts.known += 1
                continue
            yield f"block {number}, {how}: zvmd {mine or 'accepts'}, the other {other or 'accepts'}"

    def _against_transaction(self, ours: End, theirs: End) -> Iterator[str]:
        self.counts.transactions += 1
        self.counts.executed += not ours.refusal
        self.counts.failed += ours.success is False
        if ours.refusal and theirs.refusal:
            self.refusals[ours.refusal.partition(":")[0], theirs.refusal.partition(":")[0]] += 1
        if (ours.refusal or theirs.refusal) and known(ours.refusal, theirs.refusal):
            self.counts.known += 1
            return
        yield from differences(ours, theirs)

    def finish(self) -> ChainCounts:
        """End the oracle; what was run."""
        self._oracle.close()
        return self.counts


def as_sent(case: ChainCase) -> dict[str, Any] | None:
    """The case for the oracle, None if it cannot be said to it."""
    if isinstance(case, BlockCase):
        return case.for_the_oracle()
    raw = encoded(case)
    return None if raw is None else for_the_oracle(case, raw)


def differing(ours: Any, theirs: Any) -> list[str]:
    """What differs between two ways of zvmd."""
    if isinstance(ours, End):
        return list(differences(ours, theirs)) or ([] if ours == theirs else [f"{ours} {theirs}"])
    return [f"{one} {two}" for one, two in zip(ours, theirs, strict=True) if one != two]


def document_of(case: ChainCase) -> dict[str, Any]:
    """As it is saved."""
    return asdict(case) if isinstance(case, BlockCase) else case


def case_of(document: dict[str, Any]) -> ChainCase:
    """What was saved."""
    rest = {name: value for name, value in document.items() if name != "differed"}
    return BlockCase(**rest) if "genesis" in rest else rest


def fork_of(case: ChainCase) -> str:
    """Its name."""
    return case.network if isinstance(case, BlockCase) else network_of(case)
