"""The house rules that a machine can check (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.paths import REPO

FILE_LINES = 400
FUNCTION_LINES = 70
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill"}
"""Formats that run code or crash when they read a stranger's bytes."""
PURE = ("chain", "vm", "debugger")
IMPURE_IMPORTS = {"asyncio", "socket", "random", "time"}


def sources() -> list[Path]:
    """Every Python file of the repository that git knows, or would know."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=True)
    return sorted({REPO / line for line in listed.stdout.splitlines() if (REPO / line).is_file()})


def name(file: Path) -> str:
    """The path as the repository knows it."""
    return str(file.relative_to(REPO))


FILES = sources()
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def imports(tree: ast.AST) -> set[str]:
    """Top-level names of every module a file imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_there_are_files() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("rule", ["files", "functions"])
def test_nothing_is_too_long(rule: str) -> None:
    if rule == "files":
        sizes = {name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
        limit = FILE_LINES
    else:
        limit = FUNCTION_LINES
        sizes = {
            f"{name(file)}:{function.lineno} {function.name}": (function.end_lineno or 0)
            - function.lineno
            + 1
            for file, tree in TREES.items()
            for function in functions(tree)
        }
    assert {where: lines for where, lines in sizes.items() if lines > limit} == {}


def test_every_file_says_its_job() -> None:
    silent = [name(file) for file, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = [name(file) for file in FILES if {file.stem, *file.relative_to(REPO).parts} & FORBIDDEN_NAMES]
    assert vague == []


def test_nothing_unsafe_is_imported() -> None:
    found = {name(file): imports(tree) & FORBIDDEN_IMPORTS for file, tree in TREES.items()}
    assert {file: names for file, names in found.items() if names} == {}


def test_pure_layers_have_no_clock_network_or_chance() -> None:
    found = {
        name(file): imports(tree) & IMPURE_IMPORTS
        for file, tree in TREES.items()
        if name(file).split("/")[0] in PURE
    }
    assert {file: names for file, names in found.items() if names} == {}
