"""After a failed sync the disk is believed, not memory; damage is told and marked; the last request is answered."""

from __future__ import annotations

import errno
import queue
import threading
from functools import partial
from pathlib import Path

import pytest

from node.api.errors import NodeStopping
from node.engine.requests import Mine, WriterRequest
from node.rpc.context import Context
from node.rpc.dispatch import Dispatcher
from node.rpc.methods import load_methods
from storage.directory import layout
from storage.directory.notes import note_panic, suspect
from storage.errors import StateStoreCorrupt, StoragePanic
from storage.io.files import RealFs
from storage.state.keys import ACCOUNT, BODY, block_key
from storage.wal import RecordType, Wal
from storage.wal.recovery import forget_cached
from tests.durability.nodes import LocalNode
from tests.simulation.simfaults import Fault
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import CHAIN, SEGMENT_SIZE


def payloads(log: Wal) -> list[bytes]:
    return [record.payload for record in log.records()]


@pytest.mark.parametrize("forget", [False, True])
def test_what_a_failed_sync_left_in_memory_only_is_not_history(forget: bool) -> None:
    fs = SimFs(1)
    log = Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE)
    log.append(RecordType.TRANSACTION, b"first")
    log.flush()
    fs.fail_at(Fault(fs.calls, errno.EIO, forever=True))
    log.append(RecordType.TRANSACTION, b"lost")
    with pytest.raises(StoragePanic):
        log.flush()
    fs.crash()
    after = fs.restart()
    after.recover_from_faults()
    if forget:
        forget_cached(after, "wal")
    log = Wal.open(after, "wal", CHAIN, segment_size=SEGMENT_SIZE)
    # Both are histories: the cached record was never acknowledged, and is written again before it counts.
    assert payloads(log) in ([b"first"], [] if forget else [b"first", b"lost"])
    log.append(RecordType.TRANSACTION, b"then")
    log.flush()
    kept = payloads(log)
    after.crash()
    for _, disk in after.survivors(seed=2):
        assert payloads(Wal.open(disk, "wal", CHAIN, segment_size=SEGMENT_SIZE)) == kept


def test_the_note_of_a_panic_goes_when_the_log_is_durable_again(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    before = node.digest()
    note_panic(RealFs(node.data_dir), "fdatasync failed")
    node.close()
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert not (node.data_dir / layout.PANIC).exists()
    again.close()


def test_a_request_that_meets_damage_is_answered_and_the_next_start_builds_the_state_again(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    before = node.digest()
    node.checkpoint()
    node.store.index_new_blocks()
    node.store.kv.write({}, [block_key(BODY, 2)])
    node.close()
    node = LocalNode(node.data_dir)
    load_methods()
    context = Context(node.opened.node(node.committer, node.publications, 10**9))
    context.damaged = lambda damage: suspect(RealFs(node.data_dir), str(damage))
    ask = Dispatcher(context).prepare("eth_getBlockByNumber", ["0x2", True])
    with pytest.raises(StateStoreCorrupt, match="body of block 2"):
        ask.run()
    node.close()
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert len(list((node.data_dir / layout.QUARANTINE).iterdir())) == 1
    again.close()


def test_a_start_that_meets_damage_builds_the_state_again(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    node.checkpoint()
    sender = node.accounts[node.store.head.number % 3]
    node.grow(1)
    before = node.digest()
    node.store.kv.write({ACCOUNT + sender: b"no account"}, [])  # read while block 4 is replayed
    node.close()
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert len(list((node.data_dir / layout.QUARANTINE).iterdir())) == 1
    again.close()


class SlowInbox(queue.SimpleQueue[WriterRequest | None]):
    """Lets the committer be stopped by another thread just before a request goes in."""

    def __init__(self, stopper: threading.Thread) -> None:
        self._stopper = stopper

    def put(self, item: WriterRequest | None, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            self._stopper.start()
            self._stopper.join(0.3)
        super().put(item)


def test_a_request_taken_while_the_committer_stops_is_answered(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    stopper = threading.Thread(target=node.committer.stop)
    node.committer._inbox = SlowInbox(stopper)
    node.committer.start()
    answers: list[object] = []
    node.committer.put(Mine(answers.append))
    stopper.join()
    assert answers == [1]
    with pytest.raises(NodeStopping):
        node.committer.put(Mine(partial(answers.append)))
    node.close()


@pytest.mark.parametrize("name", [layout.SUSPECT, layout.PANIC])
def test_a_damaged_note_is_a_note(tmp_path: Path, name: str) -> None:
    """It ended the start with a traceback, each time."""
    node = LocalNode(tmp_path / "d")
    node.grow(2)
    before = node.digest()
    node.close()
    (node.data_dir / name).write_bytes(b"\xff\xfe")
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert not (node.data_dir / name).exists()
    again.close()
