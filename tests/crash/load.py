"""Clients that send signed transfers over JSON-RPC and QUIC until the node dies under them."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable
from typing import Any, Protocol

from eth_account.signers.local import LocalAccount

from tests.contracts import dev_account
from tests.crash.record import Kind, Record, Sent
from tests.daemon import CHAIN_ID
from tests.rpc import Rpc

MAX_FEE_PER_GAS = 10**11
PRIORITY_FEE_PER_GAS = 10**9
TOKEN_GAS_LIMIT = 100_000
BATCH = 8
FRESH_SHARE = 0.2
"""Share of transfers to an address nobody used before."""

BROKEN = (OSError, http.client.HTTPException, EOFError)
"""What a client sees when the node dies; anything else is a complaint."""


class Channel(Protocol):
    """A connection that can send a raw transaction and ask for a receipt."""

    def send(self, raw: str) -> str:
        """The hash, once the node has acknowledged the transaction."""

    def receipt(self, hash_: str) -> dict[str, Any] | None:
        """The receipt, in JSON-RPC's form."""

    def close(self) -> None:
        """Leave."""


class RpcChannel:
    """JSON-RPC over HTTP."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url, timeout=30)

    def send(self, raw: str) -> str:
        """The hash, once the node has acknowledged the transaction."""
        return str(self.rpc.call("eth_sendRawTransaction", raw))

    def receipt(self, hash_: str) -> dict[str, Any] | None:
        """The receipt, in JSON-RPC's form."""
        answer: dict[str, Any] | None = self.rpc.call("eth_getTransactionReceipt", hash_)
        return answer

    def close(self) -> None:
        """Leave."""
        self.rpc.close()


class Wallet:
    """An account that signs transfers one nonce after another, with eth-account."""

    def __init__(self, index: int, token: str, nonce: int) -> None:
        self._account: LocalAccount = dev_account(index)
        self.address = self._account.address.lower()
        self._token = token
        self.nonce = nonce

    def sign(self, kind: Kind, to: str, amount: int) -> tuple[Sent, str]:
        """The next transfer and its raw bytes in hex."""
        ether = kind is Kind.ETHER
        data = "0x" if ether else "0xa9059cbb" + to.removeprefix("0x").rjust(64, "0") + f"{amount:064x}"
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": self.nonce,
            "gas": 21_000 if ether else TOKEN_GAS_LIMIT,
            "maxFeePerGas": MAX_FEE_PER_GAS,
            "maxPriorityFeePerGas": PRIORITY_FEE_PER_GAS,
            "to": bytes.fromhex((to if ether else self._token).removeprefix("0x")),
            "value": amount if ether else 0,
            "data": data,
        }
        signed = self._account.sign_transaction(transaction)
        raw = "0x" + bytes(signed.raw_transaction).hex()
        sent = Sent("0x" + bytes(signed.hash).hex(), self.address, self.nonce, kind, to, amount, raw)
        self.nonce += 1
        return sent, raw

    def sign_random(self, chance: random.Random, others: list[str]) -> tuple[Sent, str]:
        """A small transfer of ether or tokens to another client or to a fresh address."""
        fresh = f"0x{chance.getrandbits(160):040x}"
        to = fresh if chance.random() < FRESH_SHARE else chance.choice(others)
        return self.sign(chance.choice(list(Kind)), to, chance.randint(1, 1_000))


class Client(threading.Thread):
    """One client: sends until told to stop or until the node is gone. Its account is its own."""

    def __init__(
        self, connect: Callable[[], Channel], wallet: Wallet, others: list[str], record: Record, seed: int
    ) -> None:
        super().__init__(daemon=True)
        self._connect = connect
        self._wallet = wallet
        self._others = others
        self._record = record
        self._chance = random.Random(seed)
        self.stop = threading.Event()

    def run(self) -> None:
        """Send one at a time, sometimes asking for the receipt at once."""
        try:
            channel = self._connect()
            try:
                while not self.stop.is_set():
                    self._turn(channel)
            finally:
                channel.close()
        except BROKEN:
            return
        except Exception as error:  # a thread's failure must reach the test
            self._record.failed(f"client {self._wallet.address}", error)

    def _turn(self, channel: Channel) -> None:
        sent, raw = self._wallet.sign_random(self._chance, self._others)
        self._record.put_on_wire(sent)
        self._record.acknowledge(sent, channel.send(raw))
        if self._chance.random() < 0.3:
            sent.receipt = channel.receipt(sent.hash)
            if sent.receipt is None:
                self._record.complain(f"{sent.hash} was acknowledged but has no receipt")


class BatchClient(Client):
    """Sends batches of successive nonces, so that several are in flight when the node dies."""

    def _turn(self, channel: Channel) -> None:
        assert isinstance(channel, RpcChannel)
        batch = [self._wallet.sign_random(self._chance, self._others) for _ in range(BATCH)]
        for sent, _ in batch:
            self._record.put_on_wire(sent)
        answers = channel.rpc.batch([("eth_sendRawTransaction", (raw,)) for _, raw in batch])
        for (sent, _), answer in zip(batch, answers, strict=True):
            self._record.acknowledge(sent, answer)


class Reader(threading.Thread):
    """Looks at the chain while it grows and remembers what it was shown of settled blocks."""

    def __init__(self, url: str, addresses: list[str], token: str, record: Record, seed: int) -> None:
        super().__init__(daemon=True)
        self._rpc = Rpc(url, timeout=30)
        self._addresses = addresses
        self._token = token
        self._record = record
        self._chance = random.Random(seed)
        self.stop = threading.Event()

    def run(self) -> None:
        """Ask about the newest block and about random older ones until the node is gone."""
        try:
            while not self.stop.is_set():
                head = int(self._rpc.call("eth_blockNumber"), 16)
                self._look(head)
                self._look(self._chance.randint(0, head))
                self.stop.wait(0.02)
        except BROKEN:
            return
        except Exception as error:  # as above
            self._record.complain(f"reader: {error!r}")
        finally:
            self._rpc.close()

    def _look(self, number: int) -> None:
        block = hex(number)
        address = self._chance.choice(self._addresses)
        balance_of = {"to": self._token, "data": "0x70a08231" + address.removeprefix("0x").rjust(64, "0")}
        questions: list[tuple[str, tuple[object, ...]]] = [
            ("eth_getBlockByNumber", (block, True)),
            ("eth_getBalance", (address, block)),
            ("eth_getTransactionCount", (address, block)),
            ("eth_call", (balance_of, block)),
            ("eth_getLogs", ({"fromBlock": block, "toBlock": block},)),
        ]
        for method, params in questions:
            self._record.observe(method, params, self._rpc.call(method, *params))
