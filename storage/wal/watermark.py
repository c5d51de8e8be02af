"""The watermark file: a witness, beside the log, of how far it was durable.

Two slots are written in turn after each sync, without a sync of their own: losing them only weakens the check
that tells a torn tail from lost records. A slot never runs ahead of the log.
"""

from __future__ import annotations

from storage.errors import StoragePanic
from storage.io.checksum import PREFERRED
from storage.io.failures import NO_SPACE, reading, syncing, writing
from storage.io.files import File, FileSystem, write_all
from storage.wal.format import WATERMARK_SLOT_SIZE, Mark, WalIdentity, decode_mark, encode_mark

WATERMARK_NAME = "watermark"
SLOTS = 2


def read_mark(fs: FileSystem, directory: str, identity: WalIdentity) -> Mark | None:
    """The newest valid slot; None if there is none."""
    path = f"{directory}/{WATERMARK_NAME}"
    with reading(path):
        try:
            data = fs.read_file(path)
        except FileNotFoundError:
            return None
    marks = [
        decode_mark(identity, data[slot * WATERMARK_SLOT_SIZE : (slot + 1) * WATERMARK_SLOT_SIZE])
        for slot in range(SLOTS)
    ]
    return max((mark for mark in marks if mark), default=None, key=lambda mark: mark.counter)


def open_marks(fs: FileSystem, directory: str) -> File | None:
    """The file, if there is one, locked like all files that are written. Raises `DataDirectoryLocked`."""
    path = f"{directory}/{WATERMARK_NAME}"
    with writing(path):
        try:
            return fs.open(path)
        except FileNotFoundError:
            return None


class Watermark:
    """The file, open for writing."""

    def __init__(
        self, fs: FileSystem, directory: str, identity: WalIdentity, last: Mark | None, file: File | None = None
    ) -> None:
        """``file``: of `open_marks`."""
        self._identity = identity
        self._path = f"{directory}/{WATERMARK_NAME}"
        self._counter = last.counter if last else 0
        self._fs = fs
        created = file is None
        with writing(self._path):
            self._file = fs.open(self._path, create=True) if file is None else file
            if self._file.size() < SLOTS * WATERMARK_SLOT_SIZE:
                self._file.fallocate(SLOTS * WATERMARK_SLOT_SIZE)
        if created:
            with syncing(directory):
                fs.sync_directory(directory)

    def write(self, durable_lsn: int, sequence: int, end: int, chain: bytes) -> None:
        """Remember that the log is durable up to there. Running out of space here loses nothing."""
        self._counter += 1
        mark = Mark(self._counter, durable_lsn, sequence, end, chain)
        offset = self._counter % SLOTS * WATERMARK_SLOT_SIZE
        try:
            write_all(self._file, offset, encode_mark(self._identity, mark, PREFERRED))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise StoragePanic(f"cannot write {self._path}: {error}") from error

    def moved(self) -> str:
        """Why the file is not in its place any more; empty if it is."""
        return self._fs.moved(self._path, self._file, SLOTS * WATERMARK_SLOT_SIZE)

    def sync(self) -> None:
        """Make the newest slot durable: at open and close, where it costs nothing."""
        with syncing(self._path):
            self._file.fdatasync()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
