"""revm as an oracle, fast enough for many random programs: batches go to a worker process, its traces come back."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.differential.programs import CONTRACTS, Case
from tests.differential.running import WATCHED, Run
from tests.programs import find_oracle

WORKER = Path(__file__).with_name("revm_worker.py")


class _Line(msgspec.Struct):
    """A line of the worker: a step, revm's summary, or the end of a case."""

    pc: int = -1
    op: int = -1
    gas: str = ""
    stack: tuple[str, ...] = ()
    depth: int = 0
    memSize: str = ""
    output: str = ""
    end: bool = False
    refused: str = ""
    gas_used: int = 0
    success: bool = False
    logs: list[tuple[str, list[str], str]] = []
    accounts: list[tuple[str, str]] = []
    storage: list[list[str]] = []


_DECODER = msgspec.json.Decoder(_Line)


class Revm:
    """The worker process."""

    def __init__(self, program: str) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        appending = os.open(f"/proc/self/fd/{self._output.fileno()}", os.O_WRONLY | os.O_APPEND)
        self._process = subprocess.Popen(
            [program, str(WORKER)], stdin=subprocess.PIPE, stdout=appending, stderr=subprocess.PIPE
        )
        os.close(appending)

    @classmethod
    def start(cls) -> Revm | None:
        """The worker, None where revm is not installed."""
        program = find_oracle("python")
        if (
            program is None
            or subprocess.run([program, "-c", "import pyrevm"], capture_output=True).returncode
        ):
            return None
        return cls(program)

    @classmethod
    def start_or_skip(cls) -> Revm:
        """The worker, or the test is skipped."""
        return cls.start() or pytest.skip("no revm here: `make oracles` installs it")

    def send(self, cases: list[Case], traced: list[bool]) -> None:
        """Begin to run a batch; `receive` must be called before the next one."""
        batch: dict[str, Any] = {"cases": [case.to_json() for case in cases], "traced": traced}
        batch |= {"contracts": CONTRACTS, "watched": WATCHED}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(batch).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> list[Run | None]:
        """What came of the batch; None for cases revm refused."""
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if said != b"\n":
            raise RuntimeError(f"revm's worker died: {(said + self._process.stderr.read())[-2_000:]!r}")
        self._output.seek(0)
        text = self._output.read()
        self._output.truncate(0)
        return list(_runs(text))

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._output.close()


def _runs(text: bytes) -> Iterator[Run | None]:
    run = Run()
    for raw in text.splitlines():
        line = _DECODER.decode(raw)
        if line.pc >= 0:
            run.steps.append((line.pc, line.op, int(line.gas, 16), line.depth, int(line.memSize), line.stack))
        elif line.end:
            run.output, run.gas_used, run.success = line.output, line.gas_used, line.success
            run.logs = [
                (address, [topic.removeprefix("0x") for topic in topics], data)
                for address, topics, data in line.logs
            ]
            run.accounts, run.storage = line.accounts, line.storage
            yield None if line.refused else run
            run = Run()
