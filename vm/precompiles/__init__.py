"""The precompiled contracts: which address does what at which fork.

`_CHANGES` lists each fork's additions and changes; the table of a fork is the sum of those up to it. Prices are the
fork's gas schedule's; a contract says what they are multiplied by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES, GasSchedule, Price
from chain.types import Address
from vm.precompiles import blake2, bls12_381, bn254, hashes, kzg, modexp, signatures
from vm.precompiles.contract import Precompile

__all__ = ["Precompile", "precompile", "precompile_addresses", "precompiles_by_address"]

Formula = Callable[[Price, bytes], int]
"""Gas of an input at a price."""


class _Contract(NamedTuple):
    name: str
    run: Callable[[bytes], bytes]
    gas: Formula = lambda price, _: price.base
    complexity: Callable[[bytes], int] | None = None
    """Complexity function of modexp, which has its own price formula."""

    def under(self, schedule: GasSchedule) -> Precompile:
        """The contract with its price."""
        if self.complexity is not None:
            return Precompile(self.name, partial(modexp.gas, schedule.modexp, self.complexity), self.run)
        price = schedule.precompiles[self.name]
        return Precompile(self.name, partial(self.gas, price), self.run)


_CHANGES: Final[dict[Fork, dict[int, _Contract]]] = {
    Fork.FRONTIER: {
        0x01: _Contract("ecrecover", signatures.ecrecover),
        0x02: _Contract("sha256", hashes.sha256, hashes.gas),
        0x03: _Contract("ripemd160", hashes.ripemd160, hashes.gas),
        0x04: _Contract("identity", hashes.identity, hashes.gas),
    },
    Fork.BYZANTIUM: {  # EIP-196, EIP-197, EIP-198
        0x05: _Contract("modexp", modexp.modexp, complexity=modexp.complexity_byzantium),
        0x06: _Contract("bn254_add", bn254.add),
        0x07: _Contract("bn254_mul", bn254.mul),
        0x08: _Contract("bn254_pairing", bn254.pairing, bn254.pairing_gas),
    },
    Fork.ISTANBUL: {0x09: _Contract("blake2f", blake2.blake2f, blake2.gas)},  # EIP-152
    Fork.BERLIN: {  # EIP-2565
        0x05: _Contract("modexp", modexp.modexp, complexity=modexp.complexity_berlin),
    },
    Fork.CANCUN: {0x0A: _Contract("kzg_point_evaluation", kzg.point_evaluation)},  # EIP-4844
    Fork.PRAGUE: {  # EIP-2537
        0x0B: _Contract("bls12_g1add", bls12_381.g1_add),
        0x0C: _Contract("bls12_g1msm", bls12_381.g1_msm, bls12_381.g1_msm_gas),
        0x0D: _Contract("bls12_g2add", bls12_381.g2_add),
        0x0E: _Contract("bls12_g2msm", bls12_381.g2_msm, bls12_381.g2_msm_gas),
        0x0F: _Contract("bls12_pairing_check", bls12_381.pairing_check, bls12_381.pairing_gas),
        0x10: _Contract("bls12_map_fp_to_g1", bls12_381.map_fp_to_g1),
        0x11: _Contract("bls12_map_fp2_to_g2", bls12_381.map_fp2_to_g2),
    },
    Fork.OSAKA: {  # EIP-7823, EIP-7883, EIP-7951
        0x05: _Contract("modexp", modexp.modexp_bounded, complexity=modexp.complexity_osaka),
        0x100: _Contract("p256verify", signatures.p256verify),
    },
}


def _tables() -> dict[Fork, dict[Address, Precompile]]:
    tables: dict[Fork, dict[Address, Precompile]] = {}
    current: dict[Address, _Contract] = {}
    for fork in Fork:
        changes = _CHANGES.get(fork, {})
        current = current | {Address(n.to_bytes(20, "big")): contract for n, contract in changes.items()}
        tables[fork] = {address: contract.under(SCHEDULES[fork]) for address, contract in current.items()}
    return tables


_TABLES = _tables()
_ADDRESSES = {fork: frozenset(table) for fork, table in _TABLES.items()}


def precompile(fork: Fork, address: Address) -> Precompile | None:
    """The precompiled contract at the address under the fork's rules."""
    return _TABLES[fork].get(address)


_BY_ADDRESS = {fork: {address: address for address in addresses} for fork, addresses in _ADDRESSES.items()}


def precompile_addresses(fork: Fork) -> frozenset[Address]:
    """All of the fork: what is warm from the start of a transaction (EIP-2929)."""
    return _ADDRESSES[fork]


def precompiles_by_address(fork: Fork) -> Mapping[Address, Address]:
    """Where each contract of the fork answers -> which one: the same address. Not to be changed."""
    return _BY_ADDRESS[fork]
