"""Tracers beside a model of geth's made of EELS' events, on random transactions that replay from their prestates.

Every option is tried on every case. EELS raises one error for all faults of precompiled contracts, so their words are
not compared here; that a prestate replays and that a difference leads to the state after needs no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from chain.errors import InvalidTransaction
from chain.hashing import keccak256
from node.api.errors import LimitExceeded
from node.machine.assembly import build_machine
from tests.differential.call_model import Model, flat
from tests.differential.oracles import Oracle
from tests.differential.traced import TracedCase, random_traced_case, several, trace
from tests.effort import tries
from vm.precompiles import precompile_addresses

BATCH = 50
MACHINE = build_machine()


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    made = Oracle.start("eels_tracing")
    if made is None:
        pytest.skip("no execution specification here: `make oracles` installs it")
    yield made
    made.close()


def without_reasons(node: dict[str, Any], precompiles: frozenset[str]) -> dict[str, Any]:
    """A call tree without what the model does not know."""
    node = {name: value for name, value in node.items() if name != "revertReason"}
    if "error" in node and node.get("to") in precompiles and node["error"] not in NEVER_BEGUN:
        node["error"] = "a precompiled contract's"
    if "calls" in node:
        node["calls"] = [without_reasons(call, precompiles) for call in node["calls"]]
    return node


NEVER_BEGUN = ("insufficient balance for transfer", "max call depth exceeded")


def selectors(node: dict[str, Any], precompiles: frozenset[str]) -> Counter[str]:
    """What 4byteTracer says of a tree."""
    found = Counter[str]()
    is_call = node["type"] in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")
    if is_call and len(node["input"]) >= 10 and node["to"] not in precompiles:
        found[f"{node['input'][:10]}-{len(node['input']) // 2 - 5}"] += 1
    return sum((selectors(call, precompiles) for call in node.get("calls", ())), found)


def check_calls(case: TracedCase, model: Model, gas_used: int) -> None:
    """callTracer, flatCallTracer and 4byteTracer, with each option."""
    precompiles = frozenset("0x" + address.hex() for address in precompile_addresses(case.environment.fork))
    said = several(case, MACHINE).said
    wanted = model.root | {"gas": hex(case.transaction.gas_limit), "gasUsed": hex(gas_used)}
    wanted = without_reasons(wanted, precompiles)
    tree = without_reasons(said["callTracer"], precompiles)
    assert tree == wanted
    top = trace(case, {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True, "withLog": True}}, MACHINE).said
    positions = [log | {"position": "0x0"} for log in wanted.get("logs", ())]
    shown = {name: value for name, value in wanted.items() if name not in ("calls", "logs")}
    assert without_reasons(top, precompiles) == shown | ({"logs": positions} if positions else {})
    assert said["4byteTracer"] == selectors(wanted, precompiles)
    for entry in (theirs := flat(tree)):
        entry.pop("result", None)
        entry.pop("error", None)
    ours = [
        {name: value for name, value in entry.items() if name not in ("result", "error")}
        for entry in said["flatCallTracer"]
    ]
    assert ours == theirs
    assert [entry.get("error") for entry in said["flatCallTracer"]] == [
        entry.get("error") for entry in flat(said["callTracer"])
    ]
    plain = trace(case, {"tracer": "flatCallTracer"}, MACHINE).said
    left_out = [
        e
        for e in said["flatCallTracer"][1:]
        if e["action"].get("callType") in ("call", "staticcall") and e["action"]["to"] in precompiles
    ]
    assert len(plain) == len(said["flatCallTracer"]) - len(left_out)


def check_lines(case: TracedCase, model: Model) -> int:
    """structLogs, with all they can hold and with each thing left out."""
    for log in model.lines:
        log.setdefault("gasCost", None)
    said = trace(case, {"enableMemory": True, "enableReturnData": True}, MACHINE).said["structLogs"]
    for line, wanted in zip(said, model.lines, strict=True):
        line.pop("refund", None)  # EELS counts them by frame; `test_eels_traces` compares them
        if wanted["gasCost"] is None:  # calls and creations: EELS tells no price
            line["gasCost"] = None
        assert line == wanted
    for option, name in (("disableStack", "stack"), ("disableStorage", "storage"), (None, "memory")):
        options = {"enableMemory": name != "memory", "enableReturnData": True} | ({option: True} if option else {})
        bare = trace(case, options, MACHINE).said["structLogs"]
        for line, wanted in zip(bare, said, strict=True):
            line.pop("refund", None)
            line["gasCost"] = wanted["gasCost"]
            assert line == {key: value for key, value in wanted.items() if key != name}
    return len(said)


def check_states(case: TracedCase, theirs: dict[bytes, Any]) -> None:
    """The prestate replays; the difference leads from it to what EELS has in the end."""
    prestate = {"tracer": "prestateTracer"}
    difference = prestate | {"tracerConfig": {"diffMode": True}}
    pre = trace(case, prestate, MACHINE).said
    alone = {
        address: {
            "balance": entry["balance"],
            "nonce": hex(entry.get("nonce", 0)),
            "code": entry.get("code", "0x"),
            "storage": entry.get("storage", {}),
        }
        for address, entry in pre.items()
    }
    first, again = trace(case, difference, MACHINE), trace(case, difference, MACHINE, alone)
    assert first.ended.logs() == again.ended.logs()
    for name in ("gas_used", "outcome"):
        assert getattr(first.ended, name) == getattr(again.ended, name)
    assert first.said == again.said
    assert after(case, first.said) == theirs
    for option, names in (("disableCode", {"code"}), ("disableStorage", {"storage"})):
        bare = trace(case, prestate | {"tracerConfig": {option: True}}, MACHINE).said
        assert bare == {a: {k: v for k, v in entry.items() if k not in names} for a, entry in pre.items()}
    whole = trace(case, prestate | {"tracerConfig": {"includeEmpty": True}}, MACHINE).said
    assert {address: entry for address, entry in whole.items() if address in pre} == pre
    assert all(entry["balance"] == "0x0" and "code" not in entry for a, entry in whole.items() if a not in pre)


def after(case: TracedCase, said: dict[str, Any]) -> dict[bytes, Any]:
    """The case's accounts with a difference applied, in the form of EELS' worker."""
    accounts = dict(case.to_oracle()["accounts"])
    for name in said["pre"].keys() - said["post"].keys():
        del accounts[bytes.fromhex(name[2:])]
    for name, entry in said["post"].items():
        address = bytes.fromhex(name[2:])
        nonce, balance, code, slots = accounts.get(address, (0, 0, b"", {}))
        cleared = {int(slot, 16): 0 for slot in said["pre"].get(name, {}).get("storage", {})}
        slots = slots | cleared | {int(slot, 16): int(value, 16) for slot, value in entry.get("storage", {}).items()}
        balance = int(entry["balance"], 16) if "balance" in entry else balance
        code = bytes.fromhex(entry["code"][2:]) if "code" in entry else code
        accounts[address] = entry.get("nonce", nonce), balance, code, slots
    return {
        address: (nonce, balance, bytes(keccak256(code)), {slot: value for slot, value in slots.items() if value})
        for address, (nonce, balance, code, slots) in accounts.items()
        if nonce or balance or code
    }


def check_seeds(oracle: Oracle, seeds: range) -> Counter[str]:
    counts = Counter[str]()
    for start in range(seeds.start, seeds.stop, BATCH):
        cases = {seed: random_traced_case(seed) for seed in range(start, min(start + BATCH, seeds.stop))}
        oracle.put({"cases": [case.to_oracle() for case in cases.values()]})
        for (seed, case), end in zip(cases.items(), oracle.take(), strict=True):
            try:
                counts[check_one(case, end, counts)] += 1
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {case.environment.fork.name}: {error}") from error
    return counts


def check_one(case: TracedCase, end: dict[str, Any], counts: Counter[str]) -> str:
    if "given_up" in end:
        return "too long for EELS"
    if "refusal" in end:
        with pytest.raises(InvalidTransaction):
            several(case, MACHINE)
        return "refused by both"
    model = Model(case.environment.fork, case.transaction.gas_limit, case.transaction.to)
    model.hear(end["events"])
    check_calls(case, model, end["gas_used"])
    check_states(case, end["accounts"])
    try:
        counts["lines"] += check_lines(case, model)
    except LimitExceeded:
        counts["too much for an answer"] += 1
    counts["calls"] += len(flat(model.root))
    counts["failed calls"] += sum("error" in entry for entry in flat(model.root))
    counts["never begun"] += sum(entry.get("error") in NEVER_BEGUN for entry in flat(model.root))
    counts["with authorizations"] += bool(case.transaction.authorization_list)
    return "compared"


@pytest.mark.parametrize("first", range(0, tries(30, 2_000), tries(30, 500)))
def test_random_transactions(oracle: Oracle, first: int) -> None:
    counts = check_seeds(oracle, range(first, first + tries(30, 500)))
    print(dict(counts))
    assert counts["compared"] > tries(30, 500) * 0.9
    assert min(counts["failed calls"], counts["never begun"], counts["with authorizations"]) >= tries(2, 20)
