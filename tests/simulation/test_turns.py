"""Single turns of the writer that no crash is needed for: what waits goes on waiting."""

from __future__ import annotations

from dataclasses import replace

from chain.transactions import decode_transaction, encode_transaction, sign_transaction
from chain.types import Hash32
from tests.simulation.disks import Disk
from tests.simulation.life import SECRETS, Life
from tests.simulation.money import Sent
from tests.simulation.script import ETHER, Script, Workload
from tests.simulation.workloads import GENESIS_BALANCE


def script() -> Script:
    workload = Workload(lambda _: None)
    return workload.start(Disk.new(0), workload.record())


def waiting(life: Life) -> int:
    return len(life.pool)


def with_blobs(s: Script, sender: int, count: int) -> Sent:
    sent = s.transfer(sender, 7, 1, kind=2)
    unsigned = replace(
        decode_transaction(sent.raw),
        type=3,
        max_fee_per_blob_gas=10,
        blob_versioned_hashes=tuple(Hash32(bytes([1, number]) + bytes(30)) for number in range(count)),
    )
    signed = sign_transaction(unsigned, SECRETS[sender])
    return replace(sent, hash=signed.hash, raw=encode_transaction(signed))


def test_blobs_that_do_not_fit_into_a_block_wait_for_the_next() -> None:
    s = script()
    s.turn(*(with_blobs(s, sender, 6) for sender in range(4)), wait_mined=True)
    assert waiting(s.life) == 0
    assert not any(isinstance(ask.answer, Exception) for ask in s.life.record.asks)
    assert s.life.store.head.number > 1


def test_a_transaction_behind_a_dropped_one_waits() -> None:
    s = script()
    s.control("automine", False)
    rich, poor, behind = (
        s.transfer(0, 1, GENESIS_BALANCE - ETHER),
        s.transfer(0, 1, 2 * ETHER),
        s.transfer(0, 1, 3),
    )
    s.turn(rich, replace(poor, may_be_dropped=True), behind)
    s.life.turn(s.life.mine())
    assert [entry.transaction.hash for entry in s.life.pool.entries()] == [behind.hash]
    s.life.turn(s.life.submit(s.transfer(0, 1, 1, nonce=1)), s.life.mine())
    assert waiting(s.life) == 0


def test_a_transaction_larger_than_a_block_does_not_hold_up_others() -> None:
    s = script()
    s.control("automine", False)
    s.turn(s.transfer(0, 1, 1, gas=9_000_000, tip=2 * 10**9), s.transfer(1, 2, 1))
    s.life.turn(s.life.control("gas_limit", 8_000_000), s.life.control("automine", True))
    assert waiting(s.life) == 1
    s.life.turn(s.life.control("gas_limit", 9_000_000))
    assert waiting(s.life) == 0


def test_settings_keep_their_types_over_a_checkpoint() -> None:
    s = script()
    s.control("automine", False)
    s.life.turn(s.life.mine())
    s.stop()
    controls = s.life.store.applied.settings
    assert (controls.automine, controls.coinbase) == (False, bytes(20))
    s.life.turn(s.life.mine())
