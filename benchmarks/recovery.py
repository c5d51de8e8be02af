"""How soon a node is ready after ``kill -9``, by length of its chain; and how fast the log alone makes the chain again.

    python -m benchmarks.recovery [--transactions 10000 100000] [--kills 10] [--rebuild 10000] [--directory D]

The chain is made in process (blocks of 500 transfers to 1,000 accounts, real signatures, checkpoints behind). Then a
real daemon is loaded, killed and started again; READY is timed from the start of the process, and, within that, the
recovery alone. An absolute time means nothing on another machine; that a hundredfold chain takes no longer does.
"""

from __future__ import annotations

import argparse
import compileall
import http.client
import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import structlog

from chain.crypto import address_of_secret
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.engine.pool import PooledTransaction
from node.engine.requests import Mine, Submit
from storage.directory import layout
from tests.daemon import Daemon
from tests.durability.nodes import GWEI, LocalNode

BLOCK = 500
RECEIVERS = 1_000
CHECKPOINT_BLOCKS = 20


def grow(node: LocalNode, transactions: int, secrets: list[bytes]) -> None:
    """Add blocks of transfers; the stored chain may be there already."""
    senders = [(secret, address_of_secret(secret)) for secret in secrets]
    accounts = [node.applied.newest_state().account(address) for _, address in senders]
    nonces = [account.nonce if account else 0 for account in accounts]
    done = sum(nonces)
    while done < transactions:
        requests = []
        for index in range(BLOCK):
            sender = index % len(senders)
            secret, address = senders[sender]
            unsigned = Transaction(
                type=2,
                chain_id=31337,
                nonce=nonces[sender],
                gas_price=0,
                max_fee_per_gas=1000 * GWEI,
                max_priority_fee_per_gas=GWEI,
                gas_limit=21_000,
                to=Address((0x10000 + (done + index) % RECEIVERS).to_bytes(20, "big")),
                value=1,
                data=b"",
            )
            nonces[sender] += 1
            signed = sign_transaction(unsigned, secret)
            candidate = PooledTransaction(signed, address, encode_transaction(signed))
            requests.append(Submit(lambda _: None, candidate, body=requests))  # of one body, so of one block
        node.clock.seconds += 1
        node.committer.commit(node.committer.step([*requests]))
        done += BLOCK
        if node.store.head.number - node.store.state.checkpointed >= CHECKPOINT_BLOCKS:
            node.checkpoint()
            node.store.index_new_blocks()
    node.committer.commit(node.committer.step([Mine(lambda _: None)]))
    node.checkpoint()  # as the daemon's job would have written by now


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far: what other work on the machine does not lengthen."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ready_times(data_dir: Path, kills: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds to READY, of those in recovery, and CPU time to READY, after each kill under load."""
    total: list[float] = []
    inside: list[float] = []
    worked: list[float] = []
    daemon = Daemon(data_dir)
    try:
        daemon.start()
        for _ in range(kills):
            stop = threading.Event()
            thread = threading.Thread(target=load, args=(daemon, stop))
            thread.start()
            time.sleep(1.5)
            daemon.kill()
            stop.set()
            thread.join()
            begin = time.perf_counter()
            line = daemon.start()
            total.append(time.perf_counter() - begin)
            worked.append(cpu_seconds(daemon.pid))
            inside.append(float(line.split(" recovered in ")[1].split()[0]) / 1000)
    finally:
        daemon.close()
    return total, inside, worked


def load(daemon: Daemon, stop: threading.Event) -> None:
    """Transfers, one after another."""
    rpc = daemon.rpc()
    sender, to = rpc.call("eth_accounts")[:2]
    try:
        while not stop.is_set():
            rpc.call("eth_sendTransaction", {"from": sender, "to": to, "value": "0x1", "gas": "0x5208"})
    except (OSError, http.client.HTTPException):
        return  # the node was killed under the load, as it should be


def spread(times: list[float]) -> str:
    """Median and 99th percentile."""
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {ordered[len(ordered) // 2]:.2f} s, p99 {p99:.2f} s"


def rebuild(data_dir: Path) -> str:
    """Forget everything but the log, and start."""
    for name in (layout.STATE, layout.EXPORTS):
        shutil.rmtree(data_dir / name, ignore_errors=True)
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()
    begin = time.perf_counter()
    node = LocalNode(data_dir, segment_size_bytes=2**26)
    seconds = time.perf_counter() - begin
    count, head = node.opened.recovery.transactions, node.store.head.number
    node.close()
    return f"{count:,} transactions in {head:,} blocks from the log alone: {seconds:.1f} s, {count / seconds:,.0f} tx/s"


def compile_packages() -> None:
    """As pip does when it installs: without, each start of a daemon compiles what Python was told not to write."""
    for name in ("chain", "vm", "storage", "debugger", "node", "zvmd"):
        compileall.compile_dir(Path(__file__).parent.parent / name, quiet=1)


def main() -> None:
    """Make, kill, time, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--transactions", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rebuild", type=int, default=10_000, help="length of the chain that is made again")
    parser.add_argument("--directory", type=Path)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    compile_packages()
    place = wanted.directory or Path(tempfile.mkdtemp(prefix="zvmd-recovery-"))
    rebuilt = False
    for transactions in sorted(wanted.transactions):
        begin = time.perf_counter()
        node = LocalNode(place / "chain", segment_size_bytes=2**26)
        grow(node, transactions, node.secrets)
        node.close()
        print(f"made {transactions:,} transactions ({time.perf_counter() - begin:.0f} s)", flush=True)
        if transactions >= wanted.rebuild and not rebuilt:
            shutil.copytree(place / "chain", place / "rebuilt")
            print("  " + rebuild(place / "rebuilt"), flush=True)
            shutil.rmtree(place / "rebuilt")
            rebuilt = True
        shutil.copytree(place / "chain", place / "killed")
        total, inside, worked = ready_times(place / "killed", wanted.kills)
        shutil.rmtree(place / "killed")
        times = f"{spread(total)}; recovery alone {spread(inside)}; CPU {spread(worked)}"
        print(f"  ready after kill -9, {wanted.kills} times: {times}", flush=True)
    if wanted.directory is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
