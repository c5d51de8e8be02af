"""Names in the data directory, its lock, and the FORMAT stamp that says which version may read it.

<data-dir>/
  FORMAT        versions of the stores: this file
  genesis.json  the genesis the chain began with, in geth's format
  LOCK          held for life by the process that uses the directory, beside other locks (exclusion.py)
  wal/          the log: history itself (docs/formats/wal.md)
  state/        LevelDB: state, blocks, receipts
  index.sqlite  lookups; deleted and built again when in doubt
  sessions/     large debug sessions, one file each; the others are in the log and in state/
  exports/      state exports, from which a damaged state/ is restored
  cache/        compiled code; may be deleted at any time
  quarantine/   damaged pieces that recovery took away
  suspect       there if the state store was seen damaged: the next start does not trust it
  panic         there if a sync or write failed: the next start does not trust what the system has cached
  ballast       space kept back, so that a full disk still lets a checkpoint finish
  tls/          the certificate of the QUIC listener; the node's, not a store's
  verifying/    a state store made of an export to prove it; removed by who made it, or by the next
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.directory import exclusion
from storage.directory.exclusion import DirectoryLock
from storage.errors import DataDirectoryDamaged, StoreTooNew
from storage.io import diskspace
from storage.io.atomic import write_atomically
from storage.io.checked_line import decode_checked, encode_checked
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing
from storage.io.files import FileSystem

FORMAT = "FORMAT"
GENESIS = "genesis.json"
LOCK = exclusion.LOCK
WAL = "wal"
STATE = "state"
INDEX = "index.sqlite"
SESSIONS = "sessions"
CACHE = "cache"
EXPORTS = "exports"
SUSPECT = "suspect"
PANIC = "panic"
QUARANTINE = "quarantine"
BALLAST = diskspace.BALLAST
VERIFYING = "verifying"
TLS = "tls"

DATA = (WAL, STATE, INDEX, SESSIONS)
"""Entries that cannot exist before the stamp does."""


class Version(NamedTuple):
    """A store's format: readers of the same major version understand it."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


CURRENT: Mapping[str, Version] = {
    "wal": Version(2, 4),
    "state": Version(1, 5),
    "index": Version(1, 1),
    "sessions": Version(1, 1),
}
"""The versions that this program writes, and the latest it reads. Logs of 1.0 have no packed segments."""


class Stamp(NamedTuple):
    """The content of the FORMAT file."""

    stores: Mapping[str, Version]
    writer: str
    """The program version that wrote the stamp."""
    reader: str
    """The oldest program version that can read the directory."""


def encode_stamp(stamp: Stamp) -> bytes:
    """Two lines: canonical JSON, and its CRC-32 in hex.

    >>> print(encode_stamp(Stamp({"wal": Version(1, 0)}, "0.1.0", "0.1.0")).decode(), end="")
    {"reader":"0.1.0","stores":{"wal":[1,0]},"writer":"0.1.0"}
    d552b53f
    """
    document = {"stores": stamp.stores, "writer": stamp.writer, "reader": stamp.reader}
    return encode_checked(document)


def decode_stamp(data: bytes) -> Stamp:
    """Decode a FORMAT file. Raises `DataDirectoryDamaged`."""
    try:
        document = decode_checked(data)
        stores = {
            str(name): Version(int(major), int(minor)) for name, (major, minor) in document["stores"].items()
        }
        return Stamp(stores, str(document["writer"]), str(document["reader"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryDamaged(f"{FORMAT} does not say what it should: {error}") from None


def check_stamp(stamp: Stamp) -> None:
    """Refuse a store of a later major version, or an unknown one. Raises `StoreTooNew`."""
    for name, version in stamp.stores.items():
        known = CURRENT.get(name)
        if known is None or version.major > known.major:
            raise StoreTooNew(
                f"store {name!r} has format {version}, this program reads up to {known or 'none'}; "
                f"written by zvmd {stamp.writer}, readable from {stamp.reader} on"
            )


def boot(fs: FileSystem, program: str) -> tuple[DirectoryLock, Stamp]:
    """Lock the data directory and check, or write, its stamp. The first thing done with it.

    ``program`` is the running version. Returns the stamp found: an older one means that migrations are due,
    after which `write_stamp` records them. Raises `DataDirectoryLocked`, `DataDirectoryDamaged` and
    `StoreTooNew`.
    """
    lock = DirectoryLock(fs)
    try:
        return lock, _checked_stamp(fs, program)
    except BaseException:
        lock.release()
        raise


def write_stamp(fs: FileSystem, stamp: Stamp) -> None:
    """Replace the stamp in one durable step."""
    write_atomically(fs, FORMAT, [encode_stamp(stamp)])


def _checked_stamp(fs: FileSystem, program: str) -> Stamp:
    with reading(FORMAT):
        names = frozenset(fs.listdir(""))
        data = fs.read_file(FORMAT) if FORMAT in names else b""
    if data or FORMAT in names:
        stamp = decode_stamp(data)
        check_stamp(stamp)
        with syncing(FORMAT):  # its name, if the process that made it was killed in between
            fs.sync_directory("")
        return stamp
    if present := sorted(names.intersection(DATA)):
        raise DataDirectoryDamaged(f"{FORMAT} is missing, but {', '.join(present)} is there")
    reach("open.stamp.before")
    stamp = Stamp(CURRENT, program, program)
    write_stamp(fs, stamp)
    return stamp
