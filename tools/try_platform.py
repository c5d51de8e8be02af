"""Try an installed zvmd on this computer: one line for each step, then the row for docs/platforms.md.

    PYTHON tools/try_platform.py DIRECTORY [OPTION OF zvmd start ...]

PYTHON is one that zvmd was installed for, from a wheel; nothing else of the checkout is used. In DIRECTORY, which must
not exist, it starts a development node, sends transactions, has code compiled, kills the node (SIGKILL), starts it
again and compares the chain. The exit status is 1 at the first step that does not give what it must.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zvmd

COUNTER = bytes.fromhex(
    "6012600c60003960126000f3"  # return the rest
    "6000546001018060005560005260206000f3"
)
"""Creation code. Each transaction to the contract adds 1 to slot 0; a call returns one more than the slot."""
LOOP = "0x60005b60010180620186a01160025700"
"""Counts to 100,000: hot enough to be compiled."""
STEPS = 20
READY_SECONDS = 600.0
"""Emulated processors are slow: code generation takes most of it."""
COMPILED_SECONDS = 600.0


def say(step: str, found: object) -> None:
    """Print a step and what it gave."""
    sys.stdout.write(f"{step:<26}{found}\n")
    sys.stdout.flush()


def need(step: str, found: object, wanted: object) -> None:
    """Print a step; end the program unless it gave what it must."""
    say(step, found)
    if found != wanted:
        sys.exit(f"{step}: wanted {wanted!r}")


class Node:
    """The node under trial; its ports are chosen by the system at each start."""

    def __init__(self, directory: Path, options: list[str]) -> None:
        self._command = [sys.executable, "-m", "zvmd", "start", "--dev", "--data-dir", str(directory), *options]
        self._log = directory.with_name(f"{directory.name}.log")
        self._directory = directory
        self.start()

    def start(self) -> None:
        """Start it and wait for its READY line."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, "--quiet", "--http-port", "0", "--quic-port", "0"],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        began = time.monotonic()
        ready = self._process.stdout.readline().split()
        if ready[:1] != ["READY"]:
            sys.exit(f"no READY line, exit status {self._process.wait()}:\n{self._log.read_text()[-4_000:]}")
        self.http, self.quic = ready[1:3]
        say("start", f"READY after {time.monotonic() - began:.1f} s")

    def end(self, how: signal.Signals) -> int:
        """Send the signal; the exit status."""
        self._process.send_signal(how)
        return self._process.wait(READY_SECONDS)

    def rpc(self, method: str, *params: object) -> Any:
        """Result of a call over HTTP."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        request = urllib.request.Request(  # noqa: S310 (the node's own address)
            self.http, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=READY_SECONDS) as answer:  # noqa: S310
            answered = json.load(answer)
        if "error" in answered:
            sys.exit(f"{method}: {answered['error']}")
        return answered["result"]

    def connect(self) -> zvmd.Node:
        """The SDK's client over QUIC."""
        return zvmd.Node(self.quic, data_dir=self._directory)


def send(node: Node) -> str:
    """Deploy the counter over QUIC, count over both protocols; the contract's address."""
    with node.connect() as client:
        contract = "0x" + client.deploy(COUNTER).address.hex()
        for _ in range(STEPS // 2):
            client.send(contract)
    account = node.rpc("eth_accounts")[0]
    for _ in range(STEPS - STEPS // 2):
        sent = node.rpc("eth_sendTransaction", {"from": account, "to": contract, "gas": "0x30000"})
        assert node.rpc("eth_getTransactionReceipt", sent)["status"] == "0x1"
    return contract


def compile_hot_code(node: Node) -> None:
    """Call a loop until it is compiled; the interpreter and compiled code must take the same gas."""
    call = {"to": "0x" + "11" * 20, "gas": hex(20_000_000)}
    override = {call["to"]: {"code": LOOP}}
    interpreted = node.rpc("eth_estimateGas", call, "latest", override)
    ends = time.monotonic() + COMPILED_SECONDS
    while not node.rpc("zvmd_status")["vm"]["compiled"]:
        if time.monotonic() > ends:
            sys.exit("nothing was compiled")
        node.rpc("eth_call", call, "latest", override)
    say("compiled contracts", node.rpc("zvmd_status")["vm"]["compiled"])
    need("gas of compiled code", node.rpc("eth_estimateGas", call, "latest", override), interpreted)


def debug(node: Node) -> None:
    """Export a debug session and import it: the import is checked by a process of its own with little memory."""
    session = node.rpc("zvmd_session_create", {"code": "0x6001600201"})["id"]
    imported = node.rpc("zvmd_session_import", node.rpc("zvmd_session_export", session))["id"]
    need("debug session imported", imported != session, True)


def chain_of(node: Node, contract: str) -> list[Any]:
    """What must be the same after a kill: head, counter now and at an earlier block, an old receipt."""
    half = hex(1 + STEPS // 2)
    head = node.rpc("eth_getBlockByNumber", "latest", True)
    old = node.rpc("eth_getBlockByNumber", half, False)["transactions"][0]
    counts = [node.rpc("eth_call", {"to": contract}, block) for block in ("latest", half)]
    return [head, *(int(count, 16) for count in counts), node.rpc("eth_getTransactionReceipt", old)]


def main(directory: Path, options: list[str]) -> None:
    """All steps, then the row."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    node = Node(directory, options)
    try:
        say("client version", node.rpc("web3_clientVersion"))
        need("eth_blockNumber", node.rpc("eth_blockNumber"), "0x0")
        contract = send(node)
        before = chain_of(node, contract)
        need("transactions, calls", before[1:3], [STEPS + 1, STEPS // 2 + 1])
        compile_hot_code(node)
        debug(node)
        need("SIGKILL", node.end(signal.SIGKILL), -signal.SIGKILL)
        node.start()
        need("same chain", chain_of(node, contract) == before, True)
        need("SIGTERM", node.end(signal.SIGTERM), 0)
    finally:
        node.end(signal.SIGKILL)
    verified = subprocess.run([sys.executable, "-m", "zvmd", "verify", "--data-dir", str(directory)], check=False)
    need("zvmd verify", verified.returncode, 0)
    row = (f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}", platform.python_version())
    say("tried", " | ".join((*row, f"zvmd {version('zvmd')}", time.strftime("%Y-%m-%d"))))


if __name__ == "__main__":
    if len(sys.argv) < 2 or os.path.exists(sys.argv[1]):  # noqa: PTH110
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
