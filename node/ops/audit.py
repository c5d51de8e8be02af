"""The audit log: who did or tried what needs a right, in ``audit.log``, one JSON object a line.

Records are written by a thread, in order, and synced; a caller that must not answer before waits for the future. The
file is replaced at 16 MiB, and one older is kept. A disk that is full, or anything else that keeps a record from being
written, does not stop the node: it is logged and counted.
"""

from __future__ import annotations

import datetime
import os
import queue
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

_log = structlog.get_logger("audit")

AUDIT_FILE: Final = "audit.log"
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Size from which on another file is begun."""
WAITING_MAX: Final = 1_000
"""Records that wait to be written; further ones are lost, and counted."""
TEXT_CHARACTERS_MAX: Final = 300
STOP_S: Final = 2.0
_SECRETS: Final = re.compile(
    r"(zvmd_)[a-z2-7]{8,}|(zvs-[0-9]+-[0-9]+-)[0-9a-f]+|(?<![0-9a-fx])[0-9a-f]{64}(?![0-9a-f])"
)
"""Tokens, share tokens, and 64 hex digits as of the node's token or a key. With 0x before them they may be a hash."""


def without_secrets(text: str) -> str:
    """Text in which tokens and keys are replaced, cut to `TEXT_CHARACTERS_MAX`.

    >>> without_secrets('["zvs-1-2-' + "ab" * 32 + '"]')
    '["zvs-1-2-..."]'
    """
    plain = _SECRETS.sub(lambda found: (found[1] or found[2] or "") + "...", text)
    return plain if len(plain) <= TEXT_CHARACTERS_MAX else plain[: TEXT_CHARACTERS_MAX - 3] + "..."


class AuditLog:
    """The audit log of a data directory. Any thread."""

    def __init__(self, directory: Path, wall: Callable[[], float] = time.time) -> None:
        self._path = directory / AUDIT_FILE
        self._wall = wall
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[None]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._untold = 0
        """Lost records that no written record mentions yet."""
        self._written = 0
        self._error = ""

    def note(self, event: str, **fields: Any) -> Future[None]:
        """Record something; the future is done when it is durable, or lost. Values must be JSON's."""
        done: Future[None] = Future()
        if self._waiting.qsize() >= WAITING_MAX:
            self._lose(1, "too many records wait")
            done.set_result(None)
            return done
        with self._lock:
            untold, self._untold = self._untold, 0
        self._waiting.put((_line(self._wall(), event, fields | ({"lost": untold} if untold else {})), done))
        self._begin()
        return done

    def status(self) -> dict[str, Any]:
        """What ``zvmd status`` shows."""
        return {"written": self._written, "lost": self._lost, "lastError": self._error or None}

    def close(self) -> None:
        """Write what waits, and end the thread; for `STOP_S` at most."""
        thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join(STOP_S)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write_all, name="audit log", daemon=True)
                self._thread.start()

    def _write_all(self) -> None:
        ends = False
        while not ends:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            ends = None in batch
            records = [item for item in batch if item is not None]
            try:
                if records:
                    _write(self._path, b"".join(line for line, _ in records))
                    self._written += len(records)
            except OSError as error:
                self._lose(len(records), str(error))
                _log.error("audit_not_written", records=len(records), reason=str(error))
            for _, done in records:
                done.set_result(None)

    def _lose(self, count: int, reason: str) -> None:
        with self._lock:
            self._lost += count
            self._untold += count
            self._error = reason


def note_now(directory: Path, event: str, **fields: Any) -> None:
    """Record something in the audit log of a data directory, durably, also while a node writes it too.

    Values must be JSON's. Raises `OSError`.
    """
    _write(directory / AUDIT_FILE, _line(time.time(), event, fields))


def _line(now: float, event: str, fields: dict[str, Any]) -> bytes:
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"time": at, "event": event} | fields) + b"\n"


def _write(path: Path, lines: bytes) -> None:
    descriptor = _opened(path)
    try:
        size = os.fstat(descriptor).st_size
        if size and size + len(lines) >= FILE_BYTES_MAX:
            path.replace(older(path))
            os.close(descriptor)
            descriptor, size = _opened(path), 0
        is_torn = size and os.pread(descriptor, 1, size - 1) != b"\n"  # by a crash, or by a full disk
        view = memoryview(b"\n" + lines if is_torn else lines)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The file, made if it is missing, as the owner of its folder can write it: root may do something for a node."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    own, folder = os.fstat(descriptor), path.parent.stat()
    if os.geteuid() == 0 and own.st_uid == 0 and folder.st_uid != 0:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def older(path: Path) -> Path:
    """The previous file of the audit log."""
    return path.with_name(path.name + ".1")


def read_audit(directory: Path, count: int) -> list[dict[str, Any]]:
    """The newest records, at most ``count``, the oldest of them first. Half a line, as a crash leaves, is left out.

    Raises `OSError`.
    """
    found: list[dict[str, Any]] = []
    path = directory / AUDIT_FILE
    for file in (path, older(path)):
        if len(found) >= count or not file.exists():
            continue
        lines = [line for line in file.read_bytes().splitlines() if line][-(count - len(found)) :]
        found = [record for line in lines if (record := _record(line)) is not None] + found
    return found


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return record if isinstance(record, dict) else None
