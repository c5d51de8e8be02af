"""Objects by contract in the object cache: sealed when they go in, refused when they come out damaged."""

from __future__ import annotations

from chain.forks import Fork
from chain.types import Hash32
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.objects import fingerprint, object_key
from vm.ir.loader import ObjectCache, seal, unseal


class ObjectStore:
    """The JIT's view of the cache; without one it keeps nothing."""

    def __init__(self, cache: ObjectCache | None, compiler_digest: bytes, metrics: Metrics) -> None:
        """``compiler_digest`` is that of `vm.evm.jit.objects.object_key`."""
        self._cache = cache
        self._compiler_digest = compiler_digest
        self._metrics = metrics

    @property
    def keeps(self) -> bool:
        """Whether what is put is kept."""
        return self._cache is not None

    def warm_up(self, fork: Fork) -> None:
        """Compute now what all keys of a fork need, so that the first contract does not compete for it."""
        if self._cache is not None:
            fingerprint(fork, self._compiler_digest)

    def get(self, code_hash: Hash32, fork: Fork, kind: str) -> bytes | None:
        """The object, None unless an intact one is there that this version on this computer compiled."""
        if self._cache is None:
            return None
        key = object_key(code_hash, fork, kind, self._compiler_digest)
        stored = self._cache.get(key)
        if stored is None:
            return None
        found = unseal(key, stored)
        if found is None:
            self._metrics.count_rejected()
        else:
            self._metrics.count_loaded()
        return found

    def has(self, code_hash: Hash32, fork: Fork, kind: str) -> bool:
        """Whether an object is there, intact or not."""
        key = object_key(code_hash, fork, kind, self._compiler_digest)
        return self._cache is not None and self._cache.get(key) is not None

    def put(self, code_hash: Hash32, fork: Fork, kind: str, code: bytes) -> None:
        """Keep an object."""
        if self._cache is not None:
            key = object_key(code_hash, fork, kind, self._compiler_digest)
            self._cache.put(key, seal(key, code))
