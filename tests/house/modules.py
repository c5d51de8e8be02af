"""The product's modules as syntax trees, and which of them import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.paths import REPO

PACKAGES = ("chain", "vm", "storage", "debugger", "node", "zvmd")


@dataclass(frozen=True, eq=False)
class Module:
    """A source file: its dotted name, its path below the repository and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package it is in, or itself if it is one: what relative imports are relative to."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@cache
def modules() -> Mapping[str, Module]:
    """Every module of the product by its dotted name."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (REPO / package).rglob("*.py")):
        relative = path.relative_to(REPO)
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        found[name] = Module(name, relative, ast.parse(path.read_text(encoding="utf-8")))
    return found


def imported_names(module: Module) -> Iterator[str]:
    """Dotted names that a module imports anywhere: at its top, in functions, for type checking only.

    ``from a import b`` yields ``a.b``, which may be a module or a name in ``a``.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.package.split(".")[: -(node.level - 1) or None] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def import_graph(known: Mapping[str, Module]) -> dict[str, set[str]]:
    """Module to the modules it imports. An ``__init__`` that Python runs on the way to a module does not count."""
    graph: dict[str, set[str]] = {}
    for name, module in known.items():
        targets = {found if found in known else found.rpartition(".")[0] for found in imported_names(module)}
        graph[name] = (targets & known.keys()) - {name}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Strongly connected components of more than one node, by Kosaraju's two walks."""
    reverse: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            reverse[target].add(name)
    seen: set[str] = set()
    finished = [found for name in sorted(graph) for found in _walk(name, graph, seen)]
    seen = set()
    components = [set(_walk(name, reverse, seen)) for name in reversed(finished)]
    return [component for component in components if len(component) > 1]


def _walk(start: str, graph: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    """Nodes reached from ``start`` and not in ``seen``, each behind all that is reached through it."""
    finished: list[str] = []
    stack = [(start, iter(sorted(graph[start])))] if start not in seen else []
    seen.add(start)
    while stack:
        name, targets = stack[-1]
        for target in targets:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(sorted(graph[target]))))
                break
        else:
            finished.append(name)
            stack.pop()
    return finished


def knots(graph: Mapping[str, set[str]], package: str) -> set[str]:
    """Direct members of a package, modules or packages, that import each other in a circle. "" is the repository."""
    return set[str]().union(*cycles(_members(graph, package)))


def _members(graph: Mapping[str, set[str]], package: str) -> dict[str, set[str]]:
    """The graph of a package's direct members. The package's own ``__init__`` is one of them."""
    depth = len(package.split(".")) + 1 if package else 1
    members: dict[str, set[str]] = {}
    for name, targets in graph.items():
        inside = [one for one in (name, *targets) if not package or f"{one}.".startswith(f"{package}.")]
        if name in inside:
            member, *others = (".".join(one.split(".")[:depth]) for one in inside)
            members.setdefault(member, set()).update(set(others) - {member})
    return members
