"""Code that means harm: bounded steps and memory, no recursion in Python, no crash; in both engines.

Each runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.paths import REPO

PREFIX = """
import resource, sys
from chain.forks import Fork
from chain.types import Address
from tests.unit.vm.programs import *
from vm.message import Halt
from vm.evm.trace import Tracer
SELF = int.from_bytes(TARGET, "big")
world = World(Fork.OSAKA)
MACHINE.runtime(Fork.OSAKA)
from vm.precompiles import precompile  # the libraries are loaded before the limit: cffi parses recursively
import vm.ir.compiler, vm.precompiles.p256  # and what is loaded when it is first needed
for number in (*range(1, 18), 0x100):
    contract = precompile(Fork.OSAKA, number.to_bytes(20, "big"))
    try: contract.run({9: bytes(213), 10: b""}.get(number, b""))
    except Exception: pass
import py_arkworks_bls12381
world.call(code(0, 0, 0, "CREATE", 0x1b, 32, "MSTORE", 1, 64, "MSTORE", 1, 96, "MSTORE", 0, 0, 128, 0, 1, "GAS STATICCALL"))
class Counter(Tracer):
    hears_steps = True
    steps = deepest = 0
    def step(self, frame):
        self.steps += 1
        self.deepest = max(self.deepest, frame.message.depth)
def deepest(program, gas, data=b""):
    # Counted step by step, then once more at full speed: only that runs compiled code.
    world.journal.set_code(TARGET, program)
    counter, start = Counter(), world.journal.checkpoint()
    outcome = MACHINE.execute(world.message(gas, data), world.context, counter)
    world.journal.revert(start)
    entered = MACHINE.metrics.entered
    assert MACHINE.execute(world.message(gas, data), world.context) == outcome
    assert MACHINE.engine_name == "interpreter" or MACHINE.metrics.entered - entered > counter.deepest // 2
    return counter, outcome
def depth_now():
    frame, depth = sys._getframe(), 0
    while frame: frame, depth = frame.f_back, depth + 1
    return depth
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sys.setrecursionlimit(depth_now() + 45)
"""
SUFFIX = """
sys.setrecursionlimit(1000)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < LIMIT_MIB << 10, grown
assert MACHINE.engine_name == "interpreter" or MACHINE.status()["functions"] > 0  # compiled now, or by an earlier run
print("done")
"""

HOSTILE = {
    "initcode of JUMPDESTs": """
outcome = world.call(code(49_152, 0, 0, "CALLDATACOPY", 49_152, 0, 0, "CREATE"), 5_000_000, b"\\x5b" * 49_152)
assert outcome.success and 49_152 < 5_000_000 - outcome.gas_left < 200_000
assert world.call(code(49_153, 0, 0, "CREATE"), 5_000_000).halt is Halt.OUT_OF_GAS
""",
    "calls to 1,024": """
counter, outcome = deepest(code(0, 0, 0, 0, 0, "ADDRESS GAS CALL"), 2**40)
assert outcome.success and counter.deepest == 1_024 and counter.steps == 1_025 * 9
""",
    "delegate calls to 1,024": """
counter, outcome = deepest(code(0, 0, 0, 0, "ADDRESS GAS DELEGATECALL"), 2**40)
assert outcome.success and counter.deepest == 1_024
""",
    "creations to 1,024": """
# Copies itself into memory and creates from that: each new contract does so again in its init code.
counter, outcome = deepest(code("CODESIZE", 0, 0, "CODECOPY CODESIZE", 0, 0, "CREATE"), 2**50)
assert counter.deepest == 1_024, counter.deepest
""",
    "mixed recursion to 1,024": """
OTHER_ = int.from_bytes(OTHER, "big")
world.journal.set_code(OTHER, code(0, 0, 0, 0, SELF, "GAS DELEGATECALL"))
counter, outcome = deepest(code(0, 0, 0, 0, 0, OTHER_, "GAS CALLCODE", "CODESIZE", 0, 0, "CODECOPY CODESIZE", 0, 0, "CREATE"), 20_000_000)
assert outcome.success and counter.deepest > 100
""",
    "recursion with storage writes": """
counter, outcome = deepest(code("GAS GAS SSTORE", 0, 0, 0, 0, 0, "ADDRESS GAS CALL", "INVALID"), 2**34)
assert not outcome.success and counter.deepest > 500
assert not world.journal.delta().storage
""",
    "recursion with memory": """
outcome = world.call(code(1, 20_000, "MSTORE", 0, 0, 20_000, 0, 0, "ADDRESS GAS CALL"), 2**34)
assert outcome.success
""",
    "memory bombs": """
for size in (2**24, 2**30, 2**32, 2**40, 2**63, 2**64 - 1, 2**64, 2**255):
    for program in (code(1, size, "MSTORE"), code(size, 0, "KECCAK256"), code(size, 0, 0, "CALLDATACOPY"), code(size, 0, "RETURN"),
                    code(size, 0, "LOG0"), code(32, size, 0, "MCOPY"), code(0, 0, size, 0, 0, 4, "GAS CALL"), code(size, 0, 0, "CREATE"),
                    code(size, 0, 0, 0, 0, 4, "GAS CALL"), code(size, 0, 0, SELF, "EXTCODECOPY"), code(size, size, size, "MCOPY")):
        assert world.call(program, 30_000_000).halt is Halt.OUT_OF_GAS, (size, program.hex())
""",
    "memory bomb with all the gas there is": """
for program in (code(1, 2**31, "MSTORE"), code(2**31, 0, "RETURN"), code(1, 2**40, "MSTORE")):
    assert world.call(program, 2**63 - 1).halt is Halt.OUT_OF_GAS
""",
    "PUSH at the end": """
for n in range(1, 33):
    for have in range(n + 1):
        assert world.call(bytes([0x5F + n]) + b"\\x5b" * have).success
        jump = code(1, "JUMP") + bytes([0x5F + n]) + b"\\x5b" * have
        assert world.call(jump).halt is Halt.INVALID_JUMP
""",
    "jump tables": """
# 24 KiB of jumps, each to the next; then every jump destination tried, then none of those inside PUSH data.
out = b""
while len(out) < 24_000:
    out += b"\\x61" + (len(out) + 4).to_bytes(2, "big") + code("JUMP JUMPDEST")
assert world.call(out, 1_000_000).success
table = code(0, "CALLDATALOAD JUMP") + b"\\x5b" * 1_000 + b"\\x7f" + b"\\x5b" * 32
for target in (*range(0, 1_100), 2**16, 2**32, 2**63, 2**64 + 10, 2**255):
    outcome = world.call(table, 100_000, target.to_bytes(32, "big"))
    assert outcome.success is (4 <= target < 1_004), target
""",
    "endless loop": """
outcome = world.call(code("JUMPDEST", 0, "JUMP"), 30_000_000)
assert outcome.halt is Halt.OUT_OF_GAS
""",
    "huge return data": """
world.journal.set_code(OTHER, code(1 << 20, 0, "RETURN"))
back = code(0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), 2**31, "CALL POP")
outcome = world.call(back * 50 + code("RETURNDATASIZE", 0, 0, "RETURNDATACOPY MSIZE", 0, "MSTORE", 32, 0, "RETURN"), 2**33)
assert int.from_bytes(outcome.output, "big") == 1 << 20
assert world.call(code(1, 2**256 - 1, 0, "RETURNDATACOPY")).halt is Halt.RETURN_DATA_OUT_OF_BOUNDS
""",
    "SELFDESTRUCT in a loop": """
world.journal.set_code(OTHER, code("GAS SELFDESTRUCT"))
once = code(0, 0, 0, 0, 0, int.from_bytes(OTHER, "big"), "GAS CALL POP")
outcome = world.call(code("JUMPDEST") + once + code(100_000, "GAS GT", 0, "JUMPI"), 20_000_000)
assert outcome.success
makes = code(0x33FF, 0, "MSTORE", 2, 30, 0, "CREATE POP")
assert world.call(code("JUMPDEST") + makes + code(100_000, "GAS GT", 0, "JUMPI"), 20_000_000).success
world.journal.end_transaction()
""",
    "precompile bombs": """
for address in (*range(1, 18), 0x100):
    for head in (b"\\xff" * 96, b"\\0" * 31 + b"\\x01" + b"\\xff" * 32 + b"\\0" * 31 + b"\\x01", b"", b"\\xff" * 4 + bytes(209), bytes(31) + b"\\x20" + b"\\xff" * 400):
        for size in (len(head), 100_000):
            outcome = world.call(code("CALLDATASIZE", 0, 0, "CALLDATACOPY", 0, 0, size, 0, address, "GAS STATICCALL"), 3_000_000, head)
            assert outcome.halt in (Halt.STOP, Halt.OUT_OF_GAS)
""",
    "deep stacks": """
assert world.call(code(*[0] * 1_024)).success
assert world.call(code(*[0] * 1_025)).halt is Halt.STACK_OVERFLOW
assert world.call(code(*[0] * 1_024, "DUP16")).halt is Halt.STACK_OVERFLOW
for n in range(1, 17):
    assert world.call(code(*[0] * (n - 1), f"DUP{n}")).halt is Halt.STACK_UNDERFLOW
    assert world.call(code(*[0] * n, f"SWAP{n}")).halt is Halt.STACK_UNDERFLOW
""",
}


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, engine: str) -> None:
    limit = 3_000 if "all the gas" in name else 400
    program = PREFIX + HOSTILE[name] + SUFFIX.replace("LIMIT_MIB", str(limit))
    environment = os.environ | {"ZVMD_TEST_ENGINE": engine}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-1_500:]
    assert done.stdout == "done\n"
