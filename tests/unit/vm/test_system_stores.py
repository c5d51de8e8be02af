"""What canonical system contracts store is written without running them; running them must give the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.forks import Fork
from chain.genesis import dev_genesis
from chain.state import StateDelta
from chain.system_contracts import (
    BEACON_ROOTS_ADDRESS,
    CONSOLIDATION_REQUESTS_ADDRESS,
    HISTORY_STORAGE_ADDRESS,
    WITHDRAWAL_REQUESTS_ADDRESS,
)
from chain.types import Address, Hash32
from node.conformance.memory_state import MemoryState
from node.machine.assembly import build_machine
from tests.effort import tries
from tests.unit.vm.test_block import ENVIRONMENT
from tests.unit.vm.test_transaction import SENDER
from vm import system
from vm.errors import SystemCallFailed
from vm.journal import Journal
from vm.machine import Machine

QUEUES = (WITHDRAWAL_REQUESTS_ADDRESS, CONSOLIDATION_REQUESTS_ADDRESS)
words = st.integers(0, 2**256 - 1) | st.integers(0, 3)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return build_machine()


@settings(max_examples=tries(60, 3_000))
@given(
    number=st.integers(1, 2**40),
    timestamp=st.integers(0, 2**62),
    parent=st.binary(min_size=32, max_size=32),
    beacon=st.binary(min_size=32, max_size=32) | st.just(bytes(32)),
    before=st.dictionaries(st.integers(0, 2 * 8191), words, max_size=4),
    queued=st.tuples(*[st.just(0) | words] * 4),
)
def test_stores_and_calls_leave_the_same_state(
    machine: Machine,
    number: int,
    timestamp: int,
    parent: bytes,
    beacon: bytes,
    before: dict[int, int],
    queued: tuple[int, ...],
) -> None:
    environment = replace(
        ENVIRONMENT,
        number=number,
        timestamp=timestamp,
        parent_hash=Hash32(parent),
        parent_beacon_root=Hash32(beacon),
    )
    stored = {address: dict(before) for address in (BEACON_ROOTS_ADDRESS, HISTORY_STORAGE_ADDRESS)}
    stored |= {address: dict(enumerate(queued)) for address in QUEUES}
    state = MemoryState().after(dev_genesis(1, [SENDER], Fork.OSAKA).delta()).after(StateDelta(storage=stored))
    results = []
    for canonical in (system.CANONICAL_CODES, dict.fromkeys(system.CANONICAL_CODES, Hash32(bytes(32)))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(system, "CANONICAL_CODES", canonical)
            journal = Journal(state, Fork.OSAKA)
            system.begin_block(machine, environment, lambda _: Hash32(bytes(32)), journal)
            results.append((journal.delta(), _requests(machine, environment, journal), journal.delta()))
    assert results[0] == results[1]


def _requests(machine: Machine, environment: object, journal: Journal) -> object:
    try:
        return system.collect_requests(
            machine,
            environment,  # type: ignore[arg-type]
            lambda _: Hash32(bytes(32)),
            journal,
            (),
            contracts_required=True,
            deposit_contract=Address(bytes(20)),
        )
    except SystemCallFailed as error:
        return str(error)
