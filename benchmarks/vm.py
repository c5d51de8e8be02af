"""The machine's engines on the shared compute cases, beside revm (pyrevm) in the same run.

    python -m benchmarks.vm [--rounds 5] [--level 1] [--match REGEX]

Output and gas of every engine are checked first. Times are the best of the rounds, whose order is mixed. The
JIT's are of warm code; what compiling took and the size of the code stand beside.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.types import ZERO_HASH, Address
from tests.paths import WORKLOADS
from tests.unit.vm.programs import MemoryState
from vm.evm.jit import objects
from vm.evm.jit.module import compile_ir
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, ExecutionContext, Message

GAS = 900_000_000
TARGET = Address(b"\xcc" * 20)
DESCRIPTION = json.loads((WORKLOADS / "cases.json").read_text())
BENCH = json.loads((WORKLOADS / "contracts" / "bench.json").read_text())["contracts"]
CALLER = Address(bytes.fromhex(DESCRIPTION["caller"][2:]))


class Case(NamedTuple):
    """One program and what it must give."""

    name: str
    creation: bytes | None
    runtime: bytes
    data: bytes
    gas: int
    digest: str


class Ran(NamedTuple):
    seconds: float
    output: bytes
    gas: int


Runner = Callable[[Case], Ran]


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def cases(match: str) -> list[Case]:
    found = []
    for case in DESCRIPTION["cases"]:
        if "contract" in case:
            contract = BENCH[case["contract"]]
            creation, runtime = from_hex(contract["bytecode"]), from_hex(contract["runtime"])
            data = from_hex(case["data"])
        else:
            (vector,) = json.loads((WORKLOADS / "vectors" / case["vector"]).read_text()).values()
            creation, runtime = None, from_hex(vector["pre"][vector["transaction"]["to"]]["code"])
            data = from_hex(vector["transaction"]["data"][case["index"]])
        if re.search(match, case["name"]):
            found.append(Case(case["name"], creation, runtime, data, case["gas"], case["output_sha256"]))
    return found


def ours(machine: Machine) -> Runner:
    """Each run on a new journal, as revm's on a reverted one."""

    def run(case: Case) -> Ran:
        journal = Journal(MemoryState(), Fork.CANCUN)
        journal.begin_transaction()
        environment = BlockEnvironment(fork=Fork.CANCUN, chain_id=1, number=1, timestamp=1, gas_limit=10**9)
        context = ExecutionContext(environment, lambda _: ZERO_HASH, journal, CALLER, 0)
        if case.creation is not None:
            creation = Message(CallKind.CREATE, CALLER, TARGET, TARGET, 0, case.creation, GAS)
            assert machine.execute(creation, context).success
        else:
            journal.set_code(TARGET, case.runtime)
        journal.end_transaction()
        journal.begin_transaction()
        journal.warm_account(TARGET)
        journal.warm_account(CALLER)
        message = Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, case.data, GAS)
        start = time.perf_counter()
        outcome = machine.execute(message, context)
        return Ran(time.perf_counter() - start, outcome.output, GAS - outcome.gas_left)

    return run


def revm() -> Runner | None:
    """pyrevm, None where it is not installed."""
    try:
        import pyrevm
    except ImportError:
        return None
    caller = "0x" + CALLER.hex()
    evms: dict[str, tuple[Any, str]] = {}

    def run(case: Case) -> Ran:
        if case.name not in evms:
            block = pyrevm.BlockEnv(number=1, timestamp=1, gas_limit=10**9)
            evm = pyrevm.EVM(env=pyrevm.Env(block=block), spec_id="Cancun", gas_limit=2**40)
            evm.set_balance(caller, 10**30)
            if case.creation is not None:
                target = evm.deploy(caller, case.creation)
            else:
                target = "0x" + TARGET.hex()
                evm.insert_account_info(target, pyrevm.AccountInfo(code=case.runtime))
            evms[case.name] = evm, target
        evm, target = evms[case.name]
        checkpoint = evm.snapshot()
        start = time.perf_counter()
        output = evm.message_call(caller, target, case.data, gas=GAS, gas_price=0)
        seconds = time.perf_counter() - start
        gas = evm.result.gas_used
        evm.revert(checkpoint)
        return Ran(seconds, bytes(output), gas)

    return run


def intrinsic(case: Case) -> int:
    return 21_000 + sum(16 if byte else 4 for byte in case.data)


def measure(case: Case, engines: dict[str, Runner], rounds: int) -> dict[str, float]:
    """Best seconds by engine, once all of them gave the right output and gas."""
    for name, runner in engines.items():
        ran = runner(case)
        assert hashlib.sha256(ran.output).hexdigest() == case.digest, f"{case.name}: {name} gave another output"
        if name != "revm":  # its gas is after refunds
            assert ran.gas == case.gas, f"{case.name}: {name} used {ran.gas} gas, not {case.gas}"
        runner(case)
    best = dict.fromkeys(engines, float("inf"))
    for turn in range(rounds):
        order = list(engines.items())
        for name, runner in order[:: -1 if turn % 2 else 1]:
            gc.collect()
            repeats = max(1, min(20, int(0.02 / max(best[name], 1e-4)))) if turn else 1
            for _ in range(repeats):
                best[name] = min(best[name], runner(case).seconds)
    return best


def compile_cost(case: Case, level: int) -> tuple[float, int]:
    """CPU seconds and object bytes for the whole contract."""
    start = time.process_time()
    code = objects.compile_module(compile_ir(case.runtime, Fork.CANCUN, None).ir, level)
    return time.process_time() - start, len(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", type=int, default=objects.LEVEL, choices=(0, 1, 2))
    parser.add_argument("--match", default="", help="only cases whose name this regular expression is found in")
    options = parser.parse_args()
    engines = {
        "interpreter": ours(Machine()),
        "jit": ours(Machine(engine="jit", level=options.level)),
    }
    peer = revm()
    if peer is None:
        print("pyrevm is not installed: no ratios", file=sys.stderr)
    else:
        engines = {"revm": peer, **engines}
    print(f"{'case':24}{'Mgas':>7}" + "".join(f"{name + ' ms':>15}" for name in engines), end="")
    print(f"{'interpreter x':>15}{'jit x':>8}{'jit/interp':>11}{'compile s':>11}{'object KB':>11}")
    ratios: dict[str, list[float]] = {"interpreter": [], "jit": [], "gain": []}
    for case in cases(options.match):
        best = measure(case, engines, options.rounds)
        seconds, size = compile_cost(case, options.level)
        peer_time = best.get("revm", float("nan"))
        row = (peer_time / best["interpreter"], peer_time / best["jit"], best["interpreter"] / best["jit"])
        for kind, ratio in zip(ratios, row, strict=True):
            ratios[kind].append(ratio)
        print(f"{case.name:24}{case.gas / 1e6:7.2f}" + "".join(f"{t * 1e3:15.3f}" for t in best.values()), end="")
        print(f"{row[0]:15.2f}{row[1]:8.2f}{row[2]:11.2f}{seconds:11.2f}{size / 1e3:11.0f}", flush=True)
    middle = {kind: statistics.median(values) for kind, values in ratios.items()}
    print(f"median: interpreter {middle['interpreter']:.2f} x revm, jit {middle['jit']:.2f} x revm,", end=" ")
    print(f"jit {middle['gain']:.2f} x interpreter; lowest jit {min(ratios['jit']):.2f} x revm")


if __name__ == "__main__":
    main()
