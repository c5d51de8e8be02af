"""Compiled machine code on disk, one file per object; the caller verifies what it reads."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from node.ops.reading import read_limited
from vm.ir.image import CONTENT_BYTES_MAX

OBJECT_BYTES_MAX: Final = 2 * CONTENT_BYTES_MAX
SHARED_BYTES_MAX: Final = 32 * 2**20
"""Interpreters and libraries kept for all nodes of a user: some hundred, of several versions and forks."""
_OTHERS_WRITE: Final = 0o022
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class FileObjectCache:
    """Implements `vm.ir.loader.ObjectCache` in a directory of its own. Losing it costs compile time, nothing else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, key: str) -> bytes | None:
        """The object stored under a key; None if there is none, it cannot be read, or others could have written it."""
        path = self._path(key)
        try:
            status = path.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                return None
            return read_limited(path, OBJECT_BYTES_MAX, own=True)
        except OSError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Store an object; readers see it whole or not at all. A full disk only costs the cache."""
        path = self._path(key)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
                file.write(data)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def prune(self, size_bytes_max: int) -> int:
        """Delete the least recently used objects until the rest fits; returns how many were deleted."""
        files = []
        for path in self._directory.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                files.append((path.stat().st_atime_ns, path.stat().st_size, path))
        excess = sum(size for _, size, _ in files) - size_bytes_max
        removed = 0
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
            removed += 1
        return removed

    def _path(self, key: str) -> Path:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", key), key
        return self._directory / key


class SharedObjectCache:
    """A directory's objects and, for what it lacks, those that other nodes of the same user have made."""

    def __init__(self, own: FileObjectCache, shared: FileObjectCache) -> None:
        self._own = own
        self._shared = shared

    def get(self, key: str) -> bytes | None:
        """See `FileObjectCache.get`; what only the others have is copied."""
        found = self._own.get(key)
        if found is None:
            found = self._shared.get(key)
            if found is not None:
                self._own.put(key, found)
        return found

    def put(self, key: str, data: bytes) -> None:
        """Store an object in both places."""
        self._own.put(key, data)
        self._shared.put(key, data)
        self._shared.prune(SHARED_BYTES_MAX)


def user_cache(name: str) -> Path | None:
    """A directory for this user's objects (XDG base directories); None if the user has no home."""
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "zvmd" / name
    except RuntimeError:
        return None


def with_shared(own: FileObjectCache) -> FileObjectCache | SharedObjectCache:
    """The cache for interpreters and libraries of a node whose other objects are in ``own``."""
    shared = user_cache("libraries")
    return own if shared is None else SharedObjectCache(own, FileObjectCache(shared))
