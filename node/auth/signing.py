"""The node's Ed25519 key, which signs session files that are given to others; made when first used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.auth.errors import UnusableToken
from node.auth.private import read_private, write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "signing.key"
KEY_BYTES = 32


def signer(directory: Path) -> Callable[[bytes], bytes]:
    """Signs as the node of a data directory: public key (32 bytes) and signature (64). It raises `UnusableToken`."""

    def sign(message: bytes) -> bytes:
        key = _load_or_create(directory / KEY_FILE)
        return key.public_key().public_bytes_raw() + key.sign(message)

    return sign


def _load_or_create(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # 10 MiB, for few nodes

    try:
        content = read_private(path)
    except OSError as error:
        raise UnusableToken(f"{path}: {error}") from None
    if content is None:
        key = Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes_raw())
        return key
    if len(content) != KEY_BYTES:
        raise UnusableToken(f"{path} does not hold {KEY_BYTES} bytes")
    return Ed25519PrivateKey.from_private_bytes(content)
