"""Every limit that ``zvmd status`` shows holds under load and stands in the operations page."""

from __future__ import annotations

import time
from pathlib import Path

from node.engine.limit_usage import limit_usage
from node.sessions.base_state import BaseStates
from node.sessions.gallery import Gallery
from node.sessions.repository import SessionRepository
from node.sessions.service import SessionService
from storage.blocks.chaindata import _Recent
from storage.io.files import RealFs
from storage.sessions.files import SessionFiles
from tests.durability.nodes import LocalNode
from tests.paths import REPO


def test_each_is_told_and_written_down(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(5)
    store, engine = node.store, node.opened.node(node.committer, node.publications, 10**9)
    files = SessionFiles(RealFs(node.data_dir))
    repository = SessionRepository(store.sessions, engine.keep_session, files, store.session_search, time.time)
    gallery = Gallery(store.templates, engine.keep_template)
    sessions = SessionService(BaseStates(engine, node.opened.machine), repository, gallery)
    told = limit_usage(node.store, node.pool, node.committer, sessions.limit_usage)
    assert told.keys() > limit_usage(node.store, node.pool, node.committer).keys()
    page = (REPO / "docs" / "operations.md").read_text()
    for name, size in told.items():
        assert size["used"] is None or 0 <= size["used"] <= size["max"], name
        assert all(word in page for word in name.split()), name
    assert told["overlay bytes"]["used"] > 0
    node.close()


def test_decoded_blocks_are_limited_by_their_transactions() -> None:
    read: list[int] = []

    def load(number: int) -> list[int] | None:
        read.append(number)
        return [0] * number if number else None

    recent = _Recent(100, load, len)
    for number in (40, 50, 60, 200, 10):
        assert recent.get(number) == [0] * number
        assert recent.weight <= 100 or len(recent._items) == 1
    assert recent.get(0) is None
    assert recent.get(10) == [0] * 10
    assert read == [40, 50, 60, 200, 10, 0]
    recent.forget_after(9)
    assert recent.weight == 0
