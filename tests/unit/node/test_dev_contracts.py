"""The contracts of a development chain's genesis are those of public chains, and old directories keep their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from chain.forks import BPO_BLOBS, PRAGUE_BLOBS, BlobSchedule, Fork
from chain.genesis import Genesis
from chain.hashing import keccak256
from node import resources
from node.cli.main import cli
from node.daemon.opening import dev_accounts_of, new_genesis, rules_of
from node.engine.dev_contracts import (
    FILE,
    contract_names,
    dev_alloc,
    dev_contracts,
    newest_version,
    version_status,
)
from node.settings import NodeSettings, Settings
from storage.directory import layout
from storage.directory.stamp import CURRENT, Stamp, Version, encode_stamp
from tests.daemon import Daemon
from tests.paths import REPO

PUBLIC = {
    "CREATE2 deployer": "0x4e59b44847b379578588920ca78fbf26c0b4956c",
    "Multicall3": "0xca11bde05977b3631167028862be2a173976ca11",
    "ERC-1820 registry": "0x1820a4b7618bde71dce8cdc73aab6c95905fad24",
}
CODE_HASHES = {
    "CREATE2 deployer": "2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989",
    "Multicall3": "d5c15df687b16f2ff992fc8d767b4216323184a2bbc6ee2f9c398c318e770891",
}
"""As published for public chains."""


def test_addresses_and_codes_are_those_of_public_chains() -> None:
    contracts = {known.name: known for known in dev_contracts()}
    assert {name: "0x" + known.address.hex() for name, known in contracts.items()} == PUBLIC
    assert {name: keccak256(contracts[name].code).hex() for name in CODE_HASHES} == CODE_HASHES


def test_the_deployment_transactions_make_the_same_contracts(tmp_path: Path) -> None:
    bare = Daemon(tmp_path / "bare", environment={"ZVMD_NODE__DEV_CONTRACTS": "false"})
    try:
        bare.start()
        rpc = bare.rpc()
        assert rpc.call("zvmd_status")["devContracts"] == []
        entries = msgspec.json.decode(resources.text(FILE))
        for contract, entry in zip(dev_contracts(), entries, strict=True):
            assert rpc.call("eth_getCode", "0x" + contract.address.hex(), "latest") == "0x"
            rpc.call("anvil_setBalance", "0x" + contract.deployer.hex(), hex(10**18))
            sent = rpc.call("eth_sendRawTransaction", entry["deployment"])
            receipt = rpc.call("eth_getTransactionReceipt", sent)
            assert receipt["contractAddress"] == "0x" + contract.address.hex()
            assert rpc.call("eth_getCode", receipt["contractAddress"], "latest") == "0x" + contract.code.hex()
            assert rpc.call("eth_getTransactionCount", receipt["contractAddress"], "latest") == "0x1"
        bare.stop()
        bare.start()  # with the genesis it was made with, whatever the setting says now
        assert bare.rpc().call("eth_getBlockByNumber", "0x0", False)["stateRoot"] != "0x"
        assert bare.rpc().call("zvmd_status")["devContracts"] == []
    finally:
        bare.close()


def test_a_new_development_chain_has_them_and_an_older_one_keeps_its_own(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node", environment={"ZVMD_NODE__DEV_CONTRACTS": "false"})
    fresh = Daemon(tmp_path / "fresh")
    try:
        fresh.start()
        rpc = fresh.rpc()
        assert rpc.call("zvmd_status")["devContracts"] == list(PUBLIC)
        salted = "0x" + "00" * 32 + "602a60005260206000f3"
        call = {"to": PUBLIC["CREATE2 deployer"], "data": salted}
        assert len(rpc.call("eth_call", call, "latest")) == 42
        daemon.start()
        before = daemon.rpc().call("eth_getBlockByNumber", "0x0", False)
        daemon.stop()
        newer = Daemon(tmp_path / "node")
        try:
            newer.start()
            assert newer.rpc().call("eth_getBlockByNumber", "0x0", False) == before
            assert newer.rpc().call("zvmd_status")["devContracts"] == []
        finally:
            newer.close()
    finally:
        daemon.close()
        fresh.close()


GOLDEN = {
    "dev-genesis-1.json": (1, "8f7c0d60ef59c788d74454852eb142630ce090e9ffdc94c07a7fb485408bdaa2", list(PUBLIC)),
    "dev-genesis-2.json": (2, "8fe25261e889bf7e0d2228ac4749b3d4af1bbc201a9c09936fb7a2c65814f5e6", []),
}
"""Files that builds of then have written, without a recorded version: which one it is, block 0, what later ones add."""


@pytest.mark.parametrize("name", GOLDEN)
def test_the_genesis_of_an_older_build_is_kept_for_life(tmp_path: Path, name: str) -> None:
    version, block_hash, missing = GOLDEN[name]
    place = tmp_path / "node"
    place.mkdir()
    stored = (REPO / "tests" / "golden" / name).read_bytes()
    (place / layout.GENESIS).write_bytes(stored)
    (place / layout.FORMAT).write_bytes(encode_stamp(Stamp({**CURRENT, "wal": Version(2, 3)}, "0.1.0", "0.1.0")))
    daemon = Daemon(place)
    try:
        daemon.start()
        status = daemon.rpc().call("zvmd_status")
        assert status["devGenesis"] == {"version": version, "newest": newest_version(), "newerAdd": missing}
        assert sorted(status["devContracts"]) == sorted(set(PUBLIC) - set(missing))
        assert daemon.rpc().call("eth_getBlockByNumber", "0x0", False)["hash"] == "0x" + block_hash
        shown = CliRunner().invoke(cli, ["status", "--data-dir", str(place)]).output
        assert f"of --dev, version {version}" in shown
        assert ("for new directories, adds CREATE2 deployer, Multicall3, ERC-1820 registry" in shown) == bool(missing)
        daemon.stop()
        assert (place / layout.GENESIS).read_bytes() == stored
    finally:
        daemon.close()


def test_every_former_version_has_its_file() -> None:
    assert sorted(version for version, *_ in GOLDEN.values()) == list(range(1, newest_version() + 1))


def test_a_new_directory_records_the_version(tmp_path: Path) -> None:
    def made(name: str, **node: object) -> Genesis:
        settings = Settings(node=NodeSettings(data_dir=str(tmp_path / name), **node))
        return new_genesis(settings, dev_accounts_of(settings), 1)

    genesis = made("a", dev=True)
    assert genesis.dev_version == newest_version()
    assert Genesis.from_json(genesis.to_json()) == genesis
    bare = made("b", dev=True, dev_contracts=False)
    assert version_status(bare) == {"version": newest_version(), "newest": newest_version(), "newerAdd": []}
    assert made("c").dev_version == 0
    assert "devVersion" not in made("c").to_json()
    later = replace(genesis, dev_version=newest_version() + 1)
    assert version_status(later)["newest"] == newest_version() + 1


def test_names_are_told_from_the_codes_of_a_genesis() -> None:
    alloc = dev_alloc()
    assert list(contract_names(alloc)) == list(PUBLIC)
    assert not contract_names({})


@pytest.mark.parametrize(
    ("name", "fork", "blobs"),
    [
        ("osaka", Fork.OSAKA, None),
        ("bpo1", Fork.OSAKA, BPO_BLOBS[0]),
        ("bpo2", Fork.OSAKA, BPO_BLOBS[1]),
        ("latest", Fork.OSAKA, BPO_BLOBS[1]),
        ("prague", Fork.PRAGUE, None),
    ],
)
def test_hardfork_names(name: str, fork: Fork, blobs: BlobSchedule | None) -> None:
    assert rules_of(name) == (fork, blobs)
    assert PRAGUE_BLOBS not in BPO_BLOBS
