"""The FORMAT stamp: which version wrote a data directory, which may read it; checked before anything else is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    "wal": Version(3, 0),
    "state": Version(1, 5),
    "index": Version(1, 1),
    "sessions": Version(1, 1),
}
"""The versions that this program writes, and the latest it reads. Logs of 1.0 have no packed segments."""
RECORDS: frozenset[str] = frozenset()
"""Critical types of log records, beyond those of log format 3.0, that this program reads."""
RECORDS_MAX = 256
"""Types there can be: a type is one byte."""
NAME_MAX = 64
"""Characters of a type's name."""


class Stamp(NamedTuple):
    """The content of the FORMAT file."""

    stores: Mapping[str, Version]
    writer: str
    """The program version that wrote the stamp."""
    reader: str
    """The oldest program version that can read the directory."""
    records: tuple[str, ...] = ()
    """Names of critical types of log records, beyond those of log format 3.0, that the log may hold. Who writes the
    first one adds the name here before: what it did may be in a checkpoint, and a start does not read the log before.
    """
    engine: str = LEVELDB
    """The engine of the state store, for which older stamps have no entry."""


def encode_stamp(stamp: Stamp) -> bytes:
    """Two lines: canonical JSON, and its CRC-32 in hex.

    >>> print(encode_stamp(Stamp({"wal": Version(1, 0)}, "0.1.0", "0.1.0")).decode(), end="")
    {"engine":"leveldb","reader":"0.1.0","stores":{"wal":[1,0]},"writer":"0.1.0"}
    afe35cc9
    """
    document: dict[str, Any] = {
        "stores": stamp.stores, "writer": stamp.writer, "reader": stamp.reader, "engine": stamp.engine,
    }  # fmt: skip
    if stamp.records:
        document["records"] = stamp.records
    return encode_checked(document)


def decode_stamp(data: bytes) -> Stamp:
    """Decode a FORMAT file. Raises `DataDirectoryDamaged`."""
    try:
        document = decode_checked(data)
        stores = {
            str(name): Version(int(major), int(minor)) for name, (major, minor) in document["stores"].items()
        }
        records = tuple(str(name) for name in document.get("records", ()))
        if len(records) > RECORDS_MAX or not all(0 < len(name) <= NAME_MAX for name in records):
            raise ValueError(f"{len(records)} names of records")
        engine = str(document.get("engine", LEVELDB))
        return Stamp(stores, str(document["writer"]), str(document["reader"]), records, engine)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryDamaged(f"{FORMAT} does not say what it should: {error}") from None


def check_stamp(stamp: Stamp) -> None:
    """Refuse a later major version, an unknown store or engine, and unknown critical records. Raises `StoreTooNew`."""
    written = f"written by zvmd {stamp.writer}, readable from {stamp.reader} on"
    if stamp.engine not in PACKAGES:
        raise StoreTooNew(
            f"the state store's engine is {stamp.engine}, this program knows {' and '.join(PACKAGES)}; {written}"
        )
    for name, version in stamp.stores.items():
        known = CURRENT.get(name)
        if known is None or version.major > known.major:
            raise StoreTooNew(
                f"store {name!r} has format {version}, this program reads up to {known or 'none'}; {written}"
            )
    if unknown := [name for name in stamp.records if name not in RECORDS]:
        raise StoreTooNew(f"the log may hold records that this program cannot read: {', '.join(unknown)}; {written}")


def take_directory(fs: FileSystem, program: str, engine: str = LEVELDB) -> DirectoryLock:
    """Make the data directory if it is missing, lock it, and check its stamp; a new directory gets one.

    ``program`` is the running version, ``engine`` that of the state store of a new directory. The stamp of an older
    version stays until `raise_stamp`. A swap of the state store that was begun is ended or taken back.

    Raises `DataDirectoryUnusable`, `DataDirectoryLocked`, `StoreTooNew`, `DataDirectoryDamaged`, `EngineMissing`,
    `StorageFull`, `StoragePanic`.
    """
    with entering("the data directory"):
        fs.makedirs("")
    with starting():
        lock = DirectoryLock(fs)
        try:
            _check_or_write(fs, program, engine)
            settle(fs, engine_of(fs))
        except BaseException:
            lock.release()
            raise
    return lock


def engine_of(fs: FileSystem) -> str:
    """The engine of a directory's state store, whatever a setting asks for. Raises as `read_stamp`."""
    return read_stamp(fs).engine


def raised(stamp: Stamp, program: str) -> Stamp:
    """The stamp with the formats that this program writes; no version is lowered."""
    newer = {name: max(version, stamp.stores.get(name, version)) for name, version in CURRENT.items()}
    stores = {**stamp.stores, **newer}
    if stores == stamp.stores:
        return stamp
    reader = program if stores == CURRENT else stamp.reader
    return stamp._replace(stores=stores, writer=program, reader=reader)


def raise_stamp(fs: FileSystem, program: str) -> None:
    """Say that this program writes here from now on, if the formats it writes are newer than those of the stamp.

    For the holder of the lock, before the first change of a store whose format is newer: a program that does not know
    that is refused from then on. Raises as `read_stamp`, and `StorageFull`, `StoragePanic`.
    """
    stamp = read_stamp(fs)
    newer = raised(stamp, program)
    if newer != stamp:
        write_stamp(fs, newer)


def read_stamp(fs: FileSystem) -> Stamp:
    """The stamp of a data directory, checked. Raises `DataDirectoryDamaged`, `StoreTooNew`, `StorageUnreadable`."""
    with reading(FORMAT):
        if not fs.exists(FORMAT):
            raise DataDirectoryDamaged(f"there is no {FORMAT}: this is not a data directory")
        stamp = decode_stamp(fs.read_file(FORMAT))
    check_stamp(stamp)
    return stamp


def write_stamp(fs: FileSystem, stamp: Stamp) -> None:
    """Replace the stamp in one durable step."""
    write_atomically(fs, FORMAT, [encode_stamp(stamp)])


def _check_or_write(fs: FileSystem, program: str, engine: str) -> None:
    with reading(FORMAT):
        names = frozenset(fs.listdir(""))
    if FORMAT in names:
        read_stamp(fs)
        with syncing(FORMAT):  # its name, if the process that made it was killed in between
            fs.sync_directory("")
        return
    if present := sorted(names.intersection(DATA)):
        raise DataDirectoryDamaged(f"{FORMAT} is missing, but {', '.join(present)} is there")
    require_engine(engine)
    reach("open.stamp.before")
    write_stamp(fs, Stamp(CURRENT, program, program, engine=engine))
