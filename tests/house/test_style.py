"""House rules that a linter does not know: file size, first lines, error slugs, forbidden names and modules."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from chain.errors import ZvmdError
from tests.paths import REPO

PACKAGES = ("chain", "vm", "storage", "debugger", "node", "zvmd")
FUNCTION_LINES_MAX = 70
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill"}
PURE = ("chain", "vm", "debugger")
IMPURE_IMPORTS = {"asyncio", "socket", "random", "time"}
SYSTEM_IMPORTS = {"io", "os", "pathlib", "resource", "shutil", "signal", "subprocess", "tempfile"}
"""Processes, files and the environment, which `vm` is given behind ports (`node.machine`)."""


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (REPO / package).rglob("*.py"))


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.split()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(REPO)))
def test_a_file_has_one_job_told_by_its_first_line(path: Path) -> None:
    text = path.read_text()
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(text)), "no docstring"


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.split(".")[0] for name in names}
    return found


def test_nothing_unpickles() -> None:
    for path in sources():
        assert not FORBIDDEN_IMPORTS & imported(path), path


def test_pure_layers_have_no_clock_network_or_chance() -> None:
    for package in PURE:
        for path in (REPO / package).rglob("*.py"):
            assert not IMPURE_IMPORTS & imported(path), path


def test_the_machine_has_no_process_file_or_environment() -> None:
    for path in (REPO / "vm").rglob("*.py"):
        assert not SYSTEM_IMPORTS & imported(path), path
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if is_call_by_name(node)}
        assert "open" not in called, path


def is_call_by_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def test_a_function_fits_on_a_screen() -> None:
    too_long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    too_long[f"{path.relative_to(REPO)}:{node.lineno} {node.name}"] = lines
    assert not too_long


def error_classes() -> list[type[ZvmdError]]:
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(REPO / package)], package + "."):
            if module.name.endswith("errors"):
                importlib.import_module(module.name)
    found: list[type[ZvmdError]] = []
    pending = [ZvmdError]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending.extend(kind.__subclasses__())
    ours = {kind for kind in found if kind.__module__.partition(".")[0] in PACKAGES}  # tests have some, too
    return sorted(ours, key=lambda kind: kind.code)


def test_every_error_has_a_unique_slug_a_meaning_and_a_hint() -> None:
    slugs: dict[str, type[ZvmdError]] = {}
    for kind in error_classes():
        assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", kind.code), kind
        assert slugs.setdefault(kind.code, kind) is kind, f"{kind.code} is used twice"
        assert kind.__doc__, kind
        if kind is not ZvmdError:
            assert kind.hint, f"{kind.code} has no hint"


@pytest.mark.parametrize("module", sorted({kind.__module__ for kind in error_classes()} - {"chain.errors"}))
def test_every_error_hangs_in_the_tree_drawn_above_it(module: str) -> None:
    tree = importlib.import_module(module).__doc__ or ""
    for kind in error_classes():
        if kind.__module__ == module:
            assert re.search(rf"─ {kind.__name__}\b", tree), f"{kind.__name__} ({kind.code}) is not drawn"


def test_no_path_of_one_machine_and_no_registry_host_is_in_the_repository() -> None:
    pattern = re.compile(
        r"/(?:work)/|/bash_jobs|py[p]i\.org|python[h]osted\.org|reg[i]stry\.npmjs|deb\.de[b]ian\.org"
    )
    for name in tracked_files():
        path = REPO / name
        if path.suffix in {".py", ".md", ".toml", ".sh", ".service", ".yml", ".json", ""} and path.is_file():
            found = pattern.search(path.read_text(errors="replace").replace(pattern.pattern, ""))
            assert found is None or path == Path(__file__), f"{name}: {found}"
