"""Whatever is sent to any parameter of any method is answered, never by an internal error, and the node lives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.rpc.methods import load_methods
from node.rpc.registry import Method, find_method, method_names
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

INTERNAL = -32603
WORD, LONG = "0x" + "f" * 64, "0x1" + "0" * 64
ADDRESSES = ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x" + "0" * 39 + "5", "0x" + "f" * 40]
NUMBERS: list[Any] = ["0x0", "0x1", 0, 3, 2**63, 2**64, "0xffffffffffffffff", "0x10000000000000000", WORD]
STRANGE: list[Any] = [
    None, True, -1, 10**79, 1.5, 1e300, "", "0x", "0X1", "0x01", "0x-1", "0xzz", "0x123", LONG, "latest", "finalized",
    "LATEST", "\0", "\U0001f600", "1_0", "١", "x" * 5_000, [], [[]], {}, {"a": 1}, {"blockHash": WORD},
    {"blockNumber": "0x0"}, {"blockNumber": "latest", "requireCanonical": 1},
]  # fmt: skip
CODES = ["0x", "0x00", "0x5b5f56", "0x5f5ffd", "0xfe", "0x5f5f5f5f5f305af1", "0xef00", "0x61ffff5ff3", "0x60ff5f55"]
FIELDS: dict[str, list[list[Any]]] = {
    "from": [ADDRESSES], "to": [ADDRESSES], "data": [CODES], "input": [CODES], "value": [NUMBERS], "gas": [NUMBERS],
    "gasPrice": [NUMBERS], "maxFeePerGas": [NUMBERS], "nonce": [NUMBERS], "blobVersionedHashes": [[[WORD], []]],
    "maxFeePerBlobGas": [NUMBERS], "fromBlock": [NUMBERS], "toBlock": [NUMBERS], "topics": [[[], [None], [WORD]]],
    "code": [CODES], "fork": [["osaka", "frontier"]], "kind": [["pc", "opcode", "stack", "memory", "storage", "gas"]],
    "pc": [NUMBERS], "index": [NUMBERS], "offset": [NUMBERS], "slot": [NUMBERS], "expression": [["1/0", "stack[9"]],
    "tracer": [["callTracer", "prestateTracer", "4byteTracer"]], "timestamp": [NUMBERS], "blocks": [[0, 1, "0x2"]],
}  # fmt: skip
"""Fields of the objects that methods take, with likely values."""
BY_PARSER: dict[str, list[Any]] = {
    "address": ADDRESSES, "hash32": [WORD], "data": CODES, "boolean": [True, False], "quantity": NUMBERS,
    "loose_int": [0, 1, 2, 5, *NUMBERS], "slot": NUMBERS, "block_ref": ["latest", "earliest", "0x0", "0xffff", WORD],
    "session_ref": [1, 2, 3, "zvs-1-1-0", "zvs-"], "json_list": [[], [1], [50, 10], [None], ["0x0", WORD]],
}  # fmt: skip
"""Likely values of a parameter, by the name of what reads it."""
LEFT_OUT = {"eth_sendRawTransactionSync", "eth_sendTransactionSync", "zvmd_read"}
"""Methods that wait for what may never come, as they should."""


def some_object(chance: random.Random) -> dict[str, Any]:
    names = chance.sample(sorted(FIELDS), chance.randint(0, 5))
    return {name: some(chance, FIELDS[name][0]) for name in names}


def some(chance: random.Random, likely: list[Any]) -> Any:
    return chance.choice(STRANGE if chance.random() < 0.2 else likely)


def arguments(chance: random.Random, method: Method) -> list[Any]:
    values = []
    for parameter in method.parameters:
        reader = getattr(parameter.parse, "__name__", "")
        if "override" in reader:
            values.append({chance.choice(ADDRESSES): {"code": chance.choice(CODES), "balance": chance.choice(NUMBERS)}})
        elif reader in ("json_object", "call_fields") and chance.random() < 0.9:
            values.append(some_object(chance))
        else:
            values.append(some(chance, BY_PARSER.get(reader, ["mined", "a", 1, "0x1"])))
    return values


def ask(rpc: Rpc, chance: random.Random, rounds: int) -> None:
    """Ask every method so often. Fails on an internal error, or when no answer comes within 60 s."""
    load_methods()
    for _ in range(rounds):
        for name in sorted(set(method_names()) - LEFT_OUT):
            given = arguments(chance, find_method(name))
            try:
                rpc.call(name, *given)
            except RpcFailed as error:
                if error.code == INTERNAL:
                    raise AssertionError(f"{name}{given}") from error


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of its own: what is asked here leaves traces on the chain."""
    daemon = Daemon(tmp_path / "data")
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_every_method_answers_every_kind_of_value(own: Daemon) -> None:
    ask(own.rpc(), random.Random(25), 5)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_every_method_answers_much(own: Daemon, seed: int) -> None:
    ask(own.rpc(), random.Random(seed), 250)
