"""Contracts that were just created are compiled whole in the background, before anyone calls them often.

The objects go to the object cache only. A tier takes one from there when the contract is hot, so a contract that is
never called costs compile time once, and no memory.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from chain.forks import Fork
from chain.types import Hash32
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.objects import whole_kind
from vm.evm.jit.ports import BackgroundCompiler, CompileRequest
from vm.evm.jit.store import ObjectStore

WAITING_MAX: Final = 16
"""Contracts that wait; of more, the newest are left to be found hot."""
FORESEEN_BYTES_MAX: Final = 10_000
"""Longer code is left to be found hot: its whole takes seconds to compile, during which what is hot would wait."""


class Foresight:
    """The created contracts of one fork that wait. One at a time is with the compiler, so hot code goes before most.

    Any thread may add; the rest happens in the compiler's thread.
    """

    def __init__(
        self, fork: Fork, level: int, store: ObjectStore, compiler: BackgroundCompiler, metrics: Metrics
    ) -> None:
        self._fork = fork
        self._level = level
        self._store = store
        self._compiler = compiler
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Hash32, bytes]] = deque()
        self._is_busy = False

    def add(self, code_hash: Hash32, code: bytes) -> None:
        """A contract with this code was created."""
        if not (0 < len(code) <= FORESEEN_BYTES_MAX and self._store.keeps):
            return
        with self._lock:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append((code_hash, code))
            if self._is_busy:
                return
            self._is_busy = True
        self._go_on()

    def _go_on(self) -> None:
        """Give the compiler the next one; while it takes none, later contracts find their way when they are hot."""
        with self._lock:
            self._is_busy = bool(self._waiting)
            if not self._is_busy:
                return
            code_hash, code = self._waiting.popleft()
        if not self._compiler.submit(
            lambda: self._prepare(code_hash, code),
            lambda _, found, __: self._compiled(code_hash, found),
        ):
            with self._lock:
                self._waiting.clear()
                self._is_busy = False

    def _prepare(self, code_hash: Hash32, code: bytes) -> CompileRequest | None:
        if self._store.has(code_hash, self._fork, whole_kind(self._level)):
            self._go_on()
            return None
        return CompileRequest(self._fork, self._level, code, None)

    def _compiled(self, code_hash: Hash32, found: bytes | None) -> None:
        try:
            if found is None:
                self._metrics.count_failed()
            else:
                self._metrics.count_compiled()
                self._store.put(code_hash, self._fork, whole_kind(self._level), found)
        finally:
            self._go_on()
