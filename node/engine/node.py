"""The node as the protocols see it: reads of published blocks on any thread, writes through the pipeline."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from chain.blocks import Block, Header, encode_block
from chain.environment import BlockEnvironment
from chain.fees import blob_base_fee
from chain.forks import ChainConfig, Fork
from chain.receipts import Receipt
from chain.state import EMPTY_ACCOUNT, StateReader
from chain.types import Address, Hash32
from node.engine import admission
from node.engine.completion import Offered
from node.engine.executor import Candidate
from node.engine.fate import Fates
from node.engine.outbox import Outbox
from node.engine.pipeline import Pipeline
from node.engine.producer import INTERVAL_MILLISECONDS_MAX, excess_blob_gas_after, next_base_fee
from node.engine.requests import Cheat, Control, KeepSession, KeepTemplate, Mine, Submit
from node.engine.signing import OwnTransactions
from node.engine.simulate import Situation, estimate_gas, run_call, trace_call
from node.engine.tracing import situation_before, trace_block
from node.errors import CheatRefused, CheatsDisabled
from node.opening import OpenedChain
from node.rpc.backend import (
    CallFields,
    CallResult,
    Overrides,
    PendingTransaction,
    Submitted,
    TransactionFate,
    TransactionLocation,
    Wait,
)
from node.rpc.errors import UnknownBlock
from node.rpc.work import current_work
from node.tracers.registry import MakeTracer
from node.transcript.transcript import silent
from storage.following import FoundLog, LogQuery
from storage.rewinds import Rewinds
from storage.state.proof import AccountProof, prove
from storage.wal.session_records import Kept, Place
from vm.importing import environment_of
from vm.machine import Machine


class Node:
    """Implements `node.rpc.backend.Backend`."""

    def __init__(self, opened: OpenedChain, pipeline: Pipeline, call_gas_max: int) -> None:
        self._store = opened.store
        self._machine = opened.machine
        self._ledger = opened.ledger
        self._config = opened.config
        self._dev = opened.dev_accounts
        self._pipeline = pipeline
        self._call_gas_max = call_gas_max
        self.transcript = silent()
        self._ask = Outbox(pipeline.put).ask
        self._own = OwnTransactions(
            self._config,
            self._dev,
            lambda: self._ledger.controls,
            lambda fields: self.estimate_gas(fields, self.head().number),
            lambda: (self.next_base_fee(), self._next_fork()),
        )
        self._fates = Fates(self._ledger, self.transaction_location, lambda: self.view(self.head().number))
        self._last_situation: tuple[tuple[int, int, int], Situation] | None = None
        self._cheats = opened.cheats
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published = asyncio.Event()
        pipeline.on_publish = self.on_publish
        self.read: Callable[[Callable[[], Offered]], Awaitable[Offered]] = asyncio.to_thread
        """Where a read that a request needs is run; the daemon has it run on the readers."""
        self.status_sources: dict[str, Callable[[], Any]] = {}

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

    def status(self) -> dict[str, Any]:
        """Positions of all stores, pool size, jobs."""
        return {
            "chainId": self._config.chain_id,
            "version": self.client_version,
            "readOnly": self._pipeline.read_only,
            "poolTransactions": len(self._ledger.pool),
            "automine": self._ledger.controls.automine,
            "intervalSeconds": self._ledger.controls.interval_milliseconds / 1000,
            **self._store.status(),
            **{name: source() for name, source in self.status_sources.items()},
        }

    def accounts(self) -> Sequence[Address]:
        """Accounts the node holds keys of, and those it impersonates."""
        keys = self._dev.addresses
        return [*keys, *(Address(known) for known in self._ledger.controls.impersonated if known not in keys)]

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
        return self._store.block_hash(number)

    # State

    def view(self, number: int) -> StateReader:
        """State after a published block. Raises StateUnavailable outside retention."""
        return self._store.view(number)

    def state_position(self, number: int) -> int:
        """Position of the newest published state that follows a block (`storage.state.positions`)."""
        return self._store.view(number).number

    def view_at(self, number: int, position: int) -> StateReader:
        """A published state that followed a block. Raises StateUnavailable, also after it was reverted."""
        return self._store.view(number, position)

    def call(self, fields: CallFields, number: int, overrides: Overrides | None = None) -> CallResult:
        """Simulate by the rules of ``eth_call``."""
        return self.transcript.watch(run_call, self._situation(number), fields, overrides)

    def estimate_gas(self, fields: CallFields, number: int, overrides: Overrides | None = None) -> int | CallResult:
        """Smallest sufficient gas limit, or the failed result when none helps."""
        return self.transcript.watch(estimate_gas, self._situation(number), fields, overrides)

    def prove(self, number: int, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof of an account and slots in the state after a block (EIP-1186)."""
        return prove(self._store.state.view(number), address, slots)

    def trace_call(
        self,
        fields: CallFields,
        number: int,
        overrides: Overrides | None,
        make: MakeTracer,
        index: int | None = None,
    ) -> Any:
        """What a tracer says of a simulated call after a block, or before its transaction ``index``."""
        if index is None:
            situation = self._situation(number)
        else:
            situation = situation_before(*self._run_again(number), self.block_hash, index, self._call_gas_max)
        return trace_call(situation, fields, overrides, make)

    def trace_block(self, number: int, make: MakeTracer, index: int | None = None) -> list[Any]:
        """What tracers say of a block's transactions, run again; of one only with ``index``."""
        block = self.block(number)
        if block is not None and not block.transactions:
            return []
        return trace_block(*self._run_again(number), self.block_hash, make, index)

    def _run_again(self, number: int) -> tuple[Machine, BlockEnvironment, Block, Sequence[Address], StateReader]:
        """What running a block again takes: machine, environment, block, senders and the state before."""
        block, senders = self.block(number), self.senders(number)
        if block is None or senders is None or not number:
            raise UnknownBlock(f"there is no block {number} to run again")
        environment = environment_of(block.header, self._config, block.withdrawals or ())
        return self._machine, environment, block, senders, self.view(number - 1)

    def _situation(self, number: int) -> Situation:
        name = (number, *self._store.published)
        known = self._last_situation
        if known is not None and known[0] == name:
            return known[1]
        header = self.header(number)
        if header is None:
            raise UnknownBlock(f"there is no block {number}")
        situation = Situation(
            machine=self._machine,
            environment=environment_of(header, self._config),
            block_hash=self._store.block_hash,
            state=self.view(number),
            gas_max=max(self._call_gas_max, header.gas_limit),
        )
        self._last_situation = name, situation
        return situation

    # Pool and fees

    def pending_nonce(self, address: Address) -> int:
        """Next nonce counting pooled transactions."""
        account = self.view(self.head().number).account(address) or EMPTY_ACCOUNT
        return self._ledger.pool.next_nonce(address, account.nonce)

    def pending_transaction(self, transaction_hash: Hash32) -> PendingTransaction | None:
        """A transaction that waits for a block."""
        entry = self._ledger.pool.find(transaction_hash)
        return PendingTransaction(entry.transaction, entry.sender) if entry else None

    def fate(self, transaction_hash: Hash32) -> TransactionFate:
        """What became of a transaction: mined, waiting and why, or why it is in no block."""
        return self._fates.of(transaction_hash)

    def pending_transactions(self) -> Sequence[PendingTransaction]:
        """All that wait, oldest first."""
        return [PendingTransaction(entry.transaction, entry.sender) for entry in self._ledger.pool.entries()]

    def next_base_fee(self) -> int:
        """Base fee of the block after the head, wei."""
        return next_base_fee(self.head(), self._next_fork(), self._ledger.controls)

    def blob_base_fee(self, number: int) -> int:
        """Price of blob gas in that block, wei; ``head + 1`` is allowed."""
        head = self.head()
        if number == head.number + 1:
            schedule = self._config.blobs_at(head.timestamp)
            fork = self._config.fork_at(number, head.timestamp)
            excess = excess_blob_gas_after(head, schedule, fork) if fork >= Fork.CANCUN else 0
            return blob_base_fee(excess, schedule.base_fee_update_fraction)
        header = self.header(number)
        if header is None:
            raise UnknownBlock(f"there is no block {number}")
        fraction = self._config.blobs_at(header.timestamp).base_fee_update_fraction
        return blob_base_fee(header.excess_blob_gas or 0, fraction)

    # Writing

    async def submit(self, raw: bytes, wait: Wait = "durable") -> Submitted:
        """Admit a signed transaction (network form) and return when it is durable, or mined."""
        # On the loop's thread: recovery takes 30 us with the GIL released, a hop to another thread takes longer.
        return await self._submit(self._decode(raw), wait)

    def _decode(self, raw: bytes) -> Candidate:
        return admission.decode(raw, self._config, self._next_fork())

    def _next_fork(self) -> Fork:
        head = self.head()
        return self._config.fork_at(head.number + 1, head.timestamp + 1)

    async def _submit(self, candidate: Offered, wait: Wait) -> Submitted:
        mined = wait in ("mined", "indexed")
        known = candidate.transaction.hash if isinstance(candidate, Candidate) else None
        with self.transcript.telling_refusal(known, candidate.sender):
            answer = await self._ask(
                lambda done: Submit(done, candidate, mined, wait_durable=wait != "accepted", body=current_work.get())
            )
        assert isinstance(answer, bytes), "a submission is answered with the transaction's hash"
        transaction_hash = Hash32(answer)
        place = self.transaction_location(transaction_hash)
        if wait == "indexed" and place is not None:
            await self._wait_indexed(place.block_number)
        number = place.block_number if place else None
        return Submitted(transaction_hash, self._pipeline.published_lsn, number)

    async def _wait_indexed(self, number: int) -> None:
        """Index up to a block now, instead of at the job's next turn. Blocks that are indexed stay so after a crash."""
        while self._store.follower.reached < min(number, self.head().number):
            await asyncio.to_thread(self._store.index_new_blocks)

    async def send_from(self, fields: CallFields, wait: Wait = "durable") -> Submitted:
        """Complete (nonce, gas, fees, type), sign with the key of ``fields.sender`` and submit.

        One sender's transactions are completed in order of arrival, each after the one before was answered: what is
        estimated for a transaction includes the effects of the earlier ones.
        """
        sender = fields.sender or next(iter(self.accounts()), Address(bytes(20)))
        async with self._own.turn_of(sender):
            return await self._submit(await self.read(lambda: self._own.complete(fields, sender)), wait)

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        """Do a development call (`node.engine.cheats`); its answer, or what the same ``key`` was answered before.

        Raises `CheatsDisabled` unless this is a development chain.
        """
        if not self._cheats:
            raise CheatsDisabled(f"{name.replace('_', ' ')}: this is no development chain")
        answer: Any = await self._ask(lambda done: Cheat(done, name, arguments, key))
        return answer  # type: ignore[no-any-return]

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        """(y parity, r, s) with a dev account's key."""
        return self._dev.sign(address, digest)

    async def mine(self, count: int = 1, interval: int = 0, key: str = "") -> int:
        """Seal ``count`` blocks. Returns the head's number, or what the same ``key`` was answered before."""
        number = await self._ask(lambda done: Mine(done, count, interval, key))
        assert isinstance(number, int)
        return number

    async def keep_session(self, session: int, change: Kept | Place | None) -> None:
        """Return once a debug session, where it stands now, or that it is closed, is durable."""
        await self._ask(lambda done: KeepSession(done, session, change))

    async def keep_template(self, name: str, content: bytes | None) -> None:
        """Return once a user's template, or that it is removed, is durable."""
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
        return self._pipeline.published_lsn

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once reads see everything up to this record."""
        self._loop = asyncio.get_running_loop()
        while self._pipeline.published_lsn < lsn:
            await self._published.wait()

    def automine(self) -> bool:
        """Whether transactions are sealed at once."""
        return self._ledger.controls.automine

    def rewinds(self) -> Rewinds:
        """How far the chain was brought back since the start."""
        return self._store.rewinds

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number as soon as it is at least ``number``, or the chain was brought back once more."""
        self._loop = asyncio.get_running_loop()
        while self.head().number < number and (rewinds is None or self._store.rewinds.count <= rewinds):
            published = self._published
            await published.wait()
        return self.head().number

    def on_publish(self) -> None:
        """Wake everyone who waits for a block. Called on the committer thread."""
        self.transcript.wake()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._published.set()
        self._published = asyncio.Event()
