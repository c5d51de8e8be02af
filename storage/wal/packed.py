"""Sealed segments compressed: `pack` replaces one, and who reads the log through `Unpacked` sees it as it was.

``<segment>.seg.zst`` is a file of the zstd seekable format (frames of `FRAME` bytes, then a table of their sizes in a
skippable frame), so that ``zstd -d`` gives the segment back, without the space behind its records. A frame that cannot
be decompressed reads as bytes 0xff: no record, footer or header looks so, and damage is found where all damage is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from typing import Any

import zstandard

from storage.errors import WalCorrupt
from storage.io.atomic import create_durably, write_atomically
from storage.io.cooperative import Pace, at_once
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import Bytes, File, FileSystem, Lock, parent_of, write_all
from storage.wal.format import FOOTER_SIZE, encode_footer
from storage.wal.segments import SegmentFile, verified_records

SUFFIX = ".zst"
FRAME = 256 * 1024
"""Bytes of a segment in one frame: what one read decompresses."""
LEVEL = 3
BLOCK = 4096

_SKIPPABLE = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
_TAIL = struct.Struct("<IBI")
_SKIPPABLE_MAGIC = 0x184D2A5E
_SEEKABLE_MAGIC = 0x8F92EAB1


class PackedFile:
    """A packed segment, to be read as if it were not. One thread at a time."""

    def __init__(self, file: File, path: str) -> None:
        self._file = file
        self._path = path
        self._frame = (-1, b"")

    @cached_property
    def _table(self) -> list[tuple[int, int, int]]:
        """(place in the file, compressed size, size) of each frame; empty if damaged."""
        file_size = self._file.size()
        tail = self._file.pread(max(0, file_size - _TAIL.size), _TAIL.size)
        if len(tail) != _TAIL.size:
            return []
        count, descriptor, magic = _TAIL.unpack(tail)
        length = count * _ENTRY.size + _TAIL.size
        start = file_size - length - _SKIPPABLE.size
        if magic != _SEEKABLE_MAGIC or descriptor or start < 0:
            return []
        table = self._file.pread(start, file_size - start)
        if table[: _SKIPPABLE.size] != _SKIPPABLE.pack(_SKIPPABLE_MAGIC, length):
            return []
        found, at = [], 0
        for packed, size in _ENTRY.iter_unpack(table[_SKIPPABLE.size : -_TAIL.size]):
            found.append((at, packed, size))
            at += packed
        whole = at == start and all(size == FRAME for *_, size in found[:-1]) and 0 < found[-1][2] <= FRAME
        return found if whole else []

    def size(self) -> int:
        """Bytes of the decompressed segment."""
        table = self._table
        return (len(table) - 1) * FRAME + table[-1][2] if table else self._file.size()

    def pread(self, offset: int, count: int) -> bytes:
        """Bytes of the segment, unpacked."""
        count = max(0, min(count, self.size() - offset))
        parts = []
        while count:
            number, start = divmod(offset, FRAME)
            part = self._unpacked(number)[start : start + count]
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return b"".join(parts)

    def _unpacked(self, number: int) -> bytes:
        if self._frame[0] != number:
            self._frame = number, self._unpack(number)
        return self._frame[1]

    def _unpack(self, number: int) -> bytes:
        if not self._table:
            return b"\xff" * FRAME
        at, packed, size = self._table[number]
        try:
            data = zstandard.ZstdDecompressor().decompress(self._file.pread(at, packed), max_output_size=size)
        except zstandard.ZstdError:
            data = b""
        return data if len(data) == size else b"\xff" * size

    def data_ranges(self) -> list[tuple[int, int]]:
        """All of it may be data."""
        return [(0, self.size())]

    def forget_cached(self) -> None:
        """As for any file."""
        self._file.forget_cached()

    def close(self) -> None:
        """As for any file."""
        self._file.close()

    def _refuse(self, *_: Any) -> Any:
        raise AssertionError(f"{self._path} is packed: opened for reading only")

    pwrite = fdatasync = fsync = ftruncate = fallocate = _refuse


class Unpacked:
    """A file system on which packed segments look like segments. To write into one, it is unpacked first."""

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs

    def _is_packed(self, path: str) -> bool:
        return path.endswith(".seg") and not self.fs.exists(path) and self.fs.exists(path + SUFFIX)

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> File:
        if not create and self._is_packed(path):
            if writable:
                unpack(self.fs, path)
            else:
                return PackedFile(self.fs.open(path + SUFFIX, writable=False), path)
        try:
            return self.fs.open(path, create=create, writable=writable)
        except FileNotFoundError:
            if writable or not self._is_packed(path):
                raise
        return PackedFile(self.fs.open(path + SUFFIX, writable=False), path)  # packed between the two looks

    def exists(self, path: str) -> bool:
        return self.fs.exists(path) or self._is_packed(path)

    def listdir(self, path: str) -> list[str]:
        return sorted({name.removesuffix(SUFFIX) for name in self.fs.listdir(path)})

    def rename(self, source: str, target: str) -> None:
        self._drop_twin(source)
        packed = SUFFIX if self._is_packed(source) else ""
        self.fs.rename(source + packed, target + packed)

    def unlink(self, path: str) -> None:
        self._drop_twin(path)
        self.fs.unlink(path + SUFFIX if self._is_packed(path) else path)

    def rmdir(self, path: str) -> None:
        self.fs.rmdir(path)

    def _drop_twin(self, path: str) -> None:
        """A crash may have left a segment in both forms: the packed one must not come back for the other."""
        if path.endswith(".seg") and self.fs.exists(path) and self.fs.exists(path + SUFFIX):
            self.fs.unlink(path + SUFFIX)
            self.fs.sync_directory(parent_of(path))

    def makedirs(self, path: str) -> None:
        self.fs.makedirs(path)

    def sync_directory(self, path: str) -> None:
        self.fs.sync_directory(path)

    def read_file(self, path: str) -> bytes:
        return self.fs.read_file(path)

    def modified(self, path: str) -> float:
        return self.fs.modified(path)

    def lock(self, path: str) -> Lock:
        return self.fs.lock(path)

    def moved(self, path: str, held: File | Lock, size: int = 0) -> str:
        return self.fs.moved(path, held, size)

    def is_writable(self, path: str) -> bool:
        return self.fs.is_writable(path)

    def free_bytes(self) -> int:
        return self.fs.free_bytes()


def unpacked(fs: FileSystem) -> Unpacked:
    """The file system as readers of the log want it."""
    return fs if isinstance(fs, Unpacked) else Unpacked(fs)


def pack(fs: FileSystem, segment: SegmentFile, pace: Pace = at_once) -> int:
    """Replace a sealed segment by a packed one; returns its size in bytes.

    At every moment one whole segment is there: the packed file gets its name when it has been read back and is durable,
    and only when the name is durable is the other removed.

    Raises `WalCorrupt` for a damaged record, `StoreTooNew` for one of a later version, having changed nothing.
    """
    path, packed = segment.path, segment.path + SUFFIX
    with reading(path):
        source = fs.open(path, writable=False)

    def fill(target: File) -> None:
        digest = blake2b()
        _write(target, packed, _trimmed(source, segment, pace), digest)
        _read_back(target, packed, digest.digest(), pace)

    try:
        _check(source, segment, pace)
        target = create_durably(fs, packed, fill, "wal.pack")
    finally:
        source.close()
    size = target.size()
    target.close()
    with writing(path):
        fs.unlink(path)
    with syncing(path):
        fs.sync_directory(parent_of(path))
    reach("wal.pack.done")
    return size


def unpack(fs: FileSystem, path: str) -> None:
    """Replace a packed segment by the plain one, damage and all: recovery wants to write into it."""
    with reading(path + SUFFIX):
        source = PackedFile(fs.open(path + SUFFIX, writable=False), path)
    try:
        frames = (source.pread(offset, FRAME) for offset in range(0, source.size(), FRAME))
        write_atomically(fs, path, frames)
    finally:
        source.close()
    with writing(path):
        fs.unlink(path + SUFFIX)


def _check(source: File, segment: SegmentFile, pace: Pace) -> None:
    footer = segment.footer
    assert footer is not None, "only sealed segments are packed"
    for _ in pace(verified_records(source, segment, footer.last_lsn)):
        pass


def _trimmed(source: File, segment: SegmentFile, pace: Pace) -> Iterator[bytes]:
    """The segment up to its last record, then its footer, as recovery leaves one that it cuts; in frames."""
    footer = segment.footer
    assert footer is not None
    size = (footer.end + FOOTER_SIZE + BLOCK - 1) // BLOCK * BLOCK
    tail = bytes(size - FOOTER_SIZE - footer.end) + encode_footer(segment.header, footer)
    left = b""
    for offset in pace(range(0, footer.end, FRAME)):
        with reading(segment.path):
            chunk = source.pread(offset, min(FRAME, footer.end - offset))
        if len(chunk) == FRAME:
            yield chunk
        else:
            left = chunk
    left += tail
    for offset in range(0, len(left), FRAME):
        yield left[offset : offset + FRAME]


def _write(target: File, path: str, frames: Iterator[bytes], digest: Any) -> None:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    entries, at = [], 0
    for frame in frames:
        digest.update(frame)
        data = compressor.compress(frame)
        entries.append(_ENTRY.pack(len(data), len(frame)))
        with writing(path):
            write_all(target, at, data)
        at += len(data)
    table: Bytes = b"".join(entries) + _TAIL.pack(len(entries), 0, _SEEKABLE_MAGIC)
    with writing(path):
        write_all(target, at, _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(table)) + table)


def _read_back(target: File, path: str, expected: bytes, pace: Pace) -> None:
    with reading(path):
        file = PackedFile(target, path)
        digest = blake2b()
        for offset in pace(range(0, file.size(), FRAME)):
            digest.update(file.pread(offset, FRAME))
    if digest.digest() != expected:
        raise WalCorrupt(f"{path} is not what was written", path=path)
