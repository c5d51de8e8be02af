"""House rules that a linter does not know: first lines, function length, error slugs, forbidden names and modules."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from chain.errors import ZvmdError
from tests.house.modules import PACKAGES, Module, imported_names, modules
from tests.paths import REPO

FUNCTION_LINES_MAX = 70
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill"}


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.split()


@pytest.mark.parametrize("module", modules().values(), ids=lambda module: module.name)
def test_a_file_has_one_job_told_by_its_first_line(module: Module) -> None:
    assert module.path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(module.tree), "no docstring"


def test_nothing_unpickles() -> None:
    for module in modules().values():
        assert not FORBIDDEN_IMPORTS & {name.split(".")[0] for name in imported_names(module)}, module.name


def test_a_function_fits_on_a_screen() -> None:
    too_long = {}
    for module in modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    too_long[f"{module.path}:{node.lineno} {node.name}"] = lines
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
    pattern = re.compile(r"/(?:work)/|/bash_jobs|py[p]i\.org|python[h]osted\.org|reg[i]stry\.npmjs|deb\.de[b]ian\.org")
    for name in tracked_files():
        path = REPO / name
        if path.suffix in {".py", ".md", ".toml", ".sh", ".service", ".yml", ".json", ""} and path.is_file():
            found = pattern.search(path.read_text(errors="replace").replace(pattern.pattern, ""))
            assert found is None or path == Path(__file__), f"{name}: {found}"
