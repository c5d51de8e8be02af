"""The protocol cores do no I/O: they import neither event loops, sockets, files, clocks nor randomness."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.paths import REPO

PURE = (
    "node/wire/connection.py",
    "node/wire/events.py",
    "node/wire/codec.py",
    "node/rpc/dispatch.py",
    "node/rpc/format.py",
    "node/rpc/params.py",
    "node/rpc/strict_json.py",
    "node/gateway/answers.py",
    "node/doors/rule.py",
    "node/gateway/http1.py",
    "node/gateway/routes.py",
    "zvmd/frames.py",
)
FORBIDDEN = {"asyncio", "socket", "ssl", "os", "pathlib", "time", "datetime", "random", "secrets", "threading", "qh3"}


@pytest.mark.parametrize("path", PURE)
def test_pure_files_import_nothing_impure(path: str) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse((REPO / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert not names & FORBIDDEN


def test_the_connection_works_where_there_is_no_event_loop() -> None:
    program = "import sys, node.wire.connection; print('asyncio' in sys.modules, 'qh3' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
