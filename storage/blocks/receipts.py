"""The stored form of a block's receipts: what answers need, without what can be computed (blooms)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chain.receipts import Log, Receipt
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt

RECEIPTS_VERSION = 1
ADDRESS_BYTES = 20


class StoredLog(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A log; topics lie one behind the other."""

    address: bytes
    topics: bytes
    data: bytes


class StoredReceipt(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A receipt. Prices are big endian, as they may exceed 64 bits."""

    type: int
    outcome: bool | bytes
    """Status, or state root before Byzantium."""
    gas_used: int
    cumulative_gas_used: int
    effective_gas_price: bytes
    contract_address: bytes | None
    blob_gas_used: int | None
    blob_gas_price: bytes | None
    logs: list[StoredLog]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, list[StoredReceipt], bytes])


def _pack(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_receipts(receipts: Sequence[Receipt], senders: Sequence[Address]) -> bytes:
    """Bytes for all receipts of a block and the senders of its transactions, or no senders."""
    return _encoder.encode(
        (
            RECEIPTS_VERSION,
            [
                StoredReceipt(
                    receipt.type,
                    bool(receipt.status) if receipt.status is not None else receipt.post_state or b"",
                    receipt.gas_used,
                    receipt.cumulative_gas_used,
                    _pack(receipt.effective_gas_price),
                    receipt.contract_address,
                    receipt.blob_gas_used,
                    None if receipt.blob_gas_price is None else _pack(receipt.blob_gas_price),
                    [StoredLog(of, b"".join(topics), data) for of, topics, data in receipt.rows],
                )
                for receipt in receipts
            ],
            b"".join(senders),
        )
    )


def decode_receipts(data: bytes) -> tuple[tuple[Receipt, ...], tuple[Address, ...]]:
    """Inverse of `encode_receipts`. Raises `StateStoreCorrupt`."""
    try:
        version, stored, joined = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StateStoreCorrupt(f"stored receipts: {error}") from error
    if version != RECEIPTS_VERSION:
        raise StateStoreCorrupt(f"stored receipts of version {version}")
    if len(joined) not in (0, len(stored) * ADDRESS_BYTES):
        raise StateStoreCorrupt(f"{len(joined)} bytes of senders for {len(stored)} receipts")
    ends = range(0, len(joined), ADDRESS_BYTES)
    senders = tuple(Address(joined[at : at + ADDRESS_BYTES]) for at in ends)
    return tuple(_receipt(item) for item in stored), senders


def _receipt(item: StoredReceipt) -> Receipt:
    has_status = isinstance(item.outcome, bool)
    return Receipt(
        type=item.type,
        status=int(item.outcome) if isinstance(item.outcome, bool) else None,
        post_state=None if has_status else bytes(item.outcome) or None,
        cumulative_gas_used=item.cumulative_gas_used,
        recorded=tuple(
            Log(
                Address(log.address),
                tuple(Hash32(log.topics[at : at + 32]) for at in range(0, len(log.topics), 32)),
                log.data,
            )
            for log in item.logs
        ),
        gas_used=item.gas_used,
        effective_gas_price=int.from_bytes(item.effective_gas_price, "big"),
        contract_address=None if item.contract_address is None else Address(item.contract_address),
        blob_gas_used=item.blob_gas_used,
        blob_gas_price=None if item.blob_gas_price is None else int.from_bytes(item.blob_gas_price, "big"),
    )
