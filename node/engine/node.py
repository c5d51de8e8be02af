"""The node as the protocols see it: reads of published blocks on any thread, writes through the writer."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

from chain.blocks import Block, Header, encode_block
from chain.environment import BlockEnvironment
from chain.fees import blob_base_fee
from chain.forks import ChainConfig, Fork
from chain.production import INTERVAL_MILLISECONDS_MAX, ChainSettings, excess_blob_gas_after, next_base_fee
from chain.receipts import Receipt
from chain.state import EMPTY_ACCOUNT, StateReader
from chain.transactions import Transaction, sign_transaction
from chain.types import ZERO_ADDRESS, Address, Hash32
from node.api.errors import CheatRefused, CheatsDisabled, UnknownBlock
from node.api.pending_block import BlockAt, PendingBlock
from node.api.tracing import MakeTracer
from node.api.types import (
    CallFields,
    CallResult,
    Overrides,
    PendingTransaction,
    Submitted,
    TransactionFate,
    TransactionLocation,
    Wait,
)
from node.engine import admission
from node.engine.accounts import DevAccounts
from node.engine.committer import Committer
from node.engine.drafts import Offered
from node.engine.fate import Fates
from node.engine.outbox import Outbox
from node.engine.pending import PendingBlocks
from node.engine.pool import Pool, PooledTransaction
from node.engine.publications import Publications
from node.engine.requests import Cheat, Control, KeepSession, KeepTemplate, Mine, Submit
from node.engine.signing import OwnTransactions
from node.engine.simulate import Situation, estimate_gas, run_call, trace_call
from node.engine.tracing import situation_before, trace_block
from node.transcript.transcript import Transcript, silent
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from storage.sessions.records import Kept, Place
from storage.state.proof import AccountProof, prove
from storage.store import Store
from vm.importing import environment_of
from vm.machine import Machine

ANVIL_VERSION = "1.7.1"
"""Version of anvil whose behaviour is matched."""


class Node:
    """Implements `node.api.backend.Backend` and `node.api.sessions.SessionStore`."""

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
        cheats: bool = False,
        web3_version: str = "",
        transcript: Transcript | None = None,
        read: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        """``cheats``: development calls are taken. ``web3_version``: answer of ``web3_clientVersion``, if not empty.

        ``read`` runs a read that a request needs, on another thread.
        """
        self._store = store
        self._machine = machine
        self._applied = store.applied
        self._pool = pool
        self._config = config
        self._dev = dev_accounts
        self._committer = committer
        self._publications = publications
        self._call_gas_max = call_gas_max
        self.transcript = transcript or silent()
        self._ask = Outbox(committer.put).ask
        self._pending_blocks = PendingBlocks(self._store, self._pool, self._machine, self._config, committer.now)
        self._own = OwnTransactions(
            self._config,
            self._dev,
            lambda: self._applied.settings,
            lambda fields: self.estimate_gas(fields, self.pending()),
            lambda: (self.next_base_fee(), self._next_fork()),
        )
        self._fates = Fates(self._store, self._pool, self._config, self.transaction_location)
        self._last_situations: dict[type, tuple[object, Situation]] = {}
        """The newest situation of a published block, and that of a pending one."""
        self._cheats = cheats
        self._web3_version = web3_version
        self._read = read

    # What it is

    @property
    def config(self) -> ChainConfig:
        """Chain id and forks."""
        return self._config

    @property
    def client_version(self) -> str:
        """Like ``zvmd/v0.1.0/linux-x86_64/python3.11``."""
        system = f"{platform.system()}-{platform.machine()}".lower()
        python = ".".join(platform.python_version_tuple()[:2])
        return f"zvmd/v{version('zvmd')}/{system}/python{python}"

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
            "chainId": self._config.chain_id,
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

    # Blocks

    def head(self) -> Header:
        """Header of the newest durable block."""
        return self._store.head

    def header(self, number: int) -> Header | None:
        """Header of a published block."""
        return self._store.chain.header(number) if 0 <= number <= self.head().number else None

    def block(self, number: int) -> Block | None:
        """A published block."""
        return self._store.chain.block(number) if 0 <= number <= self.head().number else None

    def receipts(self, number: int) -> Sequence[Receipt] | None:
        """Receipts of a published block."""
        return self._store.chain.receipts(number) if 0 <= number <= self.head().number else None

    def senders(self, number: int) -> Sequence[Address] | None:
        """Senders of a published block's transactions, in order."""
        return self._store.chain.senders(number) if 0 <= number <= self.head().number else None

    def block_size(self, number: int) -> int | None:
        """Length of the block's RLP, bytes."""
        return len(encode_block(block)) if (block := self.block(number)) is not None else None

    def number_of(self, block_hash: Hash32) -> int | None:
        """Number of the published block with this hash."""
        number = self._store.chain.number_of(block_hash)
        return number if number is not None and number <= self.head().number else None

    def transaction_location(self, transaction_hash: Hash32) -> TransactionLocation | None:
        """Block and index of a transaction in a published block."""
        place = self._store.transaction_place(transaction_hash)
        if place is None or place.block_number > self.head().number:
            return None
        return TransactionLocation(place.block_number, place.transaction_index)

    def logs(self, query: LogQuery) -> Sequence[FoundLog]:
        """Logs that match, lowest positions first, at most ``query.limit``."""
        return self._store.logs(replace(query, to_block=min(query.to_block, self.head().number)))

    def block_hash(self, number: int) -> Hash32:
        """Hash of a block, zero if there is none."""
        return self._applied.block_hash(number)

    def pending(self) -> PendingBlock:
        """The pending block, from the pool and the clock. Reader threads."""
        return self._pending_blocks.newest()

    # State

    def view(self, at: BlockAt) -> StateReader:
        """State after a block. Raises StateUnavailable outside retention."""
        return self._store.view(at) if isinstance(at, int) else at.state

    def state_position(self, number: int) -> int:
        """Position of the newest published state that follows a block (`storage.state.positions`)."""
        return self._store.view(number).number

    def view_at(self, number: int, position: int) -> StateReader:
        """A published state that followed a block. Raises StateUnavailable, also after it was reverted."""
        return self._store.view(number, position)

    def call(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
        """Simulate by the rules of ``eth_call``."""
        situation = self._situation(at)
        call = partial(run_call, situation, fields, overrides)
        return self.transcript.watch("eth_call", call, fields, situation.state)

    def estimate_gas(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> int | CallResult:
        """Smallest sufficient gas limit, or the failed result when none helps."""
        situation = self._situation(at)
        estimate = partial(estimate_gas, situation, fields, overrides)
        return self.transcript.watch("eth_estimateGas", estimate, fields, situation.state)

    def prove(self, at: BlockAt, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof of an account and slots in the state after a block (EIP-1186)."""
        return prove(self._store.state.view(at), address, slots) if isinstance(at, int) else at.prove(address, slots)

    def trace_call(
        self,
        fields: CallFields,
        at: BlockAt,
        overrides: Overrides | None,
        make: MakeTracer,
        index: int | None = None,
    ) -> Any:
        """Result of a tracer on a simulated call after a block, or before its transaction ``index``."""
        if index is None:
            situation = self._situation(at)
        else:
            situation = situation_before(*self._run_again(at), self.block_hash, index, self._call_gas_max)
        return trace_call(situation, fields, overrides, make)

    def trace_block(self, at: BlockAt, make: MakeTracer, index: int | None = None) -> Iterator[Any]:
        """Results of tracers on a block's transactions, each executed when its result is taken; one with ``index``."""
        block = self.block(at) if isinstance(at, int) else at.block
        if block is not None and not block.transactions:
            return iter(())
        return trace_block(*self._run_again(at), self.block_hash, make, index)

    def _run_again(self, at: BlockAt) -> tuple[Machine, BlockEnvironment, Block, Sequence[Address], StateReader]:
        """What executing a block again needs: machine, environment, block, senders and pre-state."""
        if not isinstance(at, int):
            return self._machine, at.environment, at.block, at.senders, at.before
        block, senders = self.block(at), self.senders(at)
        if block is None or senders is None or not at:
            raise UnknownBlock(f"there is no block {at} to run again")
        environment = environment_of(block.header, self._config, block.withdrawals or ())
        return self._machine, environment, block, senders, self.view(at - 1)

    def _situation(self, at: BlockAt) -> Situation:
        name = (at, self._store.published) if isinstance(at, int) else at
        known = self._last_situations.get(type(at))
        if known is not None and known[0] == name:
            return known[1]
        environment = self._environment(at)
        situation = Situation(
            machine=self._machine,
            environment=environment,
            block_hash=self._applied.block_hash,
            state=self.view(at),
            gas_max=max(self._call_gas_max, environment.gas_limit),
        )
        self._last_situations[type(at)] = name, situation
        return situation

    def _environment(self, at: BlockAt) -> BlockEnvironment:
        if not isinstance(at, int):
            return at.environment
        header = self.header(at)
        if header is None:
            raise UnknownBlock(f"there is no block {at}")
        return environment_of(header, self._config)

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

    def next_base_fee(self) -> int:
        """Base fee of the block after the head, wei."""
        return next_base_fee(self.head(), self._next_fork(), self._applied.settings)

    def blob_base_fee(self, number: int) -> int:
        """Price of blob gas in that block, wei; ``head + 1`` is allowed."""
        head = self.head()
        if number == head.number + 1:
            return self.fees_after(head)[1]
        header = self.header(number)
        if header is None:
            raise UnknownBlock(f"there is no block {number}")
        fraction = self._config.blobs_at(header.timestamp).base_fee_update_fraction
        return blob_base_fee(header.excess_blob_gas or 0, fraction)

    def fees_after(self, header: Header) -> tuple[int, int]:
        """Base fee and price of blob gas, wei, that follow from a block for the next one."""
        schedule = self._config.blobs_at(header.timestamp)
        fork = self._config.fork_at(header.number + 1, header.timestamp)
        excess = excess_blob_gas_after(header, schedule, fork) if fork >= Fork.CANCUN else 0
        return next_base_fee(header, fork, ChainSettings()), blob_base_fee(excess, schedule.base_fee_update_fraction)

    # Writing

    async def submit(self, raw: bytes, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        """Admit a signed transaction (network form) and return when it is durable, or mined."""
        # On the loop's thread: recovery takes 30 us with the GIL released, a hop to another thread takes longer.
        return await self._submit(self._decode(raw), wait, batch)

    def _decode(self, raw: bytes) -> PooledTransaction:
        return admission.decode(raw, self._config, self._next_fork())

    def _next_fork(self) -> Fork:
        head = self.head()
        return self._config.fork_at(head.number + 1, head.timestamp + 1)

    async def _submit(self, candidate: Offered, wait: Wait, batch: object) -> Submitted:
        mined = wait in ("mined", "indexed")
        known = candidate.transaction.hash if isinstance(candidate, PooledTransaction) else None
        with self.transcript.telling_refusal(known, candidate.sender):
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

    async def keep_session(self, session: int, change: Kept | Place | None) -> None:
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

    def published_lsn(self) -> int:
        """Everything in the log up to here is durable and seen by reads."""
        return self._publications.lsn

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once reads see everything up to this record."""
        await self._publications.wait_for_lsn(lsn)

    def automine(self) -> bool:
        """Whether transactions are sealed at once."""
        return self._applied.settings.automine

    def rewinds(self) -> Rewinds:
        """The rewinds of the chain since the start."""
        return self._store.rewinds

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number once it is at least ``number``, or once the chain has been rewound again."""
        return await self._publications.wait_for_block(number, rewinds)


def _waiting(entry: PooledTransaction) -> PendingTransaction:
    return PendingTransaction(entry.transaction, entry.sender)
