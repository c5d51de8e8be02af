"""Sessions alone, without a block, bring checkpoints: by time, or by the bytes of their records."""

from __future__ import annotations

from pathlib import Path

from node.daemon.periodic import OVERLAY_BYTES, CheckpointDue
from node.engine.requests import KeepSession, KeepTemplate
from storage.sessions.records import Kept, Label, SessionPosition
from tests.durability.nodes import LocalNode

LARGE = 7 * 2**20
LABEL = Label("s", (), "osaka", b"", b"", b"", 1)
PLACE = SessionPosition(0, 0, bytes(32), "", 1)


def test_records_of_sessions_make_one_due(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d", segment_size_bytes=64 * 2**20)
    node.grow(2)
    node.checkpoint()
    written: list[int] = []

    def write_down() -> str:
        node.checkpoint()
        written.append(node.store.checkpoint_lsn)
        return "written"

    due = CheckpointDue(node.store, lambda: 0.0, 1e9, 10**9)
    for number in range(1, 1 + OVERLAY_BYTES // LARGE + 1):
        due.run(write_down)
        assert not written
        node.ask(lambda done, number=number: KeepSession(done, number, Kept(LABEL, PLACE, bytes(LARGE))))  # type: ignore[misc]
    due.run(write_down)
    assert written == [node.store.last_lsn]
    due.run(write_down)
    assert len(written) == 1
    node.close()
    again = LocalNode(tmp_path / "d")
    assert again.opened.recovery.blocks == 0
    assert len(again.store.sessions) == number
    again.close()


def test_what_comes_between_blocks_is_neither_lost_nor_done_twice(tmp_path: Path) -> None:
    """A checkpoint names the newest session record; what is around it is replayed right."""
    node = LocalNode(tmp_path / "d")
    moved = SessionPosition(9, 0, bytes(32), "stop", 5)
    for number in (1, 2):
        node.ask(lambda done, number=number: KeepSession(done, number, Kept(LABEL, PLACE, b"c")))  # type: ignore[misc]
    node.grow(2)
    node.ask(lambda done: KeepSession(done, 1, moved))
    node.checkpoint()
    node.ask(lambda done: KeepTemplate(done, "t", b"1"))
    node.checkpoint()
    head = node.digest()
    node.close()
    node = LocalNode(tmp_path / "d")
    assert node.digest() == head
    assert node.store.templates.get("t") == b"1"
    node.ask(lambda done: KeepSession(done, 1, None), lambda done: KeepSession(done, 2, moved))
    node.grow(1)
    node.ask(lambda done: KeepTemplate(done, "t", None))
    head = node.digest()
    for _ in range(2):
        node.close()
        node = LocalNode(tmp_path / "d")
        assert node.digest() == head
        assert list(node.store.sessions) == [2]
        assert node.store.sessions.get(2) == Kept(LABEL, moved, b"c")
        assert not list(node.store.templates)
        node.checkpoint()
    node.close()
