"""Other people's JavaScript and Solidity tools against a node: each run yields what it did, and whether it worked.

python -m tests.clients.unmodified          run all of them against a node of their own, write docs/clients.md
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.contracts import dev_account, published
from tests.daemon import Daemon
from tests.paths import REPO
from tests.programs import CLIENT_TOOLS, NODE_MODULES, find_program

HERE = Path(__file__).parent
HARDHAT = CLIENT_TOOLS / "hardhat"
"""A project with Hardhat 3, its plugins, viem and the Solidity compiler installed."""
MORE = Path(os.environ.get("ZVMD_MORE_CLIENTS", REPO / ".cache" / "more-clients"))
"""What only `make test-full` installs: Hardhat 2, ethers, web3.js; and in ``venv`` web3.py, titanoboa, ape."""
TIMEOUT_SECONDS = 240


class Done(NamedTuple):
    """One action of one client."""

    action: str
    error: str
    """Empty if it worked."""


def find_node() -> str | None:
    """Node.js 22, as `make test` installs it; Hardhat 3 runs with nothing older."""
    found = [shutil.which("node", path=place / "bin") for place in NODE_MODULES.glob("node-linux-*")]
    return next(filter(None, found), None)


def is_installed() -> bool:
    """Whether `make test` found npm and could install the clients."""
    return find_node() is not None and (HARDHAT / "node_modules" / "viem").is_dir()


def run(command: list[str], cwd: Path, body: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a client with Node.js 22 first on its PATH, in a process group of its own."""
    node = find_node()
    assert node is not None
    path = f"{Path(node).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": path, "HARDHAT_DISABLE_TELEMETRY_PROMPT": "true", "CI": "1"} | environment,
        input=body,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def run_script(*command: str, place: Path) -> Iterator[Done]:
    """A script that prints a line of JSON for each action, and one when it has ended; it reads a contract."""
    contract = published("ERC20PresetFixedSupply")
    result = run([*command], place, json.dumps({"abi": contract.abi, "bytecode": contract.bytecode}))
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    for done in lines:
        yield Done(done["action"], done.get("error", "" if done["ok"] else "failed"))
    if not lines or lines[-1]["action"] != "the script ended":
        yield Done("the script", result.stderr[-500:] or "ended early")


def run_javascript(script: str, modules: Path, url: str, place: Path) -> Iterator[Done]:
    """A script beside this file, run by Node.js 22 with the modules of that folder."""
    node = find_node()
    assert node is not None
    return run_script(node, str(HERE / script), str(modules / "node_modules"), url, place=place)


def run_python(client: str, url: str, place: Path) -> Iterator[Done]:
    """web3.py, titanoboa or ape, in their own environment."""
    return run_script(str(MORE / "venv/bin/python"), str(HERE / "more/clients.py"), client, url, place=place)


def run_hardhat2(url: str, place: Path) -> Iterator[Done]:
    """The tests of a Hardhat 2 project whose network is the node."""
    project = copied("more/hardhat2", place)
    shutil.copy(HERE / "more/package.json", project)
    (project / "node_modules").symlink_to(MORE / "node_modules")
    result = run([str(MORE / "node_modules/.bin/hardhat"), "test", "--network", "zvmd"], project, NODE_URL=url)
    yield from listed(result.stdout, result.stdout[-3000:] + result.stderr[-1000:], result.returncode)


def run_hardhat(url: str, place: Path, toolbox: str) -> Iterator[Done]:
    """The tests of a Hardhat 3 project whose network is the node. ``toolbox``: viem or ethers."""
    project = copied("hardhat", place)
    (project / "node_modules").symlink_to(HARDHAT / "node_modules")
    command = [str(HARDHAT / "node_modules" / ".bin" / "hardhat"), "test"]
    command += ["mocha" if toolbox == "ethers" else "nodejs", "--network", "zvmd"]
    result = run(command, project, NODE_URL=url, TOOLBOX=toolbox)
    yield from listed(result.stdout, result.stdout[-3000:] + result.stderr[-1000:], result.returncode)


def listed(output: str, all_said: str, status: int) -> Iterator[Done]:
    """The tests that a Mocha-like reporter lists: a tick, or the number of a failure told below."""
    count = 0
    for line in output.splitlines():
        mark, _, name = line.strip().partition(" ")
        if mark in {"\u2714", "\u2713"} or (mark.endswith(")") and mark[:-1].isdigit() and line.startswith("    ")):
            count += 1
            yield Done(name.split(" (")[0], "" if not mark.endswith(")") else all_said)
    if status or not count:
        yield Done("all of them", "" if not status and count else f"status {status}: {all_said}")


def run_forge(url: str, place: Path) -> Iterator[Done]:
    """`forge script --broadcast` with and without salts, then `forge test --fork-url`."""
    project = copied("forge", place)
    forge = find_program("forge")
    assert forge is not None
    modules = {"CLIENT_MODULES": str(HARDHAT / "node_modules")}
    key = "0x" + dev_account(5).key.hex().removeprefix("0x")
    deploy = [forge, "script", "script/Deploy.s.sol", "--rpc-url", url, "--private-key", key, "--broadcast", "--slow"]
    result = run(deploy, project, **modules)
    yield Done("forge script --broadcast, with salts", "" if not result.returncode else result.stderr[-2000:])
    if result.returncode:
        return
    sent = json.loads((project / "broadcast/Deploy.s.sol/31337/run-latest.json").read_text())
    kinds = [transaction["transactionType"] for transaction in sent["transactions"]]
    right = kinds == ["CREATE2", "CREATE", "CALL", "CALL", "CALL", "CALL"]
    worked = all(receipt["status"] == "0x1" for receipt in sent["receipts"])
    yield Done("its receipts", "" if right and worked else json.dumps(sent["receipts"])[:2000])
    block = int(sent["receipts"][1]["blockNumber"], 16)
    counter = sent["transactions"][0]["contractAddress"]
    result = run([forge, "test", "--fork-url", url], project, COUNTER=counter, BEFORE_SET=str(block), **modules)
    for line in result.stdout.splitlines():
        if line.startswith(("[PASS] ", "[FAIL")):
            name = line.split("]")[1].split("(")[0].strip()
            yield Done(f"forge test --fork-url: {name}", line * line.startswith("[FAIL"))
    if result.returncode:
        yield Done("forge test --fork-url", (result.stdout + result.stderr)[-2000:])


def copied(name: str, place: Path) -> Path:
    """A copy of one of the projects beside this file, with the contract that they share, for the client to build in."""
    project = Path(shutil.copytree(HERE / name, place / Path(name).name, ignore=shutil.ignore_patterns("node_modules")))
    sources = project / ("src" if name == "forge" else "contracts")
    sources.mkdir(exist_ok=True)
    shutil.copy(HERE / "Counter.sol", sources)
    return project


CLIENTS: dict[str, Callable[[str, Path], Iterator[Done]]] = {
    "forge": run_forge,
    "Hardhat 3 with viem": lambda url, place: run_hardhat(url, place, "viem"),
    "Hardhat 3 with ethers": lambda url, place: run_hardhat(url, place, "ethers"),
    "viem": partial(run_javascript, "viem/actions.mjs", HARDHAT),
}
"""Those of `make test`."""
MORE_CLIENTS: dict[str, Callable[[str, Path], Iterator[Done]]] = {
    "Hardhat 2": run_hardhat2,
    "ethers 6": partial(run_javascript, "more/ethers.mjs", MORE),
    "web3.js 4": partial(run_javascript, "more/web3js.mjs", MORE),
    "web3.py": partial(run_python, "web3.py"),
    "titanoboa": partial(run_python, "titanoboa"),
    "ape": partial(run_python, "ape"),
}
"""Those of `make test-full`."""
NOT_YET = {
    ("viem", "simulateCalls"): "eth_simulateV1 does not exist",
    ("viem", "simulateBlocks"): "eth_simulateV1 does not exist",
    ("viem", "dumpState, loadState"): "state files do not exist; a chain is on disk at all times",
}
"""Actions known to fail, and why; a test fails when one of them begins to work."""
START = {"ape": ("--chain-id", "1337")}
"""What a client wants its node to be started with."""

PAGE_HEAD = """# Clients, tried

Written by `python -m tests.clients.unmodified`: unmodified clients against one development node, and what they did.

| client | action | result |
|---|---|---|
"""


def main() -> int:
    """Run every client, write the page; 1 if anything failed."""
    failures, rows = 0, []
    for client, run_client in (CLIENTS | MORE_CLIENTS).items():
        with tempfile.TemporaryDirectory(prefix="zvmd-clients-") as directory:
            daemon = Daemon(Path(directory) / "node", *START.get(client, ()))
            try:
                daemon.start()
                for done in run_client(daemon.http_url, Path(directory)):
                    failures += bool(done.error)
                    reason = NOT_YET.get((client, done.action), "")
                    failures -= bool(done.error and reason)
                    told = f"not yet: {reason}" if reason else " ".join(done.error.replace("|", "/").split())[:160]
                    rows.append(f"| {client} | {done.action} | {told or 'works'} |")
                    print(rows[-1], flush=True)
            finally:
                daemon.close()
    (REPO / "docs" / "clients.md").write_text(PAGE_HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
