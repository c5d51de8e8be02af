"""Commands print through `node.cli.output` only, which lets nothing through that steers a terminal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import REPO

OUTPUT = REPO / "node" / "cli" / "output.py"
FILES = [path for path in sorted((REPO / "node" / "cli").glob("*.py")) if path != OUTPUT]
FORBIDDEN = {"echo", "secho", "print", "Console", "prompt", "confirm", "pager", "echo_via_pager", "write", "writelines"}
ALLOWED = {("config.py", "write"), ("dap.py", "write")}
"""A settings file, and the debug adapter's protocol on a socket."""


def printing(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in FORBIDDEN and (path.name, name) not in ALLOWED:
                yield f"{path.name}:{node.lineno} {ast.unparse(node.func)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands_print_through_one_file(path: Path) -> None:
    assert not list(printing(path))
