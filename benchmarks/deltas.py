"""What BLOCK_DELTA records cost in the log and save at replay: executing the log beside applying its deltas.

    python -m benchmarks.deltas [--transactions 10000] [--heavy 10]

Two chains: transfers in blocks of 500, and blocks of one call that burns 15 million gas in a SELFBALANCE loop. Each is
made once with a delta for every block, then replayed from its log alone with and without using them, in turn.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
from pathlib import Path

import structlog

from benchmarks.recovery import grow
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.engine.pool import PooledTransaction
from node.engine.requests import Submit
from storage.directory import layout
from storage.wal import RecordType
from tests.durability.nodes import GWEI, LocalNode

LOOP = bytes.fromhex("5b" + "4750" * 40 + "600056")
"""JUMPDEST; forty times SELFBALANCE and POP; jump back: until the gas is gone. Among the slowest of opcodes by gas."""
INIT = bytes.fromhex(f"60{len(LOOP):02x}600c60003960{len(LOOP):02x}6000f3") + LOOP
BURNED = 15_000_000


def call(node: LocalNode, to: Address | None, data: bytes, gas: int) -> None:
    """A block of one transaction."""
    account = node.applied.newest_state().account(node.accounts[0])
    unsigned = Transaction(
        type=2,
        chain_id=31337,
        nonce=account.nonce if account else 0,
        gas_price=0,
        max_fee_per_gas=1000 * GWEI,
        max_priority_fee_per_gas=GWEI,
        gas_limit=gas,
        to=to,
        value=0,
        data=data,
    )
    signed = sign_transaction(unsigned, node.secrets[0])
    node.ask(lambda done: Submit(done, PooledTransaction(signed, node.accounts[0], encode_transaction(signed))))


def burn(node: LocalNode, blocks: int) -> None:
    """Blocks that take long to execute and change next to nothing."""
    call(node, None, INIT, 200_000)
    receipts = node.store.chain.receipts(node.store.head.number)
    assert receipts is not None
    made = receipts[0].contract_address
    for _ in range(blocks):
        call(node, made, b"", BURNED)


def replay(place: Path, deltas: str) -> float:
    """Seconds to make everything from the log alone."""
    shutil.rmtree(place / layout.STATE, ignore_errors=True)
    for path in place.glob("index.sqlite*"):
        path.unlink()
    begin = time.perf_counter()
    node = LocalNode(place, segment_size_bytes=2**26, block_deltas=deltas)
    seconds = time.perf_counter() - begin
    node.close()
    return seconds


def compare(title: str, place: Path, node: LocalNode, rounds: int) -> None:
    """Print sizes and times."""
    sizes = {True: 0, False: 0}
    for record in node.store.wal.records():
        sizes[record.type == RecordType.BLOCK_DELTA] += len(record.payload) + 40
    blocks, count = node.store.head.number, rounds
    node.close()
    executed = min(replay(place, "off") for _ in range(count))
    applied = min(replay(place, "on") for _ in range(count))
    print(
        f"{title}: {blocks} blocks, executed {executed:.2f} s, applied {applied:.2f} s ({executed / applied:.1f}x); "
        f"deltas add {sizes[True] / 1024:.0f} KiB to {sizes[False] / 1024:.0f} KiB of log",
        flush=True,
    )


def main() -> None:
    """Make both chains, replay them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--transactions", type=int, default=10_000)
    parser.add_argument("--heavy", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as made:
        for title, name in (("transfers", "t"), ("loops", "l")):
            place = Path(made) / name
            node = LocalNode(place, segment_size_bytes=2**26, block_deltas="on")
            if name == "t":
                grow(node, wanted.transactions, node.secrets)
            else:
                burn(node, wanted.heavy)
            compare(title, place, node, wanted.rounds)


if __name__ == "__main__":
    main()
