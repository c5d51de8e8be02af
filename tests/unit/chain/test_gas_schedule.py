"""The gas schedules against each other, the tables they price, and the EIPs' own tables."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from chain.forks import LATEST_FORK, Fork
from chain.gas_schedule import SCHEDULES, StorageCost, StorageStatus, storage_status, words_in
from vm.evm.opcodes import BY_NAME, opcodes
from vm.evm.pricing import MEMORY_OPERANDS
from vm.precompiles import _CHANGES, precompile, precompile_addresses

X, Y, Z = 5, 6, 7
forks = pytest.mark.parametrize("fork", Fork)


def test_a_schedule_prices_only_what_there_is() -> None:
    names = {contract.name for changes in _CHANGES.values() for contract in changes.values()}
    assert SCHEDULES[LATEST_FORK].opcodes.keys() == BY_NAME.keys()
    assert SCHEDULES[LATEST_FORK].precompiles.keys() == names - {"modexp"}


@forks
def test_what_is_paid_by_size_has_a_size(fork: Fork) -> None:
    schedule, known = SCHEDULES[fork], {row.name for row in opcodes(fork).values()}
    sized = schedule.per_word.keys() | schedule.per_byte.keys()
    assert sized <= known & MEMORY_OPERANDS.keys()


def test_nothing_that_is_priced_disappears_in_a_later_fork() -> None:
    for before, after in pairwise(SCHEDULES):
        for field in ("opcodes", "per_word", "per_byte", "precompiles"):
            assert getattr(before, field).keys() <= getattr(after, field).keys()


def test_a_schedule_cannot_be_changed() -> None:
    schedule = SCHEDULES[LATEST_FORK]
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.memory_word = 4  # type: ignore[misc]
    for table in (schedule.opcodes, schedule.per_word, schedule.per_byte, schedule.precompiles):
        with pytest.raises(TypeError):
            table["ADD"] = 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("original", "current", "new", "status"),
    [
        (0, 0, 0, StorageStatus.ASSIGNED),
        (X, X, X, StorageStatus.ASSIGNED),
        (0, Y, Y, StorageStatus.ASSIGNED),
        (0, Y, Z, StorageStatus.ASSIGNED),
        (X, Y, Y, StorageStatus.ASSIGNED),
        (X, Y, Z, StorageStatus.ASSIGNED),
        (X, 0, 0, StorageStatus.ASSIGNED),
        (0, 0, Z, StorageStatus.ADDED),
        (X, X, 0, StorageStatus.DELETED),
        (X, X, Z, StorageStatus.MODIFIED),
        (X, 0, Z, StorageStatus.DELETED_ADDED),
        (X, Y, 0, StorageStatus.MODIFIED_DELETED),
        (X, 0, X, StorageStatus.DELETED_RESTORED),
        (0, Y, 0, StorageStatus.ADDED_DELETED),
        (X, Y, X, StorageStatus.MODIFIED_RESTORED),
    ],
)
def test_storage_statuses_are_evmcs(original: int, current: int, new: int, status: StorageStatus) -> None:
    assert storage_status(original, current, new) is status


@pytest.mark.parametrize(
    ("fork", "costs"),
    [
        # ASSIGNED, ADDED, DELETED, MODIFIED, DELETED_ADDED, MODIFIED_DELETED, DELETED_RESTORED, ADDED_DELETED,
        # MODIFIED_RESTORED: the table of EIP-1283 and its successors
        (
            Fork.CONSTANTINOPLE,
            "200 20000 5000+15000 5000 200-15000 200+15000 200-10200 200+19800 200+4800",
        ),
        (Fork.ISTANBUL, "800 20000 5000+15000 5000 800-15000 800+15000 800-10800 800+19200 800+4200"),
        (Fork.BERLIN, "100 20000 2900+15000 2900 100-15000 100+15000 100-12200 100+19900 100+2800"),
        (Fork.LONDON, "100 20000 2900+4800 2900 100-4800 100+4800 100-2000 100+19900 100+2800"),
        (Fork.PETERSBURG, "5000 20000 5000+15000 5000 20000 5000+15000 20000 5000+15000 5000"),
    ],
)
def test_costs_of_sstore(fork: Fork, costs: str) -> None:
    wanted = []
    for cost in costs.split():
        gas, sign, refund = cost.replace("-", " - ").replace("+", " + ").partition(" ")
        wanted.append(StorageCost(int(gas), int((sign + refund).replace(" ", "") or 0)))
    assert list(SCHEDULES[fork].sstore) == wanted


@forks
def test_every_precompile_has_a_price(fork: Fork) -> None:
    for address in precompile_addresses(fork):
        contract = precompile(fork, address)
        assert contract is not None
        assert contract.gas(bytes(213)) >= 0


def test_formulas() -> None:
    schedule = SCHEDULES[LATEST_FORK]
    assert [words_in(size) for size in (0, 1, 32, 33)] == [0, 1, 1, 2]
    assert [schedule.sized("KECCAK256", size) for size in (0, 1, 33)] == [0, 6, 12]
    assert (schedule.sized("LOG2", 3), schedule.sized("CREATE2", 33), schedule.sized("CREATE", 33)) == (24, 16, 4)
    assert [schedule.exponent(n) for n in (0, 1, 255, 256, 2**256 - 1)] == [0, 50, 50, 100, 1600]
    assert (schedule.grantable(6_400), SCHEDULES[Fork.HOMESTEAD].grantable(6_400)) == (6_300, 6_400)
    assert schedule.call(has_value=True, is_new=True) == 34_000
    assert (schedule.delegation(is_cold=True), schedule.delegation(is_cold=False)) == (2_600, 100)
