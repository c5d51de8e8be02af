"""The machine's engines on the shared compute cases, beside revm in process; and over HTTP, beside anvil.

    python -m benchmarks.vm [--http [--cpu]] [--rounds 5] [--level 1] [--match REGEX]

Every engine's output is checked first, and the gas where it is told. Times are the best of the rounds, whose order is
mixed, and of the processor, so that other work on the computer counts little. The JIT's are of warm code; what
compiling took and the size of the code stand beside. revm is that of pyrevm.

With ``--http``: ``eth_call`` as a client sees it, on new nodes, zvmd and anvil alike (`benchmarks.vm_http`).
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import vm_http
from benchmarks.compute_cases import CALLER, GAS, Case, cases
from benchmarks.targets import find_anvil
from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.types import ZERO_HASH, Address
from node.machine.assembly import build_machine
from tests.programs import ORACLES
from tests.unit.vm.programs import MemoryState
from vm.context import ExecutionContext
from vm.evm.jit import objects
from vm.evm.jit.module import compile_ir
from vm.ir.compiler import compile_quickly
from vm.journal import Journal
from vm.machine import ENGINES, Machine
from vm.message import CallKind, Message

TARGET = Address(b"\xcc" * 20)
ENVIRONMENT = BlockEnvironment(fork=Fork.CANCUN, chain_id=1, number=1, timestamp=1, gas_limit=10**9)
"""One for all runs, as revm's: the calls of a block have it in common."""


class Ran(NamedTuple):
    seconds: float
    output: bytes
    gas: int


Runner = Callable[[Case], Ran]


def prepared(machine: Machine, case: Case) -> tuple[Message, ExecutionContext]:
    """The call of a case on a new journal, as revm's on a reverted one."""
    journal = Journal(MemoryState(), Fork.CANCUN)
    journal.begin_transaction()
    context = ExecutionContext(ENVIRONMENT, lambda _: ZERO_HASH, journal, CALLER, 0)
    if case.creation is not None:
        creation = Message(CallKind.CREATE, CALLER, TARGET, TARGET, 0, case.creation, GAS)
        assert machine.execute(creation, context).success
    else:
        journal.set_code(TARGET, case.runtime)
    journal.end_transaction()
    journal.begin_transaction()
    journal.warm_account(TARGET)
    journal.warm_account(CALLER)
    return Message(CallKind.CALL, CALLER, TARGET, TARGET, 0, case.data, GAS), context


def ours(machine: Machine) -> Runner:
    """Times one of the machine's engines."""

    def run(case: Case) -> Ran:
        message, context = prepared(machine, case)
        start = time.thread_time()
        outcome = machine.execute(message, context)
        return Ran(time.thread_time() - start, outcome.output, GAS - outcome.gas_left)

    return run


def revm() -> Runner | None:
    """pyrevm, of the oracles' environment where this one has none; None where neither has."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(str(ORACLES / "lib" / version / "site-packages"))  # behind all others: only what is missing
    try:
        import pyrevm
    except ImportError:
        return None
    finally:
        sys.path.pop()
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
        start = time.thread_time()
        output = evm.message_call(caller, target, case.data, gas=GAS, gas_price=0)
        seconds = time.thread_time() - start
        gas = evm.result.gas_used
        evm.revert(checkpoint)
        return Ran(seconds, bytes(output), gas)

    return run


def measure(case: Case, runners: dict[str, Runner], rounds: int) -> dict[str, float]:
    """Best seconds by engine, once all of them gave the right output and gas."""
    for name, runner in runners.items():
        ran = runner(case)
        case.check(ran.output, name)
        if name != "revm":  # after refunds
            assert ran.gas == case.gas, f"{case.name}: {name} used {ran.gas} gas, not {case.gas}"
        runner(case)
    best = dict.fromkeys(runners, math.inf)
    for turn in range(rounds):
        order = list(runners.items())
        for name, runner in order[:: -1 if turn % 2 else 1]:
            gc.collect()
            repeats = max(1, min(20, int(0.02 / max(best[name], 1e-4)))) if turn else 1
            for _ in range(repeats):
                best[name] = min(best[name], runner(case).seconds)
    return best


def compile_cost(case: Case, level: int) -> tuple[float, int]:
    """CPU seconds and object bytes for the whole contract."""
    start = time.process_time()
    code = compile_quickly(compile_ir(case.runtime, Fork.CANCUN, None).ir, level)
    return time.process_time() - start, len(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", action="store_true", help="over HTTP on zvmd and anvil, instead of in process")
    parser.add_argument("--cpu", action="store_true", help="over HTTP: processor time of the nodes")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="zvmd's engine over HTTP")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", type=int, default=objects.LEVEL, choices=(0, 1, 2))
    parser.add_argument("--match", default="", help="only cases whose name this regular expression is found in")
    options = parser.parse_args()
    chosen = cases(options.match)
    if options.http:
        program = find_anvil()
        if program is None:
            print("anvil is not installed: no ratios", file=sys.stderr)
        arguments = ("--engine", options.engine)
        vm_http.report(chosen, vm_http.measure(chosen, program, options.rounds, arguments, cpu=options.cpu))
        return
    report(chosen, engines(options.level), options)


def engines(level: int) -> dict[str, Runner]:
    """By name: revm where it is installed, and the machine's two."""
    its = revm()
    if its is None:
        print("revm is not installed: no ratios", file=sys.stderr)
    mine = {"interpreter": ours(build_machine()), "jit": ours(build_machine(engine="jit", level=level))}
    return mine if its is None else {"revm": its} | mine


def shown(number: float, places: int) -> str:
    return "-" if math.isnan(number) else f"{number:.{places}f}"


RATIOS = (("interpreter", "revm"), ("jit", "revm"), ("jit", "interpreter"))


def ratios(chosen: list[Case], runners: dict[str, Runner], rounds: int) -> dict[tuple[str, str], list[float]]:
    """How many times as fast an engine is as another, case by case; empty without one of them."""
    found: dict[tuple[str, str], list[float]] = {pair: [] for pair in RATIOS}
    for case in chosen:
        best = measure(case, runners, rounds)
        for (mine, peer), of_pair in found.items():
            if peer in best:
                of_pair.append(best[peer] / best[mine])
    return found


def report(chosen: list[Case], runners: dict[str, Runner], options: argparse.Namespace) -> None:
    """Print a row of times and ratios for each case, and the medians."""
    names = ("revm", "interpreter", "jit")
    heads = [f"{name} ms" for name in names] + [f"{mine}/{peer}" for mine, peer in RATIOS]
    print("| case | Mgas | " + " | ".join(heads) + " | compile s | object KB |")
    print("|---" + "|---:" * (len(heads) + 3) + "|")
    found: dict[tuple[str, str], list[float]] = {pair: [] for pair in RATIOS}
    for case in chosen:
        best = dict.fromkeys(names, math.nan) | measure(case, runners, options.rounds)
        seconds, size = compile_cost(case, options.level)
        for (mine, peer), of_pair in found.items():
            of_pair.append(best[peer] / best[mine])
        cells = [case.name, f"{case.gas / 1e6:.2f}", *[shown(best[name] * 1e3, 3) for name in names]]
        cells += [shown(of_pair[-1], 2) for of_pair in found.values()]
        print("| " + " | ".join([*cells, f"{seconds:.2f}", f"{size / 1e3:.0f}"]) + " |", flush=True)
    for (mine, peer), of_pair in found.items():
        if not math.isnan(of_pair[-1]):
            print(f"{mine}/{peer}: median {statistics.median(of_pair):.2f}, lowest {min(of_pair):.2f}")


if __name__ == "__main__":
    main()
