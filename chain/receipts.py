"""Receipts, logs and blooms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from chain import rlp
from chain.hashing import keccak256
from chain.trie import ordered_root
from chain.types import Address, Hash32

BLOOM_BYTES = 256
EMPTY_BLOOM = bytes(BLOOM_BYTES)

BLOOM_CACHE_ENTRIES = 4096
"""Addresses and topics whose bloom bits are cached, as event signatures and busy contracts recur. About 2 MB."""


class Log(NamedTuple):
    """A log entry, as LOG0 to LOG4 emit it (Yellow Paper 4.3.1)."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes


LogRow = tuple[bytes, Sequence[bytes], bytes]
"""Address, topics and data."""


class RecordedLogs(Protocol):
    """Logs in the form in which code recorded them: read when somebody looks."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the record."""

    def logs(self) -> list[Log]:
        """All of them, in their order."""

    def rows(self) -> Iterable[LogRow]:
        """All of them, in their order, not made into objects."""


LogParts = tuple[Log | RecordedLogs, ...]
"""Logs of a transaction, in order, as they were recorded."""


def read_logs(parts: Iterable[Log | RecordedLogs]) -> list[Log]:
    """Each log of these, in order."""
    logs: list[Log] = []
    for part in parts:
        if isinstance(part, Log):
            logs.append(part)
        else:
            logs += part.logs()
    return logs


def log_rows(parts: Iterable[Log | RecordedLogs]) -> list[LogRow]:
    """Each log of these, in order, not made into an object if it is not one."""
    rows: list[LogRow] = []
    for part in parts:
        if isinstance(part, Log):
            rows.append(part)
        else:
            rows += part.rows()
    return rows


class Receipt(msgspec.Struct, frozen=True, eq=False):
    """A transaction's receipt (Yellow Paper 4.3.1). RPC answers use the fields after ``recorded``."""

    type: int
    status: int | None
    """1 success, 0 failure; None before Byzantium."""
    post_state: bytes | None
    """State root after the transaction before Byzantium, else None (EIP-658)."""
    cumulative_gas_used: int
    """Gas of the block up to and including this transaction."""
    recorded: LogParts
    """The logs; `logs` reads them."""
    gas_used: int = 0
    effective_gas_price: int = 0
    """Wei per gas."""
    contract_address: Address | None = None
    blob_gas_used: int | None = None
    blob_gas_price: int | None = None
    _logs: tuple[Log, ...] | None = None
    _bloom: bytes | None = None

    @property
    def logs(self) -> tuple[Log, ...]:
        """The logs, read from their record when first asked for."""
        logs = self._logs
        if logs is None:
            logs = tuple(read_logs(self.recorded))
            msgspec.structs.force_setattr(self, "_logs", logs)
            msgspec.structs.force_setattr(self, "recorded", logs)
        return logs

    @property
    def rows(self) -> list[LogRow]:
        """Address, topics and data of each log, not made into objects."""
        return log_rows(self.recorded)

    @property
    def bloom(self) -> bytes:
        """The 256-byte bloom of the logs, computed when first asked for."""
        bloom = self._bloom
        if bloom is None:
            bloom = bloom_of(self.recorded)
            msgspec.structs.force_setattr(self, "_bloom", bloom)
        return bloom

    def _fields(self) -> tuple[object, ...]:
        """All but what is computed from others."""
        return (
            self.type, self.status, self.post_state, self.cumulative_gas_used, self.logs, self.gas_used,
            self.effective_gas_price, self.contract_address, self.blob_gas_used, self.blob_gas_price,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The same text for equal receipts, in whatever form the logs are."""
        return f"Receipt{self._fields()!r}"

    def __eq__(self, other: object) -> bool:
        """The same fields, in whatever form the logs are."""
        return self._fields() == other._fields() if isinstance(other, Receipt) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())


@lru_cache(maxsize=BLOOM_CACHE_ENTRIES)
def bloom_bits(data: bytes) -> int:
    """The three of 2048 bits that an address or topic sets (Yellow Paper 4.3.1), as an integer."""
    digest = keccak256(data)
    return (
        1 << ((digest[0] << 8 | digest[1]) & 2047)
        | 1 << ((digest[2] << 8 | digest[3]) & 2047)
        | 1 << ((digest[4] << 8 | digest[5]) & 2047)
    )


def bloom_of(parts: Iterable[Log | RecordedLogs]) -> bytes:
    """Bloom filter of the addresses and topics of these logs."""
    words = set()
    for address, topics, _ in log_rows(parts):
        words.add(address)
        words.update(topics)
    if not words:
        return EMPTY_BLOOM
    bits = 0
    for word in words:
        bits |= bloom_bits(word)
    return bits.to_bytes(BLOOM_BYTES, "big")


def bloom_may_hold(bloom: bytes, word: bytes) -> bool:
    """Whether logs with this bloom may have the address or topic; False is certain."""
    bits = bloom_bits(word)
    return bloom is not EMPTY_BLOOM and int.from_bytes(bloom, "big") & bits == bits


def combine_blooms(blooms: Iterable[bytes]) -> bytes:
    """Union of blooms: the header's bloom of those of its receipts."""
    bits = 0
    for bloom in blooms:
        if bloom is not EMPTY_BLOOM:
            bits |= int.from_bytes(bloom, "big")
    return bits.to_bytes(BLOOM_BYTES, "big") if bits else EMPTY_BLOOM


def encode_logs(logs: Sequence[Log]) -> bytes:
    """RLP of a list of logs."""
    return rlp.encode(logs)


def logs_hash(logs: Sequence[Log]) -> Hash32:
    """Hash of the RLP of the logs, as state tests compare it."""
    return keccak256(encode_logs(logs))


_TOPICS = (b"\xc0", b"\xe1\xa0", b"\xf8\x42\xa0", b"\xf8\x63\xa0", b"\xf8\x84\xa0")
"""By the number of topics: the RLP of their list up to the first one."""


def _encode_log(address: bytes, topics: Sequence[bytes], data: bytes) -> bytes:
    """RLP of a log."""
    if len(topics) >= len(_TOPICS):  # no code makes one: of a damaged record, whose root will differ
        return rlp.encode((address, topics, data))
    payload = b"".join((b"\x94", address, _TOPICS[len(topics)], b"\xa0".join(topics), rlp.encode_bytes(data)))
    return rlp.encode_length(len(payload), 0xC0) + payload


def _encode_parts(parts: LogParts) -> bytes:
    """RLP of a list of logs."""
    return rlp.encode_list([_encode_log(*row) for row in log_rows(parts)]) if parts else b"\xc0"


def encode_receipt(receipt: Receipt) -> bytes:
    """The consensus encoding (EIP-2718), as in the receipts trie."""
    if receipt.status is not None:
        outcome = b"\x01" if receipt.status else b"\x80"
    else:
        outcome = rlp.encode_bytes(receipt.post_state or b"")
    gas = rlp.encode_bytes(rlp.encode_int(receipt.cumulative_gas_used))
    payload = b"".join((outcome, gas, b"\xb9\x01\x00", receipt.bloom, _encode_parts(receipt.recorded)))
    encoded = rlp.encode_length(len(payload), 0xC0) + payload
    return bytes((receipt.type,)) + encoded if receipt.type else encoded


def receipts_root(receipts: Iterable[Receipt]) -> Hash32:
    """Root of the trie of a block's receipts."""
    return ordered_root([encode_receipt(receipt) for receipt in receipts])
