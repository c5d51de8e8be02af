"""What Python's JSON decoder lets through and a node must not."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import ZvmdError
from node.rpc.limits import RpcLimits
from node.rpc.strict_json import decode

LIMITS = RpcLimits()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a": 1, "a": 2}', "rpc.parse"),
        (b'[{"a": {"b": 1, "b": 1}}]', "rpc.parse"),
        (b"[NaN]", "rpc.parse"),
        (b"[1e400]", "rpc.parse"),
        (b"[-1e400]", "rpc.parse"),
        (b"[Infinity]", "rpc.parse"),
        (b"[-Infinity]", "rpc.parse"),
        (b'["\\ud800"]', "rpc.parse"),
        (b'{"\\udfff": 1}', "rpc.parse"),
        (b'["\xff"]', "rpc.parse"),
        (b"", "rpc.parse"),
        (b"{} {}", "rpc.parse"),
        (b"[1,]", "rpc.parse"),
        (b"[" * 100_000, "rpc.too_large"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "rpc.too_large"),
        (b"1" * 5000, "rpc.too_large"),
        (b" " * (5 * 1024 * 1024 + 1), "rpc.too_large"),
    ],
)
def test_refused(body: bytes, code: str) -> None:
    with pytest.raises(ZvmdError) as caught:
        decode(body, LIMITS)
    assert caught.value.code == code


def test_accepted() -> None:
    assert decode(b'["\\ud83d\\ude00", 1.5, null, true]', LIMITS) == ["\U0001f600", 1.5, None, True]
    assert decode(b"[" * 64 + b"]" * 64, LIMITS) is not None
    brackets_in_text = json.dumps(["[" * 1000]).encode()
    assert decode(brackets_in_text, LIMITS) == ["[" * 1000]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_everything_else_means_what_it_says(value: object) -> None:
    assert decode(json.dumps(value).encode(), LIMITS) == value


@given(st.binary(max_size=60))
def test_only_declared_errors(body: bytes) -> None:
    with suppress(ZvmdError):
        decode(body, LIMITS)
