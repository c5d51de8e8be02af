"""The execution specification as an oracle: its EIP-3155 traces of state tests, beside those of zvmd."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.paths import REPO
from tests.programs import find_oracle

COMPARED = ("pc", "op", "gas", "gasCost", "memSize", "stack", "depth", "returnData", "refund", "error")
TIMEOUT_SECONDS = 280

Trace = list[dict[str, Any]]


def eels_program() -> str:
    """The specification's command, or the test is skipped."""
    found = find_oracle("ethereum-spec-evm")
    if found is None:
        pytest.skip("no execution specification here: `make oracles` installs it")
    return found


def trace_with_eels(path: Path) -> list[Trace]:
    """A trace per subtest; its last line is made like zvmd's."""
    command = [eels_program(), "statetest", "--json", "--nomemory", str(path)]
    lines = _lines(command)
    traces, trace = [], []
    for line in lines:
        if set(line) != {"stateRoot"}:
            trace.append(line)
            continue
        last = trace.pop() if trace and "pc" not in trace[-1] else {}
        summary = {"stateRoot": line["stateRoot"]}
        if last:  # a transaction that was refused, or a creation that collided, has none
            summary |= {"output": last["output"], "gasUsed": last["gasUsed"], "pass": "error" not in last}
        traces.append([*trace, summary])
        trace = []
    return traces


def trace_with_zvmd(path: Path) -> list[Trace]:
    """A trace per subtest."""
    traces, trace = [], []
    for line in _lines([sys.executable, "-m", "zvmd", "statetest", "--trace", str(path)]):
        trace.append(line)
        if "stateRoot" in line:
            traces.append(trace)
            trace = []
    return traces


def differences(theirs: Trace, ours: Trace) -> Iterator[str]:
    """What differs between two traces of one subtest, line by line."""
    for number, (their, our) in enumerate(zip_longest(theirs[:-1], ours[:-1], fillvalue={})):
        fields = [field for field in COMPARED if their.get(field) != our.get(field)]
        if fields:
            yield f"line {number}: {fields}: EELS {_short(their)}, zvmd {_short(our)}"
    summary = theirs[-1]
    if summary != {field: ours[-1].get(field) for field in summary}:
        yield f"last line: EELS {_short(summary)}, zvmd {_short(ours[-1])}"


def _lines(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-2_000:]
    return [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]


def _short(line: dict[str, Any]) -> str:
    return json.dumps(line)[:600]
