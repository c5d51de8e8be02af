"""The language of conditions: C-like operators over a position, on unsigned 256-bit words. No eval, no loops.

    stack[0] == 0x5 && op == SSTORE        gas < 10000 || depth > 2        mem[0:32] != storage[1]

Names: pc op gas depth step value caller address origin msize stacksize calldatasize, and opcodes by name.
``stack[i]`` counts from the top, ``mem[a:b]`` and ``calldata[a:b]`` are up to 32 bytes read big-endian,
``calldata[i]`` is the word that CALLDATALOAD reads at ``i``, ``storage[k]`` belongs to the running account.
Arithmetic wraps; dividing by 0 gives 0. A missing stack word makes the whole expression false.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from chain.types import UINT256_MAX
from debugger.errors import InvalidExpression
from debugger.limits import EXPRESSION_CHARACTERS, EXPRESSION_DEPTH, EXPRESSION_NODES
from debugger.position import Position
from vm.evm.layout import Env
from vm.evm.opcodes import BY_NAME

Node = Callable[[Position], int]

_TOKEN: Final = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|[0-9]+|[A-Za-z_][A-Za-z0-9_]*|&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%&|^~!<>()\[\]:])"
)
_NAMES: Final[dict[str, Node]] = {
    "pc": lambda p: p.pc,
    "op": lambda p: p.op,
    "gas": lambda p: p.gas,
    "depth": lambda p: p.depth,
    "step": lambda p: p.step,
    "value": lambda p: p.message.value,
    "caller": lambda p: int.from_bytes(p.message.caller, "big"),
    "address": lambda p: int.from_bytes(p.message.to, "big"),
    "origin": lambda p: p.environment(Env.ORIGIN),
    "msize": lambda p: p.memory_size,
    "stacksize": lambda p: p.stack_size,
    "calldatasize": lambda p: len(p.calldata),
}
_BINARY: Final[dict[str, tuple[int, Callable[[int, int], int]]]] = {
    "==": (6, lambda a, b: a == b),
    "!=": (6, lambda a, b: a != b),
    "<": (7, lambda a, b: a < b),
    "<=": (7, lambda a, b: a <= b),
    ">": (7, lambda a, b: a > b),
    ">=": (7, lambda a, b: a >= b),
    "|": (3, lambda a, b: a | b),
    "^": (4, lambda a, b: a ^ b),
    "&": (5, lambda a, b: a & b),
    "<<": (8, lambda a, b: a << b & UINT256_MAX if b < 256 else 0),
    ">>": (8, lambda a, b: a >> b if b < 256 else 0),
    "+": (9, lambda a, b: a + b & UINT256_MAX),
    "-": (9, lambda a, b: a - b & UINT256_MAX),
    "*": (10, lambda a, b: a * b & UINT256_MAX),
    "/": (10, lambda a, b: a // b if b else 0),
    "%": (10, lambda a, b: a % b if b else 0),
}
"""Precedence and meaning; ``||`` (1) and ``&&`` (2) are separate because they need not evaluate both sides."""


class _Absent(Exception):
    """A stack word is missing."""


class ParsedPart(NamedTuple):
    """A parsed part: how to compute it, and the only opcodes or pcs at which it can hold (None: any)."""

    node: Node
    opcodes: frozenset[int] | None = None
    pcs: frozenset[int] | None = None
    constant: int | None = None
    name: str = ""


class Expression:
    """A condition, parsed."""

    def __init__(self, text: str) -> None:
        """Raises `InvalidExpression`."""
        self.text = text
        part = _Parser(text).parse()
        self._node = part.node
        self.opcodes = part.opcodes
        self.pcs = part.pcs

    @property
    def is_located(self) -> bool:
        """Whether it can hold only at certain opcodes or pcs, so that native code can look for it."""
        return self.opcodes is not None or self.pcs is not None

    def __call__(self, position: Position) -> bool:
        """Whether it holds here."""
        try:
            return self._node(position) != 0
        except _Absent:
            return False

    def value(self, position: Position) -> int | None:
        """Its value here; None where a stack word is missing."""
        try:
            return int(self._node(position))
        except _Absent:
            return None


def _stack(position: Position, index: int) -> int:
    word = position.stack(index) if index < 1024 else None
    if word is None:
        raise _Absent
    return word


def _memory(position: Position, start: int, stop: int) -> int:
    if not start < stop <= start + 32 or stop > 1 << 30:
        raise _Absent
    return int.from_bytes(position.memory(start, stop), "big")


def _calldata(position: Position, start: int, stop: int) -> int:
    if not start < stop <= start + 32:
        raise _Absent
    return int.from_bytes(position.calldata[start:stop].ljust(stop - start, b"\0"), "big")


class _Parser:
    """Precedence climbing over a list of tokens."""

    def __init__(self, text: str) -> None:
        if len(text) > EXPRESSION_CHARACTERS:
            raise InvalidExpression(f"longer than {EXPRESSION_CHARACTERS} characters")
        self._tokens: list[str] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise InvalidExpression(f"unexpected {text[at:at + 10]!r} at {at}")
            self._tokens.append(match[1])
            at = match.end()
        self._at = 0
        self._nodes = 0

    def parse(self) -> ParsedPart:
        part = self._binary(1, 0)
        if self._at < len(self._tokens):
            raise InvalidExpression(f"unexpected {self._tokens[self._at]!r}")
        return part

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise InvalidExpression("ends too early")
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise InvalidExpression(f"expected {token!r} before {self._tokens[self._at - 1]!r}")

    def _binary(self, weakest: int, depth: int) -> ParsedPart:
        left = self._unary(depth + 1)
        while True:
            operator = self._peek()
            if operator in ("||", "&&"):
                strength = 1 if operator == "||" else 2
            elif operator in _BINARY:
                strength = _BINARY[operator][0]
            else:
                return left
            if strength < weakest:
                return left
            self._at += 1
            left = _combine(operator, left, self._binary(strength + 1, depth + 1))

    def _unary(self, depth: int) -> ParsedPart:
        self._nodes += 1
        if self._nodes > EXPRESSION_NODES or depth > EXPRESSION_DEPTH:
            raise InvalidExpression("too long or too deeply nested")
        token = self._next()
        if token == "(":  # noqa: S105
            grouped = self._binary(1, depth)
            self._expect(")")
            return grouped
        if token in ("!", "~", "-"):
            inner = self._unary(depth + 1).node
            return {
                "!": ParsedPart(lambda p: not inner(p)),
                "~": ParsedPart(lambda p: ~inner(p) & UINT256_MAX),
                "-": ParsedPart(lambda p: -inner(p) & UINT256_MAX),
            }[token]
        if token[0].isdigit():
            return _number(token)
        return self._name(token, depth)

    def _name(self, token: str, depth: int) -> ParsedPart:
        if token in _NAMES:
            return ParsedPart(_NAMES[token], name=token)
        if token in BY_NAME:
            byte = BY_NAME[token].byte
            return ParsedPart(lambda _: byte, constant=byte)
        if token not in _INDEXED:
            raise InvalidExpression(f"unknown name {token!r}")
        word, part = _INDEXED[token]
        self._expect("[")
        first = self._binary(1, depth).node
        if part is not None and (word is None or self._peek() == ":"):
            self._expect(":")
            second = self._binary(1, depth).node
            self._expect("]")
            return ParsedPart(lambda p: part(p, first(p), second(p)))
        self._expect("]")
        assert word is not None
        return ParsedPart(lambda p: word(p, first(p)))


_INDEXED: Final[
    dict[str, tuple[Callable[[Position, int], int] | None, Callable[[Position, int, int], int] | None]]
] = {
    "stack": (_stack, None),
    "mem": (None, _memory),
    "calldata": (lambda p, start: _calldata(p, start, start + 32), _calldata),
    "storage": (lambda p, slot: p.storage(slot), None),
}
"""The meanings of ``name[i]`` and ``name[a:b]``; None for a form that does not exist."""


def _number(token: str) -> ParsedPart:
    number = int(token, 16 if token[:2] in ("0x", "0X") else 10)
    if number > UINT256_MAX:
        raise InvalidExpression(f"{token} is above 2**256 - 1")
    return ParsedPart(lambda _: number, constant=number)


def _combine(operator: str, left: ParsedPart, right: ParsedPart) -> ParsedPart:
    a, b = left.node, right.node
    if operator == "&&":
        return ParsedPart(
            lambda p: a(p) != 0 and b(p) != 0,
            _both(left.opcodes, right.opcodes),
            _both(left.pcs, right.pcs),
        )
    if operator == "||":
        return ParsedPart(lambda p: a(p) != 0 or b(p) != 0)
    meaning = _BINARY[operator][1]
    part = ParsedPart(lambda p: meaning(a(p), b(p)))
    if operator == "==":
        for name, constant in ((left.name, right.constant), (right.name, left.constant)):
            if constant is not None and name == "op":
                return part._replace(opcodes=frozenset([constant]))
            if constant is not None and name == "pc":
                return part._replace(pcs=frozenset([constant]))
    return part


def _both(a: frozenset[int] | None, b: frozenset[int] | None) -> frozenset[int] | None:
    if a is None or b is None:
        return b if a is None else a
    return a & b
