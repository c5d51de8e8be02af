"""The public SDK against a real node over QUIC: deploy, call, send, receipts, logs, events that resume."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from eth_account import Account

import zvmd
import zvmd.connection
from node.auth.tls import load_or_create_certificate
from tests.contracts import dev_account, published
from tests.daemon import Daemon
from zvmd.abi import constructor_types, keccak
from zvmd.frames import LogEvent

T = TypeVar("T")
TRANSFER = keccak(b"Transfer(address,address,uint256)")
FRIEND = "0x" + "d1" * 20
Work = Callable[[zvmd.Client], Coroutine[Any, Any, T]]


@pytest.fixture
def door(quic_daemon: Daemon) -> dict[str, Any]:
    """Arguments of `zvmd.connect` for the shared node."""
    return {"url": f"quic://127.0.0.1:{quic_daemon.quic_port}", "data_dir": quic_daemon.data_dir}


def run(door: dict[str, Any], work: Work[T]) -> T:
    async def connected() -> T:
        async with zvmd.connect(**door) as client:
            return await asyncio.wait_for(work(client), 60)

    return asyncio.run(connected())


def key(index: int) -> bytes:
    return bytes(dev_account(index).key)


async def deploy_token(client: zvmd.Client, owner: int = 6) -> zvmd.Deployed:
    contract = published("ERC20PresetFixedSupply")
    return await client.deploy(
        bytes.fromhex(contract.bytecode[2:]),
        types=constructor_types(contract.abi),
        values=["Quic", "QIC", 10**21, dev_account(owner).address],
        key=key(owner),
    )


def test_deploy_call_send_receipt_logs(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        assert client.chain_id == 31337
        token = await deploy_token(client)
        owner = dev_account(6).address
        assert await client.call(token.address, "symbol()(string)") == ("QIC",)
        call = bytes.fromhex("a9059cbb") + bytes(12) + bytes.fromhex(FRIEND[2:]) + (77).to_bytes(32, "big")
        sent = await client.send(token.address, call, key=key(6))
        assert sent.lsn > 0
        receipt = await client.need_receipt(sent.hash)
        assert (receipt.status, receipt.block_number, receipt.sender) == (
            1,
            sent.block_number,
            bytes.fromhex(owner[2:]),
        )
        assert await client.call(token.address, "balanceOf(address)(uint256)", [FRIEND]) == (77,)
        before = await client.call(
            token.address, "balanceOf(address)(uint256)", [FRIEND], block=receipt.block_number - 1
        )
        assert before == (0,)
        logs = await client.logs(addresses=[token.address], topics=[[TRANSFER]])
        assert [log.block_number for log in logs] == [token.block_number, receipt.block_number]
        assert logs[1] == receipt.logs[0]
        assert await client.logs(addresses=[token.address], limit=1) == logs[:1]
        over_json = await client.rpc("eth_getTransactionReceipt", "0x" + sent.hash.hex())
        assert over_json["gasUsed"] == hex(receipt.gas_used)

    run(door, work)


def test_deploy_with_a_dev_account_of_the_node(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        contract = published("WETH9")
        made = await client.deploy(bytes.fromhex(contract.bytecode[2:]), sender=dev_account(7).address)
        assert await client.call(made.address, "name()(string)") == ("Wrapped Ether",)
        sent = await client.send(made.address, b"", value=5, sender=dev_account(7).address)
        assert (await client.need_receipt(sent.hash)).status == 1
        assert await client.call(made.address, "totalSupply()(uint256)") == (5,)

    run(door, work)


def test_events_resume_after_a_lost_connection_without_gap_or_repeat(door: dict[str, Any]) -> None:
    def transfer(amount: int) -> bytes:
        return bytes.fromhex("a9059cbb") + bytes(12) + b"\xd2" * 20 + amount.to_bytes(32, "big")

    async def first(client: zvmd.Client) -> tuple[bytes, tuple[int, int], list[int]]:
        token = await deploy_token(client, owner=8)
        stream = client.events("logs", addresses=[token.address], topics=[[TRANSFER]], cursor=(0, 0))
        amounts = [await amount_of(stream)]  # the mint
        waiting = asyncio.ensure_future(anext(stream))
        await client.send(token.address, transfer(1), key=key(8))
        event = await waiting
        await stream.aclose()  # type: ignore[attr-defined]
        for amount in (2, 3):
            await client.send(token.address, transfer(amount), key=key(8))
        return token.address, event.cursor, amounts

    async def amount_of(stream: Any) -> int:
        event = await anext(stream)
        assert isinstance(event, LogEvent)
        return int.from_bytes(event.log.data, "big")

    address, cursor, amounts = run(door, first)
    assert amounts == [10**21]

    async def second(client: zvmd.Client) -> list[int]:
        stream = client.events("logs", addresses=[address], cursor=cursor)
        return [await amount_of(stream) for _ in range(2)]

    assert run(door, second) == [2, 3]


def test_heads_follow_the_chain(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        start = int(await client.rpc("eth_blockNumber"), 16)
        stream = client.events("heads", cursor=(start, 0))
        await client.rpc("anvil_mine", "0x3")
        heads = [await anext(stream) for _ in range(3)]
        assert [event.cursor[0] for event in heads] == [start + 1, start + 2, start + 3]
        block = await client.rpc("eth_getBlockByNumber", hex(start + 2), False)
        assert block["hash"] == "0x" + heads[1].head.hash.hex()

    run(door, work)


def test_many_requests_in_flight_are_answered_by_id(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        token = await deploy_token(client, owner=9)
        owner = dev_account(9).address
        calls = [client.call(token.address, "balanceOf(address)(uint256)", [who]) for who in (owner, FRIEND) * 500]
        assert await asyncio.gather(*calls) == [(10**21,), (0,)] * 500

    run(door, work)


def test_errors_have_slug_number_and_hint(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        token = await deploy_token(client)
        with pytest.raises(zvmd.Reverted) as reverted:
            await client.call(token.address, "transfer(address,uint256)(bool)", [FRIEND, 1])
        assert (reverted.value.code, reverted.value.rpc_code) == ("evm.revert", 3)
        assert reverted.value.data[:4] == bytes.fromhex("08c379a0")
        for work, kind, code in (
            (client.rpc("eth_nope"), zvmd.MethodNotFound, "rpc.method"),
            (client.rpc("eth_getBalance", 1), zvmd.InvalidParams, "rpc.params"),
            (client.send_raw(b"\x02\xc0"), zvmd.MalformedTransaction, "tx.malformed"),
            (client.call_raw(token.address, b"", block=10**9), zvmd.UnknownBlock, "rpc.unknown_block"),
            (client.block(10**9), zvmd.UnknownBlock, "rpc.unknown_block"),
            (client.call_raw(token.address, b"", block="0xzz"), zvmd.InvalidParams, "rpc.params"),
        ):
            with pytest.raises(kind) as caught:
                await work
            assert type(caught.value) is kind
            assert caught.value.code == code
            assert caught.value.hint

    run(door, work)


def test_a_nonce_that_was_used_is_caught_by_its_class(door: dict[str, Any]) -> None:
    async def work(client: zvmd.Client) -> None:
        fields = {"nonce": 0, "gasPrice": 10**10, "gas": 21_000, "to": dev_account(5).address}
        fields |= {"value": 3, "chainId": 31337}
        fresh = Account.create()
        await client.send(fresh.address, value=10**18, key=key(7))
        sent = await client.send_raw(fresh.sign_transaction(fields).raw_transaction, mined=True)
        with pytest.raises(zvmd.NonceTooLow) as caught:
            await client.send_raw(fresh.sign_transaction({**fields, "value": 4}).raw_transaction)
        assert isinstance(caught.value, zvmd.InvalidTransaction)
        assert caught.value.message.startswith("nonce too low")
        fate = await client.fate(sent.hash)
        assert (fate.hash, fate.status, fate.block_number) == (sent.hash, "mined", sent.block_number)
        block = await client.block(sent.block_number)
        assert sent.hash in block.transactions
        assert block == await client.block("0x" + block.hash.hex())
        status = await client.status()
        assert (status.chain_id, status.read_only, status.automine) == (31337, False, True)
        assert status.head.number >= block.number
        assert status.log.durable_lsn >= sent.lsn

    run(door, work)


def test_a_wrong_token_and_a_foreign_certificate_are_refused(door: dict[str, Any], tmp_path: Path) -> None:
    other = load_or_create_certificate(tmp_path, datetime.datetime.now(datetime.UTC)).authority

    async def refusal(**changes: Any) -> tuple[type, str]:
        with pytest.raises(zvmd.ConnectionFailed) as caught:
            await zvmd.connect(**door, **changes, timeout=60)
        return type(caught.value), caught.value.code

    assert asyncio.run(refusal(token="wrong")) == (zvmd.WrongToken, "wire.token")
    assert asyncio.run(refusal(certificate=other)) == (zvmd.ConnectionFailed, "client.connect")


def test_the_blocking_client(door: dict[str, Any]) -> None:
    with zvmd.Node(**door) as node:
        assert node.chain_id == 31337
        assert node.rpc("eth_chainId") == "0x7a69"
        sent = node.send(FRIEND, value=1, key=key(5))
        receipt = node.receipt(sent.hash)
        assert receipt is not None
        assert receipt.status == 1
        head = next(iter(node.events("heads", cursor=(0, 0))))
        assert head.cursor[0] == 1


@pytest.mark.parametrize(
    ("end", "library"),
    [("stop", "qh3"), *(pytest.param(*way, marks=pytest.mark.full) for way in (("kill", "qh3"), ("stop", "aioquic")))],
)
def test_a_node_started_again_fails_what_waits_and_nothing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, library: str
) -> None:
    """A stopped node says farewell, after which qh3 refuses every call; a killed one's port is another's by then."""
    monkeypatch.setattr(zvmd.connection, "SILENCE_SECONDS", 2.0)
    daemon = Daemon(tmp_path / "data", environment={"ZVMD_QUIC__LIBRARY": library})
    daemon.start()

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        printed: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: printed.append(context))
        door = {"url": f"quic://127.0.0.1:{daemon.quic_port}", "data_dir": daemon.data_dir}
        async with zvmd.connect(**door) as watcher, zvmd.connect(**door) as asker:
            heads = asyncio.ensure_future(anext(watcher.events("heads", cursor=(9, 0))))
            await asker.rpc("eth_chainId")
            getattr(daemon, end)()  # in this thread: the client hears nothing until the port is in use again
            daemon.start()
            with pytest.raises(zvmd.ConnectionFailed):
                await asyncio.wait_for(heads, 30)
            for _ in range(2):
                with pytest.raises(zvmd.ConnectionFailed):
                    await asyncio.wait_for(asker.rpc("eth_chainId"), 30)
        return [context["message"] for context in printed]

    try:
        assert asyncio.run(work()) == []
    finally:
        daemon.close()
