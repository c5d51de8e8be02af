"""What the daemon prints at its start."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from node.daemon.progress import Progress
from node.daemon.voice import form_of, lacking
from node.engine.accounts import DevAccounts
from node.settings import LogSettings, NodeSettings, Settings
from tests.durability.nodes import LocalNode


def test_a_long_start_tells_what_it_does() -> None:
    lines: queue.Queue[str] = queue.Queue()
    progress = Progress(lines.put, first=0.001, every=0.001)
    assert lines.get(timeout=30) == "starting: loading"
    progress.replayed(81_234)
    while (line := lines.get(timeout=30)) == "starting: loading":
        pass
    assert line == "starting: replaying the log, block 81,234"
    progress.end()


def test_a_short_one_tells_nothing() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, first=3_600)
    progress.end()
    assert lines == []


@pytest.mark.parametrize(("cheats", "lines"), [(True, 1), (False, 2)])
def test_what_a_node_without_accounts_lacks(tmp_path: Path, cheats: bool, lines: int) -> None:
    local = LocalNode(tmp_path / "data")
    try:
        local.opened.cheats, local.opened.dev_accounts = cheats, DevAccounts([])
        said = lacking(local.opened)
        assert len(said) == lines
        assert all("--dev" in line for line in said)
    finally:
        local.close()


@pytest.mark.parametrize(
    ("dev", "log", "is_terminal", "environ", "form"),
    [
        (True, LogSettings(), True, {}, "colour"),
        (True, LogSettings(), False, {}, "text"),
        (True, LogSettings(), True, {"NO_COLOR": "1"}, "text"),
        (True, LogSettings(quiet=True), True, {}, None),
        (True, LogSettings(quiet=True, format="json"), True, {}, None),
        (False, LogSettings(), True, {}, "colour"),
        (False, LogSettings(), False, {}, None),
        (False, LogSettings(format="json"), False, {}, "json"),
        (False, LogSettings(format="json"), True, {}, "json"),
        (False, LogSettings(format="pretty"), False, {}, "text"),
    ],
)
def test_where_and_how_a_transcript_is_printed(
    dev: bool, log: LogSettings, is_terminal: bool, environ: dict[str, str], form: str | None
) -> None:
    assert form_of(Settings(node=NodeSettings(dev=dev), log=log), is_terminal, environ) == form
