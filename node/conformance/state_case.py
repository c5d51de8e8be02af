"""Reads a state test case: its environment, its transactions, and the expected results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from chain.environment import BlockEnvironment
from chain.forks import BPO_BLOBS, CANCUN_BLOBS, PRAGUE_BLOBS, BlobSchedule, Fork
from chain.hashing import keccak256
from chain.state import BlockHashes
from chain.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    AccessList,
    Authorization,
    Transaction,
    decode_transaction,
    recover_sender,
    sign_transaction,
)
from chain.types import Address, Hash32

FORK_NAMES: dict[str, Fork] = {
    "Frontier": Fork.FRONTIER,
    "Homestead": Fork.HOMESTEAD,
    "EIP150": Fork.TANGERINE_WHISTLE,
    "TangerineWhistle": Fork.TANGERINE_WHISTLE,
    "EIP158": Fork.SPURIOUS_DRAGON,
    "SpuriousDragon": Fork.SPURIOUS_DRAGON,
    "Byzantium": Fork.BYZANTIUM,
    "Constantinople": Fork.CONSTANTINOPLE,
    "ConstantinopleFix": Fork.PETERSBURG,
    "Petersburg": Fork.PETERSBURG,
    "Istanbul": Fork.ISTANBUL,
    "Berlin": Fork.BERLIN,
    "London": Fork.LONDON,
    "Paris": Fork.PARIS,
    "Merge": Fork.PARIS,
    "Shanghai": Fork.SHANGHAI,
    "Cancun": Fork.CANCUN,
    "Prague": Fork.PRAGUE,
    "Osaka": Fork.OSAKA,
} | {f"BPO{number}": Fork.OSAKA for number in range(1, len(BPO_BLOBS) + 1)}
"""Forks by their names in vectors."""


class CaseUnreadable(Exception):
    """The transaction's fields contradict its signed bytes: the reader or the vector is wrong."""


class Indexes(NamedTuple):
    """Which of the case's data, gas limits and values a transaction uses."""

    data: int
    gas: int
    value: int


def environment_of(case: dict[str, Any], fork_name: str) -> BlockEnvironment:
    """The block a case runs in."""
    fork = FORK_NAMES[fork_name]
    env = case["env"]
    config = case.get("config", {})
    difficulty = _number(env.get("currentDifficulty", "0x0"))
    return BlockEnvironment(
        fork=fork,
        chain_id=_number(config.get("chainid", "0x1")),
        number=_number(env["currentNumber"]),
        timestamp=_number(env["currentTimestamp"]),
        gas_limit=_number(env["currentGasLimit"]),
        coinbase=Address(_bytes(env["currentCoinbase"])),
        base_fee=_number(env.get("currentBaseFee", "0xa")) if fork >= Fork.LONDON else 0,
        prevrandao=Hash32(_number(env.get("currentRandom", hex(difficulty))).to_bytes(32, "big")),
        difficulty=0 if fork >= Fork.PARIS else difficulty,
        excess_blob_gas=_number(env.get("currentExcessBlobGas", "0x0")),
        blob_schedule=blob_schedule_of(config, fork_name),
    )


def block_hashes_of(case: dict[str, Any]) -> BlockHashes:
    """Block hashes by the convention of state tests: Keccak-256 of the number's decimal digits."""
    env = case["env"]
    parent = _number(env["currentNumber"]) - 1
    given = env.get("previousHash")

    def block_hash(number: int) -> Hash32:
        if number == parent and given is not None:
            return Hash32(_bytes(given))
        return keccak256(str(number).encode())

    return block_hash


def transaction_of(case: dict[str, Any], indexes: Indexes, chain_id: int) -> Transaction:
    """The transaction of the case's fields, signed with its key. Raises `ValueError`."""
    fields = case["transaction"]
    access_lists = fields.get("accessLists")
    access_list = access_lists[indexes.data] if access_lists else None
    is_dynamic = "maxFeePerGas" in fields
    if "authorizationList" in fields:
        kind = SET_CODE
    elif "maxFeePerBlobGas" in fields or "blobVersionedHashes" in fields:
        kind = BLOB
    elif is_dynamic:
        kind = DYNAMIC_FEE
    else:
        kind = LEGACY if access_list is None else ACCESS_LIST
    gas_price = 0 if is_dynamic else _number(fields["gasPrice"])
    tx = Transaction(
        type=kind,
        chain_id=None if kind == LEGACY else chain_id,
        nonce=_number(fields["nonce"]),
        gas_price=gas_price,
        max_priority_fee_per_gas=_number(fields["maxPriorityFeePerGas"]) if is_dynamic else gas_price,
        max_fee_per_gas=_number(fields["maxFeePerGas"]) if is_dynamic else gas_price,
        gas_limit=_number(fields["gasLimit"][indexes.gas]),
        to=Address(_bytes(fields["to"])) if fields["to"] else None,
        value=_number(fields["value"][indexes.value]),
        data=_bytes(fields["data"][indexes.data]),
        access_list=_access_list(access_list or []),
        max_fee_per_blob_gas=_number(fields.get("maxFeePerBlobGas", "0x0")),
        blob_versioned_hashes=tuple(Hash32(_bytes(text)) for text in fields.get("blobVersionedHashes", ())),
        authorization_list=tuple(map(_authorization, fields.get("authorizationList", ()))),
    )
    if max(tx.value, tx.max_fee_per_gas, tx.max_fee_per_blob_gas) >= 2**256 or tx.nonce >= 2**64:
        raise ValueError("a field is out of range")
    return sign_transaction(tx, _number(fields["secretKey"]).to_bytes(32, "big"))


def signed_transaction(
    case: dict[str, Any], expected: dict[str, Any], indexes: Indexes, fork: Fork, chain_id: int
) -> tuple[Transaction, Address]:
    """The transaction to run and its sender; decoded from ``txbytes`` where given.

    Raises `InvalidTransaction` or `ValueError` if there is no such transaction, and `CaseUnreadable` if
    decoding and the case's fields do not agree.
    """
    raw = expected.get("txbytes")
    if not raw or raw == "0x":
        tx = transaction_of(case, indexes, chain_id)
        return tx, recover_sender(tx)
    tx = decode_transaction(_bytes(raw))
    sender = recover_sender(tx, allow_high_s=fork < Fork.HOMESTEAD)
    if "expectException" not in expected:
        named = case["transaction"].get("sender")
        if named is not None and sender != _bytes(named):
            raise CaseUnreadable(f"txbytes are signed by 0x{sender.hex()}, the sender is {named}")
        fields = transaction_of(case, indexes, chain_id)
        if _unsigned(fields) != _unsigned(tx):
            raise CaseUnreadable("txbytes decode to other fields than those of the case")
    return tx, sender


def _unsigned(tx: Transaction) -> Transaction:
    """Without the fields of the signature; legacy transactions of vectors may or may not have a chain id."""
    return replace(tx, chain_id=None, y_parity=0, r=0, s=0)


def blob_schedule_of(config: dict[str, Any], fork_name: str) -> BlobSchedule:
    """The blob parameters a case's config gives for the fork, else those of the fork."""
    entry = config.get("blobSchedule", {}).get(fork_name)
    if entry is None and fork_name.startswith("BPO"):
        return BPO_BLOBS[int(fork_name[3:]) - 1]
    if entry is None:
        return CANCUN_BLOBS if FORK_NAMES[fork_name] <= Fork.CANCUN else PRAGUE_BLOBS
    fraction = _number(entry["baseFeeUpdateFraction"])
    return BlobSchedule(_number(entry["target"]), _number(entry["max"]), fraction)


def _access_list(entries: list[dict[str, Any]]) -> AccessList:
    return tuple(
        (Address(_bytes(entry["address"])), tuple(_number(slot) for slot in entry["storageKeys"])) for entry in entries
    )


def _authorization(entry: dict[str, Any]) -> Authorization:
    parity = entry["yParity"] if "yParity" in entry else entry["v"]
    return Authorization(
        chain_id=_number(entry["chainId"]),
        address=Address(_bytes(entry["address"])),
        nonce=_number(entry["nonce"]),
        y_parity=_number(parity),
        r=_number(entry["r"]),
        s=_number(entry["s"]),
    )


def _number(text: str | int) -> int:
    return int(text, 16) if isinstance(text, str) else text


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
