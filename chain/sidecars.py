"""The network form of a blob transaction: with its blobs, commitments and proofs (EIP-4844, EIP-7594)."""

from __future__ import annotations

from hashlib import sha256

from chain import rlp
from chain.errors import InvalidBlobs, InvalidRlp, MalformedTransaction
from chain.transactions import BLOB, Transaction, decode_transaction
from chain.types import Hash32

BLOB_BYTES = 131_072
COMMITMENT_BYTES = 48
PROOF_BYTES = 48
CELLS_PER_BLOB = 128
"""Cell proofs of one blob in the form of EIP-7594."""


def decode_network_transaction(raw: bytes) -> tuple[Transaction, bytes]:
    """Split the bytes that ``eth_sendRawTransaction`` takes into transaction and sidecar.

    The sidecar is the RLP list of all that follows the transaction in its wrapper, empty if there is no
    wrapper. Shape, counts and versioned hashes are checked, KZG proofs are not. Raises
    `MalformedTransaction` or `InvalidBlobs`, and the errors of `decode_transaction`.
    """
    if raw[:1] != bytes((BLOB,)):
        return decode_transaction(raw), b""
    try:
        items = rlp.split_items(raw[1:])
    except InvalidRlp as error:
        raise MalformedTransaction(str(error)) from None
    if not items or items[0][0] < 0xC0:
        return decode_transaction(raw), b""
    tx = decode_transaction(raw[:1] + items[0])
    sidecar = rlp.encode_list(items[1:])
    try:
        _check(tx, rlp.decode_list(sidecar))
    except InvalidRlp as error:
        raise MalformedTransaction(str(error)) from None
    return tx, sidecar


def versioned_hash(commitment: bytes) -> Hash32:
    """The versioned hash of a blob, from its KZG commitment (EIP-4844)."""
    return Hash32(b"\x01" + sha256(commitment).digest()[1:])


def _check(tx: Transaction, parts: list[rlp.Decoded]) -> None:
    proofs_per_blob = 1
    if len(parts) == 4:
        if parts[0] != b"\x01":
            raise InvalidBlobs("the wrapper version is not 1 (EIP-7594)")
        proofs_per_blob = CELLS_PER_BLOB
        parts = parts[1:]
    if len(parts) != 3:
        raise MalformedTransaction("not a blob wrapper: blobs, commitments and proofs are expected")
    count = len(tx.blob_versioned_hashes)
    _chunks(parts[0], "blobs", count, BLOB_BYTES)
    commitments = _chunks(parts[1], "commitments", count, COMMITMENT_BYTES)
    _chunks(parts[2], "proofs", count * proofs_per_blob, PROOF_BYTES)
    for commitment, digest in zip(commitments, tx.blob_versioned_hashes, strict=True):
        if versioned_hash(commitment) != digest:
            raise InvalidBlobs("a commitment does not match its versioned hash")


def _chunks(item: rlp.Decoded, name: str, count: int, size_bytes: int) -> list[bytes]:
    if isinstance(item, bytes) or len(item) != count:
        raise InvalidBlobs(f"{name}: not a list of {count}")
    chunks = [chunk for chunk in item if isinstance(chunk, bytes) and len(chunk) == size_bytes]
    if len(chunks) != count:
        raise InvalidBlobs(f"{name}: not of {size_bytes} bytes each")
    return chunks
