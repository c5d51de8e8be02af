"""Backups of a running node, and restoring them, whole or up to a chosen log record.

A backup is a directory: the log's segments as they were, ``genesis.json``, ``FORMAT``, the files of large sessions, the
newest state export if there is one and the one a pruned log begins with, and ``BACKUP``, which says what is in it with
digests and is written last: a backup without it is none. The log is append only, so it is copied while it grows; it is
promised to reach what was durable when copying began.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from chain.genesis import Genesis
from storage.directory import layout
from storage.directory.identity import read_genesis
from storage.directory.stamp import raise_stamp, raised, read_stamp, write_stamp
from storage.errors import DataDirectoryDamaged, DataDirectoryUnusable, ExportDamaged, StoreTooNew, WalPruned
from storage.export import exports, founding_export, read_header
from storage.io.atomic import write_atomically
from storage.io.failures import reading
from storage.io.files import FileSystem, RealFs, parent_of
from storage.io.kv.engines import default_engine, is_installed
from storage.preflight import looked_over
from storage.sessions.files import session_files
from storage.wal import Wal, WalIdentity, inspect
from storage.wal.bounds import BEGINNING_NAME, read_beginning, read_mark
from storage.wal.format import OPTIONAL
from storage.wal.packed import SUFFIX, unpacked
from storage.wal.segments import begin_pruned, sequence_of

MANIFEST = "BACKUP"
VERSION = 1
CHUNK = 2**20
WHOLE = "wal.whole"
"""Folder of the copied log while a part of it is rewritten."""


class Manifest(NamedTuple):
    """A backup's description of itself."""

    lsn: int
    """The log in the backup has at least the records up to this LSN."""
    digests: dict[str, str]
    """BLAKE2b of each file, by path."""
    version: int = VERSION


def identity_of(genesis: Genesis) -> WalIdentity:
    """Whose log it is."""
    return WalIdentity(genesis.header().hash, genesis.config.chain_id)


def _genesis(fs: FileSystem) -> Genesis:
    genesis = read_genesis(fs)
    if genesis is None:
        raise DataDirectoryDamaged(f"there is no {layout.GENESIS}: this is not a data directory")
    return genesis


def write_backup(source: Path, target: Path) -> Manifest:
    """Copy a data directory, in use or not, to a new one.

    Raises `DataDirectoryDamaged`, `DataDirectoryUnusable`, `StoreTooNew`, `StorageUnreadable`, and
    `DataDirectoryLocked` if another process uses the new one, which is left as it was.
    """
    fs, to = looked_over(source), RealFs(target)
    genesis = _genesis(fs)
    read_stamp(fs)
    to.makedirs("")
    lock = to.lock("")
    try:
        if to.listdir(""):
            raise DataDirectoryUnusable(f"{target} is not empty")
        try:
            return _write(fs, to, genesis)
        except BaseException:
            _empty(to)
            raise
    finally:
        lock.release()


def _empty(fs: RealFs) -> None:
    """Remove what an unfinished copy left."""
    for name in fs.listdir(""):
        left = fs.root / name
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _write(fs: RealFs, to: RealFs, genesis: Genesis) -> Manifest:
    mark = read_mark(fs, layout.WAL, identity_of(genesis))
    to.makedirs(layout.WAL)
    to.makedirs(layout.EXPORTS)
    paths = [layout.GENESIS, layout.FORMAT]
    names = unpacked(fs).listdir(layout.WAL)
    paths += [f"{layout.WAL}/{name}" for name in names if sequence_of(name) is not None or name == BEGINNING_NAME]
    # An export before the log, which then has everything of it; of one made meanwhile it may not.
    digests = _copy_files(fs, to, [*session_files(fs), *exports(fs)[:1]])
    digests |= dict(_copy_segment(fs, to, path) for path in paths)
    # Again, for what the copied log names and was written meanwhile.
    digests |= _copy_files(fs, to, [path for path in session_files(fs) if path not in digests])
    founding = founding_export(to)
    if founding and founding not in digests:
        digests |= _copy_files(fs, to, [founding])
    if founding and founding not in digests:
        raise WalPruned(f"{founding}, which the pruned log begins with, is gone")
    lsn = mark.durable_lsn if mark else 0
    last = 0
    for finding in inspect(to, layout.WAL):
        finding.refuse_later_version()
        if finding.record is not None and finding.sound:
            last = finding.record.lsn
    if last < lsn:
        raise DataDirectoryDamaged(f"the copied log ends at LSN {last}, but LSN {lsn} was durable")
    manifest = Manifest(lsn or last, digests)
    write_atomically(to, MANIFEST, [json.dumps(manifest._asdict(), sort_keys=True, indent=1).encode()])
    return manifest


def _copy_files(fs: FileSystem, to: FileSystem, paths: list[str]) -> dict[str, str]:
    """Copy files that a running node may delete meanwhile because they are no longer needed."""
    digests = {}
    for path in paths:
        to.makedirs(parent_of(path))
        with suppress(FileNotFoundError):
            digests[path] = _copy(fs, to, path)
    return digests


def _copy_segment(fs: FileSystem, to: FileSystem, path: str) -> tuple[str, str]:
    """Copy a file as it is, packed or not: it may be packed at this moment. Returns its path and digest."""
    for name in (path, path + SUFFIX):
        with suppress(FileNotFoundError):
            return name, _copy(fs, to, name)
    raise WalPruned(f"{path} went away while it was to be copied: back up again, when nobody prunes the log")


def _copy(fs: FileSystem, to: FileSystem, path: str) -> str:
    digest = blake2b(digest_size=32)

    def parts() -> Iterator[bytes]:
        file = fs.open(path, writable=False)
        try:
            size, offset = file.size(), 0
            while offset < size:
                with reading(path):
                    chunk = file.pread(offset, min(CHUNK, size - offset))
                digest.update(chunk)
                offset += len(chunk)
                yield chunk
        finally:
            file.close()

    write_atomically(to, path, parts())
    return digest.hexdigest()


def read_manifest(backup: Path) -> Manifest:
    """Check every file of a backup against its digest. Raises `ExportDamaged`, `StoreTooNew`."""
    fs = looked_over(backup)
    try:
        document = json.loads(fs.read_file(MANIFEST))
        if int(document["version"]) > VERSION:
            raise StoreTooNew(f"{backup} has version {document['version']}; this program reads {VERSION}")
        manifest = Manifest(**document)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExportDamaged(f"{backup} is not a complete backup: {error}") from None
    if manifest.version != VERSION:
        raise ExportDamaged(f"{backup} has version {manifest.version}; there is none before {VERSION}")
    for path, expected in manifest.digests.items():
        if not fs.exists(path) or _digest(backup / path) != expected:
            raise ExportDamaged(f"{path} of the backup is not what was written")
    return manifest


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=32)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def restore_backup(backup: Path, target: Path, program: str, until: int | None = None) -> int:
    """Make a data directory from a backup; returns its last LSN.

    ``program`` is the version that runs; ``until`` the last log record to be taken over. History then goes on from
    there, in a log of its own. The state is restored from the export if it is not later than that, else replayed, by
    the first start. Raises `ExportDamaged`, `DataDirectoryUnusable`, `WalPruned`, `WalCorrupt`, `StoreTooNew`, and
    `DataDirectoryLocked` if another restore to the same place is under way.
    """
    manifest = read_manifest(backup)
    read_stamp(RealFs(backup))
    if target.exists() and any(target.iterdir()):
        raise DataDirectoryUnusable(f"{target} is not empty")
    unfinished = RealFs(target.with_name(f"{target.name}.restoring"))
    unfinished.makedirs("")
    lock = unfinished.lock("")  # another restore to the same place may be under way
    try:
        _empty(unfinished)
        return _restore(manifest, RealFs(backup), unfinished, target, program, until)
    finally:
        lock.release()


def _restore(manifest: Manifest, fs: RealFs, to: RealFs, target: Path, program: str, until: int | None) -> int:
    to.makedirs(layout.WAL)
    to.makedirs(layout.EXPORTS)
    for path in manifest.digests:
        to.makedirs(parent_of(path))
        if until is None or not path.startswith(layout.EXPORTS) or read_header(fs, path).lsn <= until:
            _copy(fs, to, path)
    identity = identity_of(_genesis(to))
    founding = founding_export(to)
    if until is not None and founding and founding not in exports(to):
        lsn = read_header(fs, founding).lsn
        raise WalPruned(f"LSN {until} was pruned: the log goes on from {founding}, which ends at LSN {lsn}")
    if until is not None:
        to.rename(layout.WAL, WHOLE)
    log = Wal.open(
        to,
        layout.WAL if until is None else WHOLE,
        identity,
        witness_lsn=manifest.lsn,
        read_from=0,
        before_change=lambda: raise_stamp(to, program),
    )
    reached = log.durable_lsn
    if until is not None:
        reached = _take_over(to, log, identity, until)
    log.close()
    _choose_engine(to, program)
    shutil.rmtree(to.root / WHOLE, ignore_errors=True)
    to.sync_directory("")
    if target.exists():
        target.rmdir()
    to.root.rename(target)
    RealFs(target.parent).sync_directory("")
    return reached


def _choose_engine(fs: FileSystem, program: str) -> None:
    """The first start makes the state store: of the engine it had, or of one that is installed here."""
    stamp = read_stamp(fs)
    if not is_installed(stamp.engine):
        write_stamp(fs, raised(stamp, program)._replace(engine=default_engine()))


def _take_over(fs: FileSystem, log: Wal, identity: WalIdentity, until: int) -> int:
    """Write the records up to ``until`` into a new log."""
    if not 1 <= until <= log.durable_lsn:
        raise ExportDamaged(f"the backup holds records {log.first_lsn} to {log.durable_lsn}, not {until}")
    beginning = read_beginning(fs, WHOLE)
    if beginning is not None:
        fs.makedirs(layout.WAL)
        begin_pruned(fs, layout.WAL, identity, beginning)
    part = Wal.open(fs, layout.WAL, identity)
    for record in log.records(unknown=True):
        if record.lsn > until:
            break
        optional = bool(record.flags & OPTIONAL)
        lsn = part.append(record.type, record.payload, optional=optional, schema=record.schema)
        assert lsn == record.lsn
        if lsn % 1000 == 0:
            part.flush()
    part.close()
    return part.durable_lsn
