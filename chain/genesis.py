"""The genesis block: geth's genesis.json, the header and state it defines, and the genesis of development chains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chain.blocks import EMPTY_REQUESTS_HASH, EMPTY_UNCLES_HASH, Header
from chain.config_json import config_from_json, config_to_json, number_of, object_of
from chain.errors import InvalidGenesis, InvalidHex
from chain.fees import INITIAL_BASE_FEE
from chain.forks import LATEST_FORK, BlobSchedule, ChainConfig, Fork
from chain.hashing import EMPTY_ROOT, keccak256
from chain.receipts import EMPTY_BLOOM
from chain.state import EMPTY_CODE_HASH, Account, StateDelta
from chain.system_contracts import SYSTEM_CONTRACTS
from chain.trie import state_root_of
from chain.types import UINT64_MAX, ZERO_ADDRESS, ZERO_HASH, Address, Hash32, parse_hex

DEFAULT_GAS_LIMIT = 4_712_388
"""geth's default where a genesis.json sets none."""

DEV_BALANCE = 10_000 * 10**18
"""Wei of each account of a development chain."""

DEV_GAS_LIMIT = 30_000_000


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """An account that exists from the beginning."""

    balance: int = 0
    """Wei."""
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)
    """Without slots of value 0."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """How a chain begins: its rules, its genesis header and its genesis state."""

    config: ChainConfig
    alloc: Mapping[Address, GenesisAccount] = field(default_factory=dict)
    nonce: bytes = bytes(8)
    timestamp: int = 0
    """Seconds."""
    extra_data: bytes = b""
    gas_limit: int = DEFAULT_GAS_LIMIT
    difficulty: int = 0
    mix_hash: Hash32 = ZERO_HASH
    coinbase: Address = ZERO_ADDRESS
    number: int = 0
    gas_used: int = 0
    parent_hash: Hash32 = ZERO_HASH
    base_fee: int | None = None
    """Wei per gas; None means `INITIAL_BASE_FEE` from London on."""
    excess_blob_gas: int | None = None
    blob_gas_used: int | None = None
    dev_version: int = 0
    """Which version of the genesis of development chains this is; 0: of none, or made before versions were recorded."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Genesis:
        """Read a parsed genesis.json. Raises `InvalidGenesis`."""
        document = object_of(document, "genesis")
        if document.get("config") is None:
            raise InvalidGenesis("config: missing")
        return cls(
            config=config_from_json(object_of(document["config"], "config")),
            alloc=_alloc_from_json(object_of(document.get("alloc") or {}, "alloc")),
            nonce=_number(document, "nonce", 0, UINT64_MAX).to_bytes(8, "big"),
            timestamp=_number(document, "timestamp", 0, UINT64_MAX),
            extra_data=_bytes(document.get("extraData") or "0x", "extraData"),
            gas_limit=_number(document, "gasLimit", DEFAULT_GAS_LIMIT, UINT64_MAX),
            difficulty=_number(document, "difficulty", 0),
            mix_hash=Hash32(_bytes(document.get("mixHash"), "mixHash", ZERO_HASH)),
            coinbase=Address(_bytes(document.get("coinbase"), "coinbase", ZERO_ADDRESS)),
            number=_number(document, "number", 0, UINT64_MAX),
            gas_used=_number(document, "gasUsed", 0, UINT64_MAX),
            parent_hash=Hash32(_bytes(document.get("parentHash"), "parentHash", ZERO_HASH)),
            base_fee=_optional_number(document, "baseFeePerGas"),
            excess_blob_gas=_optional_number(document, "excessBlobGas", UINT64_MAX),
            blob_gas_used=_optional_number(document, "blobGasUsed", UINT64_MAX),
            dev_version=_number(document, "devVersion", 0, UINT64_MAX),
        )

    def to_json(self) -> dict[str, Any]:
        """The genesis.json document: lower case hex, accounts and slots in order. `from_json` inverts it."""
        document: dict[str, Any] = {
            "config": config_to_json(self.config),
            "nonce": hex(int.from_bytes(self.nonce, "big")),
            "timestamp": hex(self.timestamp),
            "extraData": "0x" + self.extra_data.hex(),
            "gasLimit": hex(self.gas_limit),
            "difficulty": hex(self.difficulty),
            "mixHash": "0x" + self.mix_hash.hex(),
            "coinbase": "0x" + self.coinbase.hex(),
            "number": hex(self.number),
            "gasUsed": hex(self.gas_used),
            "parentHash": "0x" + self.parent_hash.hex(),
        }
        optional = {
            "baseFeePerGas": self.base_fee,
            "excessBlobGas": self.excess_blob_gas,
            "blobGasUsed": self.blob_gas_used,
        }
        document |= {key: hex(value) for key, value in optional.items() if value is not None}
        if self.dev_version:
            document["devVersion"] = hex(self.dev_version)
        document["alloc"] = {
            "0x" + address.hex(): _account_to_json(self.alloc[address]) for address in sorted(self.alloc)
        }
        return document

    @property
    def fork(self) -> Fork:
        """The fork of the genesis block."""
        return self.config.fork_at(self.number, self.timestamp)

    def state_root(self) -> Hash32:
        """Root of the first state. Empty accounts of the allocation are in it, as in geth."""
        return state_root_of(
            {address: (_account(entry), entry.storage) for address, entry in self.alloc.items()}
        )

    def header(self) -> Header:
        """The genesis header; its hash identifies the chain."""
        fork = self.fork
        base_fee = self.base_fee if self.base_fee is not None else INITIAL_BASE_FEE
        cancun = fork >= Fork.CANCUN
        return Header(
            parent_hash=self.parent_hash,
            uncles_hash=EMPTY_UNCLES_HASH,
            coinbase=self.coinbase,
            state_root=self.state_root(),
            transactions_root=EMPTY_ROOT,
            receipts_root=EMPTY_ROOT,
            bloom=EMPTY_BLOOM,
            difficulty=self.difficulty,
            number=self.number,
            gas_limit=self.gas_limit,
            gas_used=self.gas_used,
            timestamp=self.timestamp,
            extra_data=self.extra_data,
            prevrandao=self.mix_hash,
            nonce=self.nonce,
            base_fee=base_fee if fork >= Fork.LONDON else None,
            withdrawals_root=EMPTY_ROOT if fork >= Fork.SHANGHAI else None,
            blob_gas_used=(self.blob_gas_used or 0) if cancun else None,
            excess_blob_gas=(self.excess_blob_gas or 0) if cancun else None,
            parent_beacon_root=ZERO_HASH if cancun else None,
            requests_hash=EMPTY_REQUESTS_HASH if fork >= Fork.PRAGUE else None,
        )

    def delta(self) -> StateDelta:
        """The first state as changes over an empty one."""
        delta = StateDelta()
        for address, entry in self.alloc.items():
            account = _account(entry)
            delta.accounts[address] = account
            if entry.storage:
                delta.storage[address] = dict(entry.storage)
            if entry.code:
                delta.codes[account.code_hash] = entry.code
        return delta


def dev_genesis(
    chain_id: int,
    accounts: Iterable[Address],
    fork: Fork = LATEST_FORK,
    gas_limit: int = DEV_GAS_LIMIT,
    timestamp: int = 0,
    balance: int = DEV_BALANCE,
    contracts: Mapping[Address, GenesisAccount] | None = None,
    blobs: BlobSchedule | None = None,
    *,
    gas_capped: bool = True,
) -> Genesis:
    """Genesis of a development chain: funded accounts, the system contracts of its fork, and ``contracts``.

    ``balance`` is in wei, ``timestamp`` in seconds; ``blobs`` None means those of the fork. ``gas_capped``: with the
    cap of EIP-7825 on a transaction's gas.
    """
    alloc = {
        address: GenesisAccount(nonce=1, code=code)
        for first_fork, address, code in SYSTEM_CONTRACTS
        if fork >= first_fork
    }
    alloc |= contracts or {}
    alloc |= {address: GenesisAccount(balance=balance) for address in accounts}
    config = ChainConfig.all_at_genesis(chain_id, fork, blobs, gas_capped=gas_capped)
    return Genesis(config, alloc, gas_limit=gas_limit, timestamp=timestamp)


def _account(entry: GenesisAccount) -> Account:
    return Account(entry.nonce, entry.balance, keccak256(entry.code) if entry.code else EMPTY_CODE_HASH)


def _account_to_json(entry: GenesisAccount) -> dict[str, Any]:
    result: dict[str, Any] = {"balance": hex(entry.balance)}
    if entry.nonce:
        result["nonce"] = hex(entry.nonce)
    if entry.code:
        result["code"] = "0x" + entry.code.hex()
    if entry.storage:
        result["storage"] = {
            f"0x{slot:064x}": f"0x{entry.storage[slot]:064x}" for slot in sorted(entry.storage)
        }
    return result


def _alloc_from_json(alloc: Mapping[str, Any]) -> dict[Address, GenesisAccount]:
    accounts: dict[Address, GenesisAccount] = {}
    for key, value in alloc.items():
        address = Address(_bytes(key, f"alloc.{key}", ZERO_ADDRESS))
        if address in accounts:
            raise InvalidGenesis(f"alloc.{key}: given twice")
        entry = object_of(value, f"alloc.{key}")
        slots = object_of(entry.get("storage") or {}, f"alloc.{key}.storage")
        storage = {
            number_of(slot, "storage slot"): number_of(word, "storage value") for slot, word in slots.items()
        }
        accounts[address] = GenesisAccount(
            balance=_number(entry, "balance", 0),
            nonce=_number(entry, "nonce", 0, UINT64_MAX),
            code=_bytes(entry.get("code") or "0x", f"alloc.{key}.code"),
            storage={slot: word for slot, word in storage.items() if word},
        )
    return accounts


def _number(document: Mapping[str, Any], key: str, default: int, limit: int = 2**256 - 1) -> int:
    value = document.get(key)
    return default if value is None else number_of(value, key, limit)


def _optional_number(document: Mapping[str, Any], key: str, limit: int = 2**256 - 1) -> int | None:
    value = document.get(key)
    return None if value is None else number_of(value, key, limit)


def _bytes(value: object, name: str, default: bytes | None = None) -> bytes:
    """The bytes of hex text, with or without 0x; if there is a default, as many as the default has."""
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidGenesis(f"{name}: not hex text")
    try:
        text = value if value.startswith("0x") else "0x" + value
        return parse_hex(text, None if default is None else len(default))
    except InvalidHex as error:
        raise InvalidGenesis(f"{name}: {error}") from None
