"""The node as the protocols see it: what is published, simulations on it, and requests to the writer."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from chain.forks import ChainConfig
from chain.production import INTERVAL_MILLISECONDS_MAX
from chain.state import EMPTY_ACCOUNT
from chain.transactions import Transaction, sign_transaction
from chain.types import ZERO_ADDRESS, Address, Hash32
from node.api.errors import CheatRefused, CheatsDisabled
from node.api.types import (
    CallFields,
    PendingTransaction,
    Submitted,
    TransactionFate,
    Wait,
)
from node.engine import admission
from node.engine.accounts import DevAccounts
from node.engine.answer_cache import AnswerCache
from node.engine.committer import Committer
from node.engine.drafts import Offered
from node.engine.fate import Fates
from node.engine.outbox import Outbox
from node.engine.pending import PendingBlocks
from node.engine.pool import Pool, PooledTransaction
from node.engine.publications import Publications
from node.engine.published_chain import PublishedChain
from node.engine.requests import Cheat, Control, KeepSession, KeepTemplate, Mine, Submit
from node.engine.signing import OwnTransactions
from node.engine.simulations import Simulations
from node.transcript.transcript import Transcript, silent
from storage.sessions.records import Kept, SessionPosition
from storage.store import Store
from vm.machine import Machine

ANVIL_VERSION = "1.7.1"
"""Version of anvil whose behaviour is matched."""


class Node(PublishedChain):
    """Implements `node.api.backend.Backend` and `node.api.sessions.SessionStore`: what changes the chain is here, and
    `Simulations` answer what-if questions.
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        machine: Machine,
        config: ChainConfig,
        dev_accounts: DevAccounts,
        committer: Committer,
        publications: Publications,
        *,
        call_gas_max: int,
        answer_cache_bytes: int = 0,
        short_road: bool = True,
        cheats: bool = False,
        web3_version: str = "",
        transcript: Transcript | None = None,
        read: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        """``cheats``: development calls are taken. ``web3_version``: answer of ``web3_clientVersion``, if not empty.

        ``short_road``: plain calls skip what they do not need. ``answer_cache_bytes`` are for answers of calls, 0 for
        none. ``read`` runs a read that a request needs, on another thread.
        """
        pending_blocks = PendingBlocks(store, pool, machine, config, committer.now)
        super().__init__(store, config, publications, pending_blocks, pool.has)
        self._applied = store.applied
        self._pool = pool
        self._dev = dev_accounts
        self._committer = committer
        self._transcript = transcript or silent()
        self.answers = AnswerCache(answer_cache_bytes)
        """Answers of calls."""
        simulations = Simulations(
            self, machine, call_gas_max, self._transcript, self.answers, short_road=short_road
        )
        self.call, self.estimate_gas = simulations.call, simulations.estimate_gas
        self.trace_call, self.trace_block = simulations.trace_call, simulations.trace_block
        self._ask = Outbox(committer.put_all, publications.calls).ask
        self._own = OwnTransactions(
            config,
            dev_accounts,
            lambda: self._applied.settings,
            lambda fields: self.estimate_gas(fields, self.pending()),
            lambda: (self.next_base_fee(), self.next_fork()),
        )
        self._fates = Fates(store, pool, config, self.transaction_location)
        self._cheats = cheats
        self._web3_version = web3_version
        self._read = read

    # What it is

    @property
    def client_version(self) -> str:
        """Like ``zvmd/v0.1.0/linux-x86_64/python3.11``."""
        return _client_version()

    @property
    def web3_version(self) -> str:
        """Answer of ``web3_clientVersion``: the setting, or the client version, with anvil's before it if ``cheats``.

        Hardhat's network helpers of both generations work only with names that begin with anvil's or Hardhat's.
        """
        name, _, rest = self.client_version.partition("/")
        return self._web3_version or (f"anvil/v{ANVIL_VERSION}/{name}-{rest}" if self._cheats else self.client_version)

    def resets(self) -> int:
        """How often the chain has been reset to its genesis."""
        return self._applied.settings.resets

    def status(self) -> dict[str, Any]:
        """Positions of all stores, pool size, settings of the chain."""
        return {
            "chainId": self.config.chain_id,
            "version": self.client_version,
            "readOnly": self._committer.read_only,
            "poolTransactions": len(self._pool),
            "automine": self._applied.settings.automine,
            "intervalSeconds": self._applied.settings.interval_milliseconds / 1000,
            **self._store.status(),
        }

    def accounts(self) -> Sequence[Address]:
        """Accounts the node holds keys of, and those it impersonates."""
        keys = self._dev.addresses
        return [*keys, *(Address(known) for known in self._applied.settings.impersonated if known not in keys)]

    # Pool and fees

    def pending_nonce(self, address: Address) -> int:
        """Next nonce counting pooled transactions, and those of a block that is on its way to the disk."""
        while True:
            published, head = self._store.published, self.head().number
            account = self.view(head).account(address) or EMPTY_ACCOUNT
            nonce = self._pool.shown_nonce(address, account.nonce, head)
            if self._store.published == published:
                return nonce

    def pending_transaction(self, transaction_hash: Hash32) -> PendingTransaction | None:
        """A transaction that waits for a block."""
        entry = self._pool.shown_entry(transaction_hash, self.head().number)
        return _waiting(entry) if entry else None

    def fate(self, transaction_hash: Hash32) -> TransactionFate:
        """The fate of a transaction: mined, waiting and why, or why it is in no block."""
        return self._fates.of(transaction_hash)

    def pending_transactions(self) -> Sequence[PendingTransaction]:
        """All that wait, oldest first."""
        return [_waiting(entry) for entry in self._pool.shown_entries(self.head().number)]

    def arrivals(self) -> AsyncIterator[list[PendingTransaction]]:
        """Transactions that enter the pool, each when it is durable and before its block is published."""
        return self._publications.arrivals()

    # Writing

    async def submit(self, raw: bytes, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        """Admit a signed transaction (network form) and return when it is durable, or mined."""
        # On the loop's thread: recovery takes 30 us with the GIL released, a hop to another thread takes longer.
        return await self._submit(self._decode(raw), wait, batch)

    def _decode(self, raw: bytes) -> PooledTransaction:
        return admission.decode(raw, self.config, self.next_fork())

    async def _submit(self, candidate: Offered, wait: Wait, batch: object) -> Submitted:
        mined = wait in ("mined", "indexed")
        known = candidate.transaction.hash if isinstance(candidate, PooledTransaction) else None
        with self._transcript.telling_refusal(known, candidate.sender):
            answer = await self._ask(
                lambda done: Submit(done, candidate, mined, wait_durable=wait != "accepted", body=batch)
            )
        assert isinstance(answer, bytes), "a submission is answered with the transaction's hash"
        transaction_hash = Hash32(answer)
        place = self.transaction_location(transaction_hash)
        if wait == "indexed" and place is not None:
            await self._wait_indexed(place.block_number)
        number = place.block_number if place else None
        return Submitted(transaction_hash, self._publications.lsn, number)

    async def _wait_indexed(self, number: int) -> None:
        """Index up to a block now instead of at the next run of the job. Indexed blocks stay indexed after a crash."""
        while self._store.follower.reached < min(number, self.head().number):
            await asyncio.to_thread(self._store.index_new_blocks)

    async def send_from(self, fields: CallFields, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        """Complete (nonce, gas, fees, type), sign with the key of ``fields.sender`` and submit.

        One sender's transactions are completed in order of arrival, each after the one before was answered: what is
        estimated for a transaction includes the effects of the earlier ones.
        """
        sender = fields.sender or next(iter(self.accounts()), Address(bytes(20)))
        async with self._own.turn_of(sender):
            return await self._submit(await self._read(lambda: self._own.complete(fields, sender)), wait, batch)

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        """Execute a development call (`node.engine.cheats`); returns its answer, or the first answer to this ``key``.

        Raises `CheatsDisabled` unless this is a development chain.
        """
        if not self._cheats:
            raise CheatsDisabled(f"{name.replace('_', ' ')}: this is not a development chain")
        answer: Any = await self._ask(lambda done: Cheat(done, name, arguments, key))
        return answer  # type: ignore[no-any-return]

    def fill(self, fields: CallFields) -> Transaction:
        """The unsigned transaction that `send_from` would sign. Raises what an estimate of its gas raises."""
        sender = fields.sender or ZERO_ADDRESS
        nonce = fields.nonce if fields.nonce is not None else self.pending_nonce(sender)
        return self._own.filled(fields, sender)(nonce)

    def sign_filled(self, fields: CallFields) -> Transaction:
        """The transaction signed with the key of ``fields.sender``. Raises `UnknownAccount` and what `fill` raises."""
        secret = self._dev.secret(fields.sender or ZERO_ADDRESS)
        return sign_transaction(self.fill(fields), secret)

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        """(y parity, r, s) with a dev account's key."""
        return self._dev.sign(address, digest)

    async def mine(self, count: int = 1, interval: int = 0, key: str = "") -> int:
        """Seal ``count`` blocks. Returns the head's number, or the first answer to the same ``key``."""
        number = await self._ask(lambda done: Mine(done, count, interval, key))
        assert isinstance(number, int)
        return number

    async def keep_session(self, session: int, change: Kept | SessionPosition | None) -> None:
        """Return once a debug session, its new position or its closing is durable."""
        await self._ask(lambda done: KeepSession(done, session, change))

    async def keep_template(self, name: str, content: bytes | None) -> None:
        """Return once a user's template or its removal is durable."""
        await self._ask(lambda done: KeepTemplate(done, name, content))

    async def set_automine(self, enabled: bool, key: str = "") -> None:
        """Seal whenever a transaction can be executed, or only on demand."""
        await self._ask(lambda done: Control(done, "automine", enabled, key))

    async def set_interval_mining(self, seconds: float, key: str = "") -> None:
        """0 switches interval sealing off. Raises `CheatRefused` above `INTERVAL_MILLISECONDS_MAX`."""
        if seconds * 1000 > INTERVAL_MILLISECONDS_MAX:
            raise CheatRefused(f"an interval of {seconds:g} s; the longest is a year")
        await self._ask(lambda done: Control(done, "interval_milliseconds", round(seconds * 1000), key))

    def automine(self) -> bool:
        """Whether transactions are sealed at once."""
        return self._applied.settings.automine




@cache
def _client_version() -> str:
    """Made once: the version is in a file of the package."""
    system = f"{platform.system()}-{platform.machine()}".lower()
    python = ".".join(platform.python_version_tuple()[:2])
    return f"zvmd/v{version('zvmd')}/{system}/python{python}"


def _waiting(entry: PooledTransaction) -> PendingTransaction:
    return PendingTransaction(entry.transaction, entry.sender)
