"""Importing in a confined process: every hostile file refused within its limits, nothing changed, nothing opened."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys

import msgspec
import pytest

from debugger.errors import SessionFileTooLarge
from debugger.limits import FILE_BYTES
from debugger.persist import record_of
from debugger.sharing import ABOUT, export_session
from node.ops import worker
from node.sessions import import_worker
from node.sessions.base_state import NewSession
from node.sessions.errors import WorkerFailed
from node.sessions.import_worker import import_apart
from node.sessions.service import SessionService
from tests.paths import REPO
from tests.unit.debugger.test_sharing import HOSTILE, called, container, section
from tests.unit.node.test_sessions import SHORT, Log, run, state

ALL_OF_THEM = """
import resource, struct, sys
from node.sessions.import_worker import confine, take_apart
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
confine((size >> 20) + {mib}, {seconds})
read = sys.stdin.buffer.read
while head := read(4):
    answer = take_apart(read(struct.unpack("<I", head)[0]))
    sys.stdout.buffer.write(struct.pack("<I", len(answer)) + answer)
sys.stdout.buffer.flush()
"""
"""One confined process for many files: 64 MiB more than Python and the debugger take, and the time for one file."""


def test_all_hostile_files_together_fit_into_the_limits_of_one() -> None:
    files = b"".join(len(data).to_bytes(4, "little") + data for data, _ in HOSTILE.values())
    script = ALL_OF_THEM.format(mib=64, seconds=import_worker.CPU_SECONDS)
    done = subprocess.run([sys.executable, "-c", script], input=files, capture_output=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr
    at = 0
    for name, (_, error) in HOSTILE.items():
        size = int.from_bytes(done.stdout[at : at + 4], "little")
        answer = msgspec.msgpack.decode(done.stdout[at + 4 : at + 4 + size])
        at += 4 + size
        assert answer[:2] == [None, error.code], name  # type: ignore[attr-defined]
    assert at == len(done.stdout)


def test_the_node_refuses_and_nothing_has_changed() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(SHORT))
        before, records = await state(sessions, number), log.contents()
        for name in ("wrong root", "branches in a circle", "zip"):
            data, error = HOSTILE[name]
            with pytest.raises(error):  # type: ignore[arg-type]
                await sessions.import_file(data)
        assert (await state(sessions, number), log.contents(), len(log.records)) == (before, records, 1)
        file = export_session(called())
        imported = await sessions.import_file(file)
        assert imported == number + 1
        assert await sessions.read(export_session, imported) == file

    run(work)


def test_a_file_gives_the_same_record_through_the_worker() -> None:
    found = called()
    record = asyncio.run(import_apart(export_session(found)))
    exported = record_of(found)
    assert (record.digest, record.position, record.program) == (exported.digest, exported.position, exported.program)


def test_a_worker_that_needs_too_much_memory_or_time_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random.Random(1).randbytes(2_100_000)
    file = container(section(ABOUT, noise + bytes(200 << 20)), 1, level=1)
    assert len(file) < FILE_BYTES, "a bomb below every limit of sizes"
    with pytest.raises(SessionFileTooLarge, match="memory"):
        asyncio.run(import_apart(file))
    file = export_session(called())
    assert asyncio.run(import_apart(file)).position == 11
    monkeypatch.setattr(worker, "command", lambda *_: [sys.executable, "-c", "import os; os.kill(os.getpid(), 24)"])
    with pytest.raises(SessionFileTooLarge, match="10 s"):
        asyncio.run(import_apart(file))
    monkeypatch.setattr(worker, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(WorkerFailed, match="status 3"):
        asyncio.run(import_apart(file))


def test_the_confined_process_opens_nothing_and_is_ended_by_the_limits() -> None:
    script = """
import socket, sys
from node.sessions.import_worker import confine
confine(512, 1)
for attempt in (lambda: open("/etc/hostname"), socket.socket, lambda: bytearray(600 << 20)):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        print(type(error).__name__, flush=True)
while True:
    pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=False)
    assert done.stdout.split() == ["OSError", "OSError", "MemoryError"]
    assert done.returncode in (-24, -9), "SIGXCPU or SIGKILL"
