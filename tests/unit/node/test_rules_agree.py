"""The pool and execution rule alike: a table of transactions and senders over every fork, judged by both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chain import errors
from chain.crypto import address_of_secret
from chain.environment import BlockEnvironment
from chain.fees import GAS_PER_BLOB, intrinsic_gas
from chain.forks import Fork
from chain.hashing import keccak256
from chain.state import EMPTY_ACCOUNT, Account
from chain.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    Authorization,
    Transaction,
    impersonate,
    sign_transaction,
)
from chain.types import UINT64_MAX, ZERO_ADDRESS, ZERO_HASH, Address, Hash32
from chain.validity import MAX_INITCODE_BYTES, check_static
from node.conformance.memory_state import MemoryState
from node.engine.admission import NextBlock, check_against_state
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.paths import OBJECTS
from vm.block import BlockExecution
from vm.delegation import designator
from vm.machine import Machine

SECRET = b"\x33" * 32
SENDER = address_of_secret(SECRET)
TO = Address(b"\x44" * 20)
CHAIN = 1
ETHER = 10**18
FEE = 10**9
GAS_LIMIT = 16_000_000
FIRST = {LEGACY: Fork.FRONTIER, ACCESS_LIST: Fork.BERLIN, DYNAMIC_FEE: Fork.LONDON, BLOB: Fork.CANCUN}
FIRST |= {SET_CODE: Fork.PRAGUE}
CODES: dict[str, bytes] = {
    "none": b"",
    "a contract": b"\x00",
    "a delegation": designator(TO),
    "a delegation to nobody": designator(ZERO_ADDRESS),
    "a delegation, a byte too short": designator(TO)[:-1],
    "a delegation, a byte too long": designator(TO) + b"\x00",
    "another version": b"\xef\x01\x01" + TO,
    "EOF": b"\xef\x00\x01",
}


def environment(fork: Fork) -> BlockEnvironment:
    base_fee = FEE if fork >= Fork.LONDON else 0
    return BlockEnvironment(fork, CHAIN, 1, 1_700_000_000, GAS_LIMIT, base_fee=base_fee)


def state_with(account: Account, code: bytes = b"") -> MemoryState:
    state = MemoryState()
    if code:
        account = account._replace(code_hash=keccak256(code))
        state.codes[keccak256(code)] = code
    state.accounts[SENDER] = account
    return state


def transaction(fork: Fork, kind: int = LEGACY, **fields: object) -> Transaction:
    """The plainest of its type."""
    one = Transaction(
        type=kind,
        chain_id=CHAIN if kind != LEGACY or fork >= Fork.SPURIOUS_DRAGON else None,
        nonce=0,
        gas_price=2 * FEE if kind in (LEGACY, ACCESS_LIST) else 0,
        max_priority_fee_per_gas=2 * FEE if kind in (LEGACY, ACCESS_LIST) else 1,
        max_fee_per_gas=2 * FEE,
        gas_limit=100_000,
        to=TO,
        value=1,
        data=b"",
    )
    if kind == BLOB:
        one = replace(one, blob_versioned_hashes=(Hash32(b"\x01" + bytes(31)),), max_fee_per_blob_gas=FEE)
    if kind == SET_CODE:
        one = replace(one, authorization_list=(Authorization(CHAIN, TO, 7, 0, 1, 1),))
    return replace(one, **fields)  # type: ignore[arg-type]


def verdict(judge: Callable[[], object]) -> str:
    try:
        judge()
    except errors.InvalidTransaction as error:
        return type(error).__name__
    return ""


def by_pool(fork: Fork, tx: Transaction, state: MemoryState) -> str:
    now = environment(fork)
    block = NextBlock(fork, now.gas_limit, now.blob_schedule.max * GAS_PER_BLOB, now.base_fee)

    def judge() -> None:
        check_static(tx, fork, CHAIN)
        check_against_state(tx, SENDER, state.account(SENDER) or EMPTY_ACCOUNT, state, block)

    return verdict(judge)


def by_execution(fork: Fork, tx: Transaction, state: MemoryState, machine: Machine) -> str:
    block = BlockExecution(machine, environment(fork), state, lambda _: ZERO_HASH)
    return verdict(lambda: block.add(tx, SENDER))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return build_machine(FileObjectCache(OBJECTS))


@pytest.mark.parametrize("fork", Fork)
def test_a_sender_with_code(machine: Machine, fork: Fork) -> None:
    """EIP-3607 holds in blocks of every fork; EIP-7702's delegations are exempt from Prague on."""
    unsigned = transaction(fork)
    for name, code in CODES.items():
        state = state_with(Account(0, ETHER), code)
        is_delegation = name in ("a delegation", "a delegation to nobody")
        expected = "" if not code or (is_delegation and fork >= Fork.PRAGUE) else "SenderNotEoa"
        signed = sign_transaction(unsigned, SECRET)
        assert by_pool(fork, signed, state) == by_execution(fork, signed, state, machine) == expected, name
        unsigned_by_anybody = impersonate(unsigned, SENDER)
        assert by_pool(fork, unsigned_by_anybody, state) == "", name
        assert by_execution(fork, unsigned_by_anybody, state, machine) == "", name


FAULTS: dict[str, tuple[int, dict[str, object], Account, str, Fork]] = {
    "nothing": (LEGACY, {}, Account(0, ETHER), "", Fork.FRONTIER),
    "nonce used": (LEGACY, {"nonce": 4}, Account(5, ETHER), "NonceTooLow", Fork.FRONTIER),
    "nonce at its maximum": (
        LEGACY, {"nonce": UINT64_MAX}, Account(UINT64_MAX, ETHER), "NonceOverflow", Fork.FRONTIER
    ),
    "last nonce": (LEGACY, {"nonce": UINT64_MAX - 1}, Account(UINT64_MAX - 1, ETHER), "", Fork.FRONTIER),
    "another chain": (LEGACY, {"chain_id": 2}, Account(0, ETHER), "WrongChainId", Fork.SPURIOUS_DRAGON),
    "a wei short": (LEGACY, {}, Account(0, 100_000 * 2 * FEE), "InsufficientFunds", Fork.FRONTIER),
    "funds to the wei": (LEGACY, {}, Account(0, 100_000 * 2 * FEE + 1), "", Fork.FRONTIER),
    "gas above the block's": (
        LEGACY, {"gas_limit": GAS_LIMIT + 1}, Account(0, ETHER), "GasLimitTooHigh", Fork.FRONTIER
    ),
    "all the block's gas": (LEGACY, {"gas_limit": GAS_LIMIT}, Account(0, ETHER), "", Fork.FRONTIER),
    "gas below the intrinsic": (LEGACY, {"gas_limit": 20_999}, Account(0, ETHER), "IntrinsicGasTooLow", Fork.FRONTIER),
    "gas below the floor": (
        LEGACY, {"gas_limit": 21_000 + 1_000 * 4 * 4, "data": b"\x01" * 1_000}, Account(0, ETHER),
        "IntrinsicGasTooLow", Fork.PRAGUE,
    ),
    "fee below the base fee": (
        LEGACY, dict.fromkeys(("gas_price", "max_fee_per_gas", "max_priority_fee_per_gas"), FEE - 1), Account(0, ETHER),
        "FeeTooLow", Fork.LONDON,
    ),
    "no fee": (
        LEGACY, dict.fromkeys(("gas_price", "max_fee_per_gas", "max_priority_fee_per_gas"), 0), Account(0, ETHER),
        "FeeTooLow", Fork.LONDON,
    ),
    "tip above the fee": (
        DYNAMIC_FEE, {"max_priority_fee_per_gas": 2 * FEE + 1}, Account(0, ETHER), "PriorityFeeAboveMaxFee", Fork.LONDON
    ),
    "creation code too long": (
        LEGACY, {"to": None, "data": bytes(MAX_INITCODE_BYTES + 1), "gas_limit": 9_000_000}, Account(0, ETHER),
        "InitcodeTooLarge", Fork.SHANGHAI,
    ),
    "longest creation code": (
        LEGACY, {"to": None, "data": bytes(MAX_INITCODE_BYTES), "gas_limit": 9_000_000}, Account(0, ETHER),
        "", Fork.SHANGHAI,
    ),
    "no blobs": (BLOB, {"blob_versioned_hashes": ()}, Account(0, ETHER), "InvalidBlobs", Fork.CANCUN),
    "blobs above the block's": (
        BLOB, {"blob_versioned_hashes": (Hash32(b"\x01" + bytes(31)),) * 7}, Account(0, ETHER),
        "InvalidBlobs", Fork.CANCUN,
    ),
    "a blob hash of version 2": (
        BLOB, {"blob_versioned_hashes": (Hash32(b"\x02" + bytes(31)),)}, Account(0, ETHER), "InvalidBlobs", Fork.CANCUN
    ),
    "blobs that create": (BLOB, {"to": None}, Account(0, ETHER), "InvalidBlobs", Fork.CANCUN),
    "blobs a wei short": (
        BLOB, {}, Account(0, 100_000 * 2 * FEE + GAS_PER_BLOB * FEE), "InsufficientFunds", Fork.CANCUN
    ),
    "no authorizations": (
        SET_CODE, {"authorization_list": ()}, Account(0, ETHER), "InvalidAuthorizationList", Fork.PRAGUE
    ),
    "authorizations that create": (SET_CODE, {"to": None}, Account(0, ETHER), "InvalidAuthorizationList", Fork.PRAGUE),
}  # fmt: skip
"""By fault: type, fields, sender's account, refusal, and the fork from which it is one."""


@pytest.mark.parametrize("name", FAULTS)
def test_pool_and_execution_refuse_alike(machine: Machine, name: str) -> None:
    kind, fields, account, refusal, since = FAULTS[name]
    for fork in Fork:
        if kind == LEGACY and fields.get("chain_id") == 2 and fork < since:
            continue  # a replay-protected signature is not valid yet
        tx = sign_transaction(transaction(fork, kind, **fields), SECRET)
        state = state_with(account)
        expected = refusal if fork >= since else ""
        if fork < FIRST[kind]:
            expected = "UnsupportedTransactionType"
        elif not expected and tx.gas_limit < intrinsic_gas(tx, fork):
            expected = "IntrinsicGasTooLow"
        assert by_pool(fork, tx, state) == by_execution(fork, tx, state, machine) == expected, fork.name


@pytest.mark.parametrize("fork", Fork)
def test_every_type_begins_with_its_fork(machine: Machine, fork: Fork) -> None:
    for kind, first in FIRST.items():
        tx = sign_transaction(transaction(fork, kind), SECRET)
        expected = "" if fork >= first else "UnsupportedTransactionType"
        state = state_with(Account(0, ETHER))
        assert by_pool(fork, tx, state) == by_execution(fork, tx, state, machine) == expected, kind
