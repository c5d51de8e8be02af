"""The kill harness: load a daemon process, ``kill -9`` it, restart it, hold it to the record."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import encode

from tests.contracts import dev_account, published
from tests.crash.load import (
    MAX_FEE_PER_GAS,
    PRIORITY_FEE_PER_GAS,
    BatchClient,
    Channel,
    Client,
    Reader,
    RpcChannel,
    Wallet,
)
from tests.crash.model import Model
from tests.crash.oracle import SAMPLE, Oracle
from tests.crash.record import Kind, Record
from tests.crash.session_load import Desk, SessionClient
from tests.daemon import CHAIN_ID, Daemon
from tests.rpc import Rpc

OWNER = 0
FIRST_CLIENT = 1
TOKENS_EACH = 10**9
JOIN_SECONDS = 30
"""Clients must notice a dead node long before QUIC's idle timeout of 60 s."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take in a cycle, and how much is looked at again."""

    load_seconds: tuple[float, float] = (0.05, 1.5)
    """The kill comes somewhere in here after the load began."""
    recovery_seconds: tuple[float, float] = (0.0, 0.8)
    """So long after the start of the process comes a kill in recovery."""
    kill_in_recovery: float = 0.3
    """How often the restarted process is killed again before it is ready."""
    sample: int = SAMPLE
    """Older things checked again each cycle, at random; the last cycle checks everything."""
    check_twice: bool = True
    """Also look before the kill at what was sent after the first look; the look after the kill sees it anyway."""


FAST = Pace((0.0, 0.3), (0.0, 0.15), 0.5, 40, check_twice=False)
"""For daemons out of a zygote."""


@dataclass(slots=True)
class Report:
    """What a run of cycles went through."""

    seed: int
    cycles: int = 0
    acknowledged: int = 0
    sent_again: int = 0
    """In flight at the kill, so that the client knows nothing and sends again."""
    landed_unanswered: int = 0
    """Of those, in the chain already."""
    kills_in_recovery: int = 0
    session_commands: int = 0
    """Acknowledged commands to debug sessions."""
    recovery_seconds: list[float] = field(default_factory=list)
    head: int = 0

    def __str__(self) -> str:
        return (
            f"kill -9: seed {self.seed}, {self.cycles} cycles (+{self.kills_in_recovery} kills in recovery), "
            f"head {self.head}, {self.acknowledged} transactions and {self.session_commands} session commands "
            f"acknowledged; {self.sent_again} were in flight and sent again, "
            f"{self.landed_unanswered} of them in the chain already; "
            f"slowest restart {max(self.recovery_seconds, default=0.0):.2f} s"
        )


class KillHarness:
    """Drives one daemon and one data directory through cycles of load, kill and check."""

    def __init__(
        self,
        daemon: Daemon,
        seed: int,
        quic: Callable[[], Channel] | None = None,
        clients: int = 4,
        end: Callable[[Daemon], None] = Daemon.kill,
        pace: Pace | None = None,
    ) -> None:
        self._daemon = daemon
        self._chance = random.Random(seed)
        self._quic = quic
        self._clients = clients
        self._end = end
        self._pace = pace or Pace()
        self._desk = Desk()
        self.record = Record()
        self._model = Model()
        self._token = ""
        self._wallets: list[Wallet] = []
        self.report = Report(seed)

    def run(self, cycles: int, deadline: float = float("inf")) -> Report:
        """Set up, then kill and check ``cycles`` times, or until it is this late (`time.monotonic`).

        Raises AssertionError for whatever is not right.
        """
        self._daemon.start()
        oracle = self._set_up()
        for cycle in range(cycles):
            if time.monotonic() > deadline:
                break
            self._load_and_kill()
            self._restart()
            self._check(oracle, everything=cycle == cycles - 1)
            self.report.cycles += 1
        return self.report

    def _set_up(self) -> Oracle:
        """Deploy the token, hand it out, and note the balances everything starts from."""
        rpc = self._daemon.rpc()
        owner = dev_account(OWNER)
        contract = published("ERC20PresetFixedSupply")
        arguments = encode(["string", "string", "uint256", "address"], ["Kill", "KIL", 10**30, owner.address])
        receipt = deploy(rpc, contract.bytecode + arguments.hex())
        self._token = receipt["contractAddress"]
        indexes = range(FIRST_CLIENT, FIRST_CLIENT + self._clients)
        self._wallets = [Wallet(index, self._token, nonce=0) for index in indexes]
        treasurer = Wallet(OWNER, self._token, nonce=1)
        for wallet in self._wallets:
            _, raw = treasurer.sign(Kind.TOKEN, wallet.address, TOKENS_EACH)
            rpc.call("eth_sendRawTransaction", raw)
        first = int(rpc.call("eth_blockNumber"), 16)
        addresses = [wallet.address for wallet in self._wallets]
        self._model.start(
            first,
            ether={address: int(rpc.call("eth_getBalance", address, hex(first)), 16) for address in addresses},
            tokens=dict.fromkeys(addresses, TOKENS_EACH),
            nonces=dict.fromkeys(addresses, 0),
        )
        rpc.close()
        return Oracle(self.record, self._model, self._token, first, self._pace.sample)

    def _load_and_kill(self) -> None:
        addresses = [wallet.address for wallet in self._wallets]
        reader = Reader(self._daemon.http_url, addresses, self._token, self.record, self._chance.getrandbits(32))
        threads: list[Client | Reader | SessionClient] = [reader]
        threads.append(SessionClient(self._daemon.http_url, self._desk, self.record, self._chance.getrandbits(32)))
        for position, wallet in enumerate(self._wallets):
            kind, connect = self._client_kind(position)
            threads.append(kind(connect, wallet, addresses, self.record, self._chance.getrandbits(32)))
        for thread in threads:
            thread.start()
        time.sleep(self._chance.uniform(*self._pace.load_seconds))
        self._end(self._daemon)
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join(JOIN_SECONDS)
            assert not thread.is_alive(), f"{thread} hangs on a dead node"

    def _client_kind(self, position: int) -> tuple[type[Client], Callable[[], Channel]]:
        """Every other client on QUIC where there is a QUIC client, one in four sending batches."""

        def over_http() -> Channel:
            return RpcChannel(self._daemon.http_url)

        if position % 2 == 1 and self._quic is not None:
            return Client, self._quic
        return (BatchClient, over_http) if position % 4 == 2 else (Client, over_http)

    def _restart(self) -> None:
        if self._daemon.is_running:  # it was not ended, only hindered
            return
        while self._chance.random() < self._pace.kill_in_recovery:
            self._daemon.start(wait=False)
            time.sleep(self._chance.uniform(*self._pace.recovery_seconds))
            self._daemon.kill()
            self.report.kills_in_recovery += 1
        begin = time.perf_counter()
        self._daemon.start()
        self.report.recovery_seconds.append(time.perf_counter() - begin)

    def _check(self, oracle: Oracle, *, everything: bool) -> None:
        rpc = self._daemon.rpc()
        oracle.check(rpc, self._chance, everything=everything)
        self._desk.check(rpc)
        channel = RpcChannel(self._daemon.http_url)
        self._send_again(oracle, channel)
        self._go_on(channel)
        channel.close()
        if everything or self._pace.check_twice:
            oracle.check(rpc, self._chance, everything=False)
        self.report.head = int(rpc.call("eth_blockNumber"), 16)
        self.report.acknowledged = len(self.record.sent)
        self.report.session_commands = self._desk.commands
        rpc.close()

    def _send_again(self, oracle: Oracle, channel: Channel) -> None:
        """A client whose answer was lost sends the same bytes again: the same answer, and one inclusion."""
        unanswered = [sent for sent in self.record.sent.values() if not sent.acknowledged]
        for sent in sorted(unanswered, key=lambda sent: (sent.sender, sent.nonce)):
            self.report.landed_unanswered += oracle.landed(sent)
            self.report.sent_again += 1
            self.record.acknowledge(sent, channel.send(sent.raw))

    def _go_on(self, channel: Channel) -> None:
        """The next transactions work; the next kill will find them."""
        for wallet in self._wallets[:3]:
            sent, raw = wallet.sign(Kind.TOKEN, self._wallets[0].address, 1)
            self.record.put_on_wire(sent)
            self.record.acknowledge(sent, channel.send(raw))
            sent.receipt = channel.receipt(sent.hash)
            assert sent.receipt is not None
            assert sent.receipt["status"] == "0x1"


def deploy(rpc: Rpc, initcode: str) -> dict[str, Any]:
    """Deploy as the owner's first transaction, and its receipt."""
    transaction: dict[str, Any] = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": 3_000_000,
        "maxFeePerGas": MAX_FEE_PER_GAS,
        "maxPriorityFeePerGas": PRIORITY_FEE_PER_GAS,
        "value": 0,
        "data": initcode,
    }
    signed = dev_account(OWNER).sign_transaction(transaction)
    hash_ = rpc.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    receipt: dict[str, Any] | None = rpc.call("eth_getTransactionReceipt", hash_)
    assert receipt is not None
    assert receipt["status"] == "0x1"
    return receipt
