"""A node under load for long keeps its memory flat and its disk as predicted: a soak, longer in full mode."""

from __future__ import annotations

import gc
import statistics
import threading
from importlib import import_module
from pathlib import Path

import pytest

from chain.types import Address
from node.api.errors import WriterBusy
from node.daemon.periodic import checkpoint
from node.engine.clock import SystemClock
from node.engine.committer import Committer, Listeners
from node.engine.requests import Submit
from node.ops.memory import resident_bytes
from storage.blocks import chaindata
from storage.io.kv.engines import default_engine
from tests.durability.nodes import LocalNode

MIB = 2**20
BYTES_PER_TRANSACTION = 1_700
"""Of all files together in blocks of one transfer: log, state, history, receipts, index. Predicted from short runs."""
EMPTY_BYTES = 6 * MIB
"""Of files that are there from the start, and of room that is taken ahead."""
WARM_SHARE = 0.4
LOOKS = 40


def disk_bytes(place: Path) -> int:
    """What the files take, without compiled code."""
    return sum(path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file() and "cache" not in path.parts)


def soak(place: Path, transactions: int) -> tuple[float, float]:
    """Bytes of memory a transaction once it is warm, and bytes on disk a transaction."""
    node = LocalNode(place, segment_size_bytes=2**20, retention_blocks=64)
    committer = node.committer = Committer(node.opened.writer(), node.store, SystemClock(), Listeners(on_fault=print))
    committer.start()
    room = threading.Semaphore(8)
    samples: list[tuple[int, int]] = []
    for sent in range(transactions):
        room.acquire()
        candidate = node.transfer(0, Address((0x10000 + sent % 500).to_bytes(20, "big")), 1, nonce=sent)
        committer.put(Submit(lambda _: room.release(), candidate))
        if sent % (transactions // LOOKS) == 0:
            checkpoint(committer, node.store)
            node.store.index_new_blocks()
            gc.collect()
            samples.append((sent, resident_bytes()["own"]))
    committer.stop()
    node.checkpoint()
    node.store.index_new_blocks()
    disk = disk_bytes(place) / transactions
    assert node.store.state.overlay_bytes < MIB
    assert node.store.status()["index"]["inMemory"] == 0
    node.close()
    late = [(sent, size) for sent, size in samples if sent > transactions * WARM_SHARE]
    slope = statistics.linear_regression([sent for sent, _ in late], [size for _, size in late]).slope
    print(f"{transactions} transactions, {slope:.1f} bytes of memory and {disk:.0f} on disk each")
    return slope, disk


@pytest.mark.timeout(120)
def test_a_short_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With caches so small that they are full soon, memory no longer grows."""
    for name in ("HEADERS_CACHED", "TRANSACTIONS_CACHED", "RECEIPTS_CACHED"):
        monkeypatch.setattr(chaindata, name, 100)
    for name in ("BLOCK_CACHE_BYTES", "WRITE_BUFFER_BYTES"):
        monkeypatch.setattr(import_module(f"storage.io.kv.{default_engine()}"), name, 256 * 1024)
    slope, disk = soak(tmp_path / "d", 3_000)
    assert slope < 2_500
    assert disk < 1.6 * BYTES_PER_TRANSACTION + EMPTY_BYTES / 3_000  # LevelDB may not have compacted everything yet


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_a_long_soak(tmp_path: Path) -> None:
    slope, disk = soak(tmp_path / "d", 500_000)
    assert slope < 10
    assert disk < 1.2 * BYTES_PER_TRANSACTION


def test_blocks_made_faster_than_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    monkeypatch.setattr("node.engine.committer.OVERLAY_BYTES_MAX", 10)
    with pytest.raises(WriterBusy):
        node.committer.put(Submit(lambda _: None, node.transfer(0, Address(b"\x55" * 20))))
    node.checkpoint()
    node.committer.put(Submit(lambda _: None, node.transfer(0, Address(b"\x55" * 20))))
    node.close()
