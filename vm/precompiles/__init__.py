"""The precompiled contracts: which address does what at which fork, and for how much gas.

`_CHANGES` lists each fork's additions and repricings; the table of a fork is the sum of those up to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from chain.forks import Fork
from chain.types import Address
from vm.precompiles import blake2, bls12_381, bn254, hashes, kzg, modexp, signatures
from vm.precompiles.contract import Precompile

__all__ = ["Precompile", "precompile", "precompile_addresses", "precompiles_by_address"]

_CHANGES: dict[Fork, dict[int, Precompile]] = {
    Fork.FRONTIER: {
        0x01: Precompile("ecrecover", lambda _: 3_000, signatures.ecrecover),
        0x02: Precompile("sha256", hashes.gas_per_word(60, 12), hashes.sha256),
        0x03: Precompile("ripemd160", hashes.gas_per_word(600, 120), hashes.ripemd160),
        0x04: Precompile("identity", hashes.gas_per_word(15, 3), hashes.identity),
    },
    Fork.BYZANTIUM: {  # EIP-196, EIP-197, EIP-198
        0x05: Precompile("modexp", modexp.gas_byzantium, modexp.modexp),
        0x06: Precompile("bn254_add", lambda _: 500, bn254.add),
        0x07: Precompile("bn254_mul", lambda _: 40_000, bn254.mul),
        0x08: Precompile("bn254_pairing", bn254.pairing_gas(100_000, 80_000), bn254.pairing),
    },
    Fork.ISTANBUL: {  # EIP-152, EIP-1108
        0x06: Precompile("bn254_add", lambda _: 150, bn254.add),
        0x07: Precompile("bn254_mul", lambda _: 6_000, bn254.mul),
        0x08: Precompile("bn254_pairing", bn254.pairing_gas(45_000, 34_000), bn254.pairing),
        0x09: Precompile("blake2f", blake2.gas, blake2.blake2f),
    },
    Fork.BERLIN: {  # EIP-2565
        0x05: Precompile("modexp", modexp.gas_berlin, modexp.modexp),
    },
    Fork.CANCUN: {  # EIP-4844
        0x0A: Precompile("kzg_point_evaluation", lambda _: 50_000, kzg.point_evaluation),
    },
    Fork.PRAGUE: {  # EIP-2537
        0x0B: Precompile("bls12_g1add", lambda _: 375, bls12_381.g1_add),
        0x0C: Precompile("bls12_g1msm", bls12_381.g1_msm_gas, bls12_381.g1_msm),
        0x0D: Precompile("bls12_g2add", lambda _: 600, bls12_381.g2_add),
        0x0E: Precompile("bls12_g2msm", bls12_381.g2_msm_gas, bls12_381.g2_msm),
        0x0F: Precompile("bls12_pairing_check", bls12_381.pairing_gas, bls12_381.pairing_check),
        0x10: Precompile("bls12_map_fp_to_g1", lambda _: 5_500, bls12_381.map_fp_to_g1),
        0x11: Precompile("bls12_map_fp2_to_g2", lambda _: 23_800, bls12_381.map_fp2_to_g2),
    },
    Fork.OSAKA: {  # EIP-7823, EIP-7883, EIP-7951
        0x05: Precompile("modexp", modexp.gas_osaka, modexp.modexp_bounded),
        0x100: Precompile("p256verify", lambda _: 6_900, signatures.p256verify),
    },
}


def _tables() -> dict[Fork, dict[Address, Precompile]]:
    tables: dict[Fork, dict[Address, Precompile]] = {}
    current: dict[Address, Precompile] = {}
    for fork in Fork:
        changes = _CHANGES.get(fork, {})
        current = current | {Address(n.to_bytes(20, "big")): contract for n, contract in changes.items()}
        tables[fork] = current
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
