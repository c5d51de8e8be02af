"""What goes wrong in the simulated file system: calls that fail, the crash, and which effects survive it."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

SUBSETS = 16
"""Random subsets tried when every prefix is asked for."""

WRITING = frozenset(("create", "makedirs", "pwrite", "ftruncate", "fallocate", "rename", "unlink", "rmdir"))
SYNCING = frozenset(("fdatasync", "fsync", "sync_directory"))
READING = frozenset(("open", "listdir", "pread", "data_ranges"))

APPLICABLE: dict[int, frozenset[str]] = {
    0: frozenset(("pwrite",)),  # no error: a short write
    errno.EIO: WRITING | SYNCING | READING,
    errno.ENOSPC: frozenset(("create", "makedirs", "pwrite", "fallocate", "rename")),
    errno.EDQUOT: frozenset(("create", "makedirs", "pwrite", "fallocate", "rename")),
    errno.EINTR: frozenset(("pwrite",)),
}
"""The calls in which each error can happen."""


class SimCrash(BaseException):
    """The simulated process ends here. A BaseException, so that no error handling outlives it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Call number ``call`` fails, or with ``forever`` each one from there on, if it is of a kind that can."""

    call: int
    error: int
    """An errno, or 0 for a short write."""
    forever: bool = False
    partial: bool = False
    """A failing write leaves its first half behind."""

    def hits(self, call: int, kind: str) -> bool:
        """Whether this call fails."""
        return (call == self.call or (self.forever and call > self.call)) and kind in APPLICABLE[self.error]


@dataclass(frozen=True, slots=True)
class SectorWrite:
    """One sector's new content; the last one of a file may be shorter."""

    inode: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SizeChange:
    """A file's new length. An extension holds ``stale``, repeated, or zeros if that is empty."""

    inode: int
    size: int
    stale: bytes = b""


@dataclass(frozen=True, slots=True)
class EntryChange:
    """Names that change in one step: (directory, name, inode or None for gone)."""

    changes: tuple[tuple[int, str, int | None], ...]


Effect = SectorWrite | SizeChange | EntryChange


def apply_to_content(content: bytearray, effect: SectorWrite | SizeChange, sector: int) -> None:
    """Let one effect reach a file's content on the disk."""
    if isinstance(effect, SizeChange):
        missing = effect.size - len(content)
        if missing <= 0:
            del content[effect.size :]
        elif effect.stale:
            content.extend((effect.stale * (missing // len(effect.stale) + 1))[:missing])
        else:
            content.extend(bytes(missing))
        return
    start = effect.index * sector
    room = max(0, len(content) - start)  # a sector beyond a size that did not survive is lost
    content[start : start + len(effect.data)] = effect.data[:room]


def survivor_choices(
    pending: list[Effect], stale: bytes, seed: int, count: int | None
) -> Iterator[tuple[str, list[Effect]]]:
    """Which pending effects reach the disk: named, each choice once, more than ``count`` if there are."""
    seen: set[tuple[bool, ...]] = set()
    for name, mask in _masks(pending, random.Random(seed), count):
        if mask not in seen:
            seen.add(mask)
            yield name, [effect for effect, kept in zip(pending, mask, strict=True) if kept]
        if name == "content without names":
            grown = [_stale(effect, stale) for effect in pending if not isinstance(effect, SectorWrite)]
            yield "stale growth", grown


def _stale(effect: Effect, stale: bytes) -> Effect:
    return replace(effect, stale=stale) if isinstance(effect, SizeChange) else effect


def _masks(pending: list[Effect], source: random.Random, count: int | None) -> Iterator[tuple[str, tuple[bool, ...]]]:
    total = len(pending)
    yield "all", (True,) * total
    yield "names without content", tuple(not isinstance(effect, SectorWrite) for effect in pending)
    yield "content without names", tuple(not isinstance(effect, EntryChange) for effect in pending)
    yield "sizes lost", tuple(not isinstance(effect, SizeChange) for effect in pending)
    torn = _last_write(pending)
    if count is None:
        for cut in range(total):
            yield f"prefix {cut}", tuple(index < cut for index in range(total))
        for cut in range(torn, total):
            yield f"torn back {cut}", tuple(not torn <= index < cut for index in range(total))
        for number in range(SUBSETS):
            yield f"subset {number}", _subset(total, source)
        return
    for number in range(4 * count):
        cut = source.randrange(total + 1)
        last = source.randint(torn, total)
        yield f"torn {last}", tuple(index < last for index in range(total))
        yield f"subset {number}", _subset(total, source)
        yield f"prefix {cut}", tuple(index < cut for index in range(total))
        yield f"torn back {last}", tuple(not torn <= index < last for index in range(total))
        yield f"suffix {cut}", tuple(index >= cut for index in range(total))


def _subset(total: int, source: random.Random) -> tuple[bool, ...]:
    share = source.choice((0.1, 0.5, 0.5, 0.9))
    return tuple(source.random() < share for _ in range(total))


def _last_write(pending: list[Effect]) -> int:
    """Where the sectors of the last write begin in the list; its length if the last effect is not a write."""
    start = len(pending)
    while start and isinstance(pending[start - 1], SectorWrite):
        previous = pending[start] if start < len(pending) else None
        here = pending[start - 1]
        assert isinstance(here, SectorWrite)
        here_next = (here.inode, here.index + 1)
        if isinstance(previous, SectorWrite) and here_next != (previous.inode, previous.index):
            break
        start -= 1
    return start


def copied(directories: dict[int, dict[str, int]]) -> dict[int, dict[str, int]]:
    """Directories that change independently of these."""
    return {inode: dict(names) for inode, names in directories.items()}


class SimLock:
    """A lock that ends with the process that holds it."""

    def __init__(self, held: set[str], path: str, inode: int) -> None:
        self._held = held
        self._path = path
        self.inode = inode

    def release(self) -> None:
        self._held.discard(self._path)
