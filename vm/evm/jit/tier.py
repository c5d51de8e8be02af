"""Decides what is compiled: everything at first sight, or what runs often, in the background."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from chain.forks import Fork
from chain.hashing import keccak256
from vm.code import Code
from vm.evm.jit import objects
from vm.evm.jit.maps import CODE_BYTES_MAX, Maps
from vm.evm.jit.module import compile_ir
from vm.evm.native import Interpreter, ObjectCache, seal, unseal


@dataclass(slots=True)
class Metrics:
    """Counters since the process began."""

    compiled: int = 0
    """Objects compiled."""
    loaded: int = 0
    """Objects found in the cache."""
    rejected: int = 0
    """Cached objects that were not what was asked for."""
    failed: int = 0
    entered: int = 0
    """Frames that began with compiled code at hand."""
    machine_code_bytes: int = 0


class EagerTier:
    """Compiles every contract whole when it is first called, in the caller's thread: for tests."""

    def __init__(self, interpreter: Interpreter, cache: ObjectCache | None, metrics: Metrics, level: int) -> None:
        self._interpreter = interpreter
        self._fork: Fork = interpreter.fork
        self._cache = cache
        self._metrics = metrics
        self._level = level
        self._maps: OrderedDict[bytes, Maps] = OrderedDict()
        self._lock = threading.Lock()

    def maps_of(self, code: Code) -> Maps | None:
        """Maps of the code about to run, None to interpret it."""
        if not 0 < code.length <= CODE_BYTES_MAX:
            return None
        with self._lock:
            maps = self._maps.get(code.bytes)
            if maps is None:
                maps = Maps(code, self._interpreter)
                self._compile(code, maps)
                self._maps[code.bytes] = maps
                if len(self._maps) > 512:
                    self._maps.popitem(last=False)
        self._metrics.entered += 1
        return maps

    def _compile(self, code: Code, maps: Maps) -> None:
        key = objects.object_key(keccak256(code.bytes), self._fork, f"whole{self._level}")
        stored = self._cache.get(key) if self._cache is not None else None
        found = unseal(key, stored) if stored is not None else None
        if found is None:
            self._metrics.rejected += stored is not None
            found = objects.compile_module(compile_ir(code.bytes, self._fork, None).ir, self._level)
            self._metrics.compiled += 1
            if self._cache is not None:
                self._cache.put(key, seal(key, found))
        else:
            self._metrics.loaded += 1
        loaded = objects.load(found, self._interpreter)
        maps.install(loaded.functions, loaded.library, len(found))
        self._metrics.machine_code_bytes += len(found)
