"""What an answer promises: levels, one inclusion however often it is sent, keys, and reads of one's own writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import zvmd
from chain.types import Address
from node.engine.requests import Control, Mine, Submit
from storage.idempotency import ANSWER_SECONDS, ANSWERS_MAX, Answered, Answers, dump
from tests.contracts import dev_account
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import Daemon
from tests.durability.nodes import LocalNode
from tests.rpc import Rpc, RpcFailed

SEED = 20
RESENDS = 60


def again(node: LocalNode, *, checkpoint: bool = False) -> LocalNode:
    """The next process."""
    if checkpoint:
        node.checkpoint()
    node.close()
    return LocalNode(node.data_dir, clock=node.clock)


def test_the_same_bytes_are_included_once_over_any_number_of_crashes(tmp_path: Path) -> None:
    send_again_and_again(tmp_path, SEED, RESENDS)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_same_bytes_are_included_once_over_very_many_crashes(tmp_path: Path) -> None:
    send_again_and_again(tmp_path, SEED + 1, 1000)


def send_again_and_again(place: Path, seed: int, resends: int) -> None:
    """The answer is lost at every step of the way, and the client sends again after the restart."""
    node, chance = LocalNode(place / "d"), random.Random(seed)
    (waits,) = (node.transfer(1, Address(b"\x77" * 20), 5, nonce=500),)
    assert node.send(waits) == waits.transaction.hash
    for _ in range(resends):
        candidate = node.transfer(0, Address(b"\x78" * 20), chance.randrange(1, 99))
        head = node.store.head.number
        moment = chance.choice(("executed", "durable", "answered"))
        group = node.committer.step([Submit(lambda _: None, candidate, wait_mined=chance.random() < 0.5)])
        if moment != "executed":
            node.store.wal.flush(group.lsn)
        if moment == "answered":
            node.committer.commit(group)
        if chance.random() < 0.3:
            node = again(node, checkpoint=moment == "answered" and chance.random() < 0.5)
            survived = node.store.head.number - head
            assert survived == (1 if moment != "executed" else 0)
        elif moment != "answered":
            node.committer.commit(group)
        for _ in range(chance.randrange(1, 3)):
            assert node.send(candidate) == candidate.transaction.hash
        assert node.store.head.number == head + 1
        assert node.send(waits) == waits.transaction.hash
    assert len(node.pool) == 1
    node.close()


def test_a_key_gets_its_first_answer_over_crashes_and_checkpoints(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    assert node.mine("a") == 1
    assert node.mine("a") == 1
    assert node.ask(*[lambda done: Mine(done, key="b")] * 3) == [2, 2, 2]
    node.ask(lambda done: Control(done, "automine", False, key="c"))
    node = again(node)
    assert [node.mine("a"), node.mine("b"), node.mine("d")] == [1, 2, 3]
    node = again(node, checkpoint=True)
    assert node.opened.recovery.blocks == 0
    assert [node.mine("d"), node.mine("a"), node.mine()] == [3, 1, 4]
    assert node.ask(lambda done: Control(done, "automine", True, key="c")) == [False]
    assert not node.applied.settings.automine
    node.close()


def test_a_key_whose_answer_was_not_durable_was_never_used(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.committer.step([Mine(lambda _: None, key="lost")])
    node = again(node)
    assert node.store.head.number == 0
    assert node.mine("lost") == 1
    node.close()


def test_answers_are_forgotten_by_age_and_by_number() -> None:
    answers = Answers()
    for number in range(ANSWERS_MAX + 50):
        answers.put(f"k{number}", Answered(1000, number))
    assert len(answers) == ANSWERS_MAX
    assert answers.get("k49") is None
    assert answers.get("k50") == (1000, 50)
    copy = Answers()
    copy.load(dump(answers.items()))
    copy.put("late", Answered(1000 + ANSWER_SECONDS, 1))
    assert len(copy) == 1


def test_accepted_is_answered_before_the_disk_and_may_be_lost(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    answers: list[object] = []
    candidate = node.transfer(0, Address(b"\x79" * 20))
    node.committer.step([Submit(answers.append, candidate, wait_durable=False)])
    assert answers == [candidate.transaction.hash]
    node = again(node)
    assert node.store.head.number == 0
    assert node.send(candidate) == candidate.transaction.hash
    node.close()


def signed(nonce: int) -> str:
    transaction = {
        "type": 2, "chainId": 31337, "nonce": nonce, "gas": 21_000, "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9, "to": bytes.fromhex("7a" * 20), "value": 1, "data": "0x",
    }  # fmt: skip
    return "0x" + bytes(dev_account(0).sign_transaction(transaction).raw_transaction).hex()


@pytest.mark.timeout(240)
def test_levels_keys_and_minimum_lsn_on_both_transports_over_a_restart(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "d")
    try:
        read_own_writes(daemon, lives=2, writes=20)
    finally:
        daemon.close()


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_levels_keys_and_minimum_lsn_over_many_restarts(tmp_path: Path) -> None:
    zygote = Zygote(tmp_path / "zygote.log")
    daemon = ForkedDaemon(zygote, tmp_path / "d")
    try:
        read_own_writes(daemon, lives=25, writes=40)
    finally:
        daemon.close()
        zygote.close()


def read_own_writes(daemon: Daemon, lives: int, writes: int) -> None:
    """A client that was answered an LSN reads its own writes, on either transport, before and after a kill."""
    daemon.start()
    nonce = 0
    for life in range(lives):
        http = daemon.rpc()
        quic = zvmd.SyncClient(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir)
        ask = [http.call, quic.rpc]
        for number in range(writes):
            level = ("accepted", "durable", "mined", "indexed")[number % 4]
            write, read = (ask[number % 2], ask[(number + 1) % 2])
            sent = write("zvmd_sendRawTransaction", signed(nonce), level)
            assert sent == {**sent, "level": level}
            nonce += 1
            if level == "accepted":
                continue
            seen = read("zvmd_read", sent["lsn"], "eth_getTransactionCount", [dev_account(0).address, "latest"])
            assert seen["result"] == hex(nonce)
            assert seen["lsn"] >= sent["lsn"]
            if level == "indexed":
                assert http.call("zvmd_status")["index"]["block"] >= sent["blockNumber"]
        mined = http.call("zvmd_mine", 2, f"life {life}")
        assert quic.rpc("zvmd_mine", 2, f"life {life}")["blockNumber"] == mined["blockNumber"]
        with pytest.raises(RpcFailed, match=r"LSN 999999 is not visible"):
            http.call("zvmd_read", 999_999, "eth_blockNumber")
        last = sent["lsn"]
        quic.close()
        http.close()
        daemon.kill()
        daemon.start()
        fresh: Rpc = daemon.rpc()
        assert fresh.call("zvmd_read", last, "eth_getTransactionCount", [dev_account(0).address, "latest"])[
            "result"
        ] == hex(nonce)
        assert fresh.call("zvmd_mine", 2, f"life {life}")["blockNumber"] == mined["blockNumber"]
        fresh.close()
