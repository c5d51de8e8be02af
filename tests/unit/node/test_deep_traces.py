"""A run as deep as calls go: the call beyond the limit is told, and the tree is encoded without recursion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain.forks import Fork
from chain.transactions import sign_transaction
from debugger.assembly import assemble
from node.machine.assembly import build_machine
from node.rpc import deep_json
from node.rpc.format_traces import encoded_size
from tests.differential.traced import ADDRESSES, KEYS, SENDER, TracedCase, random_traced_case, trace
from vm.limits import CALL_DEPTH

MACHINE = build_machine()
CALLS_ITSELF = assemble("PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 ADDRESS GAS CALL")
CREATES = assemble("PUSH 0 PUSH 0 PUSH 0 CREATE")


@pytest.fixture(scope="module")
def deep() -> TracedCase:
    """Calls itself down to the limit; there the call, then a creation, is refused."""
    case = random_traced_case(0)
    accounts = {
        f"0x{SENDER.hex()}": {"balance": hex(2**100), "nonce": "0x0", "code": "0x", "storage": {}},
        f"0x{ADDRESSES[0].hex()}": {
            "balance": "0x0",
            "nonce": "0x1",
            "code": f"0x{(CALLS_ITSELF + CREATES).hex()}",
            "storage": {},
        },
    }
    plain = replace(case.transaction, type=0, nonce=0, to=ADDRESSES[0], gas_limit=2**50, value=0, data=b"")
    bare = replace(plain, access_list=(), authorization_list=(), max_priority_fee_per_gas=20)
    environment = replace(case.environment, fork=Fork.PRAGUE, gas_limit=2**51)
    return TracedCase(environment, accounts, sign_transaction(bare, KEYS[0]))


def test_the_call_beyond_the_deepest_is_told(deep: TracedCase) -> None:
    flat: list[dict[str, Any]] = trace(deep, {"tracer": "flatCallTracer"}, MACHINE).said
    deepest = [entry for entry in flat if len(entry["traceAddress"]) == CALL_DEPTH + 1]
    assert [entry["type"] for entry in deepest] == ["call", "create"]
    assert {entry["error"] for entry in deepest} == {"max call depth exceeded"}


def test_a_tree_of_any_depth_is_encoded(deep: TracedCase) -> None:
    text = deep_json.encode(trace(deep, {"tracer": "callTracer"}, MACHINE).said).decode()
    assert text.count('"error":"max call depth exceeded"') == 2
    assert text.count('"calls":[') >= CALL_DEPTH + 1
    assert text.count("{") == text.count("}")


def test_a_tree_of_any_depth_is_counted_towards_the_answer(deep: TracedCase) -> None:
    said = trace(deep, {"tracer": "callTracer"}, MACHINE).said
    assert encoded_size(said) == len(deep_json.encode(said))
