"""Signatures and addresses against eth-keys' and the EIPs' examples."""

from __future__ import annotations

import pytest
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.crypto import (
    CURVE_ORDER,
    HALF_CURVE_ORDER,
    address_of_secret,
    create2_address,
    create_address,
    recover,
    sign,
)
from chain.errors import InvalidSignature
from chain.types import Address

secrets = st.integers(1, CURVE_ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


@settings(max_examples=30, deadline=None)
@given(secrets, digests)
def test_sign_and_recover(secret: bytes, digest: bytes) -> None:
    y_parity, r, s = sign(digest, secret)
    assert s <= HALF_CURVE_ORDER
    assert recover(digest, y_parity, r, s) == address_of_secret(secret)
    assert recover(digest, 1 - y_parity, r, CURVE_ORDER - s) == address_of_secret(secret)
    key = keys.PrivateKey(secret)
    assert key.public_key.to_canonical_address() == address_of_secret(secret)
    signature = key.sign_msg_hash(digest)
    assert (signature.v, signature.r, signature.s) == (y_parity, r, s)


@pytest.mark.parametrize(
    ("y_parity", "r", "s"),
    [(0, 0, 1), (0, 1, 0), (0, CURVE_ORDER, 1), (0, 1, CURVE_ORDER), (2, 1, 1), (0, 5, 1), (0, 2**300, 1)],
)
def test_bad_signatures(y_parity: int, r: int, s: int) -> None:
    with pytest.raises(InvalidSignature):
        recover(bytes(32), y_parity, r, s)


@pytest.mark.parametrize("secret", [b"", bytes(32), CURVE_ORDER.to_bytes(32, "big"), b"\1" * 31])
def test_bad_secrets(secret: bytes) -> None:
    with pytest.raises(InvalidSignature):
        address_of_secret(secret)


def test_create_addresses() -> None:
    sender = Address(bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"))
    assert create_address(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert create_address(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"


@pytest.mark.parametrize(
    ("sender", "salt", "initcode", "expected"),
    [  # the examples of EIP-1014
        ("00" * 20, 0, "00", "4d1a2e2bb4f88f0250f26ffff098b0b30b26bf38"),
        ("deadbeef" + "00" * 16, 0, "00", "b928f69bb1d91cd65274e3c79d8986362984fda3"),
        ("00" * 20, 0, "deadbeef", "70f2b2914a2a4b783faefb75f459a580616fcb5e"),
        (
            "00000000000000000000000000000000deadbeef",
            0xCAFEBABE,
            "deadbeef",
            "60f3f640a8508fc6a86d45df051962668e1e8ac7",
        ),
        ("00" * 20, 0, "", "e33c0c7f7df4809055c3eba6c09cfe4baf1bd9e0"),
    ],
)
def test_create2_address(sender: str, salt: int, initcode: str, expected: str) -> None:
    address = create2_address(Address(bytes.fromhex(sender)), salt, bytes.fromhex(initcode))
    assert address.hex() == expected
