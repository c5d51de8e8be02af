"""Headers and blocks: their wire form, hash and roots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from chain import rlp
from chain.environment import Withdrawal
from chain.errors import InvalidRlp
from chain.hashing import EMPTY_LIST_HASH, EMPTY_ROOT, keccak256
from chain.receipts import BLOOM_BYTES
from chain.transactions import Transaction, decode_transaction, encode_transaction
from chain.trie import ordered_root
from chain.types import Address, Hash32

EMPTY_UNCLES_HASH = EMPTY_LIST_HASH

EMPTY_REQUESTS_HASH = Hash32(sha256().digest())
"""Requests hash of a block without requests (EIP-7685)."""

HEADER_FIELD_COUNTS = (15, 16, 17, 20, 21)
"""Fields of a header: Frontier, London, Shanghai, Cancun, Prague."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block header. A field whose default is None exists from some fork on and is absent before it."""

    parent_hash: Hash32
    uncles_hash: Hash32
    coinbase: Address
    state_root: Hash32
    transactions_root: Hash32
    receipts_root: Hash32
    bloom: bytes
    """256 bytes."""
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    """Seconds."""
    extra_data: bytes
    prevrandao: Hash32
    """mixHash before the merge."""
    nonce: bytes
    """8 bytes; zero since the merge."""
    base_fee: int | None = None
    """Wei per gas (EIP-1559, London)."""
    withdrawals_root: Hash32 | None = None
    """EIP-4895, Shanghai."""
    blob_gas_used: int | None = None
    """EIP-4844, Cancun."""
    excess_blob_gas: int | None = None
    """EIP-4844, Cancun."""
    parent_beacon_root: Hash32 | None = None
    """EIP-4788, Cancun."""
    requests_hash: Hash32 | None = None
    """EIP-7685, Prague."""
    _hash: Hash32 | None = field(init=False, default=None, repr=False, compare=False)

    @property
    def hash(self) -> Hash32:
        """Keccak-256 of the RLP: the block hash."""
        digest = self._hash
        if digest is None:
            digest = keccak256(encode_header(self))
            object.__setattr__(self, "_hash", digest)
        return digest


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the body that its roots commit to: transactions, uncles and, from Shanghai on, withdrawals."""

    header: Header
    transactions: tuple[Transaction, ...] = ()
    uncles: tuple[Header, ...] = ()
    withdrawals: tuple[Withdrawal, ...] | None = None
    """None before Shanghai."""

    @property
    def hash(self) -> Hash32:
        """The header's hash."""
        return self.header.hash


def encode_header(header: Header) -> bytes:
    """RLP of a header (Yellow Paper 4.3.3); fields that its fork does not have are left out."""
    number, data = _encode_number, rlp.encode_bytes
    parts = [
        *(b"\xa0", header.parent_hash, b"\xa0", header.uncles_hash, b"\x94", header.coinbase),
        *(b"\xa0", header.state_root, b"\xa0", header.transactions_root, b"\xa0", header.receipts_root),
        *(b"\xb9\x01\x00", header.bloom, number(header.difficulty), number(header.number)),
        *(number(header.gas_limit), number(header.gas_used), number(header.timestamp), data(header.extra_data)),
        *(b"\xa0", header.prevrandao, b"\x88", header.nonce),
    ]
    later = (
        header.base_fee,
        header.withdrawals_root,
        header.blob_gas_used,
        header.excess_blob_gas,
        header.parent_beacon_root,
        header.requests_hash,
    )
    for value in later:
        if value is None:
            break
        parts.append(data(value) if isinstance(value, bytes) else number(value))
    payload = b"".join(parts)
    return rlp.encode_length(len(payload), 0xC0) + payload


def _encode_number(number: int) -> bytes:
    """RLP of an integer."""
    if number < 0x80:
        return b"\x80" if number == 0 else bytes((number,))
    size = (number.bit_length() + 7) >> 3
    return bytes((0x80 + size,)) + number.to_bytes(size, "big")


def decode_header(raw: bytes) -> Header:
    """Decode a header. Raises `InvalidRlp`."""
    items = rlp.decode_list(raw)
    count = len(items)
    if count not in HEADER_FIELD_COUNTS:
        raise InvalidRlp(f"a header of {count} fields")
    header = Header(
        _hash(items[0]),
        _hash(items[1]),
        Address(_exact(items[2], 20)),
        _hash(items[3]),
        _hash(items[4]),
        _hash(items[5]),
        _exact(items[6], BLOOM_BYTES),
        rlp.decode_int(items[7]),
        rlp.decode_int(items[8], 8),
        rlp.decode_int(items[9], 8),
        rlp.decode_int(items[10], 8),
        rlp.decode_int(items[11], 8),
        _bytes(items[12]),
        _hash(items[13]),
        _exact(items[14], 8),
        rlp.decode_int(items[15]) if count > 15 else None,
        _hash(items[16]) if count > 16 else None,
        rlp.decode_int(items[17], 8) if count > 17 else None,
        rlp.decode_int(items[18], 8) if count > 17 else None,
        _hash(items[19]) if count > 17 else None,
        _hash(items[20]) if count > 20 else None,
    )
    object.__setattr__(header, "_hash", keccak256(raw))
    return header


def encode_block(block: Block) -> bytes:
    """RLP of a block: header, transactions, uncles and, from Shanghai on, withdrawals."""
    transactions = []
    for tx in block.transactions:
        raw = encode_transaction(tx)
        # A typed transaction is a byte string inside a block, a legacy one a list (EIP-2718).
        transactions.append(rlp.encode_bytes(raw) if tx.type else raw)
    parts = [
        encode_header(block.header),
        rlp.encode_list(transactions),
        rlp.encode_list([encode_header(uncle) for uncle in block.uncles]),
    ]
    if block.withdrawals is not None:
        parts.append(rlp.encode_list([encode_withdrawal(withdrawal) for withdrawal in block.withdrawals]))
    return rlp.encode_list(parts)


def decode_block(raw: bytes) -> Block:
    """Decode a block. Raises `InvalidRlp` and the errors of `decode_transaction`.

    The body is not compared with the header's roots: `chain.body_rules.check_body` does that.
    """
    parts = rlp.split_items(raw)
    if len(parts) not in (3, 4):
        raise InvalidRlp(f"a block of {len(parts)} parts")
    transactions = []
    for item in rlp.split_items(parts[1]):
        if item[0] >= 0xC0:
            transactions.append(decode_transaction(item))
            continue
        typed = _bytes(rlp.decode(item))
        if not typed or typed[0] >= 0xC0:
            raise InvalidRlp("a legacy transaction as bytes inside a block")
        transactions.append(decode_transaction(typed))
    return Block(
        decode_header(parts[0]),
        tuple(transactions),
        tuple(map(decode_header, rlp.split_items(parts[2]))),
        tuple(map(decode_withdrawal, rlp.split_items(parts[3]))) if len(parts) == 4 else None,
    )


def encode_withdrawal(withdrawal: Withdrawal) -> bytes:
    """RLP of a withdrawal (EIP-4895)."""
    return rlp.encode(
        (
            rlp.encode_int(withdrawal.index),
            rlp.encode_int(withdrawal.validator_index),
            withdrawal.address,
            rlp.encode_int(withdrawal.amount),
        )
    )


def decode_withdrawal(raw: bytes) -> Withdrawal:
    """Decode a withdrawal. Raises `InvalidRlp`."""
    items = rlp.decode_list(raw)
    if len(items) != 4:
        raise InvalidRlp(f"a withdrawal of {len(items)} fields")
    return Withdrawal(
        rlp.decode_int(items[0], 8),
        rlp.decode_int(items[1], 8),
        Address(_exact(items[2], 20)),
        rlp.decode_int(items[3], 8),
    )


def transactions_root(transactions: Sequence[Transaction]) -> Hash32:
    """``transactionsRoot`` (Yellow Paper 4.3.2)."""
    return ordered_root([encode_transaction(tx) for tx in transactions])


def withdrawals_root(withdrawals: Sequence[Withdrawal]) -> Hash32:
    """``withdrawalsRoot`` (EIP-4895)."""
    return ordered_root([encode_withdrawal(withdrawal) for withdrawal in withdrawals]) if withdrawals else EMPTY_ROOT


def uncles_hash(uncles: Sequence[Header]) -> Hash32:
    """``sha3Uncles``: Keccak-256 of the RLP of the uncles' headers (Yellow Paper 4.3.2)."""
    return keccak256(rlp.encode_list([encode_header(uncle) for uncle in uncles])) if uncles else EMPTY_UNCLES_HASH


def requests_hash_of(requests: Iterable[bytes]) -> Hash32:
    """``requestsHash`` (EIP-7685). Each request begins with its type byte; a request without data is left out."""
    digests = [sha256(request).digest() for request in requests if len(request) > 1]
    return Hash32(sha256(b"".join(digests)).digest())


def _bytes(item: rlp.Decoded) -> bytes:
    if not isinstance(item, bytes):
        raise InvalidRlp("a list where bytes should be")
    return item


def _exact(item: rlp.Decoded, length: int) -> bytes:
    if not isinstance(item, bytes) or len(item) != length:
        raise InvalidRlp(f"not {length} bytes")
    return item


def _hash(item: rlp.Decoded) -> Hash32:
    return Hash32(_exact(item, 32))
