"""Runs the daemon: recover, serve, stop. Every start is a recovery."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from node.daemon.assembly import assemble
from node.daemon.doors import announce, seed, try_doors
from node.daemon.opening import OpenedChain, open_chain
from node.daemon.periodic import CERTIFICATES, register_jobs, seal_at_intervals
from node.daemon.serving import Servers, check_listeners, local_address
from node.daemon.signals import Signals
from node.daemon.voice import Voice, lacking
from node.daemon.watch import presence_of
from node.engine.committer import Committer
from node.indexing.remote import RemoteWriter
from node.ops.descriptors import raise_file_limit
from node.ops.jobs import Jobs
from node.ops.memory import only_chosen_collections, tune_malloc
from node.ops.notify import Notifier
from node.settings import Settings, is_public_mnemonic
from storage.presence import Presence

log = structlog.get_logger(__name__)

GIL_SWITCH_SECONDS = 0.001
"""Threads switch five times as often as by default, so that answers are sent while the writer executes."""


async def run_daemon(
    settings: Settings, origins: Mapping[str, str], voice: Voice, accept_data_loss: int = 0
) -> None:
    """Run a node until SIGTERM or SIGINT. One of the lines that it prints begins with READY."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    tune_malloc()
    raise_file_limit()
    only_chosen_collections()
    check_listeners(settings)
    end = _reserve_thread()
    signals = Signals()
    notifier = Notifier.from_environment(os.environ)
    begun = time.perf_counter()
    seeding = asyncio.create_task(asyncio.to_thread(seed))
    progress = voice.progress.at(f"opening {settings.data_dir}")
    index_writer = partial(RemoteWriter, idle_seconds=settings.storage.index_idle_seconds)
    opened = await asyncio.to_thread(
        open_chain, settings, origins, time.time, accept_data_loss, progress.replayed, index_writer=index_writer
    )
    loading = asyncio.create_task(asyncio.to_thread(opened.load_machine))  # beside what follows: mostly another process
    await seeding
    progress.at("opening the ports")
    recovery_ms = (time.perf_counter() - begun) * 1000
    try:
        parts = assemble(settings, opened, voice, notifier)
    except BaseException:
        await end(opened.close)
        raise
    committer, jobs = parts.committer, parts.jobs
    parts.note_start(accept_data_loss)
    try:
        committer.start()
        servers = await parts.serve(settings, opened.public)
    except BaseException:
        parts.service.close()
        await end(_shut_down, jobs, committer, opened)
        raise
    sealing = partial(seal_at_intervals, lambda: opened.store.applied.settings.interval_milliseconds, committer)
    interval = asyncio.create_task(parts.restarts.keep("interval sealing", sealing))
    presence = None
    try:
        presence = presence_of(opened)
        register_jobs(jobs, settings, opened, committer, servers, parts.sessions, presence)
        jobs.start()
        local = f"{parts.https.scheme}://{local_address(servers.http_address)}"
        more = {**parts.https.announced, **servers.sockets.urls()}
        announce(opened.data_dir, local_address(servers.quic_address), local, more)
        signals.reload_with(partial(jobs.run_now, CERTIFICATES))
        presence.learn()
        await try_doors(opened.data_dir, opened.config.chain_id, servers.is_full)
        progress.at("loading the interpreter")
        await loading
        progress.end()
        _announce(settings, opened, servers, recovery_ms, voice.say)
        parts.transcript.start(parts.node)
        notifier.ready(f"block {opened.store.head.number}, chain {opened.config.chain_id}")
        gc.collect()  # what the start has left, in some milliseconds
        gc.freeze()
        await signals.stopped.wait()
        log.info("stopping")
        notifier.stopping()
    finally:
        interval.cancel()
        await servers.stop()
        await parts.sessions.stop()
        await end(parts.transcript.stop)
        await end(parts.audit.close)
        await end(_shut_down, jobs, committer, opened, presence)


def _reserve_thread() -> Callable[..., Awaitable[None]]:
    """What runs a function on a thread that exists from now on: at the end the system may refuse a new one."""
    thread = ThreadPoolExecutor(1, "ending")
    thread.submit(int)
    return partial(asyncio.get_running_loop().run_in_executor, thread)


def _shut_down(jobs: Jobs, committer: Committer, opened: OpenedChain, presence: Presence | None = None) -> None:
    """Stop in order. Raises `FileGone` if a file with acknowledged data is no longer on the disk."""
    opened.store.follower.abandon()  # the next start indexes what is left
    try:
        jobs.stop()
    finally:
        committer.stop()
    try:
        # The log has everything: a full disk does not keep a node from stopping.
        store = opened.store
        opened.space.attempt("state", lambda: store.checkpoint(store.last_lsn, opened.pool.oldest_lsn()))
        if presence is not None:
            presence.check()
    finally:
        opened.close()


def _announce(
    settings: Settings, opened: OpenedChain, servers: Servers, recovery_ms: float, say: Callable[[str], None]
) -> None:
    if not settings.log.quiet:
        _introduce(settings, opened, say)
        if urls := servers.sockets.urls():
            say(f"unix sockets {urls['ipc']} (JSON-RPC) and {urls['socket'].removeprefix('unix://')} (zvmd/1)")
    say(
        f"READY {servers.http_url} quic://{servers.quic_address} chain {opened.config.chain_id} "
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

