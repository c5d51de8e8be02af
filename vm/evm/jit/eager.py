"""Engine ``jit``: every contract is compiled whole when it is first called, in the caller's thread. For tests."""

from __future__ import annotations

import threading

from chain.brief import before_long_work
from chain.hashing import keccak256
from chain.lru import Lru
from chain.types import Hash32
from vm.code import Code
from vm.evm.jit import objects
from vm.evm.jit.entry_table import CODE_BYTES_MAX, EntryTable
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.module import compile_ir
from vm.evm.jit.ports import Dump
from vm.evm.jit.store import ObjectStore
from vm.evm.native import Interpreter

CONTRACTS_MAX = 192
"""Contracts kept compiled: each has an entry table of four bytes and more for each byte of its code."""
LOADED_BYTES_MAX = 48 << 20
"""Most bytes of their objects."""


class EagerTier:
    """The tier of one fork."""

    def __init__(
        self, interpreter: Interpreter, store: ObjectStore, metrics: Metrics, level: int, dump: Dump | None
    ) -> None:
        self._interpreter = interpreter
        self._store = store
        self._metrics = metrics
        self._level = level
        self._dump = dump
        self._tables: Lru[bytes, EntryTable] = Lru(LOADED_BYTES_MAX, lambda table: table.compiled_bytes, CONTRACTS_MAX)
        self._lock = threading.Lock()
        self._deoptimised = self._interpreted = 0
        """Counts of contracts that are no longer kept."""

    def entry_table_of(self, code: Code) -> EntryTable | None:
        """The entry table of the code about to run; None for code too long to compile."""
        if not 0 < code.length <= CODE_BYTES_MAX:
            return None
        table = self._tables.get(code.padded)
        if table is None:
            before_long_work()
            table = self._made(code)
        if table.is_compiled:
            self._metrics.count_entered()
        return table

    def _made(self, code: Code) -> EntryTable:
        with self._lock:
            table = self._tables.get(code.padded)
            if table is None:
                table = EntryTable(code, self._interpreter)
                try:
                    self._compile(code, table)
                finally:  # one that cannot be compiled is not tried again
                    for evicted in self._tables.put(code.padded, table):
                        self._given_up(evicted)
        return table

    def foresee(self, code_hash: Hash32, code: bytes) -> None:
        """Nothing to do: the first call compiles it."""

    def is_cold(self, _: Code, /) -> bool:
        """True: the tables do not hang on it."""
        return True

    def _given_up(self, table: EntryTable) -> None:
        self._deoptimised += table.deoptimised
        self._interpreted += sum(table.counts().values())
        self._metrics.count_evicted(table.compiled_bytes)

    def deoptimised(self) -> int:
        """Times compiled code left something to the interpreter."""
        with self._lock:
            return self._deoptimised + sum(table.deoptimised for table in self._tables.values())

    def interpreted(self) -> int:
        """Times a block ran in the interpreter because it was not compiled."""
        with self._lock:
            return self._interpreted + sum(sum(table.counts().values()) for table in self._tables.values())

    def _compile(self, code: Code, table: EntryTable) -> None:
        fork, kind = self._interpreter.fork, objects.whole_kind(self._level)
        code_hash = keccak256(code.bytes)
        found = self._store.get(code_hash, fork, kind) if self._dump is None else None
        if found is None:
            from vm.ir.compiler import compile_quickly  # loads LLVM

            text = compile_ir(code.bytes, fork, None).ir
            found = compile_quickly(text, self._level)
            self._metrics.count_compiled()
            self._store.put(code_hash, fork, kind, found)
            if self._dump is not None:
                self._dump.write(code, code_hash, fork, kind, text, self._level)
        loaded = objects.load(found, self._interpreter)
        table.install(loaded.functions, loaded.library, len(found))
        self._metrics.count_installed(len(loaded.functions), len(found))
