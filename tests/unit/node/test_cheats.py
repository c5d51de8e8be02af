"""Development calls: what is refused, what an amendment makes of an account, what an impersonated transaction is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chain.crypto import address_of_secret
from chain.errors import InvalidSignature, ZvmdError
from chain.production import TIMESTAMP_MAX
from chain.transactions import (
    Transaction,
    decode_transaction,
    encode_transaction,
    impersonate,
    recover_sender,
    sender_of,
    sign_transaction,
)
from chain.types import UINT64_MAX, Address
from node.api.errors import CheatRefused, CheatsDisabled, OutOfReach
from node.engine import admission
from node.engine.requests import Cheat, Control, Freeze, Mine, parts
from tests.durability.nodes import LocalNode

STRANGER = Address(b"\x77" * 20)
PLAIN = Transaction(2, 31337, 0, 0, 10**9, 10**10, 21_000, STRANGER, 1, b"")


@pytest.fixture
def local(tmp_path: Path) -> Any:
    node = LocalNode(tmp_path / "data", retention_blocks=3)
    yield node
    node.close()


def cheat(node: LocalNode, name: str, *arguments: object) -> Any:
    (answer,) = node.ask(lambda done: Cheat(done, name, arguments))
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_other_chains_refuse_them(local: LocalNode) -> None:
    local.opened.cheats = False
    node = local.opened.node(local.committer, local.publications, 10**7)
    with pytest.raises(CheatsDisabled) as refusal:
        asyncio.run(node.cheat("snapshot"))
    assert "--dev" in refusal.value.hint


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("set_next_timestamp", 5),
        ("increase_time", 2**63),
        ("set_time", -1),
        ("set_next_base_fee", UINT64_MAX + 1),
        ("roll_back", 99),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(local: LocalNode, name: str, argument: int) -> None:
    before, lsn = local.digest(), local.store.last_lsn
    with pytest.raises(CheatRefused):
        cheat(local, name, argument)
    assert (local.digest(), local.store.last_lsn) == (before, lsn)


def test_time_never_leaves_the_64_bits_of_a_header(local: LocalNode) -> None:
    (refusal,) = local.ask(lambda done: Mine(done, 2, 2**63))
    assert isinstance(refusal, CheatRefused)
    cheat(local, "set_interval", TIMESTAMP_MAX)
    for _ in range(5):
        local.ask(Mine)
    assert TIMESTAMP_MAX < local.store.head.timestamp < TIMESTAMP_MAX + 10


def test_an_interval_no_clock_can_wait_for_is_refused(local: LocalNode) -> None:
    with pytest.raises(CheatRefused, match="a year"):
        asyncio.run(local.opened.node(local.committer, local.publications, 10**7).set_interval_mining(1e30))


def test_what_no_record_of_the_log_takes_is_refused(local: LocalNode) -> None:
    with pytest.raises(CheatRefused):
        cheat(local, "amend", [STRANGER, None, None, bytes(2**20), []])
    assert cheat(local, "amend", [STRANGER, None, None, bytes(2**19), []]) is None


def test_a_snapshot_whose_state_expired_is_out_of_reach(local: LocalNode) -> None:
    number = cheat(local, "snapshot")
    local.grow(8)
    local.checkpoint()
    before = local.digest()
    with pytest.raises(OutOfReach, match="from block 5 on"):
        cheat(local, "revert", number)
    assert local.digest() == before
    kept = cheat(local, "snapshot")
    local.grow(2)
    assert cheat(local, "revert", kept) is True
    assert local.store.head.number == 8


def test_a_checkpoint_under_way_expires_states_too(local: LocalNode) -> None:
    number = cheat(local, "snapshot")
    local.grow(8)
    local.ask(Freeze)
    with pytest.raises(OutOfReach):
        cheat(local, "revert", number)
    local.store.write_frozen()
    assert local.store.head.number == 8


def test_a_revert_is_replayed_whatever_is_retained_by_then(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "data")
    number = cheat(node, "snapshot")
    node.grow(5)
    cheat(node, "revert", number)
    node.grow(1)
    before = node.digest()
    node.close()
    again = LocalNode(tmp_path / "data", retention_blocks=1)
    assert again.digest() == before
    again.close()


def test_an_account_without_anything_does_not_exist(local: LocalNode) -> None:
    root = local.store.state.head_root
    cheat(local, "amend", [STRANGER, None, 5, None, []])
    cheat(local, "amend", [STRANGER, None, None, None, [[1, 2], [3, 4]]])
    assert local.applied.newest_state().account(STRANGER) is not None
    cheat(local, "amend", [STRANGER, None, 0, None, [[1, 0]]])
    assert local.applied.newest_state().has_storage(STRANGER)
    cheat(local, "amend", [STRANGER, None, None, None, [[3, 0]]])
    assert local.applied.newest_state().account(STRANGER) is None
    assert local.store.state.head_root == root
    assert local.store.head.number == 0


def test_what_a_snapshot_does_stands_alone_in_its_group() -> None:
    requests = [Cheat(print, name) for name in ("amend", "drop_all", "snapshot", "revert", "amend")]
    assert [[request.name for request in part] for part in parts(list(requests))] == [  # type: ignore[attr-defined]
        ["amend", "drop_all"],
        ["snapshot"],
        ["revert"],
        ["amend"],
    ]


@pytest.mark.parametrize("sender", [STRANGER, Address(bytes(20)), Address(b"\xff" * 20)])
def test_an_impersonated_transaction_names_its_sender_and_cannot_be_sent(local: LocalNode, sender: Address) -> None:
    raw = encode_transaction(impersonate(PLAIN, sender))
    decoded = decode_transaction(raw)
    assert sender_of(decoded) == sender
    config = local.opened.config
    with pytest.raises(InvalidSignature):
        recover_sender(decoded)
    with pytest.raises(ZvmdError):
        admission.decode(raw, config, config.fork_at(1, 2**31))


def test_a_signed_transaction_is_nobody_elses() -> None:
    secret = b"\x11" * 32
    assert sender_of(sign_transaction(PLAIN, secret)) == address_of_secret(secret)


def test_what_comes_after_a_revert_waits_behind_what_the_revert_brought_back(local: LocalNode) -> None:
    """Both had the same place in line, and comparing them ended the node: found by killing one under such calls."""
    local.ask(lambda done: Control(done, "automine", False))
    first = local.send(local.transfer(0, STRANGER))
    cheat(local, "revert", cheat(local, "snapshot"))
    second = local.send(local.transfer(1, STRANGER))
    assert local.mine() == 1
    block = local.store.chain.block(1)
    assert block is not None
    assert [transaction.hash for transaction in block.transactions] == [first, second]


def test_a_raised_nonce_drops_what_waits_below_it(local: LocalNode) -> None:
    """It could never be mined, and stayed in the pool until a restart, which left it out."""
    local.ask(lambda done: Control(done, "automine", False))
    for nonce in range(4):
        local.send(local.transfer(0, STRANGER, nonce=nonce))
    cheat(local, "amend", [local.accounts[0], 2, None, None, []])
    assert [entry.transaction.nonce for entry in local.pool.entries()] == [2, 3]
    before = local.digest()
    local.close()
    again = LocalNode(local.data_dir, retention_blocks=3)
    assert again.digest() == before
    cheat(again, "amend", [again.accounts[0], 0, None, None, []])
    assert [entry.transaction.nonce for entry in again.pool.entries()] == [2, 3]
    local.opened, local.store = again.opened, again.store
