"""The life of the daemon: recover, serve, run jobs, stop. There is one way to start, and it is recovery."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial

import structlog

from chain.errors import ZvmdError
from node.engine.bounds import bounds
from node.engine.clock import SystemClock
from node.engine.node import Node
from node.engine.pipeline import Pipeline
from node.engine.requests import Freeze, Mine
from node.errors import ReadOnly, WriterBusy
from node.opening import OpenedChain, open_chain
from node.ops.jobs import Jobs
from node.ops.memory import QuietCollector, limit_arenas, resident_bytes
from node.ops.notify import Notifier
from node.serving import Servers, start_servers
from node.sessions.expiry import Policy, expire
from node.sessions.gallery import Gallery
from node.sessions.keeping import Keeper
from node.sessions.origin import Ground
from node.sessions.service import SessionService
from node.settings import Settings
from storage.errors import StateStoreCorrupt, StateStoreWriteFailed, StoragePanic
from storage.fs import FileSystem
from storage.opening import note_panic, suspect
from storage.pace import Slices
from storage.session_files import SessionFiles
from storage.space import Room
from storage.store import Store
from storage.wal.failures import entering
from zvmd.endpoint import announce

log = structlog.get_logger(__name__)

PANIC_EXIT = 70
"""A failed sync or a bug in the writer: nothing more is acknowledged; the restart recovers from the log."""
BUG_HINT = "start it again, it comes back with everything it acknowledged; please report this with the lines above"
INDEX_SECONDS = 1.0
COMPRESSION_SECONDS = 10.0
SPACE_SECONDS = 1.0
INTERVAL_LOOK_SECONDS = 0.2
CHECKPOINT_LOOK_SECONDS = 0.25
REPLAY_SECONDS = 1.0
"""Work of the writer in no checkpoint yet, above which one is due: it would be replayed before the next READY."""
OVERLAY_BYTES = 32 * 2**20
"""Memory of blocks and records of sessions in no checkpoint yet, above which one is due. At eight times this, the
writer refuses."""
RETENTION_SECONDS = 60.0
INDEX_MAINTENANCE_SECONDS = 3600.0
INDEX_MAINTENANCE_FIRST_SECONDS = 60.0
CERTIFICATE_CHECK_SECONDS = 12 * 3600.0
_URGENCY = {Room.ENOUGH: logging.INFO, Room.LOW: logging.WARNING, Room.NONE: logging.ERROR}
GC_THRESHOLDS = (2_000, 10, 100_000)
"""A full collection stops every thread for 100 ms and more, and blocks make no cycles for it to find: it is left to a
job that waits for a quiet moment (`node.ops.memory`)."""
GARBAGE_SECONDS = 10.0
GIL_SWITCH_SECONDS = 0.001
"""Threads hand over five times as often as by default: answers leave while the writer executes."""


async def run_daemon(
    settings: Settings, origins: Mapping[str, str], say: Callable[[str], None], accept_data_loss: int = 0
) -> None:
    """Run a node until SIGTERM or SIGINT. ``say`` prints lines for people; one begins with READY."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    limit_arenas()
    gc.freeze()  # what imports made stays; looking through it again and again would only stop every thread
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    stopped = _stop_on_signals()
    notifier = Notifier.from_environment(os.environ)
    begun = time.perf_counter()
    opened = await asyncio.to_thread(open_chain, settings, origins, accept_data_loss=accept_data_loss)
    recovery_ms = (time.perf_counter() - begun) * 1000
    panic = partial(_panic, opened.fs)
    pipeline = Pipeline(opened.ledger, SystemClock(), on_fault=panic)
    node = Node(opened, pipeline, settings.limits.call_gas)
    sessions = SessionService(
        Ground(node, opened.machine),
        _session_keeper(settings, opened, node, panic),
        Gallery(opened.store.templates, node.keep_template),
    )
    pipeline.heartbeat = _watchdog(notifier)
    pipeline.on_full = opened.space.give_back_quietly
    pipeline.start()
    jobs = Jobs()
    try:
        servers = await start_servers(settings, node, sessions)
    except BaseException:
        await asyncio.to_thread(_shut_down, jobs, pipeline, opened)
        raise
    servers.service.context.damaged = partial(_distrust, opened.fs)
    interval = asyncio.create_task(_seal_at_intervals(opened, pipeline))
    _register_jobs(jobs, settings, opened, pipeline, servers)
    _register_session_job(jobs, settings, sessions)
    node.status_sources["vm"] = opened.machine.status
    node.status_sources["disk"] = opened.space.status
    node.status_sources["sessions"] = sessions.status
    node.status_sources["memory"] = resident_bytes
    node.status_sources["limits"] = partial(bounds, opened.store, opened.ledger, pipeline, sessions.bounds)
    node.status_sources["jobs"] = lambda: [asdict(status) for status in jobs.status()]
    jobs.start()
    try:
        with entering("endpoints.json"):
            announce(opened.data_dir, f"quic://{servers.quic_address}", f"http://{servers.http_address}")
        _announce(opened, servers, recovery_ms, say)
        notifier.ready(f"block {opened.store.head.number}, chain {opened.config.chain_id}")
        gc.freeze()
        await stopped.wait()
        log.info("stopping")
        notifier.stopping()
    finally:
        interval.cancel()
        await servers.stop()
        await sessions.stop()
        await asyncio.to_thread(_shut_down, jobs, pipeline, opened)


def _shut_down(jobs: Jobs, pipeline: Pipeline, opened: OpenedChain) -> None:
    jobs.stop()
    pipeline.stop()
    opened.store.checkpoint()
    opened.store.index_new_blocks()
    opened.close()


def _panic(fs: FileSystem, error: BaseException) -> None:
    """The writer or the committer died: stop at once, before anything else can be answered.

    Always with 70: whether the directory is damaged is for the next start to say, and 65 would keep systemd from it.
    """
    if isinstance(error, StateStoreCorrupt):
        suspect(fs, str(error))
    if isinstance(error, StoragePanic):
        note_panic(fs, str(error))
    trace = None if isinstance(error, ZvmdError) else error
    log.critical("panic", error=f"{type(error).__name__}: {error}", exit_code=PANIC_EXIT, exc_info=trace)
    slug, hint = (error.code, error.hint) if isinstance(error, ZvmdError) else ("node.bug", BUG_HINT)
    sys.stderr.write(f"error[{slug}]: {error}\nhint: {hint}\n")
    sys.stderr.flush()
    os._exit(PANIC_EXIT)


def _distrust(fs: FileSystem, damage: StateStoreCorrupt) -> None:
    """A read met damage: it was answered with an error, and the next start makes the state store again."""
    log.critical("the state store is damaged: restart the node, which builds it again", error=str(damage))
    suspect(fs, str(damage))


def _or_panic(fs: FileSystem, work: Callable[[], str]) -> str:
    """Do a job on the stores. When their disk fails the process ends: what is on it is unknown until the next start."""
    try:
        return work()
    except (StoragePanic, StateStoreWriteFailed, StateStoreCorrupt) as error:
        _panic(fs, error)
        raise


def _watchdog(notifier: Notifier) -> Callable[[], None]:
    """Feeds systemd's watchdog from the writer thread, at most twice per timeout."""
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


def _register_jobs(
    jobs: Jobs, settings: Settings, opened: OpenedChain, pipeline: Pipeline, servers: Servers
) -> None:
    """What the node does by the clock. Each job may run at any time, twice, or not at all before a crash."""
    store = opened.store
    guarded = partial(partial, _or_panic, opened.fs)
    write_down = guarded(partial(checkpoint, pipeline, store))
    wanted = settings.storage
    due = CheckpointDue(store, lambda: pipeline.work_seconds, wanted.checkpoint_seconds, wanted.checkpoint_blocks)
    look = min(CHECKPOINT_LOOK_SECONDS, settings.storage.checkpoint_seconds)
    jobs.register("checkpoint", partial(due.run, write_down), look)
    jobs.register("space", partial(watch_space, pipeline, opened, write_down), SPACE_SECONDS)
    if settings.storage.export_seconds:
        export = guarded(partial(opened.export, settings.storage.exports_kept))
        jobs.register("export", export, settings.storage.export_seconds)
    jobs.register("retention", opened.retain, RETENTION_SECONDS)
    jobs.register("memory", QuietCollector(lambda: pipeline.work_seconds).run, GARBAGE_SECONDS)
    if settings.storage.compress_segments:
        pack = guarded(lambda: store.wal.pack_one(Slices()) or "nothing to do")
        jobs.register("log-compression", pack, COMPRESSION_SECONDS)
    jobs.register("index", guarded(store.index_new_blocks), INDEX_SECONDS)
    jobs.register(
        "index-maintenance",
        guarded(store.follower.maintain),
        INDEX_MAINTENANCE_SECONDS,
        INDEX_MAINTENANCE_FIRST_SECONDS,
    )
    jobs.register("certificate-rotation", servers.renew_certificate, CERTIFICATE_CHECK_SECONDS)


def _session_keeper(
    settings: Settings, opened: OpenedChain, node: Node, panic: Callable[[BaseException], None]
) -> Keeper:
    store = opened.store
    inline_bytes = min(settings.sessions.file_bytes, settings.storage.segment_size_bytes // 2)
    files = SessionFiles(opened.fs)
    files.remove_unfinished()
    return Keeper(store.sessions, node.keep_session, files, store.session_search, time.time, inline_bytes, panic)


def _register_session_job(jobs: Jobs, settings: Settings, sessions: SessionService) -> None:
    """Have the loop remove sessions by the policy, and files that no session names."""
    wanted, loop = settings.sessions, asyncio.get_running_loop()
    policy = Policy(wanted.keep_days, wanted.max_sessions, wanted.max_bytes)

    def work() -> str:
        return asyncio.run_coroutine_threadsafe(expire(sessions, policy), loop).result()

    jobs.register("sessions", work, wanted.expiry_seconds)


def checkpoint(pipeline: Pipeline, store: Store) -> str:
    """Let the writer freeze the state, wait until that is durable, write it. History retention is part of the batch."""
    frozen = threading.Event()
    pipeline.put(Freeze(lambda _: frozen.set()))
    frozen.wait()
    return store.write_frozen(Slices())


class CheckpointDue:
    """Decides when a checkpoint is due: by time, by blocks, by their replay, or by what blocks and sessions take."""

    def __init__(self, store: Store, work: Callable[[], float], seconds: float, blocks: int) -> None:
        self._store = store
        self._work = work
        self._worked = 0.0
        self._seconds = seconds
        self._blocks = blocks
        self._last = time.monotonic()
        self._said = "none yet"

    def run(self, write_down: Callable[[], str]) -> str:
        """Write one if it is due; what the last one said."""
        store, now = self._store, time.monotonic()
        blocks = store.head.number - store.state.checkpointed
        worked, held = self._work(), store.state.overlay_bytes + store.sessions.unwritten_bytes
        if (
            now - self._last >= self._seconds
            or blocks >= self._blocks
            or worked - self._worked >= REPLAY_SECONDS
            or held >= OVERLAY_BYTES
        ):
            self._last, self._worked = now, worked
            self._said = write_down()
        return self._said


def watch_space(pipeline: Pipeline, opened: OpenedChain, write_down: Callable[[], str]) -> str:
    """Look at the disk; without room the node becomes read-only, and writes a checkpoint where the ballast was."""
    before, room = opened.space.room, opened.space.look()
    pipeline.no_room = room is Room.NONE
    if room is not before:
        log.log(_URGENCY[room], "room on disk", room=room.value, free_bytes=opened.space.free)
    if pipeline.no_room and before is not Room.NONE:
        write_down()
    return f"{room.value}: {opened.space.free // 2**20} MiB"


async def _seal_at_intervals(opened: OpenedChain, pipeline: Pipeline) -> None:
    """Ask the writer for a block whenever the interval that users set has passed."""
    begun, before = time.monotonic(), 0.0
    while True:
        seconds, now = opened.ledger.controls.interval_milliseconds / 1000, time.monotonic()
        if seconds != before:
            begun, before = now, seconds
        elif seconds and now - begun >= seconds:
            begun = now
            with suppress(ReadOnly, WriterBusy):  # the next interval tries again
                pipeline.put(Mine(lambda _: None))
        left = begun + seconds - now if seconds else INTERVAL_LOOK_SECONDS
        await asyncio.sleep(min(left, INTERVAL_LOOK_SECONDS))  # the interval may be another one soon


def _announce(opened: OpenedChain, servers: Servers, recovery_ms: float, say: Callable[[str], None]) -> None:
    for index, address in enumerate(opened.dev_accounts.addresses):
        say(f"account ({index}) 0x{address.hex()}  key 0x{opened.dev_accounts.secret(address).hex()}")
    report = opened.recovery
    say(f"data {opened.data_dir}  log replayed: {report.blocks} blocks, {report.transactions} transactions")
    say(
        f"READY http://{servers.http_address} quic://{servers.quic_address} chain {opened.config.chain_id} "
        f"block {opened.store.head.number} recovered in {recovery_ms:.0f} ms"
    )


def _stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM, SIGINT or a closing terminal, from the first moment on: during recovery it counts afterwards."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            loop.add_signal_handler(number, stopped.set)
    return stopped
