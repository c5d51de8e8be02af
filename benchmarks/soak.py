"""Whether a daemon under steady load keeps its memory, and its disk grows as foretold.

    python -m benchmarks.soak [--seconds 600] [--rate 50] [--every 5] [--retention 256]

A real daemon; one client sends transfers at a steady rate, reads balances, blocks and receipts between them. Printed:
private memory (RssAnon) and mapped files (RssFile) over time, their slopes after warming up, threads and file
descriptors, and what the log, the state store and the index have grown by, beside what `A_BLOCK` and `A_TRANSFER`
foretell (docs/performance.md, Growth; all states kept, `--retention 0`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from storage.directory import layout
from storage.io.files import RealFs
from storage.wal import inspect
from storage.wal.format import record_size
from tests.daemon import Daemon
from tests.rpc import Rpc

WARM_SHARE = 0.2
WARM_BLOCKS = 36_000
MINED_AT_ONCE = 2_000
WARM_TRANSACTIONS = 9_000
MIB = 2**20
A_BLOCK = {"wal": 376, "state": 779, "index.sqlite": 0}
"""Bytes a block without transactions adds to each store; the log not compressed yet."""
A_TRANSFER = {"wal": 160, "state": 177, "index.sqlite": 142}
"""Bytes a transfer adds in a block of its own."""


def memory(pid: int) -> tuple[float, float, int]:
    """MiB private, MiB of files, threads."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    own, files = (int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, files, int(lines["Threads"])


def disk_bytes(place: Path) -> dict[str, int]:
    """Blocks taken by each store, without compiled code and the ballast."""
    found: dict[str, int] = {}
    for path in place.rglob("*"):
        name = path.relative_to(place).parts[0].partition("-")[0]
        if path.is_file() and name not in ("cache", "ballast"):
            found[name] = found.get(name, 0) + path.stat().st_blocks * 512
    return found


def log_bytes(place: Path) -> int:
    """Written in the log's segments, which are longer than that; compressed ones count as they were."""
    ends: dict[str, int] = {}
    for finding in inspect(RealFs(place), layout.WAL):
        if finding.record is not None:
            ends[finding.path] = finding.offset + record_size(len(finding.record.payload))
    return sum(ends.values())


def grown(place: Path) -> dict[str, int]:
    """Bytes of each store that grows with the chain."""
    return {**disk_bytes(place), "wal": log_bytes(place)}


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, a second."""
    mean_t = sum(at for at, _ in points) / len(points)
    mean_v = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_t) ** 2 for at, _ in points)
    return sum((at - mean_t) * (value - mean_v) for at, value in points) / spread


def send(rpc: Rpc, accounts: list[str], number: int) -> None:
    """One transfer and what a client reads beside it."""
    to = f"0x{0x10000 + number % 500:040x}"
    hashed = rpc.call("eth_sendTransaction", {"from": accounts[number % 5], "to": to, "value": "0x1", "gas": "0x5208"})
    if number % 10 == 0:
        rpc.call("eth_getTransactionReceipt", hashed)
        rpc.call("eth_getBlockByNumber", "latest", True)
        rpc.call("eth_getBalance", to, "latest")
        rpc.call("eth_getLogs", {"fromBlock": "latest"})


def main() -> None:
    """Load, look, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=50.0, help="transactions a second")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--retention", type=int, default=256, help="blocks whose state is kept; 0 keeps all")
    parser.add_argument("--on", type=Path, help="a data directory to go on from, copied: its caches are full soon")
    wanted = parser.parse_args()
    os.environ.pop("ZVMD_CONFIG", None)
    with tempfile.TemporaryDirectory() as place:
        settings = Path(place) / "zvmd.toml"
        settings.write_text(f"[storage]\nretention_blocks = {wanted.retention}\n")
        if wanted.on:
            shutil.copytree(wanted.on, Path(place) / "data")
        daemon = Daemon(Path(place) / "data", "--config", str(settings))
        try:
            daemon.start()
            watch(daemon, wanted.seconds, wanted.rate, wanted.every)
        finally:
            daemon.close()


def fill_caches(rpc: Rpc, accounts: list[str]) -> None:
    """Blocks until every slot of the system contracts' rings was written twice, transactions until some are forgotten.

    At 40 blocks a second caches would fill for a quarter of an hour, and look like a leak.
    """
    for _ in range(WARM_BLOCKS // MINED_AT_ONCE):
        rpc.call("anvil_mine", hex(MINED_AT_ONCE))
        time.sleep(2.0)  # checkpoints and the index keep up
    for number in range(WARM_TRANSACTIONS):
        send(rpc, accounts, number)


def watch(daemon: Daemon, seconds: float, rate: float, every: float) -> None:
    """Run the load; print a line each look, and the slopes at the end."""
    rpc = daemon.rpc()
    accounts = rpc.call("eth_accounts")
    fill_caches(rpc, accounts)
    points: list[tuple[float, float, float, float]] = []
    before = grown(daemon.data_dir)
    begin, sent, next_look = time.monotonic(), 0, 0.0
    while (now := time.monotonic() - begin) < seconds:
        if now >= next_look:
            own, files, threads = memory(daemon.pid)
            descriptors = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
            disk = disk_bytes(daemon.data_dir)
            # The log's segments are preallocated; what is written in them is what grows.
            points.append((now, own, files, sent))
            print(
                f"{now:6.0f} s  {sent:7} sent  own {own:7.2f} MiB  files {files:6.2f} MiB  "
                f"{threads} threads  {descriptors} descriptors  "
                + " ".join(f"{name} {size / MIB:.1f}" for name, size in sorted(disk.items()) if size > MIB / 10),
                flush=True,
            )
            next_look += every
        send(rpc, accounts, sent)
        sent += 1
        time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
    late = [point for point in points if point[0] > seconds * WARM_SHARE]
    own, files = (slope([(point[0], point[at]) for point in late]) * 3600 for at in (1, 2))
    print(f"{sent} transactions; own memory {own:+.2f} MiB/h, mapped files {files:+.2f} MiB/h after warming up")
    after = grown(daemon.data_dir)
    for name in A_BLOCK:
        actual, foretold = after[name] - before[name], sent * (A_BLOCK[name] + A_TRANSFER[name])
        print(f"{name}: {actual / MIB:.1f} MiB more, foretold {foretold / MIB:.1f}, ratio {actual / foretold:.2f}")


if __name__ == "__main__":
    main()
