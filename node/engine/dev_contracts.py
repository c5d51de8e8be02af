"""Contracts that a new development chain begins with, as public chains have them: CREATE2 deployer, Multicall3 ...

``config/dev-contracts.json`` has, for each, the transaction that deployed it on public chains: without a chain id, from
an account whose key nobody has ("Nick's method", EIP-1820). Address and code follow from it.

The genesis of development chains has versions: a row says since which one it is there. A chain keeps the genesis that
it was made with, which is stored with its version; what later versions add is for new directories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from chain.crypto import create_address
from chain.genesis import Genesis, GenesisAccount
from chain.transactions import decode_transaction, recover_sender
from chain.types import Address
from node import resources

FILE = "config/dev-contracts.json"
FIRST_VERSION = 1
"""Funded accounts and the system contracts of the fork, nothing else."""


class DevContract(NamedTuple):
    """One contract of the genesis of development chains."""

    name: str
    deployer: Address
    """Sender of the deployment transaction; its nonce is 1 afterwards."""
    address: Address
    code: bytes
    """Runtime code."""
    since: int
    """Version of the genesis that first had it."""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    source: str
    constructor_bytes: int
    """Length of the constructor, which returns the rest of the creation code as runtime code."""
    deployment: str
    """The signed transaction, hex."""
    since: int


def dev_contracts() -> Iterator[DevContract]:
    """The contracts that this build gives to new development chains."""
    for entry in msgspec.json.decode(resources.text(FILE), type=list[_Entry]):
        transaction = decode_transaction(bytes.fromhex(entry.deployment[2:]))
        deployer = recover_sender(transaction)
        code = transaction.data[entry.constructor_bytes :]
        yield DevContract(entry.name, deployer, create_address(deployer, transaction.nonce), code, entry.since)


def newest_version() -> int:
    """Version of the genesis that this build gives to new development chains."""
    return max((contract.since for contract in dev_contracts()), default=FIRST_VERSION)


def dev_alloc() -> dict[Address, GenesisAccount]:
    """The genesis accounts of these contracts, and of their deployers, which sent their one transaction."""
    alloc: dict[Address, GenesisAccount] = {}
    for contract in dev_contracts():
        alloc[contract.deployer] = GenesisAccount(nonce=1)
        alloc[contract.address] = GenesisAccount(nonce=1, code=contract.code)
    return alloc


def contract_names(alloc: Mapping[Address, GenesisAccount]) -> Collection[str]:
    """Names of those in a chain's genesis, which may come from an earlier build."""
    return [
        known.name for known in dev_contracts() if known.address in alloc and alloc[known.address].code == known.code
    ]


def version_of(genesis: Genesis) -> int:
    """Version of the genesis of a development chain: as recorded, else the latest whose contracts it has."""
    if genesis.dev_version:
        return genesis.dev_version
    there = contract_names(genesis.alloc)
    missing = [known.since for known in dev_contracts() if known.name not in there]
    return min(missing, default=newest_version() + 1) - 1


def version_status(genesis: Genesis) -> dict[str, Any]:
    """What `zvmd status` says of the genesis of a development chain."""
    version = version_of(genesis)
    return {
        "version": version,
        "newest": max(version, newest_version()),
        "newerAdd": [known.name for known in dev_contracts() if known.since > version],
    }
