"""Private memory of a node's processes at READY, and with 1,000 contracts called and compiled after a quiet minute.

    python -m benchmarks.memory [--old CHECKOUT] [--calls 80] [--quiet 60]

Beside anvil where it is present, and beside the zvmd of another checkout. The contracts are the published ones' code,
each made different by bytes after its end, where no execution comes; the answers of all nodes must be the same. From 64
calls on a contract is worth compiling.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.targets import anvil, find_anvil
from tests.daemon import Daemon
from tests.paths import WORKLOADS
from tests.rpc import Rpc

CONTRACTS = 1_000
AT_ONCE = 25
"""Contracts called between two looks at the compiler: its queue has 64 places."""
FIRST_ADDRESS = 0x10_0000
SETTLED_SECONDS = 120.0
MIB = 2**20


class Node(NamedTuple):
    """A running node."""

    name: str
    url: str
    process: int


def private_bytes(process: int) -> int:
    """Memory of a process alone (USS), bytes."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return 1024 * sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE))


def family(process: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{process}/task/{process}/children").parent.parent.glob("*/children")
    below = [int(child) for file in children for child in file.read_text().split()]
    return [process, *(member for child in below for member in family(child))]


def held(process: int) -> dict[int, int]:
    """Private bytes of each process of a family that is still there."""
    sizes = {}
    for member in family(process):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            sizes[member] = private_bytes(member)
    return sizes


def codes() -> list[bytes]:
    """Deployable codes in turn, all different."""
    entries = json.loads((WORKLOADS / "contracts" / "published.json").read_text()).values()
    published = [bytes.fromhex(entry["bytecode"].removeprefix("0x"))[:24_000] for entry in entries]
    return [published[i % len(published)] + b"\xfe" + i.to_bytes(4, "big") for i in range(CONTRACTS)]


def address(number: int) -> str:
    return f"0x{FIRST_ADDRESS + number:040x}"


def call_all(rpc: Rpc, calls: int, rest: Callable[[], object]) -> str:
    """Call every contract so often, one after the other, with a rest after each few; digest of the answers.

    No two calls are the same: an answer that is kept runs nothing.
    """
    digest = hashlib.sha256()
    for number in range(CONTRACTS):
        asked = [[{"to": address(number), "data": f"0x{'00' * 32}{i:08x}"}, "latest"] for i in range(calls)]
        answers = rpc.exchange(
            [{"jsonrpc": "2.0", "id": i, "method": "eth_call", "params": each} for i, each in enumerate(asked)]
        )
        for answer in answers:
            digest.update(str(answer.get("result", "reverted")).encode())
        if number % AT_ONCE == 0:
            rest()
    return digest.hexdigest()


def settle(rpc: Rpc) -> str:
    """Wait until nothing waits to be compiled; what was."""
    end = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < end:
        vm = rpc.call("zvmd_status")["vm"]
        if not vm["waiting"]:
            break
        time.sleep(0.5)
    size = vm["machineCodeBytes"] / MIB
    return f"{vm['compiled']} objects compiled, {vm['evicted']} given up, {size:.1f} MiB of machine code"


def measure(node: Node, calls: int, quiet_seconds: float) -> str:
    """Print the figures of a node; digest of its answers."""
    rpc = Rpc(node.url)
    say(node, "at READY")
    for i, code in enumerate(codes()):
        rpc.call("anvil_setCode", address(i), "0x" + code.hex())
    say(node, "contracts made")
    wait = (lambda: "") if node.name == "anvil" else partial(settle, rpc)
    digest = call_all(rpc, calls, wait)
    did = wait()
    say(node, "called")
    time.sleep(quiet_seconds)
    say(node, f"quiet for {quiet_seconds:g} s", did)
    return digest


def say(node: Node, when: str, more: str = "") -> None:
    sizes = held(node.process)
    parts = " + ".join(f"{size / MIB:.1f}" for size in sizes.values())
    print(f"{node.name:10} {when:20} {sum(sizes.values()) / MIB:7.1f} MiB = {parts}  {more}", flush=True)


@contextlib.contextmanager
def zvmd(name: str, checkout: Path, folder: Path) -> Iterator[Node]:
    """The zvmd of a checkout, with its own interpreter."""
    command = (str(checkout / ".venv" / "bin" / "python"), "-P", "-m", "node.cli.main")
    with Daemon(folder / name, "--quiet", command=command, environment={"PYTHONPATH": str(checkout)}) as daemon:
        daemon.stop()
        daemon.start()  # the second time: what a first start makes is there
        yield Node(name, daemon.http_url, daemon.pid)


def main() -> None:
    """Measure every node, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path)
    parser.add_argument("--calls", type=int, default=80)
    parser.add_argument("--quiet", type=float, default=60.0)
    options = parser.parse_args()
    answers = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkouts = {"old": options.old} if options.old else {}
        for label, checkout in (checkouts | {"zvmd": Path.cwd()}).items():
            with zvmd(label, checkout.absolute(), folder) as node:
                answers[label] = measure(node, options.calls, options.quiet)
    if program := find_anvil():
        with anvil(program) as target:
            process = family(os.getpid())[1]
            answers["anvil"] = measure(Node("anvil", target.url, process), options.calls, options.quiet)
    if len(set(answers.values())) != 1:
        sys.exit(f"the nodes disagree: {answers}")


if __name__ == "__main__":
    main()
