"""What keeps a second process out of a data directory: locks on what is used, not on one name that can be removed.

| locked | by | keeps out |
|---|---|---|
| the data directory | `DirectoryLock` | a start over a removed or replaced LOCK, from any path, mount or namespace |
| ``LOCK`` | `DirectoryLock` | versions of this program that know no other lock |
| ``wal/`` | `storage.wal.Wal` | a log that is moved or linked into another directory |
| ``wal/watermark``, the segment being written | `storage.io.files.RealFs.open` | a copy of hard links |
| ``state/``, ``state/LOCK`` | `storage.io.kv`, its engine | other programs that use that engine |

A process that finds one taken refuses with `DataDirectoryLocked` (75) and changes nothing. A copy of a directory
has files of its own and is another chain of its own; nothing it does reaches the one it was copied from.
"""

from __future__ import annotations

from storage.io.failures import entering, writing
from storage.io.files import FileSystem, Lock

LOCK = "LOCK"
TEMPORARY = ".new"


class DirectoryLock:
    """The data directory and its LOCK file, for this process alone."""

    def __init__(self, fs: FileSystem) -> None:
        """Raises `DataDirectoryLocked`, `DataDirectoryUnusable`."""
        self._fs = fs
        with entering("the data directory"):
            self.directory: Lock = fs.lock("")
        try:
            with entering(LOCK):
                self._file = fs.lock(LOCK)
        except BaseException:
            self.directory.release()
            raise

    def restore(self) -> str:
        """Put a new LOCK in place of what is there if that is not the locked file; why, or empty.

        Raises `DataDirectoryLocked`, `StorageFull`, `StoragePanic`.
        """
        reason = self._fs.moved(LOCK, self._file)
        if reason:
            made = self._fs.lock(LOCK + TEMPORARY)
            with writing(LOCK):
                self._fs.rename(LOCK + TEMPORARY, LOCK)
            self._file.release()
            self._file = made
        return reason

    def release(self) -> None:
        """Let others in."""
        self._file.release()
        self.directory.release()


def refuse_if_used(fs: FileSystem) -> None:
    """Raise `DataDirectoryLocked` if another process has the directory: before what lies in it is judged."""
    with entering("the data directory"):
        if not fs.exists(""):
            return
        try:
            fs.listdir("")
        except NotADirectoryError:  # opening it reports what it is
            return
        except PermissionError:
            pass
        fs.lock("").release()
