"""Engine ``auto``: contracts start interpreted, then counted; what runs often is compiled in the background.

A contract's jumps are counted from its second call on. When the counts say that interpreting cost enough, its
hot JUMPDESTs go to the workshop; the functions are put into the maps while the contract runs on, and frames
that are in the middle of a loop enter them at its next turn.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Final

from chain.hashing import keccak256
from vm.code import Code, Heat
from vm.errors import NativeCodeUnavailable
from vm.evm.jit import objects
from vm.evm.jit.dump import Dump
from vm.evm.jit.maps import CODE_BYTES_MAX, Maps
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.module import compile_ir
from vm.evm.jit.runtime import FIRST_INDEX
from vm.evm.jit.store import ObjectStore
from vm.evm.jit.wire import Request
from vm.evm.jit.workshop import PROCESS_LOST, Workshop
from vm.evm.native import Interpreter

COUNTED_FROM_CALL: Final = 2
CALLS_BETWEEN_LOOKS_MAX: Final = 512
JUMPS_WORTH_COMPILING: Final = 20_000
"""Interpreted JUMPDESTs of a contract after which its hot ones are compiled: some milliseconds of interpreting."""
HOT_SHARE: Final = 500
"""A JUMPDEST is hot if it has at least one in so many of the contract's counts."""
CALLS_WORTH_COMPILING: Final = 64
"""Calls after which the contract's begin is compiled with the rest."""
ROUNDS_MAX: Final = 6
"""Objects per contract: later ones have what became hot later."""
FAILURES_MAX: Final = 3
"""Times a contract is given to the compiling process again after that was lost."""
COUNTED_BYTES_MAX: Final = 12 << 20
"""Maps of contracts that are only counted; the oldest are given up for new ones."""
LOADED_BYTES_MAX: Final = 48 << 20
LOADED_CONTRACTS_MAX: Final = 192
"""Each takes some 150 KiB besides its code, which are the linker's: see `benchmarks.memory`."""


class BackgroundTier:
    """Of one fork. Any thread may ask; the workshop's thread installs."""

    def __init__(
        self,
        interpreter: Interpreter,
        store: ObjectStore,
        workshop: Workshop,
        metrics: Metrics,
        level: int,
        dump: Dump | None,
    ) -> None:
        self._interpreter = interpreter
        self._fork = interpreter.fork
        self._store = store
        self._workshop = workshop
        self._metrics = metrics
        self._level = level
        self._dump = dump
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, tuple[Heat, Maps, int]] = OrderedDict()
        """By the identity of the maps: whose they are, and the calls when eviction last passed by."""
        self._counted: deque[tuple[Heat, Maps]] = deque()
        self._counted_bytes = 0

    def maps_of(self, code: Code) -> Maps | None:
        """Maps of the code about to run, None while it is not worth counting."""
        heat = code.heat
        if heat is None or heat.fork is not self._fork:
            heat = code.heat = Heat(self._fork, COUNTED_FROM_CALL)
        heat.calls += 1
        if heat.calls >= heat.next_look:
            self._look(code, heat)
        maps = heat.maps
        if maps is not None and maps.is_compiled:
            self._metrics.entered += 1
        return maps

    def _look(self, code: Code, heat: Heat) -> None:
        """Begin counting, or see what the counts say."""
        with self._lock:
            if heat.calls < heat.next_look:
                return
            heat.next_look = heat.calls + min(max(1, heat.calls // 8), CALLS_BETWEEN_LOOKS_MAX)
            if heat.maps is None:
                if 0 < code.length <= CODE_BYTES_MAX:
                    heat.maps = Maps(code, self._interpreter)
                    self._remember(heat, heat.maps)
                    self._submit(code, heat, heat.maps, ())
                else:
                    heat.next_look = 1 << 62
            elif not heat.is_waiting and heat.rounds < ROUNDS_MAX:
                self._consider(code, heat, heat.maps)

    def _remember(self, heat: Heat, maps: Maps) -> None:
        """Bound what counting takes."""
        self._counted.append((heat, maps))
        self._counted_bytes += maps.size
        while self._counted_bytes > COUNTED_BYTES_MAX and len(self._counted) > 1:
            old, old_maps = self._counted.popleft()
            self._counted_bytes -= old_maps.size
            if old.maps is old_maps and not old_maps.is_compiled and not old.is_waiting:
                old.cool(COUNTED_FROM_CALL)

    def _consider(self, code: Code, heat: Heat, maps: Maps) -> None:
        counts = maps.counts()
        recent = {index: n - heat.counted.get(index, 0) for index, n in counts.items()}
        weight = sum(recent.values())
        if weight < JUMPS_WORTH_COMPILING and not (heat.rounds == 0 and heat.calls >= CALLS_WORTH_COMPILING):
            return
        heat.counted = counts
        least = max(1, weight // HOT_SHARE)
        hot = [pc for pc, index in maps.jumpdests().items() if recent.get(index, 0) >= least]
        if heat.calls >= CALLS_WORTH_COMPILING and heat.rounds == 0:
            hot.append(0)
        if not hot:
            return
        self._submit(code, heat, maps, tuple(hot))

    def _submit(self, code: Code, heat: Heat, maps: Maps, hot: tuple[int, ...]) -> None:
        heat.is_waiting = True  # before the workshop's thread can set it back
        if not self._workshop.submit(
            lambda: self._prepare(code, heat, maps, hot),
            lambda request, found, reason: self._compiled(code, heat, maps, request, found, reason),
        ):
            heat.is_waiting = False

    # In the workshop's thread

    def _prepare(self, code: Code, heat: Heat, maps: Maps, hot: tuple[int, ...]) -> Request | None:
        """Install what the cache has; what must be compiled besides."""
        wanted: Request | None = None
        try:
            wanted = self._wanted(code, heat, maps, hot)
        finally:
            heat.is_waiting = wanted is not None
        return wanted

    def _wanted(self, code: Code, heat: Heat, maps: Maps, hot: tuple[int, ...]) -> Request | None:
        if heat.code_hash is None:
            heat.code_hash = keccak256(code.bytes)
        while heat.rounds < ROUNDS_MAX:
            found = self._store.get(heat.code_hash, self._fork, self._kind(heat))
            if found is None:
                break
            self._install(heat, maps, found)
        indexes = maps.jumpdests() | {0: FIRST_INDEX}
        missing = tuple(pc for pc in hot if indexes[pc] not in maps.compiled)
        if not missing or heat.rounds >= ROUNDS_MAX:
            return None
        return Request(self._fork, self._level, code.bytes, missing)

    def _compiled(
        self, code: Code, heat: Heat, maps: Maps, request: Request, found: bytes | None, reason: str
    ) -> None:
        try:
            self._take(code, heat, maps, request, found, reason)
        finally:
            heat.is_waiting = False

    def _take(self, code: Code, heat: Heat, maps: Maps, request: Request, found: bytes | None, reason: str) -> None:
        if found is None:
            self._metrics.failed += 1
            heat.failures += 1
            if reason != PROCESS_LOST or heat.failures >= FAILURES_MAX:
                heat.rounds = ROUNDS_MAX
        else:
            assert heat.code_hash is not None
            kind = self._kind(heat)
            self._metrics.compiled += 1
            self._store.put(heat.code_hash, self._fork, kind, found)
            if self._dump is not None:
                text = compile_ir(code.bytes, self._fork, frozenset(request.hot)).ir
                self._dump.write(code, heat.code_hash, self._fork, kind, text, self._level)
            self._install(heat, maps, found)

    def _kind(self, heat: Heat) -> str:
        return f"hot{heat.rounds}-{self._level}"

    def _install(self, heat: Heat, maps: Maps, found: bytes) -> None:
        heat.rounds += 1
        if heat.maps is not maps:
            return
        try:
            loaded = objects.load(found, self._interpreter)
        except (NativeCodeUnavailable, RuntimeError):
            self._metrics.failed += 1
            heat.rounds = ROUNDS_MAX
            return
        maps.install(loaded.functions, loaded.library, len(found))
        with self._lock:
            self._metrics.functions += len(loaded.functions)
            self._metrics.machine_code_bytes += len(found)
            self._loaded[id(maps)] = heat, maps, heat.calls
            self._make_room()

    def _make_room(self) -> None:
        """Give up compiled code, that of contracts without a recent call first.

        Frames running in it hold its maps, and those the machine code: it is freed when the last one ends.
        """
        turns = 2 * len(self._loaded)
        while turns and (
            self._metrics.machine_code_bytes > LOADED_BYTES_MAX or len(self._loaded) > LOADED_CONTRACTS_MAX
        ):
            turns -= 1
            key, (heat, maps, calls) = self._loaded.popitem(last=False)
            if heat.calls != calls and turns > len(self._loaded):
                self._loaded[key] = heat, maps, heat.calls
                continue
            self._metrics.machine_code_bytes -= maps.compiled_bytes
            self._metrics.evicted += 1
            if heat.maps is maps:
                heat.cool(COUNTED_FROM_CALL)

    def deoptimised(self) -> int:
        """Times compiled code now in memory left something to the interpreter."""
        with self._lock:
            return sum(maps.deoptimised for _, maps, _ in self._loaded.values())

    def interpreted(self) -> int:
        """Times a block now in memory ran in the interpreter because it was not compiled."""
        with self._lock:
            return sum(sum(maps.counts().values()) for _, maps, _ in self._loaded.values())
