"""The two small files beside the segments: how far the log was durable, and where a pruned log begins.

``watermark`` is a witness of the log's durable end. Two slots are written in turn after each sync, without a sync of
their own: losing them only weakens the check that tells a torn tail from lost records. A slot never runs ahead of the
log.

``beginning`` says where a pruned log begins; without it a missing first segment is damage. It is durable before the
first segment goes, so that a crash leaves the old log, or the new one with segments before it that the next start
removes. It names the state export that holds what those segments did.
"""

from __future__ import annotations

from typing import NamedTuple

from storage.errors import StoragePanic, StoreTooNew, WalCorrupt, WalPruned
from storage.io.atomic import write_atomically
from storage.io.checked_line import decode_checked, encode_checked
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


BEGINNING_NAME = "beginning"
VERSION = 1
CHAIN_BYTES = 16


class Beginning(NamedTuple):
    """What was before the first record of a log."""

    sequence: int
    """Number of the first segment."""
    last_lsn: int
    """The record before; 0 if the log was never pruned."""
    chain: bytes
    """Chain value after that record."""
    export: str = ""
    """Path of the state export from which the log goes on; empty if it begins with genesis."""

    @classmethod
    def whole(cls, identity: WalIdentity) -> Beginning:
        """The beginning of a log that was never pruned."""
        return cls(0, 0, identity.first_chain())

    @property
    def first_lsn(self) -> int:
        """The oldest record that is there."""
        return self.last_lsn + 1

    def require(self, lsn: int) -> None:
        """Raises `WalPruned` if record ``lsn`` is gone."""
        if lsn < self.first_lsn:
            raise WalPruned(f"LSN {lsn} was pruned: the log begins at LSN {self.first_lsn}")


def read_beginning(fs: FileSystem, directory: str) -> Beginning | None:
    """Where the log in ``directory`` begins; None if it is whole. Raises `WalCorrupt`, `StoreTooNew`."""
    path = f"{directory}/{BEGINNING_NAME}"
    with reading(path):
        try:
            data = fs.read_file(path)
        except FileNotFoundError:
            return None
    try:
        document = decode_checked(data)
        if int(document["version"]) > VERSION:
            raise StoreTooNew(f"{path} has version {document['version']}; this program reads {VERSION}")
        found = Beginning(
            int(document["sequence"]), int(document["lsn"]) - 1, bytes.fromhex(document["chain"]), document["export"]
        )
        if found.sequence < 0 or found.last_lsn < 0 or len(found.chain) != CHAIN_BYTES or not found.export:
            raise ValueError(f"segment {found.sequence} from LSN {found.first_lsn}")
    except (ValueError, KeyError, TypeError) as error:
        raise WalCorrupt(f"{path} does not say where the log begins: {error}", path=path) from None
    return found


def write_beginning(fs: FileSystem, directory: str, beginning: Beginning) -> None:
    """Make it durable, in one step. Raises `StorageFull`, `StoragePanic`."""
    path = f"{directory}/{BEGINNING_NAME}"
    document = {
        "version": VERSION,
        "sequence": beginning.sequence,
        "lsn": beginning.first_lsn,
        "chain": beginning.chain.hex(),
        "export": beginning.export,
    }
    write_atomically(fs, path, [encode_checked(document)])
