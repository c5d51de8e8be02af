"""Compiles in another process, one contract at a time, from a bounded queue.

A process that hangs is killed, one that died is replaced, and so is the thread that feeds it. A contract that failed
for lack of file descriptors, memory or processes is submitted again later.
"""

from __future__ import annotations

import queue
import threading
from typing import Final

from node.machine.compile_messages import CompileKind, asking, encode_request, read_answer
from node.machine.compile_process import BACKGROUND
from node.ops.worker import Worker, WorkerLost, WorkerNotStarted
from vm.evm.jit.ports import WORKER_LOST, CompileRequest, CompilerStatus, Done, Prepare

QUEUE_MAX: Final = 64
"""Most contracts in the queue; others stay interpreted and are submitted again later."""
COMPILE_SECONDS_MAX: Final = 60.0
IDLE_SECONDS: Final = 30.0
"""How long the process lives without work, unless a setting says otherwise: it holds some 30 MB of its own."""
PAUSE_SECONDS: Final = 0.2
"""Pause after a fault: an exhausted resource may be available again then."""


class CompileWorker:
    """Implements `vm.evm.jit.ports.BackgroundCompiler`: one thread feeds one process, while there is work.

    Owns both. Any thread may call its methods.
    """

    def __init__(self, seconds_max: float = COMPILE_SECONDS_MAX, idle_seconds: float = IDLE_SECONDS) -> None:
        self._waiting: queue.Queue[tuple[Prepare, Done] | None] = queue.Queue(QUEUE_MAX)
        self._seconds_max = seconds_max
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = Worker("node.machine.compile_process", BACKGROUND)
        self._closed = False
        self._ending = threading.Event()
        self.killed = 0
        """Number of processes that hung or died."""
        self.faults = 0
        """How often the thread raised an exception or had to be replaced."""
        self.last_fault = ""
        """What it was."""

    def submit(self, prepare: Prepare, done: Done) -> bool:
        """Queue a contract; False if the queue is full or no thread can be started. Never raises: contracts run on."""
        with self._lock:
            if self._closed or not self._has_thread():
                return False
            try:
                self._waiting.put_nowait((prepare, done))
            except queue.Full:
                return False
        return True

    def _has_thread(self) -> bool:
        """Start the thread unless it works; called with the lock held."""
        if self._thread is not None and self._thread.is_alive():
            return True
        if self._thread is not None:
            self._note("the thread ended")
        self._thread = threading.Thread(target=self._work, name="jit", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the system refuses a new thread
            self._thread = None
            self._note(str(error))
        return self._thread is not None

    def _note(self, fault: str) -> None:
        self.faults += 1
        self.last_fault = fault[:200]

    def status(self) -> CompilerStatus:
        """Counters, and the compile process if there is one. Any thread."""
        return CompilerStatus(self._waiting.qsize(), self.killed, self.faults, self.last_fault, self._process.pid)

    def close(self) -> None:
        """Stop compiling at once; the queue is dropped."""
        with self._lock:
            self._closed = True
            self._ending.set()
            thread = self._thread
        self._process.kill()
        if thread is not None:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                pass
            thread.join(5)

    def _work(self) -> None:
        while True:
            try:
                job = self._waiting.get(timeout=self._idle_seconds)
            except queue.Empty:
                job = None
            if job is None or self._closed:
                with self._lock:
                    if self._closed or self._waiting.empty():
                        self._thread = None
                        self._process.stop()
                        return
                continue
            try:
                self._do(*job)
            except Exception as error:  # `prepare` or `done` names the contract; the others wait
                self._note(f"{type(error).__name__}: {error}")
                self._ending.wait(PAUSE_SECONDS)

    def _do(self, prepare: Prepare, done: Done) -> None:
        request = prepare()
        if request is None:
            return
        try:
            code, reason = self._compile(request)
        except Exception as error:
            self._note(f"{type(error).__name__}: {error}")
            self._process.stop()
            code, reason = None, WORKER_LOST
            self._ending.wait(PAUSE_SECONDS)
        if not self._closed:
            done(request, code, reason)

    def _compile(self, request: CompileRequest) -> tuple[bytes | None, str]:
        if self._process.is_lost:
            self.killed += 1  # it died while it waited: no contract is to blame
            self._process.stop()
        try:
            answer = self._process.ask(asking(CompileKind.CONTRACT, encode_request(request)), self._seconds_max)
        except WorkerNotStarted:
            raise
        except WorkerLost:
            self.killed += 1
            return None, WORKER_LOST
        return read_answer(answer)
