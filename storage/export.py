"""State exports: one file with everything in a checkpoint, from which a lost state store is rebuilt.

    magic (8) | header length (4) | header, JSON | zlib stream of pairs | BLAKE2b (32)
    pair: key length (4) | value length (4) | key | value

Integers are little-endian; the digest covers all before it. A file has its name only when it is whole and durable, and
is trusted only after its digest was checked. The log from the export's LSN on brings the restored store up to date.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from chain.types import Hash32
from storage.checkpoint import last_checkpoint
from storage.directory import layout
from storage.errors import ExportDamaged
from storage.io.atomic import write_atomically
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import File, FileSystem, parent_of
from storage.io.kv import LAST_KEY, KeyValueStore
from storage.state.keys import HEADER, META_HEAD, block_key
from storage.wal.bounds import read_beginning

MAGIC = b"ZVMDSNP1"
SUFFIX = ".snap"
CHUNK = 2**20
BATCH_BYTES = 4 * 2**20
"""Read back in batches of this size; the key that makes the store valid comes last."""
HEADER_MAX = 4096
PAIR_MAX = 64 * 2**20
DIGEST = 32
COMPRESSION = 1

_LENGTHS = struct.Struct("<II")


class ExportHeader(NamedTuple):
    """An export's description of itself."""

    genesis: str
    """Hash of block 0's stored header, hex."""
    block: int
    state_root: str
    lsn: int
    """The last log record it includes."""


def export_name(header: ExportHeader) -> str:
    """File name; names sort by block.

    >>> export_name(ExportHeader("00", 7, "ab", 9))
    '000000000007-ab.snap'
    """
    return f"{header.block:012d}-{header.state_root}{SUFFIX}"


def write_export(fs: FileSystem, kv: KeyValueStore, path: str = "") -> str | None:
    """Export the store as its last checkpoint left it, while it is written on; returns the file's path.

    Without ``path`` it goes among the exports under its own name. None if there is no checkpoint yet. Raises
    `StorageFull`, `StoragePanic`, `StateStoreCorrupt`.
    """
    snapshot = kv.snapshot()
    try:
        checkpoint = last_checkpoint(snapshot)
        if checkpoint is None:
            return None
        first = snapshot.get(block_key(HEADER, 0)) or b""
        header = ExportHeader(
            blake2b(first, digest_size=DIGEST).hexdigest(),
            checkpoint.block,
            checkpoint.state_root.hex(),
            checkpoint.lsn,
        )
        target = path or f"{layout.EXPORTS}/{export_name(header)}"
        if fs.exists(target):
            return target
        folder = parent_of(target)
        with writing(target):
            fs.makedirs(folder)
        with syncing(folder):
            fs.sync_directory(parent_of(folder))
        write_atomically(fs, target, _encode(header, snapshot.iterate(b"", LAST_KEY)), "export")
        return target
    finally:
        snapshot.close()


def _encode(header: ExportHeader, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    digest = blake2b(digest_size=DIGEST)
    for part in _body(header, pairs):
        digest.update(part)
        yield part
    yield digest.digest()


def _body(header: ExportHeader, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    text = json.dumps(header._asdict(), sort_keys=True).encode()
    yield MAGIC + len(text).to_bytes(4, "little") + text
    packer = zlib.compressobj(COMPRESSION)
    pending = bytearray()
    for key, value in pairs:
        pending += _LENGTHS.pack(len(key), len(value)) + key + value
        if len(pending) >= CHUNK:
            yield packer.compress(bytes(pending))
            pending.clear()
    yield packer.compress(bytes(pending)) + packer.flush()


def exports(fs: FileSystem) -> list[str]:
    """Paths of all exports, newest first."""
    if not fs.exists(layout.EXPORTS):
        return []
    with reading(layout.EXPORTS):
        names = fs.listdir(layout.EXPORTS)
    return [f"{layout.EXPORTS}/{name}" for name in sorted(names, reverse=True) if name.endswith(SUFFIX)]


def founding_export(fs: FileSystem) -> str:
    """Path of the export that holds what a pruned log does not; empty if the log is whole. Raises `WalCorrupt`."""
    beginning = read_beginning(fs, layout.WAL)
    return beginning.export if beginning is not None else ""


def prune_exports(fs: FileSystem, kept: int) -> int:
    """Remove all but the newest and the one that a pruned log begins with; returns how many went."""
    founding = founding_export(fs)
    old = [path for path in exports(fs)[kept:] if path != founding]
    for path in old:
        with writing(path):
            fs.unlink(path)
    return len(old)


def read_header(fs: FileSystem, path: str) -> ExportHeader:
    """Check the whole file against its digest, then what it says of itself. Raises `ExportDamaged`."""
    with reading(path):
        file = fs.open(path, writable=False)
        try:
            return _checked(file, path)[0]
        finally:
            file.close()


def restore_export(fs: FileSystem, path: str, kv: KeyValueStore, genesis: Hash32 | bytes) -> ExportHeader:
    """Fill an empty store from an export. ``genesis`` is the RLP of block 0's header.

    A crash in the middle leaves a store without its head, which is never trusted. Raises `ExportDamaged`.
    """
    with reading(path):
        file = fs.open(path, writable=False)
        try:
            header, start, end = _checked(file, path)
            if header.genesis != blake2b(genesis, digest_size=DIGEST).hexdigest():
                raise ExportDamaged(f"{path} is of another chain")
            _fill(kv, _pairs(file, path, start, end))
        finally:
            file.close()
    return header


def _fill(kv: KeyValueStore, pairs: Iterator[tuple[bytes, bytes]]) -> None:
    head, puts, size = b"", dict[bytes, bytes](), 0
    for key, value in pairs:
        if key == META_HEAD:
            head = value
            continue
        puts[key] = value
        size += len(key) + len(value)
        if size >= BATCH_BYTES:
            kv.write(puts, ())
            puts, size = {}, 0
    reach("export.restore.head")
    kv.write({**puts, META_HEAD: head}, ())


def _checked(file: File, path: str) -> tuple[ExportHeader, int, int]:
    """Header, and where the packed pairs begin and end."""
    end = file.size() - DIGEST
    digest, offset = blake2b(digest_size=DIGEST), 0
    while offset < end:
        chunk = file.pread(offset, min(CHUNK, end - offset))
        digest.update(chunk)
        offset += len(chunk)
    if end < 0 or file.pread(end, DIGEST) != digest.digest():
        raise ExportDamaged(f"{path} has a wrong digest")
    length = int.from_bytes(file.pread(len(MAGIC), 4), "little")
    if file.pread(0, len(MAGIC)) != MAGIC or length > HEADER_MAX:
        raise ExportDamaged(f"{path} is not an export of this format")
    start = len(MAGIC) + 4 + length
    try:
        return ExportHeader(**json.loads(file.pread(start - length, length))), start, end
    except (ValueError, TypeError) as error:
        raise ExportDamaged(f"{path}: {error}") from None


def _pairs(file: File, path: str, offset: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    unpacker, data = zlib.decompressobj(), bytearray()
    at = 0
    while not unpacker.eof:
        if unpacker.unconsumed_tail:
            packed = unpacker.unconsumed_tail
        else:
            packed = file.pread(offset, min(CHUNK, end - offset))
            offset += len(packed)
            if not packed:
                raise ExportDamaged(f"{path} ends too early")
        data += unpacker.decompress(packed, CHUNK)
        while len(data) - at >= _LENGTHS.size:
            key_length, value_length = _LENGTHS.unpack_from(data, at)
            if key_length + value_length > PAIR_MAX:
                raise ExportDamaged(f"{path} holds a pair of {key_length + value_length} bytes")
            stop = at + _LENGTHS.size + key_length + value_length
            if stop > len(data):
                break
            key = bytes(data[at + _LENGTHS.size : stop - value_length])
            yield key, bytes(data[stop - value_length : stop])
            at = stop
        del data[:at]
        at = 0
