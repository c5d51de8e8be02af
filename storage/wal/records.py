"""What the log's records say: their types, and the codec of each payload.

| type | payload |
|---|---|
| GENESIS | canonical JSON: sorted keys, no white space, ASCII |
| BLOCK_ENV | MessagePack array, fields as in `_Environment` |
| TRANSACTION, POOL_ADMIT | the raw signed transaction |
| BLOCK_SEAL | MessagePack array, fields as in `_Seal` |
| COMMAND | MessagePack array: name of a setting, array of its value |
| CHEAT | MessagePack array: name, arguments, as `storage.amendments` says |
| DATA_LOSS | canonical JSON: the first lost LSN, Unix seconds |
| SESSION ..., TEMPLATE | MessagePack array: see `storage.sessions.records` |
| FATE | MessagePack array: see `storage.blocks.fates` |
| BLOCK_DELTA | MessagePack array: see `storage.blocks.delta` |

Decoders are strict: wrong lengths, unknown or missing fields, trailing bytes and non-canonical encodings
raise `InvalidRecord`. Integers that may exceed 64 bits travel as minimal big-endian bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import msgspec

from chain.environment import BlockEnvironment, Withdrawal
from chain.forks import BlobSchedule, Fork
from chain.types import UINT64_MAX, Address, Hash32
from storage.errors import InvalidRecord

MAX_WITHDRAWALS = 65_536
MAX_EXTRA_DATA = 4096
"""Bytes; consensus allows 32, genesis blocks of private chains hold more."""
MAX_STATUS_BITS = 65_536
"""Bytes: one bit per transaction of a block."""
MAX_FINGERPRINT = 256
"""Characters."""
MAX_COMMAND_NAME = 64
MAX_DEPTH = 16
"""Nesting of a command's arguments."""
WIDE_INTEGER = 1
"""MessagePack extension type of an integer beyond 64 bits: sign byte, minimal big-endian magnitude."""
MAX_WIDE_INTEGER = 64
"""Bytes."""


_FORKS = frozenset(Fork)


class RecordType(IntEnum):
    """Types of records. Numbers are never used again for something else."""

    GENESIS = 1
    """The chain's genesis: always LSN 1."""
    BLOCK_ENV = 2
    """Begins a block: everything its execution may depend on."""
    TRANSACTION = 3
    """A transaction of the block begun last."""
    BLOCK_SEAL = 4
    """Ends a block, with its outcome. A block without it never happened."""
    POOL_ADMIT = 5
    """A transaction that was accepted and waits."""
    COMMAND = 6
    """A setting that users changed at run time: instant sealing, chain time, fee recipient ..."""
    DATA_LOSS = 7
    """The owner accepted that records were lost before this one: JSON with ``lsn`` and ``at``. Says so, no more."""
    SESSION = 8
    """A debug session as it is after a command, or that it was closed."""
    BLOCK_DELTA = 9
    """What the block begun last changed and answered (storage/blocks/delta.py): with it replay need not run it."""
    SESSION_SNAPSHOT = 10
    """As SESSION, with the content in a file."""
    SESSION_MOVE = 11
    """Where a debug session stands after a command that changed nothing else."""
    TEMPLATE = 12
    """A user's template, or that it was removed."""
    CHEAT = 13
    """A development call that changes the chain itself: setBalance, snapshot, revert, dropTransaction ..."""
    FATE = 14
    """What became of transactions that waited, and were neither mined nor wait any more."""


SCHEMA = 1
"""Version of the payload encodings written."""
SCHEMAS: dict[int, int] = dict.fromkeys(RecordType, SCHEMA)
"""The newest version of each type's payload that can be read."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A block's outcome, checked again at every replay."""

    block_hash: Hash32
    state_root: Hash32
    receipts_root: Hash32
    gas_used: int
    status_bits: bytes
    """Bit i, from the lowest of the first byte on: transaction i succeeded."""
    vm_fingerprint: str
    """Version of the machine that executed it."""


class _Environment(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    fork: int
    chain_id: int
    number: int
    timestamp: int
    gas_limit: int
    coinbase: bytes
    parent_hash: bytes
    base_fee: bytes
    prevrandao: bytes
    difficulty: bytes
    excess_blob_gas: int
    blob_schedule: tuple[int, int, int]
    parent_beacon_root: bytes
    withdrawals: tuple[tuple[int, int, bytes, int], ...]
    extra_data: bytes
    nonce: bytes


class _Seal(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    block_hash: bytes
    state_root: bytes
    receipts_root: bytes
    gas_used: int
    status_bits: bytes
    vm_fingerprint: str


UNDECODABLE = (msgspec.DecodeError, ValueError, TypeError, RecursionError)
"""What msgspec raises for bytes it cannot take: besides its own error, for bad UTF-8 and unhashable keys."""

_Decoded = TypeVar("_Decoded", _Environment, _Seal)
_encoder = msgspec.msgpack.Encoder()
_environments = msgspec.msgpack.Decoder(_Environment)
_seals = msgspec.msgpack.Decoder(_Seal)


def encode_environment(environment: BlockEnvironment) -> bytes:
    """Payload of a BLOCK_ENV record."""
    schedule = environment.blob_schedule
    fields = _Environment(
        int(environment.fork),
        environment.chain_id,
        environment.number,
        environment.timestamp,
        environment.gas_limit,
        environment.coinbase,
        environment.parent_hash,
        _from_wide(environment.base_fee),
        environment.prevrandao,
        _from_wide(environment.difficulty),
        environment.excess_blob_gas,
        (schedule.target, schedule.max, schedule.base_fee_update_fraction),
        environment.parent_beacon_root,
        tuple((w.index, w.validator_index, w.address, w.amount) for w in environment.withdrawals),
        environment.extra_data,
        environment.nonce,
    )
    _check_environment(fields)
    return _encode(fields)


def decode_environment(payload: bytes) -> BlockEnvironment:
    """What a BLOCK_ENV record says. Raises `InvalidRecord`."""
    fields = _decode(_environments, payload)
    _check_environment(fields)
    return BlockEnvironment(
        fork=Fork(fields.fork),
        chain_id=fields.chain_id,
        number=fields.number,
        timestamp=fields.timestamp,
        gas_limit=fields.gas_limit,
        coinbase=Address(fields.coinbase),
        parent_hash=Hash32(fields.parent_hash),
        base_fee=_to_wide(fields.base_fee),
        prevrandao=Hash32(fields.prevrandao),
        difficulty=_to_wide(fields.difficulty),
        excess_blob_gas=fields.excess_blob_gas,
        blob_schedule=BlobSchedule(*fields.blob_schedule),
        parent_beacon_root=Hash32(fields.parent_beacon_root),
        withdrawals=tuple(
            Withdrawal(index, validator, Address(address), amount)
            for index, validator, address, amount in fields.withdrawals
        ),
        extra_data=fields.extra_data,
        nonce=fields.nonce,
    )


def encode_seal(seal: Seal) -> bytes:
    """Payload of a BLOCK_SEAL record."""
    fields = _Seal(
        seal.block_hash,
        seal.state_root,
        seal.receipts_root,
        seal.gas_used,
        seal.status_bits,
        seal.vm_fingerprint,
    )
    _check_seal(fields)
    return _encode(fields)


def decode_seal(payload: bytes) -> Seal:
    """What a BLOCK_SEAL record says. Raises `InvalidRecord`."""
    fields = _decode(_seals, payload)
    _check_seal(fields)
    return Seal(
        Hash32(fields.block_hash),
        Hash32(fields.state_root),
        Hash32(fields.receipts_root),
        fields.gas_used,
        fields.status_bits,
        fields.vm_fingerprint,
    )


def encode_command(name: str, arguments: list[Any]) -> bytes:
    """Payload of a COMMAND or CHEAT record. Arguments: None, bool, int, str, bytes, and lists or dicts of them.

    >>> decode_command(encode_command("set_balance", [b"address", 10**30]))
    ('set_balance', [b'address', 1000000000000000000000000000000])
    """
    _require(0 < len(name) <= MAX_COMMAND_NAME, "a command's name")
    return _encode([name, [_pack(argument, MAX_DEPTH) for argument in arguments]])


def decode_command(payload: bytes) -> tuple[str, list[Any]]:
    """Name and arguments of a COMMAND or CHEAT record. Raises `InvalidRecord`."""
    try:
        command = msgspec.msgpack.decode(payload)
    except UNDECODABLE as error:
        raise InvalidRecord(f"not a command: {error}") from None
    _require(isinstance(command, list) and len(command) == 2, "a command's shape")
    name, arguments = command
    _require(isinstance(name, str) and isinstance(arguments, list), "a command's shape")
    unpacked = [_unpack(argument, MAX_DEPTH) for argument in arguments]
    _require(encode_command(name, unpacked) == payload, "a command's encoding")
    return name, unpacked


def encode_genesis(document: dict[str, Any]) -> bytes:
    """Payload of the GENESIS record: canonical JSON.

    >>> encode_genesis({"b": [1], "a": "é"})
    b'{"a":"\\\\u00e9","b":[1]}'
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def decode_genesis(payload: bytes) -> dict[str, Any]:
    """The genesis document. Raises `InvalidRecord`, also for JSON that is not canonical."""
    try:
        document = json.loads(payload)
        canonical = encode_genesis(document) if isinstance(document, dict) else b""
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"not a genesis document: {error}") from None
    _require(canonical == payload, "a genesis document's encoding")
    return dict(document)


def _encode(fields: msgspec.Struct | list[Any]) -> bytes:
    try:
        return _encoder.encode(fields)
    except (OverflowError, UnicodeEncodeError) as error:  # an integer beyond 64 bits, a lone surrogate
        raise InvalidRecord(f"cannot be encoded: {error}") from None


def _decode(decoder: msgspec.msgpack.Decoder[_Decoded], payload: bytes) -> _Decoded:
    try:
        fields = decoder.decode(payload)
    except UNDECODABLE as error:
        raise InvalidRecord(f"payload does not decode: {error}") from None
    _require(_encoder.encode(fields) == payload, "the canonical encoding")
    return fields


def _check_environment(fields: _Environment) -> None:
    _require(fields.fork in _FORKS, "a known fork")
    numbers = (fields.chain_id, fields.number, fields.timestamp, fields.gas_limit, fields.excess_blob_gas)
    _require(min(numbers) >= 0 and max(numbers) <= UINT64_MAX, "64-bit numbers")
    _require(min(fields.blob_schedule) >= 0 and max(fields.blob_schedule) <= UINT64_MAX, "a blob schedule")
    _require(len(fields.coinbase) == 20, "20 bytes of coinbase")
    hashes = len(fields.parent_hash), len(fields.prevrandao), len(fields.parent_beacon_root)
    _require(hashes == (32, 32, 32), "hashes of 32 bytes")
    _require(len(fields.nonce) == 8, "8 bytes of nonce")
    _require(len(fields.extra_data) <= MAX_EXTRA_DATA, "short extra data")
    _require(len(fields.withdrawals) <= MAX_WITHDRAWALS, "few withdrawals")
    for index, validator, address, amount in fields.withdrawals:
        valid = len(address) == 20 and all(0 <= n <= UINT64_MAX for n in (index, validator, amount))
        _require(valid, "a withdrawal")
    _to_wide(fields.base_fee)
    _to_wide(fields.difficulty)


def _check_seal(fields: _Seal) -> None:
    hashes = len(fields.block_hash), len(fields.state_root), len(fields.receipts_root)
    _require(hashes == (32, 32, 32), "hashes of 32 bytes")
    _require(0 <= fields.gas_used <= UINT64_MAX, "64-bit gas")
    _require(len(fields.status_bits) <= MAX_STATUS_BITS, "few status bits")
    _require(len(fields.vm_fingerprint) <= MAX_FINGERPRINT, "a short fingerprint")


def _from_wide(value: int) -> bytes:
    _require(value >= 0, "an integer not below zero")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _to_wide(data: bytes) -> int:
    _require(len(data) <= 32 and data[:1] != b"\0", "a minimal integer of at most 256 bits")
    return int.from_bytes(data, "big")


def _pack(value: Any, depth: int) -> Any:
    """The value with wide integers as extensions; anything but plain data is refused."""
    _require(depth > 0, "arguments that are not nested deeply")
    if isinstance(value, list | tuple):
        return [_pack(item, depth - 1) for item in value]
    if isinstance(value, dict):
        _require(all(isinstance(key, str) for key in value), "string keys")
        return {key: _pack(item, depth - 1) for key, item in value.items()}
    if isinstance(value, int) and not -(2**63) <= value <= UINT64_MAX:
        size = (value.bit_length() + 7) // 8
        _require(size <= MAX_WIDE_INTEGER, "integers of at most 512 bits")
        return msgspec.msgpack.Ext(WIDE_INTEGER, bytes((value < 0,)) + abs(value).to_bytes(size, "big"))
    _require(value is None or isinstance(value, bool | int | str | bytes), "plain arguments")
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _unpack(value: Any, depth: int) -> Any:
    _require(depth > 0, "arguments that are not nested deeply")
    if isinstance(value, list):
        return [_unpack(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {key: _unpack(item, depth - 1) for key, item in value.items()}
    if isinstance(value, msgspec.msgpack.Ext):
        data = bytes(value.data)
        _require(value.code == WIDE_INTEGER and len(data) > 1, "a known extension")
        magnitude = int.from_bytes(data[1:], "big")
        return -magnitude if data[0] else magnitude
    return value


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidRecord(f"expected {what}")
