"""One function of LLVM IR, instruction by instruction, with fresh names for values and labels.

A name is written with its sigil (``%v7``); an operand may also be an integer. Instructions are given as text: see
``docs/design/0024-ir-text.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Operand = int | str
_ALIGNMENT: Final = {"i256": 32}
"""Bytes; of other types LLVM knows it. Words in native memory are aligned to their size."""


class Builder:
    """Lines of one function's body."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names = 0

    def fresh(self, hint: str = "v") -> str:
        """A name no other value or label of this function has, without its sigil."""
        self._names += 1
        return f"{hint}{self._names}"

    def let(self, instruction: str) -> str:
        """Emit an instruction and name its result."""
        name = "%" + self.fresh()
        self.lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Emit an instruction without a result, or one that names its own."""
        self.lines.append("  " + instruction)

    def place(self, label: str) -> None:
        """Begin the block with this label."""
        self.lines.append(f"{label}:")

    def branch(self, condition: str, yes: str, no: str) -> None:
        """End the block on a condition."""
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def go(self, label: str) -> None:
        """End the block by going on at another."""
        self.do(f"br label %{label}")

    def choose(self, kind: str, sources: Iterable[tuple[Operand, str]]) -> str:
        """The value of the block this one was entered from: (value, label) for each."""
        listed = ", ".join(f"[ {value}, %{label} ]" for value, label in sources)
        return self.let(f"phi {kind} {listed}")

    def at(self, pointer: str, offset: Operand) -> str:
        """The address so many bytes after another."""
        return self.let(f"getelementptr i8, ptr {pointer}, i64 {offset if isinstance(offset, str) else int(offset)}")

    def element(self, kind: str, pointer: str, index: Operand) -> str:
        """The address of an element of an array."""
        return self.let(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, kind: str, pointer: str) -> str:
        """The value at an address."""
        return self.let(f"load {kind}, ptr {pointer}{_aligned(kind)}")

    def store(self, kind: str, value: Operand, pointer: str) -> None:
        """Write a value to an address."""
        self.do(f"store {kind} {value}, ptr {pointer}{_aligned(kind)}")

    def get(self, kind: str, pointer: str, offset: int) -> str:
        """The value so many bytes after an address."""
        return self.load(kind, self.at(pointer, offset))

    def put(self, kind: str, value: Operand, pointer: str, offset: int) -> None:
        """Write a value so many bytes after an address."""
        self.store(kind, value, self.at(pointer, offset))

    def function(self, head: str) -> str:
        """The text of the function that ends here; ``head`` is all up to the brace."""
        return "\n".join([head + " {", *self.lines, "}", ""])


def _aligned(kind: str) -> str:
    return f", align {_ALIGNMENT[kind]}" if kind in _ALIGNMENT else ""


def declared_exports(names: Iterable[str]) -> str:
    """``@exports``: the addresses that `vm.ir.loader.load_library` gives by name, in this order."""
    listed = [f"ptr @{name}" for name in names]
    return f"@exports = constant [{len(listed)} x ptr] [{', '.join(listed)}]\n"
