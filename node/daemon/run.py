"""Runs the daemon: recover, serve, stop. Every start is a recovery."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from node.daemon.doors import announce, seed, try_doors
from node.daemon.opening import OpenedChain, open_chain
from node.daemon.panic import distrust, panic
from node.daemon.periodic import register_jobs, seal_at_intervals
from node.daemon.serving import Servers, check_addresses, local_address, start_servers
from node.daemon.voice import Voice, lacking, transcript_of
from node.daemon.watch import presence_of
from node.engine.clock import SystemClock
from node.engine.committer import Committer, Listeners
from node.engine.dev_contracts import contract_names
from node.engine.limit_usage import limit_usage
from node.engine.node import Node
from node.engine.publications import Publications
from node.ops.jobs import Jobs
from node.ops.lines import restarts_of_standard_streams
from node.ops.logging import log_status
from node.ops.memory import limit_arenas, resident_bytes
from node.ops.notify import Notifier
from node.ops.restarts import Restarts
from node.sessions.base_state import BaseStates
from node.sessions.gallery import Gallery
from node.sessions.repository import SessionRepository
from node.sessions.service import SessionService
from node.settings import Settings, is_public_mnemonic
from storage.errors import IndexLocked
from storage.io.failures import starting
from storage.presence import Presence
from storage.sessions.files import SessionFiles

log = structlog.get_logger(__name__)

GC_THRESHOLDS = (2_000, 10, 100_000)
"""A full collection stops every thread for 100 ms and more, and blocks make no cycles for it to find: it is left to a
job that waits for a quiet moment (`node.ops.memory`)."""
GIL_SWITCH_SECONDS = 0.001
"""Threads switch five times as often as by default, so that answers are sent while the writer executes."""


async def run_daemon(
    settings: Settings, origins: Mapping[str, str], voice: Voice, accept_data_loss: int = 0
) -> None:
    """Run a node until SIGTERM or SIGINT. One of the lines that it prints begins with READY."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    limit_arenas()
    gc.freeze()  # objects of imports stay alive; collections that scan them would only stop every thread
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    check_addresses(settings)
    stopped = _stop_on_signals()
    notifier = Notifier.from_environment(os.environ)
    begun = time.perf_counter()
    seeding = asyncio.create_task(asyncio.to_thread(seed))
    progress = voice.progress.at(f"opening {settings.data_dir}")
    opened = await asyncio.to_thread(open_chain, settings, origins, time.time, accept_data_loss, progress.replayed)
    await seeding
    progress.at("opening the ports")
    recovery_ms = (time.perf_counter() - begun) * 1000
    end = partial(panic, opened.fs)
    transcript, artifacts = transcript_of(voice, settings, opened)
    publications = Publications(opened.store, transcript.wake)
    listeners = Listeners(
        end, opened.space.give_back_quietly, publications.admitted, publications.published, _watchdog(notifier)
    )
    committer = Committer(opened.writer(transcript.listener), opened.store, SystemClock(), listeners)
    node = opened.node(committer, publications, settings.limits.call_gas, settings.node.client_version, transcript)
    sessions = SessionService(
        BaseStates(node, opened.machine),
        _session_repository(settings, opened, node, end),
        Gallery(opened.store.templates, node.keep_template),
    )
    committer.start()
    jobs = Jobs()
    try:
        servers = await start_servers(settings, node, sessions, opened.public)
    except BaseException:
        await asyncio.to_thread(_shut_down, jobs, committer, opened)
        raise
    node.read = servers.service.readers.run
    context = servers.service.context
    context.transcript, context.artifacts, context.damaged = transcript, artifacts, partial(distrust, opened.fs)
    restarts = _restarts(jobs, opened)
    sealing = partial(seal_at_intervals, lambda: opened.store.applied.settings.interval_milliseconds, committer)
    interval = asyncio.create_task(restarts.keep("interval sealing", sealing))
    presence = presence_of(opened)
    register_jobs(jobs, settings, opened, committer, servers, sessions, presence)
    _tell_status(node, opened, committer, servers, sessions, jobs, restarts)
    jobs.start()
    try:
        announce(opened.data_dir, local_address(servers.quic_address), local_address(servers.http_address))
        presence.learn()
        await try_doors(opened.data_dir, opened.config.chain_id, servers.is_full)
        progress.end()
        _announce(settings, opened, servers, recovery_ms, voice.say)
        transcript.start(node)
        notifier.ready(f"block {opened.store.head.number}, chain {opened.config.chain_id}")
        gc.freeze()
        await servers.until(stopped)
        log.info("stopping")
        notifier.stopping()
    finally:
        interval.cancel()
        await servers.stop()
        await sessions.stop()
        await asyncio.to_thread(transcript.stop)
        await asyncio.to_thread(_shut_down, jobs, committer, opened, presence)


def _shut_down(jobs: Jobs, committer: Committer, opened: OpenedChain, presence: Presence | None = None) -> None:
    """Stop in order. Raises `FileGone` if a file with acknowledged data is no longer on the disk."""
    jobs.stop()
    committer.stop()
    try:
        # The log has everything: neither a full disk nor a program that holds the index keeps a node from stopping.
        store = opened.store
        opened.space.attempt("state", lambda: store.checkpoint(store.last_lsn, opened.pool.oldest_lsn()))
        with suppress(IndexLocked):
            opened.space.attempt("index", store.index_new_blocks)
        if presence is not None:
            presence.check()
    finally:
        opened.close()


def _watchdog(notifier: Notifier) -> Callable[[], None]:
    """Feeds systemd's watchdog from the writer thread, at most three times per timeout."""
    if notifier.watchdog_seconds is None:
        return lambda: None
    pause = notifier.watchdog_seconds / 3
    last = 0.0

    def feed() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= pause:
            last = now
            notifier.watchdog()

    return feed


def _session_repository(
    settings: Settings, opened: OpenedChain, node: Node, end: Callable[[BaseException], None]
) -> SessionRepository:
    store = opened.store
    inline_bytes = min(settings.sessions.file_bytes, settings.storage.segment_size_bytes // 2)
    files = SessionFiles(opened.fs)
    with starting():
        files.remove_unfinished(store.sessions)
    return SessionRepository(
        store.sessions, node.keep_session, files, store.session_search, time.time, inline_bytes, end
    )


def _restarts(jobs: Jobs, opened: OpenedChain) -> Restarts:
    restarts = Restarts()
    restarts.watch("job scheduler", lambda: jobs.faults)
    restarts.watch("compiler", lambda: opened.machine.compiler.restarts)
    restarts.watch("log writers", restarts_of_standard_streams)
    return restarts


def _tell_status(
    node: Node,
    opened: OpenedChain,
    committer: Committer,
    servers: Servers,
    sessions: SessionService,
    jobs: Jobs,
    restarts: Restarts,
) -> None:
    """Register the sources of ``zvmd_status`` besides the stores."""
    node.status_sources |= {
        "vm": opened.machine.status,
        "disk": opened.space.status,
        "devContracts": lambda: contract_names(opened.genesis.alloc),
        "sessions": sessions.status,
        "memory": resident_bytes,
        "readers": servers.service.readers.status,
        "limits": partial(limit_usage, opened.store, opened.pool, committer, servers.service.limit_usage),
        "logging": log_status,
        "restarts": restarts.status,
        "jobs": lambda: msgspec.to_builtins(jobs.status()),
    }


def _announce(
    settings: Settings, opened: OpenedChain, servers: Servers, recovery_ms: float, say: Callable[[str], None]
) -> None:
    if not settings.log.quiet:
        _introduce(settings, opened, say)
    say(
        f"READY http://{servers.http_address} quic://{servers.quic_address} chain {opened.config.chain_id} "
        f"block {opened.store.head.number} recovered in {recovery_ms:.0f} ms"
    )


def _introduce(settings: Settings, opened: OpenedChain, say: Callable[[str], None]) -> None:
    on_terminal = sys.stdout is not None and sys.stdout.isatty()  # closed standard output is None
    show_keys = on_terminal or is_public_mnemonic(settings.node.mnemonic)
    for index, address in enumerate(opened.dev_accounts.addresses):
        key = f"  key 0x{opened.dev_accounts.secret(address).hex()}" if show_keys else ""
        say(f"account ({index}) 0x{address.hex()}{key}")
    if opened.dev_accounts.addresses and not show_keys:
        say("keys are shown on a terminal only: these accounts are not of the public test mnemonic")
    for line in lacking(opened):
        say(line)
    report = opened.recovery
    say(f"data {opened.data_dir}  log replayed: {report.blocks} blocks, {report.transactions} transactions")


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM, SIGINT or a closing terminal sets. A signal during recovery takes effect afterwards."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            loop.add_signal_handler(number, stopped.set)
    return stopped
