"""The shared compute cases: output and execution gas of each, as independent implementations give them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.types import ZERO_HASH, Address
from node.machine.assembly import build_machine
from tests.paths import WORKLOADS
from tests.unit.vm.programs import MACHINE, MemoryState
from vm.context import ExecutionContext
from vm.journal import Journal
from vm.message import CallKind, Message

if not WORKLOADS.is_dir():
    pytest.skip("no shared workloads", allow_module_level=True)

DESCRIPTION = json.loads((WORKLOADS / "cases.json").read_text())
BENCH = json.loads((WORKLOADS / "contracts" / "bench.json").read_text())["contracts"]
CALLER = Address(bytes.fromhex(DESCRIPTION["caller"][2:]))
TARGET = Address(b"\xcc" * 20)
GAS = 900_000_000


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


MACHINES = {"interpreter": MACHINE, "jit": build_machine(engine="jit")}


@pytest.mark.parametrize("engine", MACHINES)
@pytest.mark.parametrize("case", DESCRIPTION["cases"], ids=lambda case: case["name"])
def test_case(case: dict[str, Any], engine: str) -> None:
    machine = MACHINES[engine]
    journal = Journal(MemoryState(), Fork.CANCUN)
    journal.begin_transaction()
    environment = BlockEnvironment(fork=Fork.CANCUN, chain_id=1, number=1, timestamp=1, gas_limit=10**9)
    context = ExecutionContext(environment, lambda _: ZERO_HASH, journal, CALLER, 0)
    if "contract" in case:
        data = from_hex(case["data"])
        bytecode = from_hex(BENCH[case["contract"]]["bytecode"])
        creation = Message(CallKind.CREATE, CALLER, TARGET, TARGET, 0, bytecode, GAS)
        assert machine.execute(creation, context).success
    else:
        (vector,) = json.loads((WORKLOADS / "vectors" / case["vector"]).read_text()).values()
        data = from_hex(vector["transaction"]["data"][case["index"]])
        journal.set_code(TARGET, from_hex(vector["pre"][vector["transaction"]["to"]]["code"]))
    journal.end_transaction()
    journal.begin_transaction()
    journal.warm_account(TARGET)
    journal.warm_account(CALLER)
    outcome = machine.execute(Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, data, GAS), context)
    assert outcome.success
    assert GAS - outcome.gas_left == case["gas"]
    assert hashlib.sha256(outcome.output).hexdigest() == case["output_sha256"]
