"""Parses untrusted session files in a separate process with limited memory and time, which cannot open anything.

    python -m node.sessions.import_worker [address MiB] [CPU seconds]

The file comes on standard input; the answer, an `Answer` as MessagePack, goes to standard output. The process may use
352 MiB of addresses and 10 s of processor time, and opens no file and no socket once it is ready. What the worker found
well-formed is well-formed: its answer is decoded and not checked again.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys

import msgspec

from debugger.errors import SessionFileRefused, SessionFileTooLarge
from debugger.persist import SessionRecord, decode_record, encode_record
from debugger.sharing import import_session
from node.ops import worker
from node.sessions.errors import WorkerFailed

ADDRESS_MIB = 352
CPU_SECONDS = 10
MODULE = "node.sessions.import_worker"
_WALL_SECONDS = 120.0
"""Wall-clock limit, for a machine so busy that the worker does not get its processor time."""


class Answer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The worker's result: the record, or why it refuses the file."""

    record: bytes | None
    slug: str = ""
    message: str = ""


def take_apart(data: bytes) -> bytes:
    """The answer for a file. The content of the file never makes it raise."""
    try:
        record = encode_record(import_session(data).record)
    except SessionFileRefused as error:
        return msgspec.msgpack.encode(Answer(None, error.code, str(error)))
    except MemoryError:
        message = "importing it needs more memory than the limit"
        return msgspec.msgpack.encode(Answer(None, SessionFileTooLarge.code, message))
    return msgspec.msgpack.encode(Answer(record))


def confine(address_mib: int, cpu_seconds: int) -> None:
    """Apply the limits to this process, irrevocably, once everything is loaded that will be needed."""
    import debugger.signatures  # noqa: F401 - the node itself loads it when it first verifies one

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + cpu_seconds
    resource.setrlimit(resource.RLIMIT_AS, (address_mib << 20, address_mib << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


async def import_apart(data: bytes, address_mib: int = ADDRESS_MIB, cpu_seconds: int = CPU_SECONDS) -> SessionRecord:
    """The record of a file, validated in a worker. Raises a `SessionFileRefused` subclass.

    Threads start the process and talk to it: uvloop runs Python in the child between fork and exec, where a lock that
    another thread held at the fork is never released (seen as a child that waits without end beside the compiler).
    """
    try:
        process = await asyncio.to_thread(_started, str(address_mib), str(cpu_seconds))
    except OSError as error:
        raise WorkerFailed(f"no process could be started: {error.strerror or error}") from None
    try:
        answer, _ = await asyncio.to_thread(process.communicate, data, _WALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise SessionFileTooLarge(f"not parsed within {_WALL_SECONDS:g} s") from None
    finally:
        process.kill()  # if it still runs: the request was cancelled, or takes too long
        status = await asyncio.to_thread(process.wait)
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise SessionFileTooLarge(f"parsing it needs more than {cpu_seconds} s or {address_mib} MiB")
    return await asyncio.to_thread(_answered, answer, status)


def _started(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        worker.command(MODULE, *arguments),
        env=worker.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _answered(answer: bytes, status: int | None) -> SessionRecord:
    try:
        found = msgspec.msgpack.decode(answer, type=Answer)
    except msgspec.MsgspecError:
        raise WorkerFailed(f"the worker ended with status {status}") from None
    if found.record is not None:
        return decode_record(found.record)
    refusals = {kind.code: kind for kind in SessionFileRefused.__subclasses__()}
    raise refusals.get(found.slug, SessionFileRefused)(found.message)


def main() -> None:
    """Answer for one file."""
    given = [int(argument) for argument in sys.argv[1:3]]
    confine(*(given if len(given) == 2 else (ADDRESS_MIB, CPU_SECONDS)))
    answer = take_apart(sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing to clean up, and no memory for it


if __name__ == "__main__":
    main()
