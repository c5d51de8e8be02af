"""The examples that show the SDK run against a real node: those of docs/sdk.md, in order, and examples/counter.py."""

from __future__ import annotations

import re
import runpy
import warnings
from typing import Any

import pytest

from tests.conftest import Node
from tests.paths import REPO

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = REPO / "docs" / "sdk.md"


@pytest.fixture(autouse=True)
def here(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node of the tests is the one that `zvmd.Node()` finds."""
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    monkeypatch.setenv("ZVMD_DATA_DIR", str(node.daemon.data_dir))
    monkeypatch.setenv("ZVMD_URL", f"quic://127.0.0.1:{node.daemon.quic_port}")


def test_the_page() -> None:
    text = PAGE.read_text()
    names: dict[str, Any] = {}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 5
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for block in blocks:
            line = text.count("\n", 0, block.start(1))
            exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)


def test_the_counter(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(REPO / "examples" / "counter.py"), run_name="__main__")
    assert "the counter says 42\n" in capsys.readouterr().out
