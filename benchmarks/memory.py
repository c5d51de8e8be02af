"""Private memory after calling 1,000 different contracts: ``python -m benchmarks.memory``.

The contracts are the published ones' code, each made different by bytes after its end, where no execution comes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from chain.forks import Fork
from chain.types import Address
from tests.paths import WORKLOADS
from tests.unit.vm.programs import World
from vm.machine import Machine
from vm.message import CallKind, Message

CONTRACTS = 1_000
ROUNDS = 5


def private_mib() -> float:
    """Memory of this process alone (USS)."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE)) / 1024


def codes() -> list[bytes]:
    """Deployable codes in turn, all different."""
    entries = json.loads((WORKLOADS / "contracts" / "published.json").read_text()).values()
    published = [bytes.fromhex(entry["bytecode"].removeprefix("0x"))[:24_000] for entry in entries]
    return [published[i % len(published)] + b"\xfe" + i.to_bytes(4, "big") for i in range(CONTRACTS)]


def main() -> None:
    """Print memory before, and after each round of calls."""
    machine, caller = Machine(), Address(b"\xca" * 20)
    machine.engine(Fork.OSAKA)
    all_codes = codes()
    world = World(Fork.OSAKA)
    targets = [Address((0x10000 + i).to_bytes(20, "big")) for i in range(CONTRACTS)]
    for address, code in zip(targets, all_codes, strict=True):
        world.state.put(address, code)
    before = private_mib()
    size = sum(map(len, all_codes)) / 2**20
    print(f"{CONTRACTS} contracts, {size:.1f} MiB of code; before: {before:.1f} MiB private")
    for number in range(1, ROUNDS + 1):
        for address in targets:
            message = Message(CallKind.CALL, caller, address, address, 0, bytes(36), 100_000)
            machine.execute(message, world.context)
        after = private_mib()
        grown = after - before
        print(f"round {number}: {after:.1f} MiB, {grown:+.1f}, {grown * 1024 / CONTRACTS:.1f} KiB each")


if __name__ == "__main__":
    main()
