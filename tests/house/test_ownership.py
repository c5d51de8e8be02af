"""State belongs to the module that defines its class; a class name means one thing in the whole product."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.house import debts
from tests.house.foreign_assignments import foreign_assignments
from tests.house.modules import Module, modules

OWN = """
class Own:
    part: "Own"
    def __init__(self, other: Foreign, third: Foreign | None) -> None:
        self.other = other
        self.made = Foreign()
        self.third: Foreign | None = third
"""


def test_no_module_assigns_to_attributes_of_foreign_objects() -> None:
    debts.check("foreign_assignment", {f for module in modules().values() for f in foreign_assignments(module)})


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("def work(thing): thing.x = 1", {"work thing.x"}),
        ("def work(thing: Foreign): thing.x += 1", {"work thing.x"}),
        ("def work(thing: Foreign): alias = thing.part; alias.x = 1", {"work alias.x"}),
        ("def work(thing: Foreign): (thing.x, thing.y) = 1, 2", {"work thing.x", "work thing.y"}),
        ("async def work(thing: Foreign): thing.part.x = 1", {"work thing.part.x"}),
        ("def work(own: Own): own.other.x = 1", {"work own.other.x"}),
        ("def work(own: Own): own.made.x = 1", {"work own.made.x"}),
        ("def work(own: Own): own.x = 1; own.part.x = 2", set()),
        ("def work(own: Own | None): alias = own.part; alias.x = 1", set()),
        ("def work(): made = Foreign(); made.x = 1", set()),
        ("class Other:\n  def work(self): self.x = 1", set()),
        (
            "class Other:\n  def __init__(self, f: Foreign): self.f = f\n  def w(self): self.f.x = 1",
            {"Other.w self.f.x"},
        ),
        ("class Other:\n  def __init__(self): self.o = Own()\n  def work(self): self.o.x = 1", set()),
        ("def work(thing):\n  def inside(): thing.y = 1\n  other = Foreign()\n  other.x = 1", {"work.inside thing.y"}),
        ("def work(library): library.f.restype = None", set()),
    ],
)
def test_foreign_assignments_are_found(body: str, found: set[str]) -> None:
    assert set(foreign_assignments(Module("m", Path("m.py"), ast.parse(f"{OWN}\n{body}")))) == found


SDK_WORDS = ("zvmd.errors", "zvmd.results")
"""The SDK imports nothing of the node, so it has classes of its own for the node's errors and answers, under the names
that they have there: test_sdk_errors.py and test_sdk_results.py hold them together."""


def test_a_class_name_means_one_thing() -> None:
    names = Counter(
        node.name
        for name, module in modules().items()
        if name not in SDK_WORDS
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    debts.check("class_name", {name for name, times in names.items() if times > 1})
