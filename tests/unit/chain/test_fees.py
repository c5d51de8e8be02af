"""Fees: EIP-1559, EIP-4844, EIP-7918, intrinsic gas, by the EIPs' formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.fees import (
    GAS_PER_BLOB,
    blob_base_fee,
    blob_gas_of,
    fake_exponential,
    floor_gas,
    intrinsic_gas,
    next_base_fee,
    next_excess_blob_gas,
)
from chain.forks import CANCUN_BLOBS, PRAGUE_BLOBS, Fork
from chain.types import UINT256_MAX
from tests.unit.chain.test_transactions import ACCESS_LIST, BLOB, LEGACY, SET_CODE, example


@given(st.integers(5000, 10**9), st.integers(0, 10**12), st.data())
def test_base_fee_moves_an_eighth_at_most(limit: int, fee: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(0, limit // 2 * 2))
    after = next_base_fee(limit, used, fee)
    assert fee - fee // 8 <= after <= max(fee + fee // 8, fee + 1)
    assert (after > fee) == (used > limit // 2)


def test_base_fee_examples() -> None:
    assert next_base_fee(30_000_000, 15_000_000, 1000) == 1000
    assert next_base_fee(30_000_000, 0, 1000) == 875
    assert next_base_fee(30_000_000, 15_000_001, 7) == 8


@given(st.integers(0, 50_000_000))
def test_fake_exponential_is_near_the_real_one(excess: int) -> None:
    fraction = CANCUN_BLOBS.base_fee_update_fraction
    price = blob_base_fee(excess, fraction)
    exact = math.exp(excess / fraction)
    assert exact - 1 - exact * 1e-6 <= price <= exact * (1 + 1e-9)


def test_fake_exponential_saturates() -> None:
    assert fake_exponential(1, 2**64, 1) == UINT256_MAX
    assert fake_exponential(10**9, 177, 1) == UINT256_MAX
    assert fake_exponential(1, 0, 1) == 1


@pytest.mark.parametrize(
    ("excess", "used", "base_fee", "fork", "expected"),
    [
        (0, 2, 10**9, Fork.PRAGUE, 0),
        (0, 6, 10**9, Fork.PRAGUE, 0),
        (1, 6, 10**9, Fork.PRAGUE, GAS_PER_BLOB),
        # EIP-7918: execution gas is dear, so the excess does not fall and rises by a third of what was used.
        (1, 6, 10**9, Fork.OSAKA, GAS_PER_BLOB + 6 * GAS_PER_BLOB * 3 // 9),
        (1, 6, 15, Fork.OSAKA, GAS_PER_BLOB),
        (0, 5, 10**9, Fork.OSAKA, 0),
    ],
)
def test_excess_blob_gas(excess: int, used: int, base_fee: int, fork: Fork, expected: int) -> None:
    result = next_excess_blob_gas(excess * GAS_PER_BLOB, used * GAS_PER_BLOB, base_fee, PRAGUE_BLOBS, fork)
    assert result == expected


def test_intrinsic_gas() -> None:
    call = replace(example(LEGACY), data=b"\0\0\1\1\1")
    assert intrinsic_gas(call, Fork.FRONTIER) == 21_000 + 2 * 4 + 3 * 68
    assert intrinsic_gas(call, Fork.ISTANBUL) == 21_000 + 2 * 4 + 3 * 16
    create = replace(call, to=None, data=b"\1" * 33)
    assert intrinsic_gas(create, Fork.FRONTIER) == 21_000 + 33 * 68
    assert intrinsic_gas(create, Fork.HOMESTEAD) == 53_000 + 33 * 68
    assert intrinsic_gas(create, Fork.SHANGHAI) == 53_000 + 33 * 16 + 2 * 2
    assert intrinsic_gas(replace(example(ACCESS_LIST), data=b""), Fork.BERLIN) == 21_000 + 2400 + 2 * 1900
    assert (
        intrinsic_gas(replace(example(SET_CODE), data=b""), Fork.PRAGUE) == 21_000 + 2400 + 2 * 1900 + 25_000
    )


def test_floor_gas() -> None:
    call = replace(example(LEGACY), data=b"\0\0\1\1\1")
    assert floor_gas(call, Fork.CANCUN) == 0
    assert floor_gas(call, Fork.PRAGUE) == 21_000 + 10 * (2 + 12)


def test_blob_gas() -> None:
    assert blob_gas_of(example(BLOB)) == GAS_PER_BLOB
    assert blob_gas_of(example(LEGACY)) == 0
