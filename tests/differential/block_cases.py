"""Blocks as cases: a genesis, blocks that hold on top of it, and blocks tried at the end; how zvmd judges each."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from chain.blocks import Block, Header, decode_block, encode_block, transactions_root
from chain.difficulty import next_difficulty
from chain.errors import InvalidBlock, InvalidRlp, InvalidTransaction
from chain.fees import INITIAL_BASE_FEE, next_base_fee, next_excess_blob_gas
from chain.forks import Fork
from chain.hashing import EMPTY_LIST_HASH, EMPTY_ROOT
from chain.transactions import Transaction, recover_sender
from chain.types import ZERO_HASH, Address, Hash32
from node.conformance.blocktest import BlockTree
from node.conformance.memory_state import MemoryState
from node.conformance.networks import config_of
from node.conformance.state_case import FORK_NAMES
from tests.conformance.matrix import BLOCKS
from tests.differential.state_cases import StateCase, sent_accounts, specification_of, vectors
from vm.block import BlockExecution, build_header
from vm.importing import environment_of
from vm.machine import Machine
from vm.rewards import rewards_of

MOST_BEFORE = 5
"""Blocks before the one that is changed: each is run by the oracle, too."""


@dataclass
class BlockCase:
    """Blocks in hex."""

    network: str
    pre: dict[str, Any]
    genesis: str
    before: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    made_by: list[str] = field(default_factory=list)
    """What was done to each tried one."""

    def attempt(self, how: str, raw: bytes) -> None:
        """One more block to try."""
        self.tried.append(raw.hex())
        self.made_by.append(how)

    def network_of(self, raw: str) -> str:
        """The fork by which a block is judged, that of the first one if its header cannot be read."""
        try:
            header = decode_block(bytes.fromhex(raw)).header
        except (InvalidRlp, InvalidTransaction):
            return network_at(self.network, 0, 0)
        return network_at(self.network, header.number, header.timestamp)

    def for_the_oracle(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "fork": specification_of(network_at(self.network, 0, 0)),
            "chain_id": 1,
            "accounts": sent_accounts(MemoryState.from_json(self.pre)),
            "genesis": bytes.fromhex(self.genesis),
            "before": [(specification_of(self.network_of(raw)), bytes.fromhex(raw)) for raw in self.before],
            "tried": [(specification_of(self.network_of(raw)), bytes.fromhex(raw)) for raw in self.tried],
            "london_at": int(self.network.rpartition("At")[2]) if "ToLondon" in self.network else 0,
        }


TRANSITION = re.compile(r"(\w+?)To(\w+?)At(Time)?(\d+)(k?)")


def network_at(network: str, number: int, timestamp: int) -> str:
    """The fork of a block with this number and timestamp (seconds).

    >>> network_at("BerlinToLondonAt5", 5, 0)
    'London'
    """
    found = TRANSITION.fullmatch(network)
    if not found:
        return network
    point = int(found[4]) * (1_000 if found[5] else 1)
    return found[2] if (timestamp if found[3] else number) >= point else found[1]


def tree_of(case: BlockCase, machine: Machine) -> BlockTree:
    """The chain up to where blocks are tried."""
    genesis = decode_block(bytes.fromhex(case.genesis))
    tree = BlockTree(machine, config_of(case.network, {}), genesis, MemoryState.from_json(case.pre))
    for raw in case.before:
        tree.add(bytes.fromhex(raw))
    return tree


def verdicts(case: BlockCase, machine: Machine) -> list[str]:
    """Why each tried block is refused, empty for those that are not."""
    tree = tree_of(case, machine)
    return [verdict(tree, bytes.fromhex(raw)) for raw in case.tried]


def verdict(tree: BlockTree, raw: bytes) -> str:
    """Why a block is refused."""
    head = tree.head
    try:
        tree.add(raw)
    except (InvalidBlock, InvalidTransaction, InvalidRlp) as error:
        return f"{error.code}: {error}"
    finally:
        tree.head = head
    return ""


def _parent_of(raw: bytes) -> Hash32 | None:
    try:
        return decode_block(raw).header.parent_hash
    except (InvalidRlp, InvalidTransaction):
        return None


def official_blocks(chance: random.Random, networks: tuple[str, ...]) -> BlockCase | None:
    """Some blocks of a random case, the last of which is tried; None if none of it will do."""
    archives = [name for name in BLOCKS if name.rpartition("-")[2] in networks or "tests-" in name]
    cases = msgspec.json.decode(chance.choice(vectors(chance.choice(archives))))
    document = cases[chance.choice(list(cases))]
    if document["network"] not in networks:
        return None
    case = BlockCase(document["network"], document["pre"], document["genesisRLP"][2:])
    parent = decode_block(bytes.fromhex(case.genesis)).hash
    passed = set[Hash32]()
    last = chance.randrange(MOST_BEFORE + 1)
    for entry in document["blocks"]:
        raw = entry["rlp"][2:]
        if "expectException" in entry or len(case.before) == last:
            if _parent_of(bytes.fromhex(raw)) in passed:
                return None  # a side chain, which EELS knows nothing of
            case.attempt("as it was", bytes.fromhex(raw))
            break
        block = decode_block(bytes.fromhex(raw))
        if block.header.parent_hash != parent:
            return None
        passed.add(parent)
        parent = block.hash
        case.before.append(raw)
    if not case.tried and case.before:
        case.attempt("as it was", bytes.fromhex(case.before.pop()))
    return case if case.tried else None


def genesis_of(case: StateCase, network: str, chance: random.Random) -> Block:
    """A genesis with the state of a state test, and its block's limits."""
    fork, env = FORK_NAMES[network_at(network, 0, 0)], case["env"]
    limit = min(max(int(env["currentGasLimit"], 16), 5_000), 2**40)
    timestamp = min(int(env["currentTimestamp"], 16), 2**40)
    if "AtTime" in network:
        timestamp = 15_000 - chance.choice((12, 24))
    cancun, shanghai = fork >= Fork.CANCUN, fork >= Fork.SHANGHAI
    header = Header(
        parent_hash=ZERO_HASH,
        uncles_hash=EMPTY_LIST_HASH,
        coinbase=Address(bytes(20)),
        state_root=MemoryState.from_json(case["pre"]).root(),
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        bloom=bytes(256),
        difficulty=0 if fork >= Fork.PARIS else chance.choice((0x20000, 2**24, 2**40)),
        number=0,
        gas_limit=limit,
        gas_used=chance.choice((0, 0, limit // 2, limit)) if fork >= Fork.LONDON else 0,
        timestamp=timestamp,
        extra_data=b"",
        prevrandao=ZERO_HASH,
        nonce=bytes(8),
        base_fee=min(int(env.get("currentBaseFee", "0x7"), 16), 2**40) if fork >= Fork.LONDON else None,
        withdrawals_root=EMPTY_ROOT if shanghai else None,
        blob_gas_used=131_072 * chance.choice((0, 1, 3, 6)) if cancun else None,
        excess_blob_gas=min(int(env.get("currentExcessBlobGas", "0x0"), 16), 2**27) if cancun else None,
        parent_beacon_root=ZERO_HASH if cancun else None,
        requests_hash=ZERO_HASH if fork >= Fork.PRAGUE else None,
    )
    return Block(header, withdrawals=() if shanghai else None)


def next_template(tree: BlockTree) -> Header:
    """A header for the block after the head, whose roots are still those of the head."""
    parent, config = tree.head.block.header, tree.config
    number, timestamp = parent.number + 1, parent.timestamp + 12
    fork = config.fork_at(number, timestamp)
    values: dict[str, Any] = {"parent_hash": parent.hash, "number": number, "timestamp": timestamp}
    if fork >= Fork.LONDON and parent.base_fee is None:
        values["gas_limit"] = 2 * parent.gas_limit
    if fork >= Fork.CANCUN:
        values["parent_beacon_root"] = ZERO_HASH
    return with_fees(tree, replace(parent, **values), fork)


def with_fees(tree: BlockTree, header: Header, fork: Fork) -> Header:
    """The header with base fee, difficulty and excess blob gas as its parent demands."""
    parent, config = tree.head.block.header, tree.config
    values: dict[str, Any] = {}
    if fork >= Fork.LONDON:
        values["base_fee"] = INITIAL_BASE_FEE
        if parent.base_fee is not None:
            values["base_fee"] = next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)
    if fork < Fork.PARIS:
        values["difficulty"] = next_difficulty(config, header.number, header.timestamp, parent)
    if fork >= Fork.CANCUN:
        schedule = config.blobs_at(header.timestamp)
        fees = (parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0)
        values["excess_blob_gas"] = next_excess_blob_gas(*fees, schedule, fork)
    return replace(header, **values)


NextTransaction = Callable[[BlockExecution], Transaction | None]
"""Gives the next transaction on top of what was executed, None at the end."""


def built(
    tree: BlockTree, machine: Machine, template: Block, following: NextTransaction
) -> tuple[Block, list[Transaction]]:
    """A block of the template's fields and what ``following`` gives; the transactions that were refused."""
    header = template.header
    environment = environment_of(header, tree.config, template.withdrawals or ())
    state, parent = tree.head.state, tree.head.block
    hashes = tree._hashes_before(parent)
    execution = BlockExecution(
        machine, environment, state, hashes, contracts_required=True, root_of=state.root_after
    )
    execution.begin()
    taken: list[Transaction] = []
    refused: list[Transaction] = []
    while (tx := following(execution)) is not None:
        try:
            execution.add(tx, recover_sender(tx, allow_high_s=environment.fork < Fork.HOMESTEAD))
        except InvalidTransaction:
            refused.append(tx)
        else:
            taken.append(tx)
    result = execution.finish(rewards_of(header, template.uncles, environment.fork))
    made = build_header(environment, result, state.root_after(result.delta), taken, template.uncles)
    return replace(template, header=made, transactions=tuple(taken)), refused


def with_transactions(block: Block, transactions: Iterable[Transaction]) -> Block:
    """The block with others and their root, all else as it was."""
    body = tuple(transactions)
    return replace(block, header=replace(block.header, transactions_root=transactions_root(body)), transactions=body)


def in_order(transactions: Iterable[Transaction]) -> NextTransaction:
    """One after the other."""
    rest = iter(tuple(transactions))
    return lambda _: next(rest, None)


def raw_of(block: Block) -> bytes:
    """Encoded."""
    return encode_block(block)
