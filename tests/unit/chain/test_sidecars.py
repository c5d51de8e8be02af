"""The network form of blob transactions."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from chain import rlp
from chain.errors import InvalidBlobs, MalformedTransaction
from chain.sidecars import BLOB_BYTES, decode_network_transaction
from chain.transactions import BLOB, LEGACY, decode_transaction, encode_transaction
from chain.types import Hash32
from tests.unit.chain.test_transactions import example

COMMITMENT = b"\7" * 48
HASH = Hash32(b"\1" + sha256(COMMITMENT).digest()[1:])
TX = replace(example(BLOB), blob_versioned_hashes=(HASH,))
BODY = rlp.decode(encode_transaction(TX)[1:])
BLOBS = [bytes(BLOB_BYTES)]


def wrapped(*parts: rlp.Item) -> bytes:
    return b"\3" + rlp.encode([BODY, *parts])


@pytest.mark.parametrize("kind", [LEGACY, BLOB])
def test_without_sidecar(kind: int) -> None:
    raw = encode_transaction(example(kind))
    assert decode_network_transaction(raw) == (decode_transaction(raw), b"")


@pytest.mark.parametrize(
    "parts", [(BLOBS, [COMMITMENT], [b"p" * 48]), (b"\1", BLOBS, [COMMITMENT], [b"p" * 48] * 128)]
)
def test_with_sidecar(parts: tuple[rlp.Item, ...]) -> None:
    tx, sidecar = decode_network_transaction(wrapped(*parts))
    assert tx == TX
    assert encode_transaction(tx) == encode_transaction(TX)
    assert rlp.decode(sidecar) == list(parts)


@pytest.mark.parametrize(
    "parts",
    [
        (b"\2", BLOBS, [COMMITMENT], [b"p" * 48] * 128),
        (BLOBS, [COMMITMENT], [b"p" * 48] * 2),
        (BLOBS, [COMMITMENT], [b"p" * 47]),
        (BLOBS, [b"\1" * 48], [b"p" * 48]),
        ([], [COMMITMENT], [b"p" * 48]),
        (b"", [COMMITMENT], [b"p" * 48]),
    ],
)
def test_bad_sidecars(parts: tuple[rlp.Item, ...]) -> None:
    with pytest.raises(InvalidBlobs):
        decode_network_transaction(wrapped(*parts))


@pytest.mark.parametrize(
    "raw", [b"", b"\3", b"\3\xc0", b"\3\xc2", wrapped(), wrapped(BLOBS), wrapped(BLOBS) + b"\0"]
)
def test_not_a_wrapper(raw: bytes) -> None:
    with pytest.raises(MalformedTransaction):
        decode_network_transaction(raw)


def test_non_canonical_sidecar() -> None:
    item = b"\x81\1"
    body = rlp.encode(BODY)
    raw = b"\3" + rlp.encode_length(len(body) + 6, 0xC0) + body + item * 3
    with pytest.raises(MalformedTransaction):
        decode_network_transaction(raw)
