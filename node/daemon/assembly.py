"""Puts the parts of a daemon together. Each gets what it needs when it is made; nothing is set on it afterwards."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from node.auth.signing import signer
from node.auth.tokens import TokenChecker, load_or_create_token
from node.daemon.https import HttpTls
from node.daemon.opening import OpenedChain, is_of_dev
from node.daemon.panic import distrust, panic
from node.daemon.serving import rpc_limits
from node.daemon.sockets import socket_paths, sockets_there
from node.daemon.voice import Voice, transcript_of
from node.doors.doors import Doors
from node.doors.rule import GuardRules, is_loopback
from node.doors.token_book import TokenBook
from node.doors.token_desk import TokenDesk
from node.engine.clock import SystemClock
from node.engine.committer import Committer, Listeners
from node.engine.dev_contracts import contract_names, version_status
from node.engine.limit_usage import limit_usage
from node.engine.node import Node
from node.engine.publications import Publications
from node.ops.audit import AuditLog
from node.ops.jobs import Jobs
from node.ops.lines import restarts_of_standard_streams
from node.ops.logging import log_status
from node.ops.memory import resident_bytes
from node.ops.notify import Notifier
from node.ops.restarts import Restarts
from node.ops.turns import loop_status
from node.rpc.brief import BriefReads
from node.rpc.context import Context
from node.rpc.held import Held
from node.rpc.readers import Readers
from node.rpc.service import RpcService
from node.sessions.base_state import BaseStates
from node.sessions.gallery import Gallery
from node.sessions.repository import SessionRepository
from node.sessions.service import SessionService
from node.settings import Settings
from node.transcript.transcript import Transcript
from node.wire.library import library_version
from storage.directory import layout
from storage.io.failures import starting
from storage.sessions.files import SessionFiles


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """A daemon over an opened chain, before it listens and before its threads of the writer and of the jobs run."""

    committer: Committer
    node: Node
    sessions: SessionService
    service: RpcService
    doors: Doors
    audit: AuditLog
    transcript: Transcript
    jobs: Jobs
    restarts: Restarts
    https: HttpTls


def assemble(settings: Settings, opened: OpenedChain, voice: Voice, notifier: Notifier) -> DaemonParts:
    """Make all parts, on the daemon's event loop.

    Raises `InvalidSetting`, `UnusableToken`, `StorageUnreadable`, `StoragePanic`.
    """
    https = HttpTls(settings.http, opened.data_dir / layout.TLS)
    sign = signer(opened.data_dir)
    end = partial(panic, opened.fs)
    transcript, artifacts = transcript_of(voice, settings, opened)
    publications = Publications(opened.store, transcript.wake)
    listeners = Listeners(
        end, opened.space.give_back_quietly, publications.admitted, publications.published,
        publications.calls.wake, _watchdog(notifier),
    )  # fmt: skip
    committer = Committer(opened.writer(transcript.listener), opened.store, SystemClock(), listeners)
    limits = rpc_limits(settings)
    readers, held = Readers(limits), Held(limits.held_max_bytes)
    brief = BriefReads(limits, readers)
    node = opened.node(
        committer,
        publications,
        settings.limits.call_gas,
        settings.node.client_version,
        transcript,
        answer_cache_bytes=settings.limits.answer_cache_bytes,
        short_road=settings.limits.short_road,
        read=readers.run,
    )
    sessions = SessionService(
        BaseStates(node, opened.machine),
        _session_repository(settings, opened, node, end),
        Gallery(opened.store.templates, node.keep_template),
    )
    jobs = Jobs()
    restarts = _restarts(jobs, opened)
    audit = AuditLog(opened.data_dir)
    doors = _doors(settings, opened, sessions, audit)
    grown = partial(_grown_in_serving, node, held, readers, sessions)
    context = Context(
        node,
        limits,
        sessions=sessions,
        damaged=partial(distrust, opened.fs),
        read=readers.run,
        sign=sign,
        transcript=transcript,
        artifacts=artifacts,
        tokens=TokenDesk(doors),
        audit=audit,
        audits_development=not opened.public,
        status_parts={
            **_status_of(settings, opened),
            "sessions": sessions.status,
            "readers": readers.status,
            "briefReads": brief.status,
            "answerCache": node.answers.status,
            "limits": partial(limit_usage, opened.store, opened.pool, committer, grown),
            "tls": https.status,
            "doors": doors.status,
            "audit": audit.status,
            "logging": log_status,
            "restarts": restarts.status,
            "loop": partial(loop_status, asyncio.get_running_loop()),
            "jobs": lambda: msgspec.to_builtins(jobs.status()),
        },
    )
    service = RpcService(context, readers, brief, held)
    return DaemonParts(committer, node, sessions, service, doors, audit, transcript, jobs, restarts, https)


def _status_of(settings: Settings, opened: OpenedChain) -> dict[str, Callable[[], Any]]:
    """Parts of ``zvmd_status`` about what was there before serving began."""
    return {
        "vm": opened.machine.status,
        "disk": opened.space.status,
        "stateStore": lambda: {"engine": opened.store.kv.engine_name, "setting": settings.storage.engine},
        "devContracts": lambda: contract_names(opened.genesis.alloc),
        "devGenesis": lambda: version_status(opened.genesis) if is_of_dev(settings) else None,
        "memory": resident_bytes,
        "quic": partial(dict, library=settings.quic.library, version=library_version(settings.quic.library)),
        "sockets": partial(sockets_there, socket_paths(settings)),
    }


def _doors(settings: Settings, opened: OpenedChain, sessions: SessionService, audit: AuditLog) -> Doors:
    """Who may come in. Raises `InvalidSetting`, `UnusableToken`, `UnusableTokens`, and what writing a token raises."""
    tokens = TokenBook.read(opened.data_dir)
    is_owner = TokenChecker(load_or_create_token(opened.data_dir))
    is_open = opened.public or is_loopback(settings.http.host)
    require_token = settings.http.require_token or not is_open
    rules = GuardRules.of(settings.http, opened.public, require_token, os.getuid(), is_open, settings.quic.host)
    return Doors(rules, is_owner, sessions.sharings.is_valid, tokens=tokens, audit=audit)


def _grown_in_serving(
    node: Node, held: Held, readers: Readers, sessions: SessionService
) -> Mapping[str, tuple[Any, int]]:
    """What grows on the side of the protocols, and how large it may get."""
    own = {
        "large bodies and answers bytes": held.bound(),
        "waiting reads": readers.bound(),
        "answers of calls bytes": node.answers.bound(),
    }
    return own | sessions.limit_usage()


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
    restarts.watch("index process", lambda: opened.store.follower.index.writer_status().get("losses", 0))
    restarts.watch("log writers", restarts_of_standard_streams)
    return restarts
