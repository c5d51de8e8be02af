"""console.log lines, as Hardhat's and Foundry's libraries encode them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from chain.console_log import SINGLE_TYPES, TYPES, decode
from chain.hashing import keccak256

A = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def call(signature: str, *values: Any) -> bytes:
    """Calldata of a log call; ``uint`` is hashed as it is spelled and encoded as uint256."""
    types = signature.removeprefix("log(").removesuffix(")")
    known = [{"uint": "uint256", "int": "int256"}.get(kind, kind) for kind in types.split(",") if kind]
    return keccak256(signature.encode())[:4] + encode(known, values)


@pytest.mark.parametrize(
    ("signature", "values", "line"),
    [
        ("log()", (), ""),
        ("log(string)", ("hello",), "hello"),
        ("log(uint256)", (2**256 - 1,), str(2**256 - 1)),
        ("log(uint)", (7,), "7"),
        ("log(int256)", (-7,), "-7"),
        ("log(int)", (-7,), "-7"),
        ("log(bool)", (True,), "true"),
        ("log(address)", (A.lower(),), A),
        ("log(bytes)", (b"\x01\x02",), "0x0102"),
        ("log(bytes3)", (b"abc",), "0x616263"),
        ("log(bytes32)", (b"\xff" * 32,), "0x" + "ff" * 32),
        ("log(string,uint256)", ("x is", 500), "x is 500"),
        ("log(string,int256)", ("x is", -500), "x is -500"),
        ("log(string,uint256)", ("x is %s wei", 500), "x is 500 wei"),
        ("log(string,uint256)", ("x is %d", 500), "x is 500"),
        ("log(string,uint256)", ("x is %i", 500), "x is 500"),
        ("log(string,uint256)", ("x is %x", 255), "x is 0xff"),
        ("log(string,uint256)", ("%18e ether", 15 * 10**17), "1.5 ether"),
        ("log(string,uint256)", ("100%", 5), "100% 5"),
        ("log(string,uint256)", ("100%% of %s", 5), "100% of 5"),
        ("log(string,string)", ("%s and %s", "one"), "one and %s"),
        ("log(string,address,bool,uint)", ("%s", A, False, 3), f"{A} false 3"),
        ("log(string,bool)", ("%d", True), "1"),
        ("log(uint256,uint256,uint256,uint256)", (1, 2, 3, 4), "1 2 3 4"),
        ("log(string,string)", ("a", "%s"), "a %s"),
        ("log(string)", ("é✓",), "é✓"),
    ],
)
def test_lines(signature: str, values: tuple[Any, ...], line: str) -> None:
    assert decode(call(signature, *values)) == line


@pytest.mark.parametrize("count", range(1, 4))
def test_every_signature_is_known(count: int) -> None:
    examples = {"uint256": 1, "int256": -1, "string": "s", "bool": True, "address": A}
    for types in product(TYPES, repeat=count):
        for spelled in (types, [kind.replace("int256", "int") for kind in types]):
            line = decode(call(f"log({','.join(spelled)})", *(examples[kind] for kind in types)))
            assert line is not None
            assert len(line.split()) == count


def test_every_bytes_type_is_known() -> None:
    for kind in SINGLE_TYPES:
        assert decode(call(f"log({kind})", b"\1")).startswith("0x01")  # type: ignore[union-attr]


@given(st.binary(max_size=200), st.sampled_from(["log(string)", "log(string,uint256)", "log(bytes)", "log(uint256)"]))
def test_whatever_follows_a_selector_is_decoded_or_left_alone(rest: bytes, signature: str) -> None:
    line = decode(keccak256(signature.encode())[:4] + rest)
    assert line is None or isinstance(line, str)


@given(st.binary(max_size=64))
def test_unknown_calldata_is_left_alone(data: bytes) -> None:
    assert decode(data) is None or len(data) >= 4
