"""Whole transactions as cases: official state tests cut down to one subtest, and what zvmd makes of one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Any

import msgspec

from chain.errors import InvalidTransaction
from chain.transactions import Transaction, encode_transaction
from chain.types import Hash32
from node.conformance.memory_state import MemoryState
from node.conformance.state_case import (
    FORK_NAMES,
    Indexes,
    block_hashes_of,
    environment_of,
    signed_transaction,
)
from node.conformance.statetest import apply_case
from tests.conformance.archives import files
from vm.errors import PrecompileUnavailable
from vm.journal import Journal
from vm.machine import Machine

NETWORKS = (
    *("Frontier", "Homestead", "EIP150", "EIP158", "Byzantium", "ConstantinopleFix"),
    *("Istanbul", "Berlin", "London", "Paris", "Shanghai", "Cancun", "Prague", "Osaka", "BPO1", "BPO2"),
)
"""Every fork that both sides have; Constantinople is only in the official vectors."""
WITHOUT_TRANSACTIONS = "legacytests-VMTests"

StateCase = dict[str, Any]
"""A state test of the official form with one fork, one subtest of it, and all indexes 0."""

Account = tuple[int, int, bytes, dict[int, int]]
"""Nonce, balance, hash of the code (in what is sent: the code), storage."""


@dataclass
class End:
    """What one implementation made of a transaction."""

    refusal: str = ""
    """Why it was refused, empty if it was not; names are the implementation's."""
    gas_used: int = 0
    success: bool | None = None
    """None before Byzantium."""
    logs: list[tuple[bytes, list[bytes], bytes]] = field(default_factory=list)
    accounts: dict[bytes, Account] = field(default_factory=dict)
    """All of the state."""
    given_up: bool = False
    """Too much work for the oracle."""


@cache
def vectors(archive: str) -> tuple[bytes, ...]:
    """JSON files of an archive."""
    return tuple(data for name, data in files(archive) if name.endswith(".json"))


def official_case(chance: random.Random, archives: tuple[str, ...]) -> StateCase:
    """A random subtest of random archives."""
    cases = msgspec.json.decode(chance.choice(vectors(chance.choice(archives))))
    case = cases[chance.choice(list(cases))]
    network = chance.choice([name for name in case["post"] if name in FORK_NAMES])
    return single(case, network, chance.choice(case["post"][network])["indexes"])


def single(case: StateCase, network: str, indexes: dict[str, int]) -> StateCase:
    """The case with one subtest, that is signed again."""
    transaction = dict(case["transaction"])
    for name, which in (("data", "data"), ("gasLimit", "gas"), ("value", "value"), ("accessLists", "data")):
        if name in transaction:
            transaction[name] = [transaction[name][indexes[which]]]
    return {
        "env": case["env"],
        "pre": case["pre"],
        "transaction": transaction,
        "post": {network: [{"indexes": {"data": 0, "gas": 0, "value": 0}}]},
    }


def network_of(case: StateCase) -> str:
    """The fork's name."""
    return next(iter(case["post"]))


def transaction_of_case(case: StateCase) -> Transaction:
    """The signed transaction. Raises `InvalidTransaction` or `ValueError`."""
    network = network_of(case)
    (expected,) = case["post"][network]
    environment = environment_of(case, network)
    tx, _ = signed_transaction(case, expected, Indexes(0, 0, 0), environment.fork, environment.chain_id)
    return tx


def run_state_case(case: StateCase, machine: Machine) -> End:
    """Run a case as ``zvmd statetest`` does."""
    network = network_of(case)
    (expected,) = case["post"][network]
    environment = environment_of(case, network)
    state = MemoryState.from_json(case["pre"])
    journal = Journal(state, environment.fork)
    try:
        result = apply_case(machine, case, expected, Indexes(0, 0, 0), environment, journal)
    except PrecompileUnavailable:
        raise
    except (InvalidTransaction, ValueError) as error:
        delta = journal.delta()
        changed = delta.accounts or delta.storage or delta.wiped
        assert not changed, "a refused transaction changes nothing"
        return End(refusal=f"{getattr(error, 'code', 'input')}: {error}")
    return End(
        gas_used=result.gas_used,
        success=result.outcome.success,
        logs=[(log.address, list(log.topics), log.data) for log in result.logs()],
        accounts=all_accounts(state.after(journal.delta())),
    )


def all_accounts(state: MemoryState) -> dict[bytes, Account]:
    """Every account with its storage."""
    return {
        address: (account.nonce, account.balance, account.code_hash, state.slots.get(address, {}))
        for address, account in state.accounts.items()
    }


def sent_accounts(state: MemoryState) -> dict[bytes, Account]:
    """The same with code in place of its hash, as the oracle needs it."""
    return {
        address: (nonce, balance, state.code(digest), slots)
        for address, (nonce, balance, digest, slots) in all_accounts(state).items()
    }


def for_the_oracle(case: StateCase, raw: bytes) -> dict[str, Any]:
    """The case as plain data; ``raw`` is its encoded transaction."""
    network = network_of(case)
    environment = environment_of(case, network)
    block_hash = block_hashes_of(case)
    number = environment.number
    hashes = [Hash32(block_hash(n)) for n in range(max(number - 256, 0), number)] if number < 2**63 else []
    return {
        "fork": specification_of(network),
        "accounts": sent_accounts(MemoryState.from_json(case["pre"])),
        "transaction": raw,
        "chain_id": environment.chain_id,
        "gas_limit": environment.gas_limit,
        "block_hashes": hashes,
        "coinbase": environment.coinbase,
        "number": number,
        "base_fee": environment.base_fee,
        "timestamp": environment.timestamp,
        "prevrandao": environment.prevrandao,
        "difficulty": environment.difficulty,
        "excess_blob_gas": environment.excess_blob_gas,
    }


def specification_of(network: str) -> str:
    """The oracle's name of a fork."""
    return network if network.startswith("BPO") else FORK_NAMES[network].name


def encoded(case: StateCase) -> bytes | None:
    """Bytes of the transaction, None if its fields have no encoding."""
    (expected,) = case["post"][network_of(case)]
    if "txbytes" in expected:
        return bytes.fromhex(expected["txbytes"][2:])
    try:
        return encode_transaction(transaction_of_case(case))
    except (InvalidTransaction, ValueError, OverflowError):
        return None


def differences(ours: End, theirs: End) -> Iterator[str]:
    """What two ends differ in."""
    if bool(ours.refusal) != bool(theirs.refusal):
        yield f"refused by one: zvmd {ours.refusal or 'accepts'}, the other {theirs.refusal or 'accepts'}"
        return
    if ours.refusal:
        return
    for name in ("gas_used", "logs"):
        if getattr(ours, name) != getattr(theirs, name):
            yield f"{name}: zvmd {getattr(ours, name)}, the other {getattr(theirs, name)}"
    if theirs.success is not None and ours.success != theirs.success:
        yield f"success: zvmd {ours.success}, the other {theirs.success}"
    for address in sorted(ours.accounts.keys() | theirs.accounts.keys()):
        mine, other = ours.accounts.get(address), theirs.accounts.get(address)
        if mine == other:
            continue
        if mine is None or other is None:
            yield f"account 0x{address.hex()}: zvmd {mine}, the other {other}"
            continue
        for what, one, two in zip_longest(("nonce", "balance", "code", "storage"), mine, other):
            if one != two:
                yield f"{what} of 0x{address.hex()}: zvmd {_told(one)}, the other {_told(two)}"


def _told(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

