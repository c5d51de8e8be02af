"""No import cycle in any package, and no process, file, environment, clock, network or chance in the pure ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house import debts
from tests.house.modules import Module, cycles, import_graph, imported_names, knots, modules

PURE = ("chain", "vm", "debugger")
IMPURE = {
    *("subprocess", "multiprocessing", "os", "pathlib", "tempfile", "shutil", "resource", "signal", "mmap"),
    *("asyncio", "socket", "random", "secrets", "time", "datetime"),
}


def impurities(module: Module) -> Iterator[str]:
    """What a module uses of the world outside, as ``module: name``."""
    used = {name.split(".")[0] for name in imported_names(module)} & IMPURE
    calls = (node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call))
    if any(isinstance(function, ast.Name) and function.id == "open" for function in calls):
        used.add("open")
    yield from (f"{module.name}: {name}" for name in used)


def test_pure_packages_use_nothing_of_the_world_outside() -> None:
    pure = [module for module in modules().values() if module.name.split(".")[0] in PURE]
    debts.check("impure", {found for module in pure for found in impurities(module)})


def test_no_modules_import_each_other_in_a_circle() -> None:
    debts.check("module_cycle", set().union(*cycles(import_graph(modules()))))


def test_no_packages_import_each_other_in_a_circle() -> None:
    """Also where no module does: ``a.p.one`` uses ``a.q.two``, and ``a.q.three`` uses ``a.p.four``."""
    graph = import_graph(modules())
    packages = ["", *(name for name, module in modules().items() if module.package == name)]
    debts.check("package_cycle", {f"{package}: {name}" for package in packages for name in knots(graph, package)})


def test_python_processes_are_started_in_one_way() -> None:
    """`node.ops.worker` gives them our packages; `zvmd systemd` only writes the interpreter's path into a unit."""
    named = {name for name, module in modules().items() if "sys.executable" in ast.unparse(module.tree)}
    assert named == {"node.ops.worker", "node.cli.systemd"}


def module(name: str, text: str, *, is_package: bool = False) -> Module:
    path = Path(*name.split("."), "__init__.py") if is_package else Path(*name.split(".")).with_suffix(".py")
    return Module(name, path, ast.parse(text))


def test_cycles_are_found_at_every_depth_and_behind_every_kind_of_import() -> None:
    found = [
        module("a", "", is_package=True),
        module("a.p", "", is_package=True),
        module("a.q", "", is_package=True),
        module("a.p.one", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.q.two import Two"),
        module("a.p.alone", "import a.q.three"),
        module("a.q.two", "def work():\n    from a.p import one"),
        module("a.q.three", "from .four import Four"),
        module("a.q.four", "from . import three"),
        module("a.r", "from a.p.alone import x"),
    ]
    graph = import_graph({one.name: one for one in found})
    assert cycles(graph) == [{"a.p.one", "a.q.two"}, {"a.q.three", "a.q.four"}]
    assert [knots(graph, package) for package in ("a", "a.p", "a.q")] == [
        {"a.p", "a.q"},
        set(),
        {"a.q.three", "a.q.four"},
    ]


def test_impurities_are_found() -> None:
    text = "def work():\n    import os.path\n    return open(os.devnull)"
    assert set(impurities(module("vm.x", text))) == {"vm.x: os", "vm.x: open"}
