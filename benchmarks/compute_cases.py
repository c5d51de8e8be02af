"""The compute cases of the shared workloads: a program, what it is called with, and what it must give."""

from __future__ import annotations

import hashlib
import json
import re
from typing import NamedTuple

from chain.types import Address
from tests.paths import WORKLOADS

DESCRIPTION = json.loads((WORKLOADS / "cases.json").read_text())
CALLER = Address(bytes.fromhex(DESCRIPTION["caller"][2:]))
GAS = 900_000_000
"""Gas of each call."""


class Case(NamedTuple):
    """One program and what it must give."""

    name: str
    creation: bytes | None
    """None if only the runtime code is known."""
    runtime: bytes
    data: bytes
    gas: int
    digest: str
    """SHA-256 of the output, in hex."""

    def check(self, output: bytes, who: str) -> None:
        """Raises `AssertionError` if that is not the case's output."""
        assert hashlib.sha256(output).hexdigest() == self.digest, f"{self.name}: {who} gave another output"


def cases(match: str) -> list[Case]:
    """Those whose name the regular expression is found in."""
    contracts = json.loads((WORKLOADS / "contracts" / "bench.json").read_text())["contracts"]
    found = []
    for case in DESCRIPTION["cases"]:
        if "contract" in case:
            contract = contracts[case["contract"]]
            creation, runtime = from_hex(contract["bytecode"]), from_hex(contract["runtime"])
            data = from_hex(case["data"])
        else:
            (vector,) = json.loads((WORKLOADS / "vectors" / case["vector"]).read_text()).values()
            creation, runtime = None, from_hex(vector["pre"][vector["transaction"]["to"]]["code"])
            data = from_hex(vector["transaction"]["data"][case["index"]])
        if re.search(match, case["name"]):
            found.append(Case(case["name"], creation, runtime, data, case["gas"], case["output_sha256"]))
    return found


def from_hex(text: str) -> bytes:
    """The bytes of ``0x...``."""
    return bytes.fromhex(text.removeprefix("0x"))
