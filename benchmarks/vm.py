"""The machine's engines on the shared compute cases, beside revm (pyrevm) and anvil in the same run.

    python -m benchmarks.vm [--rounds 5] [--level 1] [--match REGEX]

Every engine's output is checked first, and the gas where it is told. Times are the best of the rounds, whose order is
mixed; the machine's and revm's are of the processor, so that other work on the computer counts little. The JIT's are
of warm code; what compiling took and the size of the code stand beside. Anvil's are the best of eth_call less the
best of calling nobody with the same data, so that JSON and HTTP are not counted; where hardly more than those is left
there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.targets import anvil, find_anvil
from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.types import ZERO_HASH, Address
from node.machine.assembly import build_machine
from tests.paths import WORKLOADS
from tests.unit.vm.programs import MemoryState
from vm.context import ExecutionContext
from vm.evm.jit import objects
from vm.evm.jit.module import compile_ir
from vm.ir.compiler import compile_quickly
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Message

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
        start = time.thread_time()
        outcome = machine.execute(message, context)
        return Ran(time.thread_time() - start, outcome.output, GAS - outcome.gas_left)

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
        start = time.thread_time()
        output = evm.message_call(caller, target, case.data, gas=GAS, gas_price=0)
        seconds = time.thread_time() - start
        gas = evm.result.gas_used
        evm.revert(checkpoint)
        return Ran(seconds, bytes(output), gas)

    return run


@contextlib.contextmanager
def anvil_runner(floors: dict[str, float]) -> Iterator[Runner | None]:
    """Anvil with every case's contract, None where there is no anvil; ``floors`` gets what calling nobody takes."""
    program = find_anvil()
    if program is None:
        yield None
        return
    with anvil(program, "--hardfork", "cancun", "--disable-code-size-limit", gas_limit=GAS + 10**8) as target:
        rpc, caller = target.rpc(), "0x" + CALLER.hex()
        rpc.call("anvil_impersonateAccount", caller)
        rpc.call("anvil_setBalance", caller, hex(10**24))
        targets: dict[str, str] = {}

        def deployed(case: Case) -> str:
            if case.creation is None:
                at = "0x" + (len(targets) + 0xCC0000).to_bytes(20, "big").hex()
                rpc.call("anvil_setCode", at, "0x" + case.runtime.hex())
                return at
            transaction = {"from": caller, "data": "0x" + case.creation.hex(), "gas": hex(30_000_000)}
            created = rpc.call("eth_sendTransaction", transaction)
            while (receipt := rpc.call("eth_getTransactionReceipt", created)) is None:
                time.sleep(0.01)  # mined, but not yet stored
            return str(receipt["contractAddress"])

        def asked(to: str, data: bytes) -> tuple[float, bytes]:
            request = {"from": caller, "to": to, "data": "0x" + data.hex(), "gas": hex(GAS), "gasPrice": "0x0"}
            start = time.perf_counter()
            output = rpc.call("eth_call", request, "latest")
            return time.perf_counter() - start, from_hex(str(output))

        def run(case: Case) -> Ran:
            if case.name not in targets:
                targets[case.name] = deployed(case)
            nobody = asked("0x" + "ee" * 20, case.data)[0]
            floors[case.name] = min(nobody, floors.get(case.name, nobody))
            seconds, output = asked(targets[case.name], case.data)
            return Ran(seconds, output, case.gas)

        yield run


def measure(case: Case, engines: dict[str, Runner], rounds: int) -> dict[str, float]:
    """Best seconds by engine, once all of them gave the right output and gas."""
    for name, runner in engines.items():
        ran = runner(case)
        assert hashlib.sha256(ran.output).hexdigest() == case.digest, f"{case.name}: {name} gave another output"
        if name not in ("revm", "anvil"):  # after refunds, and not told
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
    code = compile_quickly(compile_ir(case.runtime, Fork.CANCUN, None).ir, level)
    return time.process_time() - start, len(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", type=int, default=objects.LEVEL, choices=(0, 1, 2))
    parser.add_argument("--match", default="", help="only cases whose name this regular expression is found in")
    options = parser.parse_args()
    floors: dict[str, float] = {}
    with anvil_runner(floors) as its:
        peers = {name: peer for name, peer in (("revm", revm()), ("anvil", its)) if peer is not None}
        for name in {"revm", "anvil"} - peers.keys():
            print(f"{name} is not installed: no ratios", file=sys.stderr)
        engines = peers | {
            "interpreter": ours(build_machine()),
            "jit": ours(build_machine(engine="jit", level=options.level)),
        }
        report(cases(options.match), engines, floors, options)


def shown(number: float, places: int) -> str:
    return "-" if math.isnan(number) else f"{number:.{places}f}"


ABOVE_FLOOR = 1.2
"""An eth_call is compared only if it takes so many times what calling nobody does."""
RATIOS = (("interpreter", "revm"), ("jit", "revm"), ("jit", "anvil"), ("jit", "interpreter"))


def report(
    chosen: list[Case], engines: dict[str, Runner], floors: dict[str, float], options: argparse.Namespace
) -> None:
    """Print a row of times and ratios for each case, and the medians."""
    names = ("revm", "anvil", "interpreter", "jit")
    heads = [f"{name} ms" for name in names] + [f"{ours}/{peer}" for ours, peer in RATIOS]
    print("| case | Mgas | " + " | ".join(heads) + " | compile s | object KB |")
    print("|---" + "|---:" * (len(heads) + 3) + "|")
    ratios: dict[tuple[str, str], list[float]] = {pair: [] for pair in RATIOS}
    for case in chosen:
        best = dict.fromkeys(names, float("nan")) | measure(case, engines, options.rounds)
        floor = floors.get(case.name, 0)
        best["anvil"] = best["anvil"] - floor if best["anvil"] > ABOVE_FLOOR * floor else float("nan")
        seconds, size = compile_cost(case, options.level)
        for (mine, peer), found in ratios.items():
            found.append(best[peer] / best[mine])
        cells = [case.name, f"{case.gas / 1e6:.2f}", *[shown(best[name] * 1e3, 3) for name in names]]
        cells += [shown(found[-1], 2) for found in ratios.values()]
        print("| " + " | ".join([*cells, f"{seconds:.2f}", f"{size / 1e3:.0f}"]) + " |", flush=True)
    for (mine, peer), all_found in ratios.items():
        found = [ratio for ratio in all_found if not math.isnan(ratio)] or [float("nan")]
        print(f"{mine}/{peer}: median {statistics.median(found):.2f}, lowest {min(found):.2f}")


if __name__ == "__main__":
    main()
