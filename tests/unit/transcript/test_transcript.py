"""The transcript follows a real chain: behind, brought back, with expired states, and with a printer that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.engine.requests import Cheat
from node.transcript import transcript as module
from node.transcript.abis import Abis
from node.transcript.transcript import Transcript
from tests.durability.nodes import LocalNode


class Printed:
    """A transcript over a node, and what it printed."""

    def __init__(self, local: LocalNode, put: Callable[[str], None] | None = None) -> None:
        self.lines: list[str] = []
        self.local = local
        self.node = local.opened.node(local.committer, local.publications, 10**7)
        self.transcript = Transcript(put or self.lines.append, "json", Abis(), lambda: 0.0, enabled=True)
        local.heard_by(self.transcript.listener)
        self.transcript.start(self.node)

    def end(self) -> list[dict[str, Any]]:
        """All that it prints."""
        self.transcript.stop()
        return [json.loads(line) for text in self.lines for line in text.splitlines()]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNode]:
    monkeypatch.setattr(module, "STOP_SECONDS", 60.0)  # a busy machine takes its time
    node = LocalNode(tmp_path / "data", retention_blocks=3)
    yield node
    node.close()


def test_blocks_whose_states_expired_are_printed_all_the_same(local: LocalNode) -> None:
    printed = Printed(local)
    sent = local.grow(8)
    local.checkpoint()
    assert [entry["hash"] for entry in printed.end()] == ["0x" + known.hex() for known in sent]


def test_after_a_way_back_the_blocks_in_place_of_the_others_are_printed(local: LocalNode) -> None:
    printed = Printed(local)
    (snapshot,) = local.ask(lambda done: Cheat(done, "snapshot", ()))
    local.grow(2)
    assert local.ask(lambda done: Cheat(done, "revert", (snapshot,))) == [True]
    last = local.grow(1)
    entries = printed.end()
    assert [entry["event"] for entry in entries] == ["rewound", "transaction"]
    assert (entries[0]["block"], entries[1]["hash"]) == (0, "0x" + last[0].hex())


def test_a_way_back_while_it_prints_hides_no_block(local: LocalNode) -> None:
    """How much it had printed by then depends on threads; that the newest block is printed does not."""
    printed = Printed(local)
    last = []
    for _ in range(10):
        (snapshot,) = local.ask(lambda done: Cheat(done, "snapshot", ()))
        local.grow(3)
        printed.transcript.wake()
        local.ask(lambda done, known=snapshot: Cheat(done, "revert", (known,)))  # type: ignore[misc]
        last = local.grow(1)
        printed.transcript.wake()
    assert printed.end()[-1]["hash"] == "0x" + last[0].hex()


def test_far_behind_it_goes_on_near_the_head(local: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEHIND_MAX", 2)
    printed = Printed(local)
    local.grow(6)
    assert [entry["block"] for entry in printed.end()] == [4, 5, 6]


def test_off_and_on_again_leaves_out_what_is_between(local: LocalNode) -> None:
    """All before anything is printed: what was asked for counts, not when the thread gets to it."""
    printed = Printed(local)
    for enabled in (False, True, False, True):
        local.grow(1)
        printed.transcript.wake()
        printed.transcript.switch(enabled)
    local.grow(1)
    assert [entry["block"] for entry in printed.end()] == [1, 3, 5]


def test_what_cannot_be_printed_is_logged_and_the_next_is(
    local: LocalNode, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []

    def put(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            raise ValueError("the first one")

    printed = Printed(local, put)
    local.grow(1)
    printed.transcript.wake()
    while not lines:
        pass
    local.grow(1)
    printed.transcript.stop()
    assert [json.loads(line)["block"] for line in lines] == [1, 2]
    assert "cannot be printed" in caplog.text + capsys.readouterr().out


def test_notes_of_what_is_not_printed_yet_are_bounded(local: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTES_MAX_BYTES", 0)
    printed = Printed(local)
    local.grow(2)
    assert [entry["status"] for entry in printed.end()] == ["ok", "ok"]
