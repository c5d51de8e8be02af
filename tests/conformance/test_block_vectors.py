"""Valid blocks of the official block tests: executing each must give its very header, all roots included.

Refusing the invalid ones needs rules for headers and uncles, which are not the VM's business; here they are
passed over, as are the blocks that follow them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chain.blocks import Block, Header, decode_block
from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.transactions import recover_sender
from chain.types import ZERO_HASH, Address, Hash32
from node.conformance.memory_state import MemoryState
from node.conformance.state_case import FORK_NAMES, blob_schedule_of
from node.conformance.vectors import vector_files
from tests.paths import FIXTURES
from vm.block import BlockExecution, build_header
from vm.machine import Machine

EVERY_COMMIT = (
    "eest-v5.4.0-blockchain-Cancun",
    "eest-v5.4.0-blockchain-Prague",
    "eest-v5.4.0-blockchain-Osaka",
)
FULL = (
    *(
        f"eest-v5.4.0-blockchain-{name}"
        for name in (
            "Frontier", "Homestead", "Byzantium", "ConstantinopleFix", "Istanbul",
            "Berlin", "London", "Paris", "Shanghai", "transition",
        )
    ),
    "ethtests-v14.1-BlockchainTests",
    "legacytests-Cancun-BlockchainTests",
)  # fmt: skip

ETHER = 10**18


def network_fork(network: str, header: Header) -> str:
    """Name of the fork that governs the block; transitions are called AToBAtTime15k or AToBAt5."""
    found = re.fullmatch(r"(\w+?)To(\w+?)At(Time)?(\d+)(k?)", network)
    if not found:
        return network
    before, after, is_time, number, thousands = found.groups()
    limit = int(number) * (1_000 if thousands else 1)
    return after if (header.timestamp if is_time else header.number) >= limit else before


def rewards(block: Block, fork: Fork) -> Iterator[tuple[Address, int]]:
    """Block and uncle rewards before the merge (Yellow Paper 11.3, EIP-649, EIP-1234)."""
    if fork >= Fork.PARIS:
        return
    reward = (5 if fork < Fork.BYZANTIUM else 3 if fork < Fork.CONSTANTINOPLE else 2) * ETHER
    yield block.header.coinbase, reward + reward // 32 * len(block.uncles)
    for uncle in block.uncles:
        yield uncle.coinbase, reward * (8 + uncle.number - block.header.number) // 8


def environment_of(block: Block, fork_name: str, config: dict[str, Any]) -> BlockEnvironment:
    header, fork = block.header, FORK_NAMES[fork_name]
    return BlockEnvironment(
        fork=fork,
        chain_id=int(config.get("chainid", "0x1"), 16),
        number=header.number,
        timestamp=header.timestamp,
        gas_limit=header.gas_limit,
        coinbase=header.coinbase,
        parent_hash=header.parent_hash,
        base_fee=header.base_fee or 0,
        prevrandao=header.prevrandao,
        difficulty=header.difficulty,
        excess_blob_gas=header.excess_blob_gas or 0,
        blob_schedule=blob_schedule_of(config, fork_name),
        parent_beacon_root=header.parent_beacon_root or ZERO_HASH,
        withdrawals=block.withdrawals or (),
        extra_data=header.extra_data,
        nonce=header.nonce,
    )


def run_case(machine: Machine, case: dict[str, Any]) -> int:
    """Number of blocks that were executed and compared."""
    genesis = Hash32(bytes.fromhex(case["genesisBlockHeader"]["hash"][2:]))
    states = {genesis: MemoryState.from_json(case["pre"])}
    assert states[genesis].root().hex() == case["genesisBlockHeader"]["stateRoot"][2:]
    numbers: dict[Hash32, dict[int, Hash32]] = {genesis: {0: genesis}}
    compared = 0
    for entry in case["blocks"]:
        if "blockHeader" not in entry or "expectException" in entry:
            continue
        block = decode_block(bytes.fromhex(entry["rlp"][2:]))
        header = block.header
        if header.parent_hash not in states:
            continue  # follows an invalid block
        fork_name = network_fork(case["network"], header)
        environment = environment_of(block, fork_name, case.get("config", {}))
        state, ancestors = states[header.parent_hash], numbers[header.parent_hash]

        def block_hash(number: int, ancestors: dict[int, Hash32] = ancestors) -> Hash32:
            return ancestors.get(number, ZERO_HASH)

        execution = BlockExecution(machine, environment, state, block_hash, contracts_required=True)
        execution.begin()
        for tx in block.transactions:
            execution.add(tx, recover_sender(tx, allow_high_s=environment.fork < Fork.HOMESTEAD))
        result = execution.finish(rewards(block, environment.fork))
        after = state.after(result.delta)
        root = after.root()
        assert root == state.root_after(result.delta)
        built = build_header(environment, result, root, block.transactions)
        expected = {name: getattr(header, name) for name in Header.__slots__ if name != "_hash"}
        got = {name: getattr(built, name) for name in Header.__slots__ if name != "_hash"}
        different = {name for name in got if got[name] != expected[name]}
        if block.uncles:
            different.discard("uncles_hash")  # `build_header` knows no uncles: our own blocks have none
        if environment.fork < Fork.BYZANTIUM:
            different.discard("receipts_root")  # receipts hold state roots there (EIP-658)
        assert not different, f"block {header.number}: {different}"
        states[header.hash] = after
        numbers[header.hash] = ancestors | {header.number: header.hash}
        compared += 1
    return compared


def _check(archive: str) -> None:
    path = FIXTURES / f"{archive}.tar.xz"
    if not path.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    machine = Machine()
    compared, failures = 0, []
    for file in vector_files([path]):
        for name, case in json.loads(file.data).items():
            try:
                compared += run_case(machine, case)
            except Exception as error:
                failures.append(f"{file.name}::{name}: {type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} failures, {compared} blocks right; first: " + "; ".join(
        failures[:5]
    )
    assert compared > 30


@pytest.mark.parametrize("archive", EVERY_COMMIT)
def test_block_vectors(archive: str) -> None:
    _check(archive)


@pytest.mark.full
@pytest.mark.parametrize("archive", FULL)
def test_block_vectors_of_older_forks(archive: str) -> None:
    _check(archive)
