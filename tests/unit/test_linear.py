"""What decodes input from outside takes steps in proportion to its length, whatever is in it.

Steps are lines of Python and calls into C, as the interpreter reports them, so nothing depends on a clock. What C code
does inside one call is not seen: of the regular expressions among it, `test_expressions_do_not_go_back` looks at the
structure instead, and `bytes` methods and msgspec are linear by themselves.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import msgspec
import pytest

from chain import rlp
from chain.errors import ZvmdError
from chain.transactions import decode_transaction
from debugger.expressions import Expression
from node.doors.rule import parse_host
from node.rpc import params
from node.rpc.call_fields import account_overrides, addresses_of, call_fields, topics_of
from node.rpc.limits import RpcLimits
from node.rpc.strict_json import decode
from tests.paths import REPO
from zvmd import abi
from zvmd import errors as sdk_errors
from zvmd.frames import CallMethod, FrameBuffer, decode_request, encode_frame

LIMITS = RpcLimits()
SIZES = (1_000, 2_000, 4_000, 8_000)
ADDRESS = "0x" + "11" * 20


def steps(run: Callable[[], object]) -> int:
    """Lines of Python and calls of C functions that ``run`` takes, also when it refuses its input."""
    count = 0

    def on_line(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return on_line

    def on_call(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(on_line)
    sys.setprofile(on_call)
    try:
        run()
    except (ZvmdError, sdk_errors.ZvmdError, msgspec.DecodeError, RecursionError, ValueError):
        pass
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    return count


def _frames(body: bytes, piece: int) -> None:
    buffer = FrameBuffer(1 << 20)
    for at in range(0, len(body), piece):
        buffer.feed(body[at : at + piece])


def _bodies(n: int) -> Iterator[bytes]:
    yield b"[" * 70 + b'"' + b'\\"' * n
    yield b"[" * n
    yield b"[" * 70 + b"\\" * n
    yield b"[" + b"[]," * n + b"[]]"
    yield b"[" + b'"",' * n + b'""]'
    yield b"{" + b",".join(b'"%d":0' % i for i in range(n)) + b"}"
    yield b"1" * n
    yield b'["' + b"\\u0041" * n + b'"]'
    yield b'["' + b"\\ud83d\\ude00" * n + b'"]'


def _nested(n: int) -> bytes:
    data = b"\xc0"
    for _ in range(n):
        data = rlp.encode_list([data])
    return data


DECODERS: dict[str, Callable[[int], Any]] = {
    "JSON bodies": lambda n: each(lambda body: decode(body, LIMITS), *_bodies(n)),
    "quantities": lambda n: each(params.quantity, "0x" + "0" * n, "0x" + "f" * n, "1" * n, "0x" + "_1" * n),
    "data": lambda n: each(params.data, "0x" + "00" * n, "0x" + "0" * (n | 1), "0x" + " " * n, "x" * n),
    "addresses": lambda n: each(params.address, "0x" + "1" * n, "1" * n),
    "call": lambda n: call_fields({"accessList": [{"address": ADDRESS, "storageKeys": ["0x" + "00" * 32] * n}]}),
    "overrides": lambda n: account_overrides({f"0x{i:040x}": {"balance": "0x1"} for i in range(n)}),
    "slots": lambda n: account_overrides({ADDRESS: {"stateDiff": {f"0x{i:064x}": "0x" + "00" * 32 for i in range(n)}}}),
    "log filter": lambda n: (addresses_of([f"0x{i:040x}" for i in range(n)]), topics_of([["0x" + "00" * 32] * n])),
    "RLP items": lambda n: rlp.decode(rlp.encode([b"x"] * n)),
    "RLP lists": lambda n: rlp.decode(rlp.encode([[]] * n)),
    "RLP nested": lambda n: quietly(lambda: rlp.decode(b"\xc1" * n + b"\xc0")),
    "transactions": lambda n: each(decode_transaction, b"\x02" + rlp.encode([b"x"] * n), b"\xf8" * n, b"\x04" * n),
    "frames": lambda n: _frames(encode_frame(CallMethod(1, "x", ["y" * n])), 1),
    "small frames": lambda n: _frames(encode_frame(CallMethod(1, "x", [])) * n, 7),
    "malformed frames": lambda n: each(decode_request, b"\x91" * n, b"\xdd\xff\xff\xff\xff" * n, b"\x93\x01" * n),
    "Host": lambda n: each(parse_host, "[" * n, ":" * n, "a." * n, "[" + ":" * n + "]"),
    "expressions": lambda n: each(
        Expression, "(" * n, "1+" * n + "1", "!" * n, " " * n, "0x" * n, "-" * n, "stack[" * n, "1 " * n, "a" * n
    ),
    "signatures": lambda n: each(
        abi.parse_signature,
        *("f(" * n, "f(" + "uint," * n + "uint)", "f(uint" + "[]" * n + ")", "f" * n, "f()" + " returns" * n),
    ),
    "ABI values": lambda n: quietly(lambda: abi.parse_value("uint256[]", "[" + "1," * n + "1]")),
    "ABI nesting": lambda n: quietly(lambda: abi.parse_value("uint256[]", "[" * n)),
    "amounts": lambda n: each(abi.parse_amount, "1" * n, " " * n, "1" + " " * n + "x", "0x" + "1" * n, "1." * n),
}


def quietly(run: Callable[[], object]) -> None:
    try:
        run()
    except (ZvmdError, sdk_errors.ZvmdError, msgspec.DecodeError, RecursionError, ValueError):
        return


def each(decoder: Callable[[Any], object], *inputs: object) -> None:
    for given in inputs:
        quietly(lambda given=given: decoder(given))  # type: ignore[misc]


@pytest.mark.parametrize("name", DECODERS)
def test_steps_grow_with_the_length_only(name: str) -> None:
    counts = [steps(lambda n=n: DECODERS[name](n)) for n in SIZES]  # type: ignore[misc]
    for smaller, larger in pairwise(counts):
        assert larger <= 2.2 * smaller + 200, counts


PRODUCT = ("chain", "vm", "storage", "debugger", "node", "zvmd")
CALLS = ("compile", "match", "sub", "search", "findall", "fullmatch", "split", "finditer")


def patterns() -> Iterator[tuple[str, str | bytes]]:
    """Every pattern of the product, and the module: those that modules keep, and those written into calls."""
    for room in PRODUCT:
        for path in sorted((REPO / room).rglob("*.py")):
            text = path.read_text()
            where = ".".join(path.relative_to(REPO).with_suffix("").parts)
            if "re.compile(" in text:
                kept = vars(importlib.import_module(where)).values()
                yield from ((where, value.pattern) for value in kept if isinstance(value, re.Pattern))
            for node in ast.walk(ast.parse(text)) if "re." in text else ():
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "re"
                    and node.func.attr in CALLS
                    and isinstance(node.args[0], ast.Constant)
                    and isinstance(node.args[0].value, str | bytes)
                ):
                    yield where, node.args[0].value


def repeats(parsed: Any, inside: bool = False) -> Iterator[bool]:
    """For each unbounded repeat that may be tried again shorter: whether it is inside another."""
    for operation, argument in parsed:
        if operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            is_endless = argument[1] is _constants.MAXREPEAT
            if is_endless:
                yield inside
            yield from repeats(argument[2], inside or is_endless)
        elif operation is _constants.POSSESSIVE_REPEAT:
            yield from repeats(argument[2], False)
        elif operation is _constants.SUBPATTERN:
            yield from repeats(argument[3], inside)
        elif operation is _constants.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch, inside)


ONE_OR_MORE = (_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN, _constants.ANY, _constants.BRANCH)
"""Items that take at least a character."""


def characters(item: Any) -> frozenset[int]:
    """ASCII characters with which an item of a pattern may begin; all of them where that is not looked into."""
    operation, argument = item
    if operation is _constants.IN:
        taken = re.compile(_class_of(argument))
        return frozenset(code for code in range(128) if taken.fullmatch(chr(code)))
    if operation is _constants.LITERAL:
        return frozenset((argument,))
    if operation is _constants.NOT_LITERAL:
        return frozenset(range(128)) - {argument}
    if operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT) and argument[0]:
        return characters(next(flattened(argument[2])))
    if operation is _constants.BRANCH and all(argument[1]):
        return frozenset().union(*(characters(next(flattened(branch))) for branch in argument[1]))
    return frozenset(range(128))


def _class_of(members: Any) -> str:
    """A set as `re` writes it."""
    categories = {
        _constants.CATEGORY_DIGIT: "\\d",
        _constants.CATEGORY_SPACE: "\\s",
        _constants.CATEGORY_WORD: "\\w",
        _constants.CATEGORY_NOT_DIGIT: "\\D",
        _constants.CATEGORY_NOT_SPACE: "\\S",
        _constants.CATEGORY_NOT_WORD: "\\W",
    }
    text = ""
    for operation, argument in members:
        if operation is _constants.NEGATE:
            text += "^"
        elif operation is _constants.LITERAL:
            text += re.escape(chr(argument))
        elif operation is _constants.RANGE:
            text += f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
        else:
            text += categories[argument]
    return f"[{text}]"


def flattened(parsed: Any) -> Iterator[Any]:
    """Items of a pattern one after the other, groups taken apart; a branch is one item."""
    for operation, argument in parsed:
        if operation is _constants.SUBPATTERN:
            yield from flattened(argument[3])
        else:
            yield operation, argument


def shares_characters(parsed: Any) -> bool:
    """Whether two endless repeats of the sequence could share what they take, so that each way to cut it is tried."""
    before: list[frozenset[int]] = []
    for operation, argument in flattened(parsed):
        if operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, (*body,) = argument
            first = next(flattened(body))
            taken = characters(first)
            if most is _constants.MAXREPEAT and any(taken & other for other in before):
                return True
            if least:
                before = [other for other in before if taken & other]
            if most is _constants.MAXREPEAT:
                before.append(taken)
        elif operation in ONE_OR_MORE:
            taken = characters((operation, argument))
            before = [other for other in before if taken & other]
    return False


@pytest.mark.parametrize(("where", "pattern"), sorted(set(patterns()), key=str))
def test_expressions_do_not_go_back(where: str, pattern: str | bytes) -> None:
    """No endless repeat inside another or beside one of the same characters, unless it gives nothing back."""
    parsed = _parser.parse(pattern)
    assert not any(repeats(parsed)), where
    assert not shares_characters(parsed), where


SEARCHES = r"\b([A-Z_]+|re)\.(search|findall|finditer|sub|split)\("


def test_a_search_does_not_begin_with_a_repeat() -> None:
    """A pattern is tried at each place, so one that takes much and then fails takes the square: those have to begin
    with a character of their own, and `repeats` and `shares_characters` see to what follows."""
    for room in PRODUCT:
        for path in sorted((REPO / room).rglob("*.py")):
            for name in {found[1] for found in re.finditer(SEARCHES, path.read_text())} - {"re"}:
                module = importlib.import_module(".".join(path.relative_to(REPO).with_suffix("").parts))
                operation, argument = next(flattened(_parser.parse(vars(module)[name].pattern)))
                assert not (operation is _constants.MAX_REPEAT and argument[1] is _constants.MAXREPEAT), (path, name)


def test_the_audit_sees_what_it_is_for() -> None:
    for bad in ("(a+)+", "(a*b?)*", "(?:a|b+)*"):
        assert any(repeats(_parser.parse(bad))), bad
    for good in (rb'"(?:[^"\\]++|\\.)*+"?', "(a{1,64}b)*", "a*b*"):
        assert not any(repeats(_parser.parse(good))), good
    for bad in (r"\d+\.?\d*", r"\s*(=)?\s*x", r"(\w+?)To(\w+)At", "[a-z]+[0-9x]*", ".*a.*b"):
        assert shares_characters(_parser.parse(bad)), bad
    for good in (r"\d++\.?\d*+", r"a*\.a*", "[a-z]+://[^/]*", r"\s*[a-z]+\s*,"):
        assert not shares_characters(_parser.parse(good)), good
