"""A node on real files without threads or sockets: recovered, driven turn by turn, and left without a goodbye."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from chain.crypto import address_of_secret
from chain.types import Address, Hash32
from node.daemon.opening import OpenedChain, open_chain
from node.engine.clock import FixedClock
from node.engine.committer import Committer, Listeners
from node.engine.pool import PooledTransaction
from node.engine.publications import Publications
from node.engine.requests import Freeze, Mine, Submit, WriterRequest
from node.settings import NodeSettings, Settings, StorageSettings
from tests.contracts import dev_account
from tests.engines import chosen
from tests.signed import signed_transfer
from vm.block import Listener

GWEI = 10**9
START = 1_700_000_000
PROGRAM = version("zvmd")
"""The version that runs."""


def settings_of(data_dir: Path, **storage: Any) -> Settings:
    """Of a development chain whose genesis fits into small segments; no ballast, since tests make many directories."""
    return Settings(
        node=NodeSettings(data_dir=str(data_dir), dev=True, dev_contracts=False),
        storage=StorageSettings(**{"segment_size_bytes": 2**20, "ballast_bytes": 0, "engine": chosen(), **storage}),
    )


class LocalNode:
    """The real engine over the real stores of a directory."""

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: FixedClock | None = None,
        accept_data_loss: int = 0,
        listeners: Listeners | None = None,
        **storage: Any,
    ) -> None:
        self.data_dir = data_dir
        self.clock = clock or FixedClock(START)
        settings = settings_of(data_dir, **storage)
        self.opened: OpenedChain = open_chain(
            settings, {}, now=lambda: START - 10, accept_data_loss=accept_data_loss
        )
        self.store, self.applied, self.pool = self.opened.store, self.opened.store.applied, self.opened.pool
        self.publications = Publications(self.store)
        told = Listeners(
            on_admitted=self.publications.admitted,
            on_publish=self.publications.published,
            on_answered=self.publications.calls.wake,
        )
        self.committer = Committer(self.opened.writer(), self.store, self.clock, listeners or told)
        self.secrets = [bytes(dev_account(number).key) for number in range(3)]
        self.accounts = [address_of_secret(secret) for secret in self.secrets]

    def ask(self, *make: Callable[[Callable[[object], None]], WriterRequest]) -> list[object]:
        """One turn with these requests, committed; their answers."""
        self.clock.seconds += 1
        answers: list[object] = [None] * len(make)
        requests = [one(lambda answer, at=at: answers.__setitem__(at, answer)) for at, one in enumerate(make)]  # type: ignore[misc]
        self.committer.commit(self.committer.step(requests))
        return answers

    def heard_by(self, listener: Callable[[], Listener | None]) -> None:
        """Let blocks tell this listener how their transactions ended; nothing may be under way."""
        self.committer = Committer(self.opened.writer(listener), self.store, self.clock)

    def transfer(self, sender: int, to: Address, wei: int = 1, nonce: int | None = None) -> PooledTransaction:
        """A signed transfer with the sender's next nonce."""
        account = self.applied.newest_state().account(self.accounts[sender])
        assert account is not None
        return signed_transfer(self.secrets[sender], to, account.nonce if nonce is None else nonce, wei=wei)

    def send(self, candidate: PooledTransaction) -> Hash32:
        """Send, and the hash once it is durable."""
        (answer,) = self.ask(lambda done: Submit(done, candidate))
        if isinstance(answer, Exception):
            raise answer
        assert answer == candidate.transaction.hash
        return candidate.transaction.hash

    def grow(self, blocks: int) -> list[Hash32]:
        """So many blocks of one transfer each."""
        number = self.store.applied.tip.number
        return [
            self.send(self.transfer((number + i) % 3, Address((0x10000 + number + i).to_bytes(20, "big")), i + 1))
            for i in range(blocks)
        ]

    def mine(self, key: str = "") -> object:
        """One more block, empty or not."""
        return self.ask(lambda done: Mine(done, key=key))[0]

    def checkpoint(self) -> None:
        """What the checkpoint job does."""
        self.ask(Freeze)
        self.store.write_frozen()

    def close(self) -> None:
        """Give the files back, as the end of the process would; nothing is written down."""
        self.opened.machine.close()
        self.store.wal.abandon()
        self.store.follower.close()
        self.store.kv.close()
        self.opened.lock.release()

    def digest(self) -> dict[str, Any]:
        """Equal for nodes with the same chain."""
        chain, head = self.store.chain, self.store.head.number
        state = self.store.state.view(head)
        return {
            "blocks": [self.applied.block_hash(number).hex() for number in range(head + 1)],
            "receipts": [chain.receipts(number) for number in range(head + 1)],
            "balances": [state.account(address) for address in self.accounts],
            "pool": [entry.raw for entry in self.pool.entries()],
            "controls": msgspec.structs.asdict(self.applied.settings),
        }
