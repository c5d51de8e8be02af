"""BLOCK_DELTA records: a block's state delta and receipts, so that replay need not execute it again.

Optional in both senses: a log without such records replays to the same chain, and a version that does not know them
skips them. Which blocks get one is the setting ``storage.block_deltas``; nothing in a record is believed before the
state root, the receipts root and the block hash that come of it are those of the seal.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from chain.blocks import Header
from chain.forks import LATEST_FORK
from chain.gas_schedule import SCHEDULES
from chain.hashing import keccak256
from chain.receipts import Receipt
from chain.state import EMPTY_CODE_HASH, Account, StateDelta
from chain.types import Address, Hash32
from storage.blocks.receipts import decode_receipts, encode_receipts
from storage.errors import InvalidRecord, StateStoreCorrupt
from storage.wal.records import UNDECODABLE

GAS_OF_TRANSFER = SCHEDULES[LATEST_FORK].transaction
AUTO_GAS = 5_000_000
"""Gas of a block, beyond 21,000 a transaction, from which ``auto`` keeps a delta: the slowest code known does 10
million a second, so replaying such a block may take half a second, and replaying its delta takes a few milliseconds."""


class Deltas(Enum):
    """Which blocks get a BLOCK_DELTA record."""

    OFF = "off"
    """None, and those in the log are not used: everything is executed again."""
    AUTO = "auto"
    """Blocks that may take long to execute (`AUTO_GAS`)."""
    ON = "on"
    """Every block."""

    def wants(self, gas_used: int, transactions: int) -> bool:
        """Whether a block with this much gas and so many transactions gets one."""
        return self is Deltas.ON or (
            self is Deltas.AUTO and gas_used - GAS_OF_TRANSFER * transactions >= AUTO_GAS
        )


class KnownOutcome(NamedTuple):
    """The result of executing a block."""

    delta: StateDelta
    receipts: tuple[Receipt, ...]
    senders: tuple[Address, ...]
    gas_used: int
    blob_gas_used: int
    requests_hash: Hash32 | None


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    accounts: list[tuple[bytes, int | None, bytes, bytes]]
    """Address, nonce (nil: deleted), balance, code hash (empty: no code)."""
    storage: list[tuple[bytes, list[tuple[bytes, bytes]]]]
    """Address, then slots and values as minimal big-endian bytes."""
    wiped: list[bytes]
    codes: list[bytes]
    outcome: bytes
    """As `storage.blocks.receipts` keeps receipts and senders."""
    gas_used: int
    blob_gas_used: int
    requests_hash: bytes
    """Empty before Prague."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def _bytes_of(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _number_of(data: bytes) -> int:
    if len(data) > 32 or data[:1] == b"\0":
        raise InvalidRecord("a delta holds a number that is not minimal, or beyond 256 bits")
    return int.from_bytes(data, "big")


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise InvalidRecord(f"a delta holds {len(data)} bytes where {size} should be")
    return data


def encode_delta(
    delta: StateDelta, receipts: Sequence[Receipt], senders: Sequence[Address], header: Header
) -> bytes:
    """Payload of a BLOCK_DELTA record; keys are sorted, so equal outcomes are equal bytes."""
    accounts: list[tuple[bytes, int | None, bytes, bytes]] = []
    for address, account in sorted(delta.accounts.items()):
        if account is None:
            accounts.append((address, None, b"", b""))
        else:
            code_hash = b"" if account.code_hash == EMPTY_CODE_HASH else account.code_hash
            accounts.append((address, account.nonce, _bytes_of(account.balance), code_hash))
    return _encoder.encode(
        _Record(
            accounts,
            [
                (address, [(_bytes_of(slot), _bytes_of(value)) for slot, value in sorted(slots.items())])
                for address, slots in sorted(delta.storage.items())
            ],
            sorted(delta.wiped),
            [code for _, code in sorted(delta.codes.items())],
            encode_receipts(receipts, senders),
            header.gas_used,
            header.blob_gas_used or 0,
            header.requests_hash or b"",
        )
    )


def decode_delta(payload: bytes) -> KnownOutcome:
    """Decode a BLOCK_DELTA record. Raises `InvalidRecord`."""
    try:
        record = _decoder.decode(payload)
        receipts, senders = decode_receipts(record.outcome)
    except (*UNDECODABLE, StateStoreCorrupt) as error:
        raise InvalidRecord(f"not a block's delta: {error}") from None
    delta = StateDelta()
    for address, nonce, balance, code_hash in record.accounts:
        account = None
        if nonce is not None:
            code = Hash32(_sized(code_hash, 32)) if code_hash else EMPTY_CODE_HASH
            account = Account(nonce, _number_of(balance), code)
        delta.accounts[Address(_sized(address, 20))] = account
    for address, slots in record.storage:
        values = {_number_of(slot): _number_of(value) for slot, value in slots}
        delta.storage[Address(_sized(address, 20))] = values
    delta.wiped.update(Address(_sized(address, 20)) for address in record.wiped)
    delta.codes.update((keccak256(code), code) for code in record.codes)
    requests_hash = Hash32(_sized(record.requests_hash, 32)) if record.requests_hash else None
    return KnownOutcome(delta, receipts, senders, record.gas_used, record.blob_gas_used, requests_hash)


def first_difference(expected: StateDelta, got: StateDelta) -> str:
    """The first account, by address, that two outcomes leave different, in words; empty if there is none."""
    addresses = {*expected.accounts, *expected.storage, *got.accounts, *got.storage}
    for address in sorted(addresses):
        name = f"account 0x{address.hex()}"
        sealed, found = (delta.accounts.get(address, "unchanged") for delta in (expected, got))
        if sealed != found:
            return f"{name} is {found}, sealed as {sealed}"
        was, now = expected.storage.get(address, {}), got.storage.get(address, {})
        for slot in sorted({*was, *now}):
            if was.get(slot) != now.get(slot):
                return f"{name}, slot {slot:#x} is {now.get(slot)}, sealed as {was.get(slot)}"
    return ""
