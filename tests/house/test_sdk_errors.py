"""The SDK's errors beside the node's: a class for every slug, and nothing lost between a node and a program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

import pytest

import zvmd
import zvmd.errors
from chain.errors import InvalidHeader, WrongResult, ZvmdError
from node.api.errors import ExecutionReverted
from node.rpc.errors import error_object
from node.wire.codec import failure_of
from tests.paths import REPO
from vm.errors import PrecompileUnavailable
from zvmd.errors import BY_CODE, error_from, typed_error
from zvmd.frames import Failure, FrameBuffer, decode_answer, encode_frame

SOURCES = ("chain", "vm", "storage", "debugger", "node.api", "node.doors", "node.rpc", "node.sessions", "node.wire")
"""Whose errors reach clients. Those of other packages end a command or a start."""
NAMES = {"ExecutionReverted": "Reverted"}
"""Classes of the node that the SDK calls otherwise."""


def errors_of_the_node() -> Iterator[type[ZvmdError]]:
    for source in SOURCES:
        module = import_module(f"{source}.errors")
        for value in vars(module).values():
            is_error = isinstance(value, type) and issubclass(value, ZvmdError)
            if is_error and value is not ZvmdError and value.__module__ == module.__name__:
                yield value


ERRORS = list(errors_of_the_node())


def refusals_of_http() -> set[str]:
    """Slugs of what is refused before there is a request: rows and calls, not classes."""
    sources = [path.read_text() for place in ("gateway", "doors") for path in (REPO / "node" / place).glob("*.py")]
    return {slug for text in sources for slug in re.findall(r'\d{3}, "([a-z]+\.[a-z_]+)"', text)} - {"rpc.too_large"}


def raised(kind: type[ZvmdError]) -> ZvmdError:
    """An error as the node raises it."""
    if kind is ExecutionReverted:
        return ExecutionReverted(bytes.fromhex("deadbeef"))
    if kind is PrecompileUnavailable:
        return PrecompileUnavailable("KZG point evaluation", 0x0A)
    if issubclass(kind, InvalidHeader | WrongResult):
        return kind("field", "what is wrong")
    return kind("what is wrong")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_a_slug_has_its_class_with_all_that_the_node_says(kind: type[ZvmdError]) -> None:
    error = raised(kind)
    name = NAMES.get(kind.__name__, kind.__name__)
    [body] = FrameBuffer(1 << 20).feed(encode_frame(failure_of(7, error)))
    failure = decode_answer(body)
    assert isinstance(failure, Failure)
    over_quic = error_from(failure.code, failure.rpc_code, failure.message, failure.hint, failure.data)
    over_http = typed_error(error_object(error))
    for got in (over_quic, over_http):
        assert type(got) is getattr(zvmd, name)
        assert (got.code, got.rpc_code, got.message) == (kind.code, kind.rpc_code, str(error))
    assert over_quic.hint == kind.hint
    if isinstance(error, ExecutionReverted):
        assert over_quic.data == over_http.data == error.output
    else:
        assert over_http.hint == kind.hint


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_the_trees_are_the_same(kind: type[ZvmdError]) -> None:
    parent = kind.__mro__[1]
    assert issubclass(parent, ZvmdError)
    assert issubclass(BY_CODE[kind.code], BY_CODE[parent.code]), parent.__name__


def test_every_class_of_the_sdk_has_a_slug_that_exists() -> None:
    slugs = {kind.code for kind in ERRORS} | {ZvmdError.code} | refusals_of_http()
    assert {code for code in BY_CODE if not code.startswith("client.")} == slugs
    names = {kind.__name__ for kind in BY_CODE.values()}
    assert names == set(zvmd.errors.__all__)
    assert all(kind.__doc__ for kind in BY_CODE.values())


def test_an_unknown_slug_is_a_plain_error() -> None:
    got = typed_error({"code": -32099, "message": "new", "data": {"code": "tx.of_tomorrow", "hint": "wait"}})
    assert type(got) is zvmd.ZvmdError
    assert (got.code, got.rpc_code, got.hint) == ("tx.of_tomorrow", -32099, "wait")


def test_the_name_of_earlier_versions_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"zvmd\.ZvmdError"):
        assert zvmd.ZvmdClientError is zvmd.ZvmdError  # type: ignore[attr-defined]
