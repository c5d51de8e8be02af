"""What a start needs of the settings: genesis, machine, options; and the chain with its pool that comes of it."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chain.environment import BlockEnvironment
from chain.errors import InvalidGenesis
from chain.forks import BPO_BLOBS, LATEST_FORK, BlobSchedule, ChainConfig, Fork
from chain.genesis import Genesis, dev_genesis
from chain.production import TIMESTAMP_MAX, ChainSettings
from chain.state import EMPTY_ACCOUNT
from chain.types import Address
from node import resources
from node.daemon.errors import GenesisMismatch
from node.engine.accounts import DevAccounts
from node.engine.committer import Committer
from node.engine.dev_contracts import dev_alloc, newest_version
from node.engine.executor import replay_block
from node.engine.logged_chain import LoggedChain
from node.engine.mnemonic import fault_of
from node.engine.node import Node
from node.engine.pool import Pool, PooledTransaction
from node.engine.publications import Publications
from node.engine.writer import Writer
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache, with_shared
from node.ops.errors import InvalidSetting
from node.ops.reading import read_limited
from node.settings import Settings, is_public_mnemonic
from node.transcript.transcript import Transcript
from storage.amendments import Snapshot
from storage.appending import NewRecords
from storage.applied import AppliedChain
from storage.blocks.delta import Deltas, KnownOutcome
from storage.directory import layout
from storage.directory.exclusion import DirectoryLock
from storage.export import prune_exports, write_export
from storage.index.rows import RowWriter
from storage.io.diskspace import Marks, SpaceWatch
from storage.io.failpoints import reach
from storage.io.files import RealFs
from storage.opening import Opened, StoreOptions, index_writer_here, open_directory
from storage.replay import Recovery, Replay, Waiting
from storage.sealed import SealedBlock
from storage.store import Store
from storage.wal.records import encode_genesis
from storage.wal.writer import largest_payload
from vm.block import Listener
from vm.machine import Machine

PUBLIC_ACCOUNT = Address(bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"))
"""The first account of the public test mnemonic."""
GENESIS_BYTES_MAX = 256 * 2**20
"""Largest file for ``node.genesis``, bytes: a million accounts are 100 MB."""
CACHE_BYTES_MAX = 256 * 2**20
"""Compiled machine code kept on disk."""


@dataclass(slots=True)
class OpenedChain:
    """A recovered chain, ready to serve."""

    config: ChainConfig
    store: Store
    machine: Machine
    pool: Pool
    dev_accounts: DevAccounts
    recovery: Recovery
    data_dir: Path
    cache: FileObjectCache
    lock: DirectoryLock
    fs: RealFs
    space: SpaceWatch
    genesis: Genesis
    cheats: bool = False
    """Whether development calls are allowed."""
    public: bool = False
    """Whether its accounts are those of the public test mnemonic: see `is_public`."""

    def writer(self, listener: Callable[[], Listener | None] = lambda: None) -> Writer:
        """The chain's one writer; see `writer_over`."""
        return writer_over(self.store, self.pool, self.machine, self.config, listener)

    def node(
        self,
        committer: Committer,
        publications: Publications,
        call_gas_max: int,
        web3_version: str = "",
        transcript: Transcript | None = None,
        *,
        answer_cache_bytes: int = 0,
        short_road: bool = True,
        read: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
    ) -> Node:
        """The chain as the protocols see it. The options are those of `Node`."""
        return Node(
            self.store,
            self.pool,
            self.machine,
            self.config,
            self.dev_accounts,
            committer,
            publications,
            call_gas_max=call_gas_max,
            answer_cache_bytes=answer_cache_bytes,
            short_road=short_road,
            cheats=self.cheats,
            web3_version=web3_version,
            transcript=transcript,
            read=read,
        )

    def load_machine(self) -> None:
        """Load what runs the head's rules and the next block's, so that no call waits for it within its time limit.

        Milliseconds; a second and more of another process where the object cache does not have it, as on a first start.
        Raises `NativeCodeUnavailable`.
        """
        head = self.store.head
        for number, timestamp in ((head.number, head.timestamp), (head.number + 1, head.timestamp + 1)):
            self.machine.runtime(self.config.fork_at(number, timestamp))

    def retain(self) -> str:
        """Apply the retention policies: states expire with checkpoints, unused compiled code here."""
        removed = self.cache.prune(CACHE_BYTES_MAX)
        return f"states from block {max(self.store.state.oldest, 0)}; {removed} compiled objects removed"

    def export(self, kept: int) -> str:
        """Write a state export, from which a damaged state store is restored, and drop the oldest ones."""
        path = write_export(self.fs, self.store.kv)
        return f"{path or 'no checkpoint yet'}; {prune_exports(self.fs, kept)} older ones removed"

    def close(self) -> None:
        """Stop compiling, close the stores and release the directory."""
        self.machine.close()
        self.store.close()
        self.lock.release()


def open_chain(
    settings: Settings,
    origins: Mapping[str, str],
    now: Callable[[], float] = time.time,
    accept_data_loss: int = 0,
    replayed: Callable[[int], None] = lambda _: None,
    *,
    index_writer: Callable[[Path, Path], RowWriter] = index_writer_here,
) -> OpenedChain:
    """Recover the chain in the settings' data directory, or begin a new one there.

    ``replayed`` is called with the number of each block replayed from the log, ``index_writer`` as in `StoreOptions`.

    Raises `EntryUnusable`, `DataDirectoryLocked`, `StoreTooNew`, `WalCorrupt`, `StateRootMismatch`, `GenesisMismatch`,
    `InvalidSetting`. What the settings name is read first, so that nothing is made when it cannot be used.
    """
    dev_accounts = dev_accounts_of(settings)
    wanted = read_wanted_genesis(settings)
    of_a_new_chain = wanted or new_genesis(settings, dev_accounts, int(now()))
    if not os.path.exists(settings.data_dir / layout.GENESIS):  # noqa: PTH110 - opening it reports errors
        check_size(of_a_new_chain, settings.storage.segment_size_bytes)

    def decide(stored: Genesis | None) -> Genesis:
        genesis = stored or of_a_new_chain
        check_genesis(genesis, wanted, settings, origins)
        return genesis

    cache = FileObjectCache(settings.data_dir / layout.CACHE)
    dump = Path(settings.vm.jit_dump).expanduser() if settings.vm.jit_dump else None

    @functools.cache
    def machine_of(code_bytes_max: int) -> Machine:
        return build_machine(
            cache,
            settings.vm.engine,
            dump=dump,
            code_bytes_max=code_bytes_max,
            compiler_idle_seconds=settings.vm.compiler_idle_seconds,
            short_road=settings.limits.short_road,
            library_cache=with_shared(cache),
        )

    def replay_over(store: Store, genesis: Genesis) -> Replay:
        return replayer(store, machine_of(genesis.config.code_bytes_max), genesis.config, replayed)

    options = replace(store_options(settings), accept_data_loss=accept_data_loss, index_writer=index_writer)
    opened = open_directory(options, decide, replay_over)
    try:
        return _put_together(settings, opened, machine_of(opened.genesis.config.code_bytes_max), cache, dev_accounts)
    except BaseException:
        opened.close()
        raise


def _put_together(
    settings: Settings, opened: Opened, machine: Machine, cache: FileObjectCache, dev_accounts: DevAccounts
) -> OpenedChain:
    fs, lock, genesis, store, recovery = opened
    pool = Pool(settings.limits.pool_transactions)
    refill(pool, recovery.waiting, store.applied)
    wanted = settings.storage
    space = SpaceWatch(fs, Marks(wanted.space_warn_bytes, wanted.space_read_only_bytes, wanted.ballast_bytes))
    return OpenedChain(
        genesis.config, store, machine, pool, dev_accounts, recovery, settings.data_dir, cache, lock, fs, space,
        genesis,
        settings.node.dev or settings.node.cheats, is_public(settings, genesis),
    )  # fmt: skip


def is_of_dev(settings: Settings) -> bool:
    """Whether the chain's genesis is the one of ``--dev``, not of a file."""
    return settings.node.dev and not settings.node.genesis


def is_public(settings: Settings, genesis: Genesis) -> bool:
    """Whether the node signs with publicly known keys on a chain whose genesis funds their accounts.

    ``dev`` with the public test mnemonic, and a genesis that funds its first account. Nothing on such a chain is worth
    protecting: ``dev`` also lets everybody change any balance.
    """
    node = settings.node
    return node.dev and is_public_mnemonic(node.mnemonic) and PUBLIC_ACCOUNT in genesis.alloc


NO_CODE_LIMIT = 2**31
"""Bytes; more code than the gas of any block pays for."""


def replayer(
    store: Store, machine: Machine, config: ChainConfig, replayed: Callable[[int], None] = lambda _: None
) -> Replay:
    """Runs blocks of the log again over stores just opened; ``replayed`` gets the number of each before it runs."""

    def replay(environment: BlockEnvironment, raws: Sequence[bytes], known: KnownOutcome | None) -> SealedBlock:
        replayed(environment.number)
        environment = replace(environment, gas_capped=config.gas_capped)
        return replay_block(machine, environment, raws, store.applied, known)

    return replay


def refill(pool: Pool, waiting: Waiting, applied: AppliedChain) -> None:
    """Put the logged transactions back whose nonce is not used yet, and what waited at each snapshot."""
    reach("open.pool.before")
    entries = {lsn: PooledTransaction.from_log(raw, lsn) for lsn, raw in waiting.admissions}
    state = applied.newest_state()
    for entry in entries.values():
        if entry.transaction.nonce >= (state.account(entry.sender) or EMPTY_ACCOUNT).nonce:
            pool.put(entry)
    for number, fields in applied.snapshots.items():
        kept = [lsn for lsn in Snapshot(*fields).pool if lsn in waiting.admitted]
        for lsn in kept:
            entries.setdefault(lsn, PooledTransaction.from_log(waiting.admitted[lsn], lsn))
        pool.keep_for(number, [entries[lsn] for lsn in kept])


def chain_settings(settings: Settings) -> ChainSettings:
    """What the node's settings say of the chain's, for as long as no record changes them."""
    block_time = settings.node.block_time_seconds
    return ChainSettings(
        automine=not block_time,
        interval_milliseconds=max(1, round(block_time * 1000)) if block_time else 0,
        gas_limit=settings.node.block_gas_limit,
    )


def writer_over(
    store: Store,
    pool: Pool,
    machine: Machine,
    config: ChainConfig,
    listener: Callable[[], Listener | None] = lambda: None,
) -> Writer:
    """The one writer of a resumed chain. ``listener`` gives what a new block tells how its transactions ended."""
    records = NewRecords(store.wal.next_lsn, store.wal.max_payload)
    chain = LoggedChain(store.applied, pool, machine, config, records, deltas=store.deltas, listener=listener)
    return Writer(chain, lambda transaction_hash: store.transaction_place(transaction_hash, pool.has))


def store_options(settings: Settings) -> StoreOptions:
    """The options of the stores, from the settings."""
    return StoreOptions(
        data_dir=settings.data_dir,
        migrations=resources.path("migrations"),
        program=version("zvmd"),
        segment_size_bytes=settings.storage.segment_size_bytes,
        retention_blocks=settings.storage.retention_blocks or None,
        deltas=Deltas(settings.storage.block_deltas),
        engine="" if settings.storage.engine == "auto" else settings.storage.engine,
        settings=chain_settings(settings),
    )


def dev_accounts_of(settings: Settings) -> DevAccounts:
    """The accounts of a development chain; none otherwise. Raises `InvalidSetting`."""
    mnemonic = settings.node.mnemonic
    if not settings.node.dev:
        return DevAccounts([])
    if not is_public_mnemonic(mnemonic) and (fault := fault_of(mnemonic)):
        said = fault.partition(";")[0]  # without the word that was meant: it is a secret, and this goes to the journal
        raise InvalidSetting(f"node.mnemonic cannot be used: {said}")
    return DevAccounts.of_mnemonic(mnemonic, settings.node.accounts)


def read_wanted_genesis(settings: Settings) -> Genesis | None:
    """The genesis in geth's format from the file that the settings name. Raises `InvalidSetting` if it is not one."""
    if not settings.node.genesis:
        return None
    try:
        content = read_limited(Path(settings.node.genesis).expanduser(), GENESIS_BYTES_MAX)
        genesis = Genesis.from_json(json.loads(content))
        if genesis.number:
            raise InvalidGenesis("number: a chain begins with block 0")
        if genesis.timestamp > TIMESTAMP_MAX:
            raise InvalidGenesis(f"timestamp: {genesis.timestamp} leaves no later one for block 1")
        return genesis
    except (OSError, ValueError, RecursionError, InvalidGenesis) as error:
        raise InvalidSetting(f"node.genesis = {settings.node.genesis!r}: {error}") from None


def new_genesis(settings: Settings, dev_accounts: DevAccounts, now: int) -> Genesis:
    """The genesis of a development chain that the settings describe."""
    fork, blobs = rules_of(settings.node.hardfork)
    genesis = dev_genesis(
        settings.node.chain_id,
        dev_accounts.addresses,
        fork,
        settings.node.block_gas_limit,
        timestamp=now,
        contracts=dev_alloc() if settings.node.dev and settings.node.dev_contracts else {},
        blobs=blobs,
        gas_capped=settings.node.tx_gas_cap or not settings.node.dev,
    )
    return replace(
        genesis,
        config=replace(genesis.config, code_bytes_max=code_bytes_max(settings)),
        dev_version=newest_version() if settings.node.dev else 0,
    )


def code_bytes_max(settings: Settings) -> int:
    """The limit of a contract's code that the settings ask for, bytes."""
    return settings.node.code_size_limit or NO_CODE_LIMIT


def rules_of(hardfork: str) -> tuple[Fork, BlobSchedule | None]:
    """Fork and blob parameters that a value of ``node.hardfork`` means; None: the fork's own parameters."""
    blobs = {"bpo1": BPO_BLOBS[0], "bpo2": BPO_BLOBS[1], "latest": BPO_BLOBS[1]}
    return (LATEST_FORK, blobs[hardfork]) if hardfork in blobs else (Fork[hardfork.upper()], None)


def check_size(genesis: Genesis, segment_size_bytes: int) -> None:
    """Refuse a genesis that a file of the log cannot hold. Raises `InvalidSetting`."""
    size, most = len(encode_genesis(genesis.to_json())), largest_payload(segment_size_bytes)
    if size > most:
        raise InvalidSetting(
            f"the genesis takes {size} bytes of the log, and {most} fit: have fewer accounts (node.accounts, "
            "node.genesis) or a larger storage.segment_size_bytes; the limit is 8 MiB"
        )


def check_genesis(genesis: Genesis, wanted: Genesis | None, settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse explicit settings that contradict the stored chain. Raises `GenesisMismatch`."""
    if origins.get("node.chain_id") and settings.node.chain_id != genesis.config.chain_id:
        raise GenesisMismatch(
            f"chain id {settings.node.chain_id} was asked for; this chain's is {genesis.config.chain_id}"
        )
    _check_gas_cap(genesis, settings, origins)
    if origins.get("node.code_size_limit") and code_bytes_max(settings) != genesis.config.code_bytes_max:
        raise GenesisMismatch(
            f"code_size_limit {settings.node.code_size_limit} was asked for; this chain began with "
            f"{genesis.config.code_bytes_max}"
        )
    if wanted is not None:
        if wanted.header().hash != genesis.header().hash:
            raise GenesisMismatch(f"{settings.node.genesis} is another genesis than the stored one")
    elif origins.get("node.hardfork"):
        wanted_config = ChainConfig.all_at_genesis(genesis.config.chain_id, *rules_of(settings.node.hardfork))
        time = genesis.timestamp
        wanted_rules, rules = ((c.fork_at(0, time), c.blobs_at(time)) for c in (wanted_config, genesis.config))
        if wanted_rules != rules:
            raise GenesisMismatch(
                f"{settings.node.hardfork} was asked for; this chain began with {rules[0].name} and {rules[1]}"
            )


def _check_gas_cap(genesis: Genesis, settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse an explicit ``node.tx_gas_cap`` that differs from the stored chain's. Raises `GenesisMismatch`."""
    asked, capped = settings.node.tx_gas_cap, genesis.config.gas_capped
    if origins.get("node.tx_gas_cap") and asked != capped:
        words = {True: "with", False: "without"}
        raise GenesisMismatch(
            f"node.tx_gas_cap = {str(asked).lower()} was asked for; this chain began {words[capped]} the gas cap of "
            "EIP-7825"
        )
