"""Development accounts: keys of the well-known mnemonic, held in memory, that the node signs with when asked."""

from __future__ import annotations

from collections.abc import Sequence

from chain.crypto import address_of_secret, sign
from chain.types import Address, Hash32
from node.errors import UnknownAccount


class DevAccounts:
    """Addresses and the secrets behind them, in derivation order."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = {address_of_secret(secret): secret for secret in secrets}

    @classmethod
    def of_mnemonic(cls, mnemonic: str, count: int) -> DevAccounts:
        """The first ``count`` keys on BIP-44 path ``m/44'/60'/0'/0/i``, as anvil and Hardhat have them."""
        from eth_account.hdaccount import key_from_seed, seed_from_mnemonic  # slow to import, dev only

        seed = seed_from_mnemonic(mnemonic, "")
        return cls([key_from_seed(seed, f"m/44'/60'/0'/0/{index}") for index in range(count)])

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
