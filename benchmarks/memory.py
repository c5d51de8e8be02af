"""Private memory after calling 1,000 different contracts: ``python -m benchmarks.memory [--engine auto]``.

The contracts are the published ones' code, each made different by bytes after its end, where no execution comes.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

from chain.forks import Fork
from chain.types import Address
from node.machine.assembly import build_machine
from tests.paths import WORKLOADS
from tests.unit.vm.programs import World
from vm.machine import ENGINES, Machine
from vm.message import CallKind, Message

CONTRACTS = 1_000


def private_mib(process: str = "self") -> float:
    """Memory of a process alone (USS)."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE)) / 1024


def codes() -> list[bytes]:
    """Deployable codes in turn, all different."""
    entries = json.loads((WORKLOADS / "contracts" / "published.json").read_text()).values()
    published = [bytes.fromhex(entry["bytecode"].removeprefix("0x"))[:24_000] for entry in entries]
    return [published[i % len(published)] + b"\xfe" + i.to_bytes(4, "big") for i in range(CONTRACTS)]


def main() -> None:
    """Print memory before, and after 1, 2, 4, 8 ... rounds of calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="interpreter")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    machine, caller = build_machine(engine=options.engine), Address(b"\xca" * 20)
    machine.runtime(Fork.OSAKA)
    all_codes = codes()
    world = World(Fork.OSAKA)
    targets = [Address((0x10000 + i).to_bytes(20, "big")) for i in range(CONTRACTS)]
    for address, code in zip(targets, all_codes, strict=True):
        world.state.put(address, code)
    before = private_mib()
    size = sum(map(len, all_codes)) / 2**20
    print(f"{options.engine}: {CONTRACTS} contracts, {size:.1f} MiB of code; before: {before:.1f} MiB private")
    for number in range(1, options.rounds + 1):
        for address in targets:
            message = Message(CallKind.CALL, caller, address, address, 0, bytes(36), 100_000)
            machine.execute(message, world.context)
        if number & (number - 1) and number != options.rounds:
            continue
        after = settled(machine)
        grown = after - before
        did = machine.status()
        print(
            f"round {number}: {after:.1f} MiB, {grown:+.1f}, {grown * 1024 / CONTRACTS:.1f} KiB each; "
            f"{did['compiled']} objects compiled, {did['evicted']} given up, "
            f"{did['machine_code_bytes'] / 2**20:.1f} MiB of them loaded; "
            f"the compiling process {compiling_mib(machine):.1f} MiB",
            flush=True,
        )
    machine.close()


def settled(machine: Machine) -> float:
    """Memory when nothing waits to be compiled any more, or after a minute."""
    end = time.monotonic() + 60
    while machine.status()["waiting"] and time.monotonic() < end:
        time.sleep(0.2)
    return private_mib()


def compiling_mib(machine: Machine) -> float:
    """Private memory of the compiling process; 0 if there is none."""
    process = machine.compiler.process_id
    return 0.0 if process is None else private_mib(str(process))


if __name__ == "__main__":
    main()
