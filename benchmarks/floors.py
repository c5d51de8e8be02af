"""What this computer allows at best: the floors that published figures stand beside."""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import coincurve

TRIES = 200
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


def sync_ms(folder: Path) -> float:
    """Median time of an fdatasync after 4 KiB were overwritten, milliseconds."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        taken = []
        for number in range(TRIES):
            os.pwrite(file.fileno(), os.urandom(4096), 4096 * (number % 256))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def recoveries_per_second() -> float:
    """Senders recovered from signatures by one core in a second."""
    digest = bytes(range(32))
    signature = coincurve.PrivateKey(b"\x01" * 32).sign_recoverable(digest, hasher=None)
    start = time.thread_time()
    for _ in range(TRIES):
        coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    return TRIES / (time.thread_time() - start)


def round_trip_ms() -> float:
    """Median time of a request and its answer over loopback between two threads that do nothing else, milliseconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer, args=(server,), daemon=True)
        thread.start()
        with socket.create_connection(server.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            taken = []
            for _ in range(10 * TRIES):
                start = time.perf_counter()
                client.sendall(REQUEST)
                assert client.recv(4096) == ANSWER
                taken.append(time.perf_counter() - start)
        thread.join()
    return statistics.median(taken) * 1e3


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(4096):
            connection.sendall(ANSWER)
