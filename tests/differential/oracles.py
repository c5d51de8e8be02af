"""Other implementations as oracles of many random programs: each a worker process that batches go to."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path
from typing import Any

from tests.differential.programs import CONTRACTS, Case
from tests.differential.running import NUMBER, WATCHED, Run, block_hash, message_gas
from tests.programs import find_oracle

FOLDER = Path(__file__).parent
MODULES = {"revm": "pyrevm"} | dict.fromkeys(("eels", "eels_chain", "eels_tracing"), "ethereum.forks.osaka")
"""What each needs in the oracles' environment."""
OF_PROGRAMS = ("eels", "revm")
"""Those that run programs; `eels_chain` runs whole transactions and blocks."""
FORKS_OF_REVM = frozenset(
    ("SPURIOUS_DRAGON", "BYZANTIUM", "PETERSBURG", "ISTANBUL", "BERLIN", "LONDON", "PARIS", "SHANGHAI", "CANCUN")
)
"""pyrevm 0.3 ends with Cancun; before Spurious Dragon it mattered whether an account exists, and to it all do."""


def is_installed(name: str) -> bool:
    """Whether an implementation is there."""
    program = find_oracle("python")
    if program is None:
        return False
    command = [program, "-c", f"import {MODULES[name]}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Oracle:
    """One worker process."""

    def __init__(self, name: str, program: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [program, str(FOLDER / f"{name}_worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @classmethod
    def start(cls, name: str) -> Oracle | None:
        """The worker, None where the implementation is not installed."""
        program = find_oracle("python")
        return cls(name, program) if program is not None and is_installed(name) else None

    def send(self, cases: list[Case]) -> None:
        """Begin to run a batch; `receive` must be called before the next one. No case may be refused by EELS."""
        batch: dict[str, Any] = {
            "cases": [case.to_json() | {"message_gas": message_gas(case)} for case in cases],
            "contracts": CONTRACTS,
            "watched": WATCHED,
            "block_hashes": [block_hash(number) for number in range(NUMBER - 256, NUMBER)],
        }
        self.put(batch)

    def receive(self) -> list[Run | None]:
        """What came of the batch; None for cases that were refused. Raises `EOFError` if the worker died."""
        return [None if end is None else Run(**end) for end in self.take()]

    def put(self, batch: dict[str, Any]) -> None:
        """Begin to run ``cases`` as the worker wants them; `take` must be called before the next batch."""
        assert self._process.stdin is not None
        pickle.dump(batch, self._process.stdin, protocol=5)
        self._process.stdin.flush()

    def take(self) -> list[Any]:
        """What the worker said of each case. Raises `EOFError` if it died."""
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
