"""Random transactions to trace: calls of all kinds, delegations, creations, too much value, too little gas."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from chain.crypto import address_of_secret, sign
from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.transactions import (
    ACCESS_LIST,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    Authorization,
    Transaction,
    encode_transaction,
    sign_transaction,
)
from chain.types import Address
from node.api.tracing import TracedRun
from node.conformance.memory_state import MemoryState
from node.rpc.tracer_options import tracer_of
from tests.differential.generator import random_code
from tests.differential.programs import CONTRACTS, calldata, write_program
from tests.differential.running import NUMBER, block_hash, environment
from vm.delegation import designator
from vm.journal import Journal
from vm.machine import Machine
from vm.transaction import TransactionResult, apply_transaction

FORKS = ("BERLIN", "LONDON", "SHANGHAI", "CANCUN", "PRAGUE", "PRAGUE", "OSAKA", "OSAKA")
KEYS = tuple(bytes(31) + bytes([n]) for n in (7, 8, 9))
SENDER, *AUTHORITIES = (address_of_secret(key) for key in KEYS)
ADDRESSES = tuple(Address(bytes.fromhex(name)) for name in CONTRACTS)
NOTABLE = (*ADDRESSES, *AUTHORITIES, SENDER, Address(bytes(19) + b"\x02"), Address(b"\xee" * 20), Address(bytes(20)))
"""Contracts, accounts that may delegate, the sender, a precompiled contract, a missing account, zero."""
TRACERS: dict[str, Any] = {
    "callTracer": {"withLog": True},
    "flatCallTracer": {"includePrecompiles": True},
    "4byteTracer": {},
    "keccak256PreimageTracer": {},
}
BASE_FEE = 7


@dataclass(frozen=True, slots=True)
class TracedCase:
    """A transaction on a state."""

    environment: BlockEnvironment
    accounts: dict[str, dict[str, Any]]
    """As in the ``alloc`` of a genesis."""
    transaction: Transaction

    def to_oracle(self) -> dict[str, Any]:
        """The case as `tests.differential.eels_chain_worker` reads it."""
        env = self.environment
        accounts = {
            bytes.fromhex(address[2:]): (
                int(entry.get("nonce", "0x0"), 16),
                int(entry["balance"], 16),
                bytes.fromhex(entry.get("code", "0x")[2:]),
                {int(slot, 16): int(value, 16) for slot, value in entry.get("storage", {}).items()},
            )
            for address, entry in self.accounts.items()
        }
        return {
            "fork": env.fork.name,
            "accounts": accounts,
            "transaction": encode_transaction(self.transaction),
            "block_hashes": [block_hash(number) for number in range(NUMBER - 256, NUMBER)],
            **{name: getattr(env, name) for name in ("chain_id", "gas_limit", "coinbase", "number", "base_fee")},
            **{name: getattr(env, name) for name in ("timestamp", "prevrandao", "difficulty", "excess_blob_gas")},
        }


def calling_code(chance: random.Random, fork: Fork) -> bytes:
    """A program; sometimes one that calls the notable accounts by all means, with too much value now and then."""
    kind = chance.random()
    if kind < 0.2:
        return random_code(chance, fork)
    if kind < 0.6:
        return write_program(chance, fork.name, chance.randrange(2, 14))
    parts = bytearray()
    for _ in range(chance.randrange(1, 6)):
        call = chance.choice((0xF1, 0xF1, 0xF2, 0xF4, 0xFA, 0xF0, 0xF5, 0x31, 0x3F))
        value = chance.choice((0, 0, 0, 1, 10**30))
        if call in (0x31, 0x3F):
            parts += b"\x73" + chance.choice(NOTABLE) + bytes([call, 0x50])
        elif call in (0xF0, 0xF5):
            start = chance.choice(
                (bytes.fromhex("60fe60005360016000f3"), bytes.fromhex("60006000fd"), b"\xfe", b"\x30\xff")
            )
            parts += bytes([0x5F + len(start)]) + start + b"\x60\x00\x52" + (b"\x60\x01" if call == 0xF5 else b"")
            parts += bytes([0x60, len(start), 0x60, 32 - len(start)]) + _push(value) + bytes([call, 0x50])
        else:
            parts += b"\x60\x00\x60\x00\x60\x24\x60\x00" + (_push(value) if call in (0xF1, 0xF2) else b"")
            parts += b"\x73" + chance.choice(NOTABLE) + (b"\x5a" if chance.random() < 0.8 else b"\x61\x08\xfc")
            parts += bytes([call, 0x60, chance.randrange(4), 0x55 if chance.random() < 0.5 else 0x50])
    return bytes(parts) + chance.choice(
        (b"", b"\x60\x00\x60\x00\xa0", b"\x60\x20\x60\x00\xfd", b"\xfe", b"\x33\xff", b"\x01")
    )


def _push(value: int) -> bytes:
    raw = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([0x5F + len(raw)]) + raw


def random_account(chance: random.Random, code: bytes) -> dict[str, Any]:
    storage = {hex(slot): hex(chance.randrange(1, 9)) for slot in range(4) if chance.random() < 0.4}
    return {"balance": hex(chance.choice((0, 5, 10**6))), "nonce": "0x1", "code": "0x" + code.hex(), "storage": storage}


def _authorizations(chance: random.Random, nonces: dict[Address, int]) -> tuple[Authorization, ...]:
    """Some that hold, some that do not: nonce, chain, signature; to contracts, precompiled ones, nobody, each other."""
    made = []
    for _ in range(chance.randrange(1, 4)):
        which = chance.choice((0, 1, 1, 2))
        authority = (SENDER, *AUTHORITIES)[which]
        nonce = nonces[authority] + (1 if which == 0 else 0) + (chance.random() < 0.15)
        plain = Authorization(chance.choice((0, 1, 1, 5)), chance.choice(NOTABLE), nonce, 0, 0, 0)
        made.append(
            replace(plain, **dict(zip(("y_parity", "r", "s"), sign(plain.signing_hash(), KEYS[which]), strict=True)))
        )
    return tuple(made)


def random_traced_case(seed: int) -> TracedCase:
    """The case of a seed."""
    chance = random.Random(f"traced {seed}")
    fork = Fork[chance.choice(FORKS)]
    accounts = {"0x" + address.hex(): random_account(chance, calling_code(chance, fork)) for address in ADDRESSES}
    nonces = {address: chance.randrange(3) for address in (SENDER, *AUTHORITIES)}
    for address, nonce in nonces.items():
        has_code = fork >= Fork.PRAGUE and chance.random() < 0.4
        code = designator(chance.choice(NOTABLE)) if has_code else b""
        accounts["0x" + address.hex()] = {
            "balance": hex(10**20),
            "nonce": hex(nonce),
            "code": "0x" + code.hex(),
            "storage": {},
        }
    kinds = [LEGACY, ACCESS_LIST] + [DYNAMIC_FEE] * (fork >= Fork.LONDON) + [SET_CODE] * 2 * (fork >= Fork.PRAGUE)
    kind = chance.choice(kinds)
    to = (
        None
        if kind != SET_CODE and chance.random() < 0.12
        else chance.choice(NOTABLE if chance.random() < 0.3 else ADDRESSES)
    )
    data = calling_code(chance, fork) if to is None else calldata(chance)
    price = 20
    tx = Transaction(
        type=kind,
        chain_id=1,
        nonce=nonces[SENDER],
        gas_price=price,
        max_priority_fee_per_gas=3 if kind >= DYNAMIC_FEE else price,
        max_fee_per_gas=price,
        gas_limit=chance.choice((90_000, 120_000, 250_000, 1_000_000)),
        to=to,
        value=chance.choice((0, 0, 1, 1000)),
        data=data,
        access_list=((ADDRESSES[1], (1, 2)),) if kind != LEGACY and chance.random() < 0.5 else (),
        authorization_list=_authorizations(chance, nonces) if kind == SET_CODE else (),
    )
    env = replace(environment(fork), base_fee=BASE_FEE if fork >= Fork.LONDON else 0)
    return TracedCase(env, accounts, sign_transaction(tx, KEYS[0]))


@dataclass(slots=True)
class Traced:
    """What came of a transaction."""

    ended: TransactionResult
    said: Any
    before: MemoryState
    after: MemoryState


def trace(
    case: TracedCase, options: dict[str, Any], machine: Machine, accounts: dict[str, Any] | None = None
) -> Traced:
    """Run a case with a tracer, on its accounts or on others. Raises `InvalidTransaction`."""
    state = MemoryState.from_json(case.accounts if accounts is None else accounts)
    journal = Journal(state, case.environment.fork)
    wanted = tracer_of(options)
    run = TracedRun(case.transaction, SENDER, case.environment, state, state, journal, machine.code_bytes_max)
    tracer = wanted.make(run)
    ended = apply_transaction(
        machine,
        case.environment,
        block_hash,
        journal,
        case.transaction,
        SENDER,
        block_gas_left=case.environment.gas_limit,
        blob_gas_left=0,
        tracer=tracer,
    )
    return Traced(ended, wanted.shown(tracer.result(ended)), state, state.after(journal.delta()))


def several(case: TracedCase, machine: Machine) -> Traced:
    """All of `TRACERS` in one run."""
    return trace(case, {"tracer": "muxTracer", "tracerConfig": TRACERS}, machine)
