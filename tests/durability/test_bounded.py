"""A node under load for long keeps its memory flat and its disk as predicted: a soak, longer in full mode."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import pytest

from chain.types import Address
from node.daemon import checkpoint
from node.engine.clock import SystemClock
from node.engine.pipeline import Pipeline
from node.engine.requests import Submit
from node.errors import WriterBusy
from tests.durability.nodes import LocalNode

MIB = 2**20
BYTES_PER_TRANSACTION = 1_700
"""Of all files together in blocks of one transfer: log, state, history, receipts, index. Predicted from short runs."""
WARM_SHARE = 0.4


def resident_bytes() -> int:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(place: Path) -> int:
    """What the files take, without compiled code."""
    return sum(path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file() and "cache" not in path.parts)


def soak(place: Path, seconds: float) -> tuple[float, float, int]:
    """MiB an hour after warming up, bytes on disk a transaction, transactions."""
    node = LocalNode(place, segment_size_bytes=2**20, retention_blocks=64)
    pipeline = Pipeline(node.ledger, SystemClock(), on_fault=print)  # type: ignore[arg-type]
    pipeline.start()
    begin, room, sent = time.monotonic(), threading.Semaphore(8), 0
    samples: list[tuple[float, int]] = []
    next_look = 0.0
    while (now := time.monotonic() - begin) < seconds:
        room.acquire()
        candidate = node.transfer(0, Address((0x10000 + sent % 500).to_bytes(20, "big")), 1, nonce=sent)
        pipeline.put(Submit(lambda _: room.release(), candidate))
        sent += 1
        if now >= next_look:
            checkpoint(pipeline, node.store)
            node.store.index_new_blocks()
            gc.collect()
            samples.append((now, resident_bytes()))
            next_look = now + seconds / 40
    pipeline.stop()
    node.checkpoint()
    node.store.index_new_blocks()
    disk = disk_bytes(place) / sent
    assert node.store.state.overlay_bytes < MIB
    assert node.store.status()["index"]["inMemory"] == 0
    node.close()
    late = [(when, size) for when, size in samples if when > seconds * WARM_SHARE]
    mean_t = sum(when for when, _ in late) / len(late)
    mean_s = sum(size for _, size in late) / len(late)
    spread = sum((when - mean_t) ** 2 for when, _ in late)
    slope = sum((when - mean_t) * (size - mean_s) for when, size in late) / spread
    return slope * 3600 / MIB, disk, sent


@pytest.mark.timeout(120)
def test_a_short_soak(tmp_path: Path) -> None:
    """In a short run caches still fill, so what is shown is a limit: growth over its second half is small."""
    slope, disk, sent = soak(tmp_path / "d", 12)
    print(f"{sent} transactions, {slope:.1f} MiB/h, {disk:.0f} bytes on disk each")
    assert slope * 12 / 3600 < 12, "MiB over the run"
    assert disk < 1.2 * BYTES_PER_TRANSACTION + 2 * MIB / sent


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_long_soak(tmp_path: Path) -> None:
    slope, disk, sent = soak(tmp_path / "d", 600)
    print(f"{sent} transactions, {slope:.1f} MiB/h, {disk:.0f} bytes on disk each")
    assert slope < 30
    assert disk < 1.2 * BYTES_PER_TRANSACTION


def test_blocks_made_faster_than_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    monkeypatch.setattr("node.engine.pipeline.OVERLAY_BYTES_MAX", 10)
    with pytest.raises(WriterBusy):
        node.pipeline.put(Submit(lambda _: None, node.transfer(0, Address(b"\x55" * 20))))
    node.checkpoint()
    node.pipeline.put(Submit(lambda _: None, node.transfer(0, Address(b"\x55" * 20))))
    node.close()
