"""The index process: ``python -m node.indexing.process DATABASE MIGRATIONS IDLE_SECONDS``.

Requests come on standard input, answers go to standard output. It exits after IDLE_SECONDS without a request, and at
once when its input ends, even in the middle of a transaction, which SQLite then rolls back.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from node.indexing.messages import Answer, Done, IndexingFailed, Write, WriteSessions, decode_request, encode
from node.ops.worker import receive, send
from storage.errors import StorageError
from storage.index.rows import RowWriter
from storage.index.sessions import SessionRow

MEMORY_BYTES_MAX: Final = 4 << 30
NICENESS: Final = 5
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Answer requests until there have been none for IDLE_SECONDS."""
    database, migrations, idle_seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    _limit()
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    from storage.index.sql import SqlWriter  # after `_limit`, so that the limits cover it

    writer = SqlWriter(database, migrations)
    while True:
        try:
            request = requests.get(timeout=idle_seconds)
        except Empty:
            os._exit(0)
        send(sys.stdout.buffer, encode(_answer(writer, request)))


def _limit() -> None:
    """Lower the priority, limit the memory, and have the kernel kill this process when the node ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # systemd sends them to every process of a service
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(NICENESS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(requests: SimpleQueue[bytes]) -> None:
    """Queue requests; the end of the input means that the node is gone."""
    while (request := receive(sys.stdin.buffer)) is not None:
        requests.put(request)
    os._exit(0)


def _answer(writer: RowWriter, data: bytes) -> Answer:
    try:
        request = decode_request(data)
        mark = None
        if isinstance(request, Write):
            mark = writer.write(request.blocks, request.lsn)
        elif isinstance(request, WriteSessions):
            rows = [SessionRow(**fields) for fields in request.rows]
            writer.write_sessions(rows, request.gone, request.lsn, all_=request.all_)
        else:
            writer.prepare()
        return Done(mark)
    except StorageError as error:
        return IndexingFailed(error.code, str(error))
    except Exception as error:  # the node counts it as a lost process and shows the text
        return IndexingFailed("", f"{type(error).__name__}: {error}"[:500])


if __name__ == "__main__":
    with suppress(OSError):
        main()
