"""What is refused before the state is looked at."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from chain import rlp
from chain.crypto import address_of_secret
from chain.errors import BlobsMissing
from chain.forks import ChainConfig, Fork
from chain.sidecars import BLOB_BYTES
from chain.transactions import BLOB, encode_transaction, sign_transaction
from chain.types import Hash32
from node.engine.admission import decode
from tests.unit.chain.test_transactions import example

SECRET = b"\x22" * 32
COMMITMENT = b"\7" * 48
HASH = Hash32(b"\1" + sha256(COMMITMENT).digest()[1:])


def test_a_blob_transaction_needs_its_blobs() -> None:
    """Nobody else's node takes one with hashes only, so a script that forgot them passed here and nowhere else."""
    config = ChainConfig.all_at_genesis(31337, Fork.CANCUN)
    unsigned = replace(example(BLOB), chain_id=31337, blob_versioned_hashes=(HASH,))
    signed = encode_transaction(sign_transaction(unsigned, SECRET))
    with pytest.raises(BlobsMissing):
        decode(signed, config, Fork.CANCUN)
    blobs = [bytes(BLOB_BYTES)], [COMMITMENT], [b"p" * 48]
    whole = decode(b"\3" + rlp.encode([rlp.decode(signed[1:]), *blobs]), config, Fork.CANCUN)
    assert (whole.raw, whole.sender) == (signed, address_of_secret(SECRET))
