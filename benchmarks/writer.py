"""Instructions that the writer takes for one signed ERC-20 transfer, in blocks of one and of fifty.

    python -m benchmarks.writer [--sizes 1 50] [--blocks 8] [--ether] [--long-road]

Counted by valgrind's callgrind over the real stores of a directory, in one thread, after a first run that compiles and
warms everything: other work on the computer does not disturb it. Left out are HTTP or QUIC, ways between threads, the
index, and what the kernel does. ``step`` is the writer's turn (admit, order, execute, tries, header, records, append),
``commit`` the sync, publication and answers; decoding and recovering senders happens on other threads of the node.
"""

from __future__ import annotations

import argparse
import gc
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from benchmarks.instructions import asking, compiled, compiled_for, refuse
from benchmarks.transfers import RECIPIENT, SUPPLY
from chain.crypto import address_of_secret
from chain.forks import LATEST_FORK
from chain.transactions import LEGACY, Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.daemon.opening import dev_accounts_of, new_genesis, replayer, store_options, writer_over
from node.engine.admission import decode
from node.engine.clock import FixedClock
from node.engine.committer import Committer
from node.engine.pool import Pool
from node.engine.requests import Submit
from node.machine.assembly import machine_parts
from node.machine.object_cache import FileObjectCache
from storage.opening import open_directory
from tests.contracts import dev_account, published
from tests.durability.nodes import START, settings_of
from vm.ir.loader import LibraryCompiler
from vm.machine import Machine

SENDERS: Final = 10
GAS_PRICE: Final = 100 * 10**9
"""Wei, above any base fee the runs reach."""
WARM_BLOCKS: Final = 12
_DUMP, _ZERO, _START, _STOP = (0x43540000 + number for number in (3, 1, 4, 5))
"""Client requests of callgrind.h: DUMP_STATS_AT, ZERO_STATS, START_INSTRUMENTATION, STOP_INSTRUMENTATION."""
Asking = Callable[..., None]
"""Makes a client request of valgrind, with an argument."""
STAGES: Final = ("decode", "step", "commit")


class Node(NamedTuple):
    """A writer over real stores, driven by hand."""

    committer: Committer
    clock: FixedClock
    config: object
    secrets: list[bytes]
    nonces: list[int]


def opened(folder: Path, cache: Path, compile_: Callable[[str], bytes]) -> Node:
    """A new chain in the folder; machine code comes from the cache, or is made by ``compile_``."""
    libraries = LibraryCompiler(compile_, compiled_for)
    machine = Machine(machine_parts(FileObjectCache(cache))._replace(libraries=libraries))
    settings = settings_of(folder, segment_size_bytes=2**26)
    genesis = new_genesis(settings, dev_accounts_of(settings), START - 10)
    store = open_directory(
        store_options(settings),
        lambda stored: stored or genesis,
        lambda store, genesis: replayer(store, machine, genesis.config),
    ).store
    writer = writer_over(store, Pool(), machine, genesis.config)
    clock = FixedClock(START)
    secrets = [bytes(dev_account(index).key) for index in range(SENDERS)]
    return Node(Committer(writer, store, clock), clock, genesis.config, secrets, [0] * SENDERS)


def signed(node: Node, sender: int, to: Address | None, data: bytes, gas: int, value: int = 0) -> bytes:
    """A legacy transaction (EIP-155) with the sender's next nonce, as a client sends it."""
    nonce = node.nonces[sender]
    node.nonces[sender] += 1
    price = GAS_PRICE
    unsigned = Transaction(LEGACY, 31337, nonce, price, price, price, gas, to, value, data)
    return encode_transaction(sign_transaction(unsigned, node.secrets[sender]))


def send(node: Node, raws: list[bytes], count: Callable[[str, Callable[[], object]], object]) -> None:
    """One turn with these transactions in one body; each stage is counted."""
    config, answers = node.config, []
    decoded = []
    count("decode", lambda: decoded.extend(decode(raw, config, LATEST_FORK) for raw in raws))  # type: ignore[arg-type]
    node.clock.seconds += 1
    requests = [Submit(answers.append, entry, body=raws) for entry in decoded]
    turns = []
    count("step", lambda: turns.append(node.committer.step(requests)))
    count("commit", lambda: node.committer.commit(turns[0]))
    assert answers == [entry.transaction.hash for entry in decoded], answers


def word(number: int | Address) -> bytes:
    """An ABI word."""
    return number.to_bytes(32, "big") if isinstance(number, int) else bytes(12) + number


def token_of(node: Node) -> Address:
    """Deploy the ERC-20 and give each sender some of it."""
    from eth_abi.abi import encode

    from chain.crypto import create_address

    owner = address_of_secret(node.secrets[0])
    arguments = encode(["string", "string", "uint256", "address"], ["Bench", "BNC", SUPPLY, "0x" + owner.hex()])
    code = bytes.fromhex(published("ERC20PresetFixedSupply").bytecode[2:]) + arguments
    send(node, [signed(node, 0, None, code, 2_000_000)], lambda _, work: work())
    token = create_address(owner, 0)
    for secret in node.secrets[1:]:
        data = bytes.fromhex("a9059cbb") + word(address_of_secret(secret)) + word(10**12)
        send(node, [signed(node, 0, token, data, 100_000)], lambda _, work: work())
    return token


def load(
    folder: Path, cache: Path, options: argparse.Namespace, compile_: Callable[[str], bytes], ask: Asking | None
) -> None:
    """Blocks of transfers on a new chain in the folder; the stages of the last ones are counted if there is ``ask``."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    node = opened(folder, cache, compile_)
    recipient = Address(bytes.fromhex(RECIPIENT[2:]))
    token = token_of(node)
    data = bytes.fromhex("a9059cbb") + word(recipient) + word(1)

    def counted(stage: str, work: Callable[[], object]) -> None:
        if ask is None:
            work()
            return
        ask(_START)
        ask(_ZERO)
        work()
        ask(_DUMP, stage.encode())
        ask(_STOP)

    gc.disable()
    for number in range(WARM_BLOCKS + options.blocks):
        senders = [(number + index) % SENDERS for index in range(options.sizes[0])]
        if options.ether:
            raws = [signed(node, sender, recipient, b"", 21_000, 1) for sender in senders]
        else:
            raws = [signed(node, sender, token, data, 60_000) for sender in senders]
        send(node, raws, (lambda _, work: work()) if number < WARM_BLOCKS else counted)
    for _ in range(options.blocks):
        counted("nothing", lambda: None)


def counts(folder: Path) -> dict[str, int]:
    """Instructions by stage, of all blocks together."""
    found = dict.fromkeys((*STAGES, "nothing"), 0)
    for path in folder.glob("out.*"):
        text = path.read_text()
        stage = re.search(r"^desc: Trigger: .*?(\w+)$", text, re.MULTILINE)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if stage is not None and total is not None and stage[1] in found:
            found[stage[1]] += int(total[1])
    nothing = found.pop("nothing")
    return {stage: number - nothing for stage, number in found.items()}


def main() -> None:
    """Compile and warm, run each size under valgrind, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 50], help="transfers in a block")
    parser.add_argument("--blocks", type=int, default=8, help="blocks that are counted")
    parser.add_argument("--ether", action="store_true", help="transfers of ether")
    parser.add_argument("--keep", type=Path, help="keep what valgrind wrote in this directory")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        folder, cache = map(Path, options.run)
        load(folder / "node", cache, options, refuse, asking())
        return
    print("| transfers a block | " + " | ".join(STAGES) + " |\n|---" + "|---:" * len(STAGES) + "|")
    with tempfile.TemporaryDirectory() as directory:
        cache = Path(directory) / "cache"
        work = options.keep or Path(directory)
        load(Path(directory) / "first", cache, options, lambda text: compiled(text, 2, optimised=True), None)
        for size in options.sizes:
            folder = work / str(size)
            folder.mkdir(parents=True)
            valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file", "-q"]
            valgrind += [f"--callgrind-out-file={folder}/out.%p"]
            me = [sys.executable, "-m", "benchmarks.writer", "--sizes", str(size), "--blocks", str(options.blocks)]
            me += ["--ether"] if options.ether else []
            subprocess.run([*valgrind, *me, "--run", str(folder), str(cache)], check=True)
            per = {stage: number / options.blocks / size for stage, number in counts(folder).items()}
            print(f"| {size} | " + " | ".join(f"{per[stage]:,.0f}" for stage in STAGES) + " |", flush=True)


if __name__ == "__main__":
    main()
