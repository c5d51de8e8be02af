"""The FORMAT stamp: which version wrote a data directory, which may read it; checked before anything else is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.directory.exclusion import DirectoryLock
from storage.directory.layout import DATA, FORMAT
from storage.directory.swap import settle
from storage.errors import DataDirectoryDamaged, StoreTooNew
from storage.io.atomic import write_atomically
from storage.io.checked_line import decode_checked, encode_checked
from storage.io.failpoints import reach
from storage.io.failures import entering, reading, starting, syncing
from storage.io.files import FileSystem
from storage.io.kv.engines import LEVELDB, PACKAGES, require_engine


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
    engine: str = LEVELDB
    """The engine of the state store, for which older stamps have no entry."""


def encode_stamp(stamp: Stamp) -> bytes:
    """Two lines: canonical JSON, and its CRC-32 in hex.

    >>> print(encode_stamp(Stamp({"wal": Version(1, 0)}, "0.1.0", "0.1.0")).decode(), end="")
    {"engine":"leveldb","reader":"0.1.0","stores":{"wal":[1,0]},"writer":"0.1.0"}
    afe35cc9
    """
    return encode_checked(stamp._asdict())


def decode_stamp(data: bytes) -> Stamp:
    """Decode a FORMAT file. Raises `DataDirectoryDamaged`."""
    try:
        document = decode_checked(data)
        stores = {
            str(name): Version(int(major), int(minor)) for name, (major, minor) in document["stores"].items()
        }
        engine = str(document.get("engine", LEVELDB))
        return Stamp(stores, str(document["writer"]), str(document["reader"]), engine)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryDamaged(f"{FORMAT} does not say what it should: {error}") from None


def check_stamp(stamp: Stamp) -> None:
    """Refuse a store of a later major version, or an unknown one, or engine. Raises `StoreTooNew`."""
    if stamp.engine not in PACKAGES:
        raise StoreTooNew(
            f"the state store's engine is {stamp.engine}, this program knows {' and '.join(PACKAGES)}; "
            f"written by zvmd {stamp.writer}, readable from {stamp.reader} on"
        )
    for name, version in stamp.stores.items():
        known = CURRENT.get(name)
        if known is None or version.major > known.major:
            raise StoreTooNew(
                f"store {name!r} has format {version}, this program reads up to {known or 'none'}; "
                f"written by zvmd {stamp.writer}, readable from {stamp.reader} on"
            )


def take_directory(fs: FileSystem, program: str, engine: str = LEVELDB) -> DirectoryLock:
    """Make the data directory if it is missing, lock it, and check its stamp, or write one.

    ``program`` is the running version, ``engine`` that of the state store of a new directory. The stamp of an older
    minor version is replaced: what is written from now on is newer. A swap of the state store that was begun is ended
    or taken back. Raises `DataDirectoryUnusable`, `DataDirectoryLocked`, `DataDirectoryDamaged`, `EngineMissing`,
    `StoreTooNew`, `StorageFull`, `StoragePanic`.
    """
    with entering("the data directory"):
        fs.makedirs("")
    with starting():
        lock = DirectoryLock(fs)
        try:
            stamp = _checked_stamp(fs, program, engine)
            if stamp.stores != CURRENT:
                write_stamp(fs, Stamp(CURRENT, program, program, stamp.engine))
            settle(fs, stamp.engine)
        except BaseException:
            lock.release()
            raise
    return lock


def engine_of(fs: FileSystem) -> str:
    """The engine of a directory's state store, whatever a setting asks for. Raises `DataDirectoryDamaged`."""
    with reading(FORMAT):
        data = fs.read_file(FORMAT)
    return decode_stamp(data).engine


def write_stamp(fs: FileSystem, stamp: Stamp) -> None:
    """Replace the stamp in one durable step."""
    write_atomically(fs, FORMAT, [encode_stamp(stamp)])


def _checked_stamp(fs: FileSystem, program: str, engine: str) -> Stamp:
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
    require_engine(engine)
    reach("open.stamp.before")
    stamp = Stamp(CURRENT, program, program, engine)
    write_stamp(fs, stamp)
    return stamp
