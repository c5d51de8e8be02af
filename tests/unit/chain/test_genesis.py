"""Genesis documents: what they mean, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chain.errors import InvalidGenesis
from chain.forks import CANCUN_BLOBS, PRAGUE_BLOBS, BlobSchedule, ChainConfig, Fork
from chain.genesis import DEV_BALANCE, Genesis, GenesisAccount, dev_genesis
from chain.hashing import keccak256
from chain.state import Account
from chain.system_contracts import SYSTEM_CONTRACTS
from chain.types import Address

A = Address(b"\xaa" * 20)


@pytest.mark.parametrize("fork", Fork)
def test_dev_genesis_round_trips(fork: Fork) -> None:
    genesis = dev_genesis(31_337, [A], fork, timestamp=7)
    text = json.dumps(genesis.to_json())
    again = Genesis.from_json(json.loads(text))
    assert again == genesis
    assert again.header() == genesis.header()
    assert genesis.fork == fork


def test_dev_genesis_has_what_its_fork_needs() -> None:
    assert set(dev_genesis(1, [A], Fork.SHANGHAI).alloc) == {A}
    assert len(dev_genesis(1, [A], Fork.CANCUN).alloc) == 2
    osaka = dev_genesis(1, [A])
    assert osaka.alloc[A].balance == DEV_BALANCE
    assert len(osaka.alloc) == 5
    for _, address, code in SYSTEM_CONTRACTS:
        assert osaka.alloc[address] == GenesisAccount(nonce=1, code=code)


def test_delta() -> None:
    genesis = Genesis(ChainConfig(1), {A: GenesisAccount(5, 1, b"\1", {2: 3})})
    delta = genesis.delta()
    assert delta.accounts == {A: Account(1, 5, keccak256(b"\1"))}
    assert delta.storage == {A: {2: 3}}
    assert delta.codes == {keccak256(b"\1"): b"\1"}
    assert not delta.wiped


def test_spellings() -> None:
    document: dict[str, Any] = {
        "config": {"chainId": 5, "homesteadBlock": 0, "eip150Block": None, "terminalTotalDifficulty": 0},
        "alloc": {
            A.hex(): {"balance": "12", "nonce": "0x1", "code": "", "storage": {"0x0": "0x00", "0x01": "0x2"}}
        },
        "gasLimit": "0x1c9c380",
        "nonce": 66,
    }
    genesis = Genesis.from_json(document)
    assert genesis.alloc == {A: GenesisAccount(12, 1, b"", {1: 2})}
    assert genesis.gas_limit == 30_000_000
    assert genesis.nonce == bytes(7) + b"B"
    assert genesis.config.block_forks == ((0, Fork.FRONTIER), (0, Fork.HOMESTEAD), (0, Fork.PARIS))
    assert Genesis.from_json(genesis.to_json()) == genesis


def test_merged_from_the_start() -> None:
    genesis = Genesis.from_json(
        {"config": {"chainId": 1, "terminalTotalDifficulty": 9, "terminalTotalDifficultyPassed": True}}
    )
    assert genesis.config.block_forks[-1] == (0, Fork.PARIS)
    assert genesis.alloc == {}
    waiting = Genesis.from_json({"config": {"chainId": 1, "terminalTotalDifficulty": "9"}})
    assert waiting.config.block_forks == ((0, Fork.FRONTIER),)


def test_blob_schedule() -> None:
    blobs = BlobSchedule(10, 15, 8_346_193)
    config: dict[str, Any] = {
        "chainId": 1,
        "cancunTime": 10,
        "pragueTime": 20,
        "osakaTime": 20,
        "bpo1Time": 30,
        "blobSchedule": {"bpo1": {"target": 10, "max": 15, "baseFeeUpdateFraction": 8_346_193}},
        "depositContractAddress": "0x" + A.hex(),
    }
    genesis = Genesis.from_json({"config": config})
    assert genesis.config.blob_forks == ((10, CANCUN_BLOBS), (20, PRAGUE_BLOBS), (30, blobs))
    assert genesis.config.deposit_contract == A
    assert genesis.config.blobs_at(29) == PRAGUE_BLOBS
    assert genesis.config.blobs_at(0) == CANCUN_BLOBS
    assert Genesis.from_json(genesis.to_json()) == genesis


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"chainId": -1},
        {"chainId": True},
        {"chainId": "0xzz"},
        {"chainId": 1, "amsterdamTime": 0},
        {"chainId": 1, "homesteadBlock": 5, "byzantiumBlock": 4},
        {"chainId": 1, "eip155Block": 5, "eip158Block": 6},
        {"chainId": 1, "shanghaiTime": 5, "cancunTime": 4},
        {"chainId": 1, "shanghaiTime": 2**64},
        {"chainId": 1, "cancunTime": 5, "bpo1Time": 4, "blobSchedule": {"bpo1": {}}},
        {"chainId": 1, "bpo1Time": 4},
        {"chainId": 1, "blobSchedule": {"bpo9": {}}},
        {"chainId": 1, "blobSchedule": 3},
        {"chainId": 1, "cancunTime": 0, "blobSchedule": {"cancun": {}}},
        {
            "chainId": 1,
            "cancunTime": 0,
            "blobSchedule": {"cancun": {"target": 2, "max": 1, "baseFeeUpdateFraction": 1}},
        },
        {"chainId": 1, "depositContractAddress": "0x00"},
    ],
)
def test_refused_configs(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidGenesis):
        Genesis.from_json({"config": config})


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"alloc": {"0x00": {}}},
        {"alloc": {A.hex(): {}, "0x" + A.hex(): {}}},
        {"alloc": {A.hex(): []}},
        {"alloc": {A.hex(): {"balance": "1e18"}}},
        {"alloc": {A.hex(): {"code": "0xz"}}},
        {"alloc": {A.hex(): {"storage": {"0x1": "0x1" + "0" * 64}}}},
        {"extraData": 5},
        {"gasLimit": "0x10000000000000000"},
        {"mixHash": "0x00"},
    ],
)
def test_refused_documents(document: Any) -> None:
    if document and isinstance(document, dict):
        document = {"config": {"chainId": 1}, **document}
    with pytest.raises(InvalidGenesis):
        Genesis.from_json(document)
