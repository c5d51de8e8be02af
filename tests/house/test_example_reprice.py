"""The worked example "Reprice an opcode": both engines charge the new price, and what shows prices says it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.house.worked_examples import apply_example, run_python

PROGRAM = r'''
import json
from chain.environment import BlockEnvironment
from chain.forks import Fork
from node.rpc.format_traces import struct_log_size
from node.tracers.struct_logs import StructLogOptions, StructLogTracer
from node.api.tracing import TracedRun
from node.conformance.trace import TraceWriter
from node.machine.assembly import build_machine
from tests.unit.vm.programs import CALLER, TARGET, World, code
from vm.evm.opcodes import opcodes

HASH = code(65, 0, "KECCAK256", "POP")
MACHINES = {name: build_machine(engine=name) for name in ("interpreter", "jit")}

def spent(machine, fork):
    world = World(fork)
    world.state.put(TARGET, HASH)
    return 100_000 - machine.execute(world.message(100_000), world.context).gas_left

def struct_log(machine, fork):
    world = World(fork)
    world.state.put(TARGET, HASH)
    logs = StructLogTracer(
        TracedRun(None, CALLER, world.context.environment, world.state, world.state, world.journal, 24_576),
        StructLogOptions(),
        struct_log_size,
    )
    machine.execute(world.message(100_000), world.context, logs)
    (line,) = [line for line in logs._lines if line.opcode == "KECCAK256"]
    return line.gas_cost

def eip3155(machine, fork):
    """What debuggers and the conformance runner print."""
    world, lines = World(fork), []
    world.state.put(TARGET, HASH)
    writer = TraceWriter(lines.append)
    writer.begin(world.context)
    machine.execute(world.message(100_000), world.context, writer)
    (line,) = [line for line in map(json.loads, lines) if line["opName"] == "KECCAK256"]
    return int(line["gasCost"], 16)

answer = {}
for fork in (Fork.PRAGUE, Fork.OSAKA):
    (row,) = [row for row in opcodes(fork).values() if row.name == "KECCAK256"]
    answer[fork.name] = {
        "table": row.gas,
        "struct log": struct_log(MACHINES["interpreter"], fork),
        "EIP-3155": eip3155(MACHINES["interpreter"], fork),
        **{name: spent(machine, fork) for name, machine in MACHINES.items()},
    }
answer["compiled"] = MACHINES["jit"].metrics.entered
print(json.dumps(answer))
'''


def test_a_repriced_opcode_costs_and_shows_its_new_price(tmp_path: Path) -> None:
    root = apply_example("Reprice an opcode", tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    answer = json.loads(run_python(root, str(tmp_path / "program.py")))
    others, memory, words = 2 * 3 + 2, 3 * 3, 3
    for fork, gas, per_word in (("PRAGUE", 30, 6), ("OSAKA", 45, 9)):
        price = gas + memory + per_word * words
        spent = dict.fromkeys(("interpreter", "jit"), others + price)
        assert answer[fork] == {"table": gas, "struct log": price, "EIP-3155": price} | spent
    assert answer["compiled"] > 0
