"""Where a pruned log begins: the file ``wal/beginning``, without which a missing first segment is damage.

It is durable before the first segment goes, so that a crash leaves the old log, or the new one with segments before it
that the next start removes. It names the state export that holds what those segments did.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from storage.errors import StoreTooNew, WalCorrupt, WalPruned
from storage.io.atomic import write_atomically
from storage.io.checked_line import decode_checked, encode_checked
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import FileSystem
from storage.wal.format import WalIdentity
from storage.wal.segment import SEGMENT_SIZE, create_segment

BEGINNING_NAME = "beginning"
VERSION = 1
CHAIN_BYTES = 16


class Beginning(NamedTuple):
    """What was before the first record of a log."""

    sequence: int
    """Of the first segment."""
    last_lsn: int
    """The record before; 0 if the log was never pruned."""
    chain: bytes
    """Chain value after that record."""
    export: str = ""
    """Path of the state export from which the log goes on; empty if it begins with genesis."""

    @classmethod
    def whole(cls, identity: WalIdentity) -> Beginning:
        """Of a log that was never pruned."""
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


def begin_pruned(fs: FileSystem, directory: str, identity: WalIdentity, beginning: Beginning) -> None:
    """Make a log that begins there and holds nothing, in an empty directory. Raises `StorageFull`, `StoragePanic`."""
    segment = create_segment(
        fs,
        directory,
        identity,
        sequence=beginning.sequence,
        last_lsn=beginning.last_lsn,
        chain=beginning.chain,
        size=SEGMENT_SIZE,
        random_bytes=os.urandom,
    )
    segment.file.close()
    write_beginning(fs, directory, beginning)


def remove_pruned(fs: FileSystem, directory: str, paths: Sequence[str]) -> None:
    """Remove segments that lie before the beginning. Raises `StoragePanic`."""
    with syncing(directory):  # the name of the file that says so, if who made it was killed in between
        fs.sync_directory(directory)
    for path in paths:
        with writing(path):
            fs.unlink(path)
        reach("wal.prune.unlinked")
    with syncing(directory):
        fs.sync_directory(directory)
