"""A simulated file system that forgets, tears and reorders what was not synced, and fails when told to.

Everything done is seen at once by the process (the page cache) and appended to a list of *pending effects*; a
crash decides which of them reached the disk. What the model promises, and nothing more:

- A sector of 512 bytes is written wholly or not at all; those of one write get there in any order, or never.
- ``fdatasync`` and ``fsync`` of a file make its earlier writes and size changes durable, but not its name.
- ``sync_directory`` makes the names in that directory durable; a rename is one step, made so by its target's.
- Nothing else is ordered: a name may outlive its content, a size its data (then zeros or stale bytes).
- A failed sync drops the file's pending writes: the cache still shows them, the disk never gets them unless
  they are written again (ext4's behaviour in Rebello et al., USENIX ATC 2020). Names and sizes stay pending.
- ``kill -9`` alone loses nothing: the cache and the pending effects live on in the next process.

Deterministic: the same calls and seed give the same images.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator

from storage.errors import DataDirectoryLocked
from storage.io.files import Bytes, File, Lock, parent_of
from tests.simulation.simfaults import (
    Effect,
    EntryChange,
    Fault,
    SectorWrite,
    SimCrash,
    SimLock,
    SizeChange,
    apply_to_content,
    copied,
    survivor_choices,
)

SECTOR = 512
ROOT = 0
FAILING_INSIDE = frozenset(("pwrite", "fdatasync", "fsync"))
"""Calls that do something before they fail."""


class SimFs:
    """One machine's disk, with one process's view of it. Not thread safe, like the schedules it tests."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.calls = 0
        """Calls made by this process so far: the numbers `crash_at` and `fail_at` speak of."""
        self.trace: list[str] = []
        """The name of every call, in order."""
        self.watch: Callable[[str], None] = lambda _: None
        """Gets the name of every call before it does anything: where tests take pictures of the machine."""
        self.free = 2**40
        """What `free_bytes` answers."""
        self._crash_at = -1
        self._dead = False
        self._faults: list[Fault] = []
        self._locks: set[str] = set()
        self._next_inode = 1
        self._durable_files: dict[int, bytes] = {}
        self._durable_directories: dict[int, dict[str, int]] = {ROOT: {}}
        self._files: dict[int, bytearray] = {}
        self._directories: dict[int, dict[str, int]] = {ROOT: {}}
        self._pending: list[Effect] = []

    # --- telling it what goes wrong ---

    def crash_at(self, call: int) -> None:
        """Raise `SimCrash` instead of doing call number ``call`` (from 0), and at every call after it."""
        self._crash_at = call

    def fail_at(self, fault: Fault) -> None:
        """Let calls fail as the fault says."""
        self._faults.append(fault)

    def recover_from_faults(self) -> None:
        """No call fails any more: space was freed, the cable is back."""
        self._faults.clear()

    def crash(self) -> None:
        """End this process now."""
        self._dead = True

    def count_call(self, kind: str) -> None:
        """Count what another store of the same machine does, so that the process may end before it."""
        self._enter(kind)

    def _enter(self, kind: str) -> Fault | None:
        call = self.calls
        if self._dead or call == self._crash_at:
            self._dead = True
            raise SimCrash(call)
        self.watch(kind)
        self.calls += 1
        self.trace.append(kind)
        for fault in self._faults:
            if fault.hits(call, kind):
                if kind in FAILING_INSIDE and (kind != "pwrite" or fault.partial or not fault.error):
                    return fault
                raise OSError(fault.error, os.strerror(fault.error))
        return None

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> SimFile:
        self._enter("create" if create else "open")
        directory, name = self._place(path)
        entries = self._directories[directory]
        if create:
            if name in entries:
                raise FileExistsError(errno.EEXIST, "exists", path)
            inode = self._new_inode()
            self._files[inode], self._durable_files[inode] = bytearray(), b""
            self._change_entries((directory, name, inode))
        elif entries.get(name) not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return SimFile(self, entries[name], writable=writable)

    def exists(self, path: str) -> bool:
        self._enter("exists")
        try:
            directory, name = self._place(path)
        except FileNotFoundError:
            return False
        return not name or name in self._directories[directory]

    def listdir(self, path: str) -> list[str]:
        self._enter("listdir")
        return sorted(self._directories[self._directory(path)])

    def makedirs(self, path: str) -> None:
        self._enter("makedirs")
        here = ROOT
        for name in path.split("/"):
            if name not in self._directories[here]:
                inode = self._new_inode()
                self._directories[inode], self._durable_directories[inode] = {}, {}
                self._change_entries((here, name, inode))
            here = self._directories[here][name]

    def rename(self, source: str, target: str) -> None:
        self._enter("rename")
        from_directory, from_name = self._place(source)
        to_directory, to_name = self._place(target)
        if from_name not in self._directories[from_directory]:
            raise FileNotFoundError(errno.ENOENT, "no such file", source)
        inode = self._directories[from_directory][from_name]
        self._change_entries((from_directory, from_name, None), (to_directory, to_name, inode))

    def unlink(self, path: str) -> None:
        self._enter("unlink")
        directory, name = self._place(path)
        if self._directories[directory].get(name) not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self._change_entries((directory, name, None))

    def rmdir(self, path: str) -> None:
        self._enter("rmdir")
        if self._directories[self._directory(path)]:
            raise OSError(errno.ENOTEMPTY, "not empty", path)
        self._change_entries((*self._place(path), None))

    def sync_directory(self, path: str) -> None:
        fault = self._enter("sync_directory")
        assert fault is None
        directory = self._directory(path)
        # The last change of a rename is its target: there it is durable as a whole.
        self._settle(lambda effect: isinstance(effect, EntryChange) and effect.changes[-1][0] == directory)

    def read_file(self, path: str) -> bytes:
        file = self.open(path, writable=False)
        return file.pread(0, file.size())

    def lock(self, path: str) -> SimLock:
        if not self.exists(path):
            self.open(path, create=True)
        if path in self._locks:
            raise DataDirectoryLocked(f"{path} is in use")
        self._locks.add(path)
        directory, name = self._place(path)
        return SimLock(self._locks, path, self._directories[directory].get(name, ROOT))

    def moved(self, path: str, held: File | Lock, size: int = 0) -> str:
        assert isinstance(held, SimFile | SimLock)
        directory, name = self._place(path)
        there = self._directories[directory].get(name, None if path else ROOT)
        cut = size and len(self._files[held.inode]) < size
        return "it is gone, or another file" if there != held.inode else "it was cut" if cut else ""

    def is_writable(self, _: str) -> bool:
        return True

    # --- what a crash leaves ---

    @property
    def pending(self) -> int:
        """Effects that a power loss may undo."""
        return len(self._pending)

    def restart(self) -> SimFs:
        """The next process, had this one been killed now: same cache and pending effects, no locks."""
        other = self._machine()
        other._files = {inode: bytearray(content) for inode, content in self._files.items()}
        other._directories = copied(self._directories)
        other._pending = list(self._pending)
        return other

    def survivors(self, seed: int, count: int | None = None) -> Iterator[tuple[str, SimFs]]:
        """Images that a power loss here may leave, each with a name; and ``killed``, where nothing was lost.

        At most ``count`` of them, the telling ones first; None gives every prefix and every torn write.
        """
        yield "none", self._image([])
        if not self._pending:
            return
        yield "killed", self.restart()
        made = 2
        for name, effects in survivor_choices(self._pending, self._stale_bytes(), seed, count):
            if count is not None and made >= count:
                return
            made += 1
            yield name, self._image(effects)

    def content(self, path: str) -> bytes:
        """A file as the process sees it, without counting as a call."""
        directory, name = self._place(path)
        return bytes(self._files[self._directories[directory][name]])

    def replace(self, path: str, content: bytes) -> None:
        """Put other bytes into a file, durably and outside the process: damage, for tests."""
        directory, name = self._place(path)
        inode = self._new_inode()
        self._files[inode] = bytearray(content)
        self._durable_files[inode] = bytes(content)
        self._directories[directory][name] = inode
        self._durable_directories[directory][name] = inode

    def remove(self, path: str) -> None:
        """Take a file away, durably and outside the process: damage, for tests."""
        directory, name = self._place(path)
        del self._directories[directory][name]
        self._durable_directories[directory].pop(name, None)

    def _image(self, effects: Iterable[Effect]) -> SimFs:
        """A machine whose disk holds the durable state and these effects, freshly booted."""
        other = self._machine()
        other._pending = list(effects)
        other._settle(lambda _: True)
        other._files = {inode: bytearray(content) for inode, content in other._durable_files.items()}
        other._directories = copied(other._durable_directories)
        return other

    def _machine(self) -> SimFs:
        other = SimFs(self.seed)
        other._next_inode = self._next_inode
        other._durable_files = dict(self._durable_files)
        other._durable_directories = copied(self._durable_directories)
        return other

    def _settle(self, chosen: Callable[[Effect], bool]) -> None:
        """Move the chosen pending effects, in order, into the durable state."""
        kept: list[Effect] = []
        changed: dict[int, bytearray] = {}
        for effect in self._pending:
            if not chosen(effect):
                kept.append(effect)
            elif isinstance(effect, EntryChange):
                for directory, name, inode in effect.changes:
                    if inode is None:
                        self._durable_directories[directory].pop(name, None)
                    else:
                        self._durable_directories[directory][name] = inode
            else:
                if effect.inode not in changed:
                    changed[effect.inode] = bytearray(self._durable_files[effect.inode])
                apply_to_content(changed[effect.inode], effect, SECTOR)
        self._pending = kept
        for inode, content in changed.items():
            self._durable_files[inode] = bytes(content)

    def _stale_bytes(self) -> bytes:
        """What free disk blocks may hold: pieces of files as they were."""
        return b"".join(bytes(content[:8192]) for content in self._files.values()) or b"\xa5" * SECTOR

    def _change_entries(self, *changes: tuple[int, str, int | None]) -> None:
        for directory, name, inode in changes:
            if inode is None:
                del self._directories[directory][name]
            else:
                self._directories[directory][name] = inode
        self._pending.append(EntryChange(changes))

    def _new_inode(self) -> int:
        self._next_inode += 1
        return self._next_inode

    def _directory(self, path: str) -> int:
        here = ROOT
        for name in path.split("/") if path else ():
            child = self._directories[here].get(name, -1)
            if child not in self._directories:
                raise FileNotFoundError(errno.ENOENT, "no such directory", path)
            here = child
        return here

    def modified(self, path: str) -> float:
        return 0.0

    def free_bytes(self) -> int:
        return self.free

    def _place(self, path: str) -> tuple[int, str]:
        return self._directory(parent_of(path)), path.rpartition("/")[2]


class SimFile:
    """A file opened by one simulated process."""

    def __init__(self, fs: SimFs, inode: int, *, writable: bool) -> None:
        self._fs = fs
        self.inode = inode
        self._writable = writable

    def pread(self, offset: int, count: int) -> bytes:
        self._fs._enter("pread")
        return bytes(self._fs._files[self.inode][offset : offset + count])

    def pwrite(self, offset: int, data: Bytes) -> int:
        assert self._writable, "written through a handle opened for reading"
        fault = self._fs._enter("pwrite")
        written = bytes(data)
        if fault is not None:
            written = written[: max(1, len(written) // 2)]
        content = self._fs._files[self.inode]
        end = offset + len(written)
        if end > len(content):
            content.extend(bytes(end - len(content)))
            self._fs._pending.append(SizeChange(self.inode, end))
        content[offset:end] = written
        for index in range(offset // SECTOR, (end + SECTOR - 1) // SECTOR):
            sector = bytes(content[index * SECTOR : (index + 1) * SECTOR])
            self._fs._pending.append(SectorWrite(self.inode, index, sector))
        if fault is not None and fault.error:
            raise OSError(fault.error, os.strerror(fault.error))
        return len(written)

    def fdatasync(self) -> None:
        self._sync("fdatasync")

    def fsync(self) -> None:
        self._sync("fsync")

    def _sync(self, kind: str) -> None:
        fault = self._fs._enter(kind)
        inode = self.inode
        if fault is not None:
            self._fs._pending = [
                effect
                for effect in self._fs._pending
                if not (isinstance(effect, SectorWrite) and effect.inode == inode)
            ]
            raise OSError(fault.error, os.strerror(fault.error))
        self._fs._settle(lambda effect: not isinstance(effect, EntryChange) and effect.inode == inode)

    def ftruncate(self, size: int) -> None:
        self._fs._enter("ftruncate")
        self._resize(size)

    def fallocate(self, size: int) -> None:
        self._fs._enter("fallocate")
        if size > len(self._fs._files[self.inode]):
            self._resize(size)

    def _resize(self, size: int) -> None:
        content = self._fs._files[self.inode]
        if size < len(content):
            del content[size:]
        else:
            content.extend(bytes(size - len(content)))
        self._fs._pending.append(SizeChange(self.inode, size))

    def size(self) -> int:
        self._fs._enter("size")
        return len(self._fs._files[self.inode])

    def data_ranges(self) -> list[tuple[int, int]]:
        self._fs._enter("data_ranges")
        return [(0, len(self._fs._files[self.inode]))]

    def forget_cached(self) -> None:
        self._fs._enter("forget_cached")
        content = bytearray(self._fs._durable_files[self.inode])
        for effect in self._fs._pending:
            if not isinstance(effect, EntryChange) and effect.inode == self.inode:
                apply_to_content(content, effect, SECTOR)
        self._fs._files[self.inode][:] = content

    def close(self) -> None:
        """Nothing: closing makes nothing durable, and a dead process closes too."""
