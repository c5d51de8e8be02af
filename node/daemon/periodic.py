"""Periodic work of a node: checkpoints, the index, disk space, expiry and certificates."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from node.api.errors import ReadOnly, WriterBusy
from node.daemon.opening import OpenedChain
from node.daemon.panic import or_panic
from node.daemon.serving import Servers
from node.daemon.sockets import Sockets
from node.engine.committer import Committer
from node.engine.requests import Freeze, Mine
from node.ops.jobs import Jobs
from node.ops.memory import QuietCollector
from node.sessions.repository import Policy
from node.sessions.service import SessionService
from node.settings import SessionSettings, Settings
from storage.io.cooperative import Slices
from storage.io.diskspace import Room
from storage.presence import Presence
from storage.store import Store

log = structlog.get_logger(__name__)

INDEX_SECONDS = 1.0
INDEX_DUE_SECONDS = 5.0
"""Longest time that transactions wait to be indexed in a batch; lookups find them in memory meanwhile."""
COMPRESSION_SECONDS = 10.0
SPACE_SECONDS = 1.0
FILES_SECONDS = 2.0
SOCKETS_SECONDS = 2.0
"""Interval of checks on the data directory's files: a missing file is noticed within five seconds."""
INTERVAL_LOOK_SECONDS = 0.2
CHECKPOINT_LOOK_SECONDS = 0.25
REPLAY_SECONDS = 0.5
"""Writer time since the last checkpoint that makes the next one due: a start would have to replay it before READY."""
OVERLAY_BYTES = 32 * 2**20
"""Memory of blocks and records of sessions in no checkpoint yet, above which one is due. At eight times this, the
writer refuses."""
RETENTION_SECONDS = 60.0
INDEX_MAINTENANCE_SECONDS = 3600.0
INDEX_MAINTENANCE_FIRST_SECONDS = 60.0
CERTIFICATE_CHECK_SECONDS = 60.0
"""Short, because a clock that is set back after the start leaves a certificate that is not valid yet."""
TLS_FILES_SECONDS = 2.0
SOCKETS_SECONDS = 2.0
"""Interval of looks at the files of HTTP's TLS, which others may change."""
CERTIFICATES = "certificate-rotation"
GARBAGE_SECONDS = 10.0
_URGENCY = {Room.ENOUGH: logging.INFO, Room.LOW: logging.WARNING, Room.NONE: logging.ERROR}


def register_jobs(
    jobs: Jobs,
    settings: Settings,
    opened: OpenedChain,
    committer: Committer,
    servers: Servers,
    sessions: SessionService,
    presence: Presence,
) -> None:
    """Register all jobs. Each must be safe to run at any time, twice, or not at all before a crash."""
    store = opened.store
    guarded = partial(partial, or_panic, opened.fs)
    write_down = partial(opened.space.attempt, "state", guarded(partial(checkpoint, committer, store)))
    index = partial(opened.space.attempt, "index", guarded(partial(store.index_when_due, INDEX_DUE_SECONDS)))
    wanted = settings.storage
    due = CheckpointDue(store, lambda: committer.work_seconds, wanted.checkpoint_seconds, wanted.checkpoint_blocks)
    jobs.register("checkpoint", partial(due.run, write_down), min(CHECKPOINT_LOOK_SECONDS, wanted.checkpoint_seconds))
    jobs.register("space", partial(watch_space, committer, opened, write_down), SPACE_SECONDS)
    if wanted.export_seconds:
        jobs.register("export", guarded(partial(opened.export, wanted.exports_kept)), wanted.export_seconds)
    jobs.register("retention", opened.retain, RETENTION_SECONDS)
    machine, service = opened.machine, servers.service
    collector = QuietCollector(
        lambda: (store.last_lsn, service.reads_begun, machine.metrics.compiled), tidy=machine.tidy
    )
    jobs.register("memory", collector.run, GARBAGE_SECONDS)
    if wanted.compress_segments:
        pack = guarded(lambda: store.wal.pack_one(Slices()) or "nothing to do")
        jobs.register("log-compression", pack, COMPRESSION_SECONDS)
    jobs.register("index", index, INDEX_SECONDS)
    jobs.register(
        "index-maintenance",
        guarded(store.follower.maintain),
        INDEX_MAINTENANCE_SECONDS,
        INDEX_MAINTENANCE_FIRST_SECONDS,
    )
    jobs.register("files", guarded(presence.look), FILES_SECONDS, alone=True)

    jobs.register("sockets", _look_at_sockets(servers.sockets), SOCKETS_SECONDS)

    def renew() -> str:
        said = servers.renew_certificate()
        presence.learn()
        return said

    jobs.register(CERTIFICATES, renew, CERTIFICATE_CHECK_SECONDS)
    if servers.https.is_on:
        jobs.register("tls-files", partial(_look_at_tls_files, servers, presence), TLS_FILES_SECONDS)
    jobs.register("sessions", _session_expiry(settings.sessions, sessions), settings.sessions.expiry_seconds)


def _look_at_tls_files(servers: Servers, presence: Presence) -> str:
    before = servers.https.reloads
    said = servers.look_at_tls_files()
    if servers.https.reloads != before:
        presence.learn()
    return said


def _look_at_sockets(sockets: Sockets) -> Callable[[], str]:
    """Has the event loop make socket files again that were removed."""
    loop = asyncio.get_running_loop()

    def look() -> str:
        if not sockets.are_there():
            asyncio.run_coroutine_threadsafe(sockets.renew(), loop).result()
        return "there"

    return look


def _session_expiry(settings: SessionSettings, sessions: SessionService) -> Callable[[], str]:
    """Has the event loop remove expired sessions, and files that no session names."""
    loop = asyncio.get_running_loop()
    policy = Policy(settings.keep_days, settings.max_sessions, settings.max_bytes)
    return lambda: asyncio.run_coroutine_threadsafe(sessions.expire(policy), loop).result()


def checkpoint(committer: Committer, store: Store) -> str:
    """Let the writer freeze the state, wait until that is durable, write it. History retention is part of the batch."""
    frozen = threading.Event()
    committer.put(Freeze(lambda _: frozen.set()))
    frozen.wait()
    return store.write_frozen(Slices())


class CheckpointDue:
    """Decides when a checkpoint is due: by time, blocks, replay time, or the memory of blocks and sessions."""

    def __init__(self, store: Store, work: Callable[[], float], seconds: float, blocks: int) -> None:
        self._store = store
        self._work = work
        self._worked = 0.0
        self._seconds = seconds
        self._blocks = blocks
        self._last = time.monotonic()
        self._said = "none yet"

    def run(self, write_down: Callable[[], str]) -> str:
        """Write a checkpoint if one is due; returns the summary of the last one."""
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


def watch_space(committer: Committer, opened: OpenedChain, write_down: Callable[[], str]) -> str:
    """Check the disk; when it is full, make the node read-only and write a checkpoint into the ballast's space."""
    before, room = opened.space.room, opened.space.look()
    committer.disk_has_room(room is not Room.NONE)
    if room is not before:
        log.log(_URGENCY[room], "room on disk", room=room.value, free_bytes=opened.space.free)
    if room is Room.NONE and (before is not Room.NONE or "state" in opened.space.full):
        write_down()
    return f"{room.value}: {opened.space.free // 2**20} MiB"


async def seal_at_intervals(interval_milliseconds: Callable[[], int], committer: Committer) -> None:
    """Request a block from the writer after each interval, which may change at any time; 0 switches it off."""
    begun, before = time.monotonic(), 0.0
    while True:
        seconds, now = interval_milliseconds() / 1000, time.monotonic()
        if seconds != before:
            begun, before = now, seconds
        elif seconds and now - begun >= seconds:
            begun = now
            with suppress(ReadOnly, WriterBusy):  # the next interval tries again
                committer.put(Mine(lambda _: None))
        left = begun + seconds - now if seconds else INTERVAL_LOOK_SECONDS
        await asyncio.sleep(min(left, INTERVAL_LOOK_SECONDS))  # the interval may be another one soon
