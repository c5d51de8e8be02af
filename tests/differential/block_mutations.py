"""Mutations of blocks: every header field, the body, the encoding; and new blocks of mutated transactions."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import fields, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from chain import rlp
from chain.blocks import Block, Header, decode_block, uncles_hash, withdrawals_root
from chain.environment import Withdrawal
from chain.errors import InvalidBlock, ZvmdError
from chain.forks import DEPOSIT_CONTRACT, ChainConfig, Fork
from chain.transactions import Transaction
from chain.types import Address
from node.conformance.blocktest import BlockTree
from node.conformance.state_case import FORK_NAMES
from tests.differential.block_cases import (
    BlockCase,
    built,
    genesis_of,
    in_order,
    network_at,
    next_template,
    official_blocks,
    raw_of,
    tree_of,
    with_fees,
    with_transactions,
)
from tests.differential.state_cases import (
    NETWORKS,
    StateCase,
    network_of,
    official_case,
    transaction_of_case,
    vectors,
)
from tests.differential.state_mutations import Mutation, mutated
from tests.differential.transaction_mutations import hexed
from vm.block import BlockExecution
from vm.machine import Machine

TRANSITION = 0.3
"""Share of new chains in which the fork changes."""
TRANSITIONS = tuple(
    f"{one}To{two}At{'2' if FORK_NAMES[two] < Fork.PARIS else 'Time15k'}"
    for one, two in pairwise(NETWORKS)
    if two != "Paris"
)
TRIED = 10
"""Mutations of each block."""
OF_TRANSACTIONS = ("gas", "kind", "fees", "value", "data", "recipient", "access_list", "blobs", "authorizations")
SYSTEM = (
    *("0x000f3df6d732807ef1319fb7b8bb8522d0beac02", "0x0000f90827f1c53a10cb7a02335b175320002935"),
    *("0x00000961ef480eb55e80d19ad83579a64c007002", "0x0000bbddc7ce488642fb579f8b00f3a590007251"),
)
"""Contracts that blocks call: beacon roots, history, withdrawal requests, consolidation requests."""
DEPOSIT_TOPIC = "649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5"
DEPOSIT_SIZES = (48, 32, 8, 96, 8)


def mutated_header(chance: random.Random, header: Header) -> tuple[str, Header]:
    """One field changed."""
    names = [entry.name for entry in fields(Header) if entry.init and getattr(header, entry.name) is not None]
    name = chance.choice(names)
    value = getattr(header, name)
    if isinstance(value, int):
        near = [value + step for step in (-2, -1, 1, 2)]
        far = [0, value * 2, 2**63 - 1, 2**63, 2**64 - 1, 2**64, value // 2]
        if name == "gas_limit":
            far += [value + value // 1_024 + step for step in (-2, -1, 0)]
            far += [value - value // 1_024 + step for step in (0, 1, 2)]
        if name in ("blob_gas_used", "excess_blob_gas"):
            far += [value + 131_072, max(value - 131_072, 0)]
        value = chance.choice([number for number in near + far if number >= 0])
    elif name == "extra_data":
        value = chance.randbytes(chance.choice((0, 1, 31, 32, 33, 64)))
    else:
        flipped = bytearray(value)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        value = type(value)(flipped) if chance.random() < 0.8 else type(value)(bytes(len(flipped)))
    return name, replace(header, **{name: value})


def mutated_body(chance: random.Random, block: Block) -> tuple[str, Block]:
    """Other transactions, withdrawals or uncles, with their roots but not with their effects."""
    txs = list(block.transactions)
    kind = chance.randrange(7)
    if kind == 0 and txs:
        return "a transaction twice", with_transactions(block, [*txs, chance.choice(txs)])
    if kind == 1 and txs:
        del txs[chance.randrange(len(txs))]
        return "a transaction less", with_transactions(block, txs)
    if kind == 2 and len(txs) > 1:
        chance.shuffle(txs)
        return "transactions in another order", with_transactions(block, txs)
    if kind == 3 and block.withdrawals is not None:
        withdrawals = tuple(some_withdrawals(chance))
        header = replace(block.header, withdrawals_root=withdrawals_root(withdrawals))
        return "other withdrawals", replace(block, header=header, withdrawals=withdrawals)
    if kind == 4 and block.withdrawals is not None:
        return "withdrawals without their root", replace(block, withdrawals=tuple(some_withdrawals(chance)))
    if kind == 5:
        there = None if block.withdrawals is not None else ()
        return "withdrawals or none", replace(block, withdrawals=there)
    uncle = mutated_header(chance, block.header)[1]
    if chance.random() < 0.5:
        uncle = replace(uncle, number=max(block.header.number - 1, 0))
    header = replace(block.header, uncles_hash=uncles_hash((uncle,)))
    return "an uncle", replace(block, header=header, uncles=(uncle,))


def mutated_bytes(chance: random.Random, block: Block) -> tuple[str, bytes]:
    """Another encoding, mostly one that nobody may take."""
    raw = raw_of(block)
    kind = chance.randrange(8)
    if kind == 0:
        return "cut", raw[: chance.randrange(len(raw))]
    if kind == 1:
        return "lengthened", raw + bytes(chance.choice((1, 32)))
    if kind == 2:
        flipped = bytearray(raw)
        flipped[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return "a bit flipped", bytes(flipped)
    parts: list[Any] = rlp.decode_list(raw)
    if kind == 3:
        parts[0].append(chance.choice((b"", b"\x01", bytes(32))))
        return "a header field more", rlp.encode(parts)
    if kind == 4:
        parts[0].pop()
        return "a header field less", rlp.encode(parts)
    if kind == 5:
        at = chance.choice((7, 8, 9, 10, 11))
        parts[0][at] = b"\0" + parts[0][at]
        return "a number that begins with zero", rlp.encode(parts)
    if kind == 6 and parts[1]:
        at = chance.randrange(len(parts[1]))
        tx = parts[1][at]
        parts[1][at] = rlp.encode(tx) if isinstance(tx, list) else [tx]
        return "a transaction wrapped otherwise", rlp.encode(parts)
    parts.append(chance.choice(([], b"")))
    return "a part more", rlp.encode(parts)


def some_withdrawals(chance: random.Random) -> list[Withdrawal]:
    """A few."""
    return [
        Withdrawal(
            chance.choice((index, 2**64 - 1)),
            chance.choice((0, 7, 2**64 - 1)),
            Address(chance.choice((bytes(20), bytes(19) + b"\x01", chance.randbytes(20)))),
            chance.choice((0, 0, 1, 10**9, 2**64 - 1)),
        )
        for index in range(chance.choice((0, 1, 2, 17)))
    ]


def another_template(chance: random.Random, tree: BlockTree, block: Block) -> Block:
    """The block with other fields that its parent allows; its roots do not hold any more."""
    header, parent = block.header, tree.head.block.header
    limit = header.gas_limit if parent.base_fee is None else parent.gas_limit  # London's first doubles it
    values: dict[str, Any] = {}
    for name, choices in (
        ("coinbase", (bytes(20), bytes(19) + b"\x04", chance.randbytes(20), bytes.fromhex(SYSTEM[0][2:]))),
        ("extra_data", (b"", chance.randbytes(32))),
        ("prevrandao", (bytes(32), chance.randbytes(32))),
        ("timestamp", (parent.timestamp + 1, parent.timestamp + 8_191, header.timestamp + 40)),
        ("gas_limit", (limit, limit + limit // 1_024 - 1)),
        ("parent_beacon_root", (bytes(32), chance.randbytes(32))),
    ):
        if getattr(header, name) is not None and chance.random() < 0.4:
            value = chance.choice(choices)
            values[name] = type(getattr(header, name))(value)
    header = replace(header, **values)
    fork = tree.config.fork_at(header.number, header.timestamp)
    withdrawals = block.withdrawals
    if withdrawals is not None and chance.random() < 0.4:
        withdrawals = tuple(some_withdrawals(chance))
    return replace(block, header=with_fees(tree, header, fork), withdrawals=withdrawals)


def attempts(chance: random.Random, case: BlockCase, tree: BlockTree, block: Block, machine: Machine) -> None:
    """Add mutations of a block that may follow the tree's head."""
    txs = list(block.transactions)
    for _ in range(TRIED):
        kind = chance.random()
        if kind < 0.35:
            name, header = mutated_header(chance, block.header)
            if name != "parent_hash" or header.parent_hash != tree.head.block.header.parent_hash:
                case.attempt(name, raw_of(replace(block, header=header)))
        elif kind < 0.5:
            how, body = mutated_body(chance, block)
            case.attempt(how, raw_of(body))
        elif kind < 0.7:
            case.attempt(*mutated_bytes(chance, block))
        else:
            rest = [tx for tx in txs if chance.random() < 0.9]
            if chance.random() < 0.3:
                chance.shuffle(rest)
            try:
                new, refused = built(tree, machine, another_template(chance, tree, block), in_order(rest))
            except InvalidBlock:
                continue
            case.attempt("built anew", raw_of(new))
            if refused:
                where = chance.randrange(len(new.transactions) + 1)
                body = [*new.transactions[:where], chance.choice(refused), *new.transactions[where:]]
                case.attempt("with a refused transaction", raw_of(with_transactions(new, body)))


def mutated_official(
    chance: random.Random, machine: Machine, networks: tuple[str, ...] = NETWORKS
) -> BlockCase | None:
    """Official blocks under one of the forks and mutations of the last one; None if there was none."""
    case = official_blocks(chance, networks)
    if case is None:
        return None
    tree = tree_of(case, machine)
    try:
        block = decode_block(bytes.fromhex(case.tried[0]))
    except ZvmdError:
        return case
    attempts(chance, case, tree, block, machine)
    return case


@lru_cache(maxsize=1)
def system_contracts() -> dict[str, Any]:
    """Accounts of the contracts that blocks of Prague call."""
    for data in vectors("eest-v5.4.0-blockchain-Prague"):
        for document in msgspec.json.decode(data).values():
            pre = {name.lower(): entry for name, entry in document["pre"].items()}
            if all(name in pre for name in SYSTEM):
                return {name: pre[name] for name in SYSTEM}
    raise AssertionError("no block test has all system contracts")


def deposit_data(chance: random.Random) -> bytes:
    """The data of a deposit's log, sometimes laid out wrongly."""
    heads, tails, at = b"", b"", 32 * len(DEPOSIT_SIZES)
    for size in DEPOSIT_SIZES:
        heads += at.to_bytes(32, "big")
        padded = chance.randbytes(size).ljust((size + 31) // 32 * 32, b"\0")
        tails += size.to_bytes(32, "big") + padded
        at += 32 + len(padded)
    data = bytearray(heads + tails)
    if chance.random() < 0.3:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.choice((len(data), len(data), len(data), len(data) - 32, len(data) - 1))])


class Writer:
    """Writes the transactions of a block over a state test's accounts."""

    def __init__(self, chance: random.Random, case: StateCase, other: StateCase, count: int) -> None:
        self.chance = chance
        self.case = case
        self.other = other
        self.left = count

    def __call__(self, execution: BlockExecution) -> Transaction | None:
        """The next one, whose nonce is mostly the sender's."""
        while self.left:
            self.left -= 1
            tx = self.one(execution)
            if tx is not None:
                return tx
        return None

    def one(self, execution: BlockExecution) -> Transaction | None:
        mutation = Mutation(self.chance, self.case, self.other)
        sender = Address(bytes.fromhex(mutation.sender[2:]))
        if self.chance.random() < 0.95:
            mutation.tx["nonce"] = hexed(execution.journal.nonce(sender))
        for name in self.chance.choices(OF_TRANSACTIONS, k=self.chance.choice((0, 1, 2))):
            getattr(mutation, name)()
        fork = execution.environment.fork
        if fork >= Fork.PRAGUE and self.chance.random() < 0.15:
            self.request(mutation)
        price = next(name for name in ("gasPrice", "maxFeePerGas") if name in mutation.tx)
        if int(mutation.tx[price], 16) < execution.environment.base_fee and self.chance.random() < 0.95:
            mutation.tx[price] = hexed(execution.environment.base_fee + 3)
        try:
            return transaction_of_case(mutation.case)
        except (ZvmdError, ValueError, OverflowError):
            return None

    def request(self, mutation: Mutation) -> None:
        """A call of a system contract or of the deposit contract."""
        chance = self.chance
        to = chance.choice((*SYSTEM[2:], "0x" + DEPOSIT_CONTRACT.hex()))
        sizes = {SYSTEM[2]: 56, SYSTEM[3]: 96}
        data = chance.randbytes(sizes[to]) if to in sizes else deposit_data(chance)
        mutation.tx.update(to=to, data=["0x" + data.hex()], value=[hexed(chance.choice((1, 1, 1, 0, 2)))])
        mutation.tx["gasLimit"] = [hexed(400_000)]


LOGS_ITS_CALLDATA = f"0x3660006000377f{DEPOSIT_TOPIC}366000a100"
"""In place of the deposit contract."""


def new_blocks(
    chance: random.Random, machine: Machine, archives: tuple[str, ...], networks: tuple[str, ...] = NETWORKS
) -> BlockCase | None:
    """Blocks of mutated transactions over the accounts of a state test."""
    other = official_case(chance, archives)
    state = mutated(chance, official_case(chance, archives), other, networks)
    network = network_of(state)
    fork = FORK_NAMES[network]
    state["pre"] = deepcopy(state["pre"])
    if fork >= Fork.PRAGUE and chance.random() < 0.97:
        state["pre"] |= deepcopy(system_contracts())
        entry = {"nonce": "0x1", "balance": "0x0", "code": LOGS_ITS_CALLDATA, "storage": {}}
        state["pre"]["0x" + DEPOSIT_CONTRACT.hex()] = entry
    if chance.random() < TRANSITION:
        network = chance.choice([name for name in TRANSITIONS if f"To{network}At" in name] or [network])
    case = BlockCase(network, state["pre"], raw_of(genesis_of(state, network, chance)).hex())
    tree = tree_of(case, machine)
    chain = [tree.head.block]
    count = chance.choice((1, 1, 2, 3)) if fork >= Fork.PARIS or chance.random() < 0.5 else chance.randrange(2, 10)
    for left in reversed(range(count)):
        header = next_template(tree)
        fork = tree.config.fork_at(header.number, header.timestamp)
        uncles = some_uncles(chance, chain, tree.config, fork) if fork < Fork.PARIS else ()
        template = Block(header, uncles=uncles, withdrawals=() if fork >= Fork.SHANGHAI else None)
        template = another_template(chance, tree, template)
        state["post"] = {network_at(network, header.number, header.timestamp): next(iter(state["post"].values()))}
        writer = Writer(chance, state, other, chance.randrange(6) if left < 2 else 0)
        try:
            block, refused = built(tree, machine, template, writer)
        except InvalidBlock:
            break
        case.attempt("new", raw_of(block))
        for tx in refused[:2]:
            case.attempt("with a refused transaction", raw_of(with_transactions(block, [*block.transactions, tx])))
        if not left:
            attempts(chance, case, tree, block, machine)
            break
        try:
            tree.add(raw_of(block))
        except ZvmdError:
            break
        chain.append(block)
        case.before.append(raw_of(block).hex())
        case.tried, case.made_by = [], []
    return case if case.tried else None


def some_uncles(chance: random.Random, chain: list[Block], config: ChainConfig, fork: Fork) -> tuple[Header, ...]:
    """Siblings of the chain's blocks, sometimes too old, sometimes ones that were there already."""
    found = []
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3)) if chance.random() < 0.2 else chance.randrange(3)):
        back = chance.randrange(1, min(len(chain) + 1, 9)) if chance.random() < 0.3 else 1
        sibling = chain[-back].header
        if not sibling.number or config.fork_at(sibling.number, 0) != fork:
            continue  # EELS judges an uncle by the rules of the block's fork
        header = replace(sibling, extra_data=bytes([chance.randrange(3)]), nonce=bytes(8))
        if chance.random() < 0.15:
            _, header = mutated_header(chance, header)
        found.append(header)
    return tuple(found)
