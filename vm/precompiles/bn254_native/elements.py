"""Elements of fields and curves as places in memory, and the functions on them, written by composition.

A `Kind` is a layout: the base field's is four 64-bit words in Montgomery form, every other kind is made of parts.
Operators on an `Element` emit a call of the kind's function into a fresh slot, so that a formula in Python reads
like the formula in the paper and becomes one LLVM function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vm.ir.builder import Builder

FIELD: Final = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
U: Final = 4965661367192848881
"""The number that field and curve are made from (Barreto, Naehrig 2005)."""
RADIX: Final = 1 << 256
"""An integer n is represented by n * RADIX modulo FIELD (Montgomery 1985)."""

_LEAF_BYTES: Final = 32


@dataclass(frozen=True)
class Kind:
    """What an element is: its functions are named after it."""

    name: str
    parts: tuple[Kind, ...] = ()
    """Its parts, in the order in memory; none for the base field."""

    @property
    def leaves(self) -> int:
        """How many elements of the base field it holds."""
        return sum(part.leaves for part in self.parts) or 1

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return _LEAF_BYTES * self.leaves


FP: Final = Kind("fp")
FP2: Final = Kind("fp2", (FP,) * 2)
"""Fp[u] / (u^2 + 1)"""
FP6: Final = Kind("fp6", (FP2,) * 3)
"""Fp2[v] / (v^3 - (9 + u))"""
FP12: Final = Kind("fp12", (FP6,) * 2)
"""Fp6[w] / (w^2 - v)"""
G1: Final = Kind("g1", (FP,) * 3)
G2: Final = Kind("g2", (FP2,) * 3)
"""Jacobian coordinates; z = 0 at infinity."""


class FunctionBody(Builder):
    """One function's body. Its slots are made at its beginning, so a loop does not grow the stack."""

    def __init__(self) -> None:
        super().__init__()
        self._slots: dict[str, str] = {}

    def slot(self, kind: Kind) -> Element:
        """Memory for an element, for as long as the function runs."""
        return Element(self, kind, self.room(kind.leaves))

    def room(self, leaves: int) -> str:
        """Address of memory for so many elements of the base field."""
        name = "%" + self.fresh("slot")
        self._slots[name] = f"alloca [{leaves} x i256], align 8"
        return name

    def offset(self, pointer: str, distance: str | int) -> str:
        """An address so many bytes on."""
        return self.let(f"getelementptr i8, ptr {pointer}, i64 {distance}") if distance != 0 else pointer

    def read(self, leaf: str) -> str:
        """The 256 bits at an address."""
        return self.let(f"load i256, ptr {leaf}, align 8")

    def write(self, value: str | int, leaf: str) -> None:
        """Write the 256 bits at an address."""
        self.do(f"store i256 {value}, ptr {leaf}, align 8")

    def call(self, name: str, *pointers: str) -> None:
        """Call a function of addresses."""
        self.do(f"call void @{name}({', '.join(f'ptr {pointer}' for pointer in pointers)})")

    def constant(self, kind: Kind, *values: int) -> Element:
        """An element known when the code is built, from its integers."""
        made = self.slot(kind)
        for i, value in enumerate(values):
            self.write(value * RADIX % FIELD, self.offset(made.at, _LEAF_BYTES * i))
        return made

    def repeat(self, count: str, body: Callable[[str], None]) -> None:
        """Emit a loop: ``body`` is given the index, from 0 below the i64 ``count``, which is not 0."""
        head, before = self.fresh("loop"), self.fresh("before")
        index, following = self.fresh("index"), self.fresh("next")
        latch, after = self.fresh("latch"), self.fresh("after")
        self.do(f"br label %{before}")
        self.place(before)
        self.do(f"br label %{head}")
        self.place(head)
        self.do(f"%{index} = phi i64 [ 0, %{before} ], [ %{following}, %{latch} ]")
        body("%" + index)
        self.do(f"br label %{latch}")
        self.place(latch)
        self.do(f"%{following} = add i64 %{index}, 1")
        self.branch(self.let(f"icmp ult i64 %{following}, {count}"), head, after)
        self.place(after)

    def unless(self, condition: str, body: Callable[[], None]) -> None:
        """Emit what is skipped where the i1 holds."""
        todo, onward = self.fresh("todo"), self.fresh("onward")
        self.branch(condition, onward, todo)
        self.place(todo)
        body()
        self.do(f"br label %{onward}")
        self.place(onward)

    def function(self, head: str) -> str:
        """The text of the function that ends here; ``head`` is all up to the brace."""
        slots = [f"  {name} = {place}" for name, place in self._slots.items()]
        return "\n".join([head + " {", *slots, *self.lines, "}", ""])

    def lay(self, slot: str, pointer: str, distance: int) -> bool:
        """Put a slot into memory of the caller's; False if this is not a slot, or one already put there."""
        if not self._slots.get(slot, "").startswith("alloca"):
            return False
        self._slots[slot] = f"getelementptr i8, ptr {pointer}, i64 {distance}"
        return True


class Element(NamedTuple):
    """A place that holds an element. Operators write to a new place and leave their operands."""

    code: FunctionBody
    kind: Kind
    at: str

    def be(self, operation: str, first: Element, *others: Element) -> None:
        """Take the result of a function of the first operand's kind. This element may be none of the operands."""
        self.code.call(f"{first.kind.name}_{operation}", self.at, first.at, *(x.at for x in others))

    def become(self, operation: str, *others: Element) -> None:
        """Take the result of a function of this element and others."""
        self.put(self.apply(operation, *others))

    def apply(self, operation: str, *others: Element) -> Element:
        """Result of a function of this element and others, of the same kind."""
        result = self.code.slot(self.kind)
        result.be(operation, self, *others)
        return result

    def part(self, i: int) -> Element:
        """One of the parts it is made of, in place."""
        before = sum(part.size_bytes for part in self.kind.parts[:i])
        return Element(self.code, self.kind.parts[i], self.code.offset(self.at, before))

    @property
    def parts(self) -> list[Element]:
        """All parts, in place."""
        return [self.part(i) for i in range(len(self.kind.parts))]

    def leaves(self) -> list[str]:
        """Addresses of its elements of the base field."""
        return [self.code.offset(self.at, _LEAF_BYTES * i) for i in range(self.kind.leaves)]

    def put(self, other: Element) -> None:
        """Copy an element of the same kind here."""
        for source, target in zip(other.leaves(), self.leaves(), strict=True):
            self.code.write(self.code.read(source), target)

    def is_zero(self) -> str:
        """Whether it is 0, i1."""
        code, (first, *others) = self.code, self.leaves()
        value = code.read(first)
        for other in others:
            value = code.let(f"or i256 {value}, {code.read(other)}")
        return code.let(f"icmp eq i256 {value}, 0")

    def plus(self, other: Element) -> Element:
        """Sum."""
        return self.apply("add", other)

    def minus(self, other: Element) -> Element:
        """Difference."""
        return self.apply("sub", other)

    def times(self, other: Element) -> Element:
        """Product."""
        return self.apply("mul", other)

    def scaled(self, factor: Element) -> Element:
        """Product with an element of the field below."""
        return self.apply("scale", factor)

    def squared(self) -> Element:
        """Square."""
        return self.apply("square")

    def negated(self) -> Element:
        """Negative."""
        return self.apply("neg")

    def doubled(self) -> Element:
        """Twice this."""
        return self.apply("double")


Formula = Callable[..., "Element | Sequence[Element]"]


def define(kind: Kind, operation: str, formula: Formula, *others: Kind, attributes: str = "noinline") -> str:
    """``@kind_operation(result, element, others...)``, the result being no operand: the formula's value."""
    code = FunctionBody()
    operands = [Element(code, each, f"%a{i}") for i, each in enumerate((kind, *others))]
    value = formula(*operands)
    at = 0
    for source in (value,) if isinstance(value, Element) else value:
        if not code.lay(source.at, "%out", at):
            Element(code, source.kind, code.offset("%out", at)).put(source)
        at += source.kind.size_bytes
    assert at == kind.size_bytes
    code.do("ret void")
    names = ", ".join(["ptr %out", *(f"ptr %a{i}" for i in range(len(operands)))])
    return code.function(f"define internal void @{kind.name}_{operation}({names}) nounwind {attributes}")


def power(element: Element, exponent: int, square: str = "square", mul: str = "mul") -> Element:
    """A power with a known exponent above 0, or a multiple of a point, by doubling and adding."""
    code, kind = element.code, element.kind
    result, spare, other = element, code.slot(kind), code.slot(kind)
    for bit in bin(exponent)[3:]:
        for operation, operands in ((square, ()), (mul, (element,)))[: 1 + int(bit)]:
            spare.be(operation, result, *operands)
            result, spare, other = spare, other, spare
    return result
