"""Sends, replacements, sealing and ways back, together on several connections: every answered hash has its place.

The same life as in `tests.unit.node.test_no_hash_is_lost`, over real sockets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import zvmd
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.effort import tries
from tests.fates import REPLACES, SENDERS, SENDS, act, check_successive, others
from tests.rpc import Rpc
from zvmd.errors import ConnectionFailed, ZvmdError

ACCOUNTS = [dev_account(number).address.lower() for number in range(SENDERS)]
STRANGER = "0x" + "42" * 20
GWEI = 10**9
INTERVAL_MS = 20
HTTP_PEERS, QUIC_PEERS = 3, 2
OTHERS = others(
    "automine", "manual", "interval", "no interval", "mine", "snapshot", "revert", "roll back", "drop", "poor", "rich"
)  # fmt: skip
ACTION = st.one_of(SENDS, SENDS, REPLACES, OTHERS)
TOGETHER = st.lists(ACTION, min_size=1, max_size=HTTP_PEERS + QUIC_PEERS)
STEPS = st.lists(st.one_of(TOGETHER, st.lists(SENDS, min_size=2, max_size=5)), min_size=1, max_size=10)

Answer = Any
Ask = Callable[[list[tuple[str, tuple[object, ...]]]], list[Answer]]
"""Results of calls, None for one that was refused."""


class Heard:
    """What the peers were answered. Its lists are only appended to, and popped, by threads at once."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.snapshots: list[str] = []
        self.refused = 0
        self.wei = itertools.count(1)
        """Every transaction has a hash of its own."""


class Peer:
    """One connection and what is done on it (`tests.fates.Life`)."""

    def __init__(self, ask: Ask, heard: Heard) -> None:
        self._ask = ask
        self._heard = heard

    def send(self, sends: list[tuple[int, int]]) -> None:
        """All at once where the transport has batches; the node chooses the nonces."""
        self._sent(*(_transfer(sender, gwei, next(self._heard.wei)) for sender, gwei in sends))

    def replace(self, which: tuple[int, int, int]) -> None:
        sender, ahead, gwei = which
        (count,) = self._ask([("eth_getTransactionCount", (ACCOUNTS[sender], "latest"))])
        nonce = hex(int(count, 16) + ahead)
        self._sent(_transfer(sender, gwei, next(self._heard.wei)) | {"nonce": nonce})

    def _sent(self, *transactions: dict[str, str]) -> None:
        for answer in self._ask([("eth_sendTransaction", (one,)) for one in transactions]):
            if answer is None:
                self._heard.refused += 1
            else:
                self._heard.hashes.append(answer)

    def other(self, name: str, number: int) -> None:
        heard, account = self._heard, ACCOUNTS[number % SENDERS]
        calls: dict[str, tuple[str, tuple[object, ...]]] = {
            "automine": ("evm_setAutomine", (True,)),
            "manual": ("evm_setAutomine", (False,)),
            "interval": ("evm_setIntervalMining", (INTERVAL_MS,)),
            "no interval": ("evm_setIntervalMining", (0,)),
            "mine": ("evm_mine", ()),
            "snapshot": ("evm_snapshot", ()),
            "roll back": ("anvil_rollback", (number,)),
            "poor": ("anvil_setBalance", (account, hex(10**15 * number))),
            "rich": ("anvil_setBalance", (account, hex(10**22))),
        }
        if name in calls:
            (answer,) = self._ask([calls[name]])
            if name == "snapshot":
                heard.snapshots.append(answer)
        elif name == "revert" and heard.snapshots:
            self._ask([("evm_revert", (heard.snapshots.pop(-1 - number % len(heard.snapshots)),))])
        elif name == "drop" and heard.hashes:
            self._ask([("anvil_dropTransaction", (heard.hashes[-1 - number % len(heard.hashes)],))])


def _transfer(sender: int, gwei: int, wei: int) -> dict[str, str]:
    fees = {"maxFeePerGas": hex(100 * gwei * GWEI), "maxPriorityFeePerGas": hex(gwei * GWEI)}
    return {"from": ACCOUNTS[sender], "to": STRANGER, "value": hex(wei), "gas": "0x5208", **fees}


def over_http(rpc: Rpc) -> Ask:
    """A batch of JSON-RPC."""

    def ask(calls: list[tuple[str, tuple[object, ...]]]) -> list[Answer]:
        body = [
            {"jsonrpc": "2.0", "id": at, "method": method, "params": params}
            for at, (method, params) in enumerate(calls)
        ]
        answers = {answer["id"]: answer.get("result") for answer in rpc.exchange(body)}
        return [answers[at] for at in range(len(calls))]

    return ask


def over_quic(client: zvmd.Node) -> Ask:
    """One after the other."""

    def one(method: str, params: tuple[object, ...]) -> Answer:
        try:
            return client.rpc(method, *params)
        except ConnectionFailed:
            raise
        except ZvmdError:
            return None

    return lambda calls: [one(*call) for call in calls]


def waiting(rpc: Rpc) -> set[tuple[object, int]]:
    """Senders and nonces of the pool."""
    content = rpc.call("txpool_content")
    return {
        (sender, int(nonce)) for part in content.values() for sender, nonces in part.items() for nonce in nonces
    }  # fmt: skip


def check_places(rpc: Rpc, hashes: list[str]) -> None:
    """Each is in a block or in the pool, or its fate is known."""
    for known in hashes:
        transaction, fate = rpc.call("eth_getTransactionByHash", known), rpc.call("zvmd_transactionFate", known)
        assert transaction is not None or fate["status"] in ("replaced", "dropped", "reverted"), f"{known} is lost"


def check_nonces(rpc: Rpc, hashes: list[str], waited: set[tuple[object, int]]) -> None:
    """Of transactions sent together, all accepted, whose nonces the node chose."""
    given: dict[object, list[int]] = {}
    for known in hashes:
        transaction = rpc.call("eth_getTransactionByHash", known)
        if transaction is None:
            return  # a block by the clock found that its sender cannot pay
        given.setdefault(transaction["from"].lower(), []).append(int(transaction["nonce"], 16))
    check_successive(given, waited)


def live(rpc: Rpc, peers: list[Peer], heard: Heard, steps: list[list[tuple[str, Any]]]) -> None:
    """Each step's actions at the same time, a connection each."""
    with ThreadPoolExecutor(len(peers)) as threads:
        for together in steps:
            waited, before, refused = waiting(rpc), len(heard.hashes), heard.refused
            for _ in threads.map(lambda pair: act(pair[0], *pair[1]), zip(peers, together, strict=False)):
                pass
            check_places(rpc, heard.hashes)
            if all(name == "send" for name, _ in together) and heard.refused == refused:
                check_nonces(rpc, heard.hashes[before:], waited)


def connected(daemon: Daemon, stack: ExitStack, heard: Heard) -> list[Peer]:
    """Peers of both transports in turn."""
    http = [over_http(daemon.rpc()) for _ in range(HTTP_PEERS)]
    quic = [over_quic(stack.enter_context(daemon.quic())) for _ in range(QUIC_PEERS)]
    asks: Iterator[Ask] = (ask for pair in itertools.zip_longest(http, quic) for ask in pair if ask is not None)
    return [Peer(ask, heard) for ask in asks]


def test_no_hash_is_lost(daemon: Daemon) -> None:
    """Nor by ``kill -9`` at the end."""
    everything: list[str] = []

    @given(STEPS)
    @settings(max_examples=tries(12, 150), deadline=None, derandomize=True)
    def in_any_order(steps: list[list[tuple[str, Any]]]) -> None:
        heard, rpc = Heard(), daemon.rpc()
        rpc.call("evm_setIntervalMining", 0)
        rpc.call("evm_setAutomine", True)
        with ExitStack() as stack:
            live(rpc, connected(daemon, stack, heard), heard, steps)
        everything.extend(heard.hashes)

    in_any_order()
    daemon.kill()
    daemon.start()
    assert everything
    check_places(daemon.rpc(), everything)
