"""Development accounts: keys of a mnemonic, held in memory, with which the node signs on request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import normalize

from coincurve import PrivateKey

from chain.crypto import address_of_secret, sign
from chain.types import Address, Hash32
from node.api.errors import UnknownAccount

HARDENED = 1 << 31


class ExtendedKey(NamedTuple):
    """A private key and its chain code (BIP-32). eth-account derives the same keys, but takes a second to import."""

    secret: bytes
    chain_code: bytes

    @classmethod
    def of(cls, key: bytes, data: bytes) -> ExtendedKey:
        """The key and chain code in the two halves of an HMAC-SHA512."""
        digest = hmac.digest(key, data, "sha512")
        return cls(digest[:32], digest[32:])

    def child(self, index: int) -> ExtendedKey:
        """The child key at an index; from `HARDENED` on, a hardened one, which the public key cannot derive."""
        parent = PrivateKey(self.secret)
        head = b"\0" + self.secret if index >= HARDENED else parent.public_key.format()
        tweak = ExtendedKey.of(self.chain_code, head + index.to_bytes(4, "big"))
        return ExtendedKey(parent.add(tweak.secret).secret, tweak.chain_code)


class DevAccounts:
    """Addresses and the secrets behind them, in derivation order."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = {address_of_secret(secret): secret for secret in secrets}

    @classmethod
    def of_mnemonic(cls, mnemonic: str, count: int) -> DevAccounts:
        """The first ``count`` keys on path ``m/44'/60'/0'/0/i``, as anvil and Hardhat have them (BIP-39, BIP-32)."""
        words = " ".join(normalize("NFKD", mnemonic).split())
        seed = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic", 2048)
        key = ExtendedKey.of(b"Bitcoin seed", seed)
        for index in (44 | HARDENED, 60 | HARDENED, HARDENED, 0):
            key = key.child(index)
        return cls([key.child(index).secret for index in range(count)])

    @property
    def addresses(self) -> list[Address]:
        """In derivation order."""
        return list(self._secrets)

    def secret(self, address: Address) -> bytes:
        """The private key. Raises `UnknownAccount`."""
        try:
            return self._secrets[address]
        except KeyError:
            raise UnknownAccount(f"no key for 0x{address.hex()}") from None

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        """(y parity, r, s) over a digest. Raises `UnknownAccount`."""
        return sign(digest, self.secret(address))
